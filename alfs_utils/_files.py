"""Files that several processes share: written whole or not at all, set aside, locked."""

import contextlib
import os
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


def set_aside(path: Path) -> Path:
    """Rename a file that cannot be used to a name that nothing has: *.bad, *.bad-2, ..."""
    number, aside = 1, path.with_name(path.name + ".bad")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.bad-{number}")
    with contextlib.suppress(FileNotFoundError):  # another process was first
        os.replace(path, aside)
    return aside
