"""Files that several processes share: written whole or not at all, and locked."""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO


@contextlib.contextmanager
def replacing(path: Path, name: str | None = None) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes the place of `path` if the block ends without an error.

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
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def try_lock(file: IO, shared: bool = False) -> bool:
    """Lock an open file until it is closed, or say that another process has it.

    The kernel frees the lock however a process ends. Its file stays: were it removed, two processes
    could hold locks on two files of one name.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    for _ in range(5):  # who only looks holds a shared lock, for a moment
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
    return False
