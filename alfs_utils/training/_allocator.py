"""Keep freed memory in the process, so that a training step does not fault its pages in again.

By default glibc gives every tensor above 32 MiB, and the top of its heap whenever that is freed,
back to the kernel; the next step asks for the same memory and touches each 4 KiB page anew. On a
virtual machine, where page faults are expensive, they can take a third of a CPU training step. Two
settings of `mallopt` stop them: never use `mmap` for an allocation, never trim the heap. The price
is that the process keeps its peak memory until it ends.

Call `keep_pages()` before a long training on the CPU; it does nothing where there is no glibc.
"""

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


@cache
def keep_pages() -> bool:
    """Apply both settings once per process; return whether they were applied."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018  musl has another allocator and not this name
        mallopt = libc.mallopt
    except (AttributeError, OSError):
        return False
    # mallopt takes ints; the threshold -1 becomes the largest size_t.
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
