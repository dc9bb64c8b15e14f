"""Files that several processes share: read, written whole or not at all, set aside."""

import contextlib
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path, name: str | None = None) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` when the block ends without an error.

    The new content is then on the disk: neither a kill nor a power cut undoes it.

    Parameters
    ----------
    path : Path
        Its folder has to exist.
    name : str, optional
        Of the temporary file beside it; by default, a unique one. Give a name if there is only one
        writer: the next write then overwrites what a kill left behind.
    """
    temporary = path.with_name(f".{path.name}.{name or uuid.uuid4().hex}")
    try:
        temporary.unlink(missing_ok=True)  # what a link leads to is not ours
        with open(temporary, "xb") as file:
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
    """Raise ValueError if `path` exists and is no regular file: reading a pipe would never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path}: expected a regular file")


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a file; raise ValueError if it is no regular file."""
    check_regular(path)
    return Path(path).read_bytes()


def set_aside(path: Path) -> Path:
    """Rename an unusable file to a free name: *.bad, *.bad-2, ... Return the new path."""
    number, aside = 1, path.with_name(path.name + ".bad")
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.bad-{number}")
    with contextlib.suppress(FileNotFoundError):  # another process was first
        os.replace(path, aside)
    return aside
