"""Locks between processes, on files."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

# A variable that names a folder for the locks of file systems that have none. Then only processes
# of one machine know of each other.
ELSEWHERE = "ALFS_LOCKS_DIR"


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
    if home := os.environ.get(ELSEWHERE):
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
        Path(home).mkdir(parents=True, exist_ok=True)
        path = Path(home) / f"{name}.lock"
    lock = FileLock(path, fallback_to_soft=False, preserve_lock_file=True)
    try:
        lock.acquire(timeout=seconds, poll_interval=0.02)
    except Timeout:
        yield False
        return
    except (NotImplementedError, OSError) as error:
        raise OSError(
            f"{path}: expected a file that can be locked, got {error}; keep the ledger on a file "
            f"system with locks, or, if only one machine uses it, set {ELSEWHERE} to a local folder"
        ) from error
    try:
        yield True
    finally:
        lock.release()
