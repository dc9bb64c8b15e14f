"""Files that several processes share: read, written whole or not at all, set aside, locked."""

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, name: str | None = None) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes the place of `path` if the block ends without an error.

    Once it has, it is on the disk: neither a kill nor a power cut undoes it.

    Parameters
    ----------
    path : Path
        Its folder has to exist.
    name : str, optional
        Of the temporary file beside it. By default one that nobody else has; give one where there
        is a single writer, so that what a kill leaves is overwritten next time.
    """
    temporary = path.with_name(f".{path.name}.{name or uuid.uuid4().hex}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder):
    with contextlib.suppress(OSError):  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_regular(path: str | os.PathLike) -> None:
    """ValueError for what is there and no file: a pipe, for one, would never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: expected a regular file")


def read_bytes(path: str | os.PathLike) -> bytes:
    """The content of a file; ValueError for what is none."""
    check_regular(path)
    return Path(path).read_bytes()


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used to a name that nothing has: *.bad, *.bad-2, ..."""
    number, aside = 1, path.with_name(path.name + ".bad")
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.bad-{number}")
    with contextlib.suppress(FileNotFoundError):  # another process was first
        os.replace(path, aside)
    return aside


@contextlib.contextmanager
def locked(path: Path, seconds: float = -1) -> Iterator[bool]:
    """Hold the lock file `path`, whose folder exists; yields whether we got it in time.

    The file stays, since two processes could hold locks on two files of one name. The operating
    system frees the lock of a process that dies.

    Parameters
    ----------
    path : Path
    seconds : float
        How long to wait for it; for ever by default.

    Raises
    ------
    OSError
        If the file system has no locks, or the file cannot be written; the message names it.
    """
    from filelock import FileLock, Timeout  # what needs no locks does not need it

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
