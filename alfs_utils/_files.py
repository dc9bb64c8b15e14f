"""Write a file so that at any moment either the old or the new one is there, whole."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


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
