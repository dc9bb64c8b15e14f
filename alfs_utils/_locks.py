"""Locks between processes, on files."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def locked(path: Path, seconds: float = -1) -> Iterator[bool]:
    """Hold a lock on the file `path` during the block; yield whether we got it in time.

    The folder of `path` has to exist. The lock file stays: if it were removed, two processes could
    lock two files of the same name. The operating system frees the lock of a process that dies.

    Parameters
    ----------
    path : Path
    seconds : float
        How long to wait for the lock; by default, without end.

    Raises
    ------
    OSError
        If the file system has no locks, or the file cannot be written; the message names it.
    """
    lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError) as error:
        raise OSError(
            f"{path}: expected a file that can be locked, got {error}; keep the ledger on a file "
            "system with locks"
        ) from error
    try:
        yield True
    finally:
        lock.release()
