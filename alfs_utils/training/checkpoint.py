"""The state of an unfinished run on disk: written whole, verified whole before any of it is used.

A file is the SHA-256 of what follows, a line break, and what `torch.save` writes.
"""

import hashlib
import io
import os
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from alfs_utils._files import replacing, set_aside
from alfs_utils.training.history import Progress

_PARTS = ("config", "progress", "tensors", "generators", "environment")


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state; a disk that refuses does not cost the run, but gives a warning."""
    buffer = io.BytesIO()  # torch turns a full disk into errors of its own
    torch.save(state, buffer)
    content = buffer.getvalue()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "part") as file:
            file.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    except OSError as error:
        warnings.warn(f"{path}: no checkpoint written ({error})", RuntimeWarning, stacklevel=4)


def read_checkpoint(path: Path, like: dict[str, Any]) -> dict[str, Any] | None:
    """The state in a file, or None if there is none; one that cannot be used is set aside.

    Parameters
    ----------
    path : Path
    like : dict
        The state of the run as it starts: the file must hold the same configuration, and tensors of
        the same names, types and shapes.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return _refused(path, error)
    try:
        return _checked(content, like)
    except Exception as error:  # torch.load has no common class for what can be wrong
        return _refused(path, error)


def _refused(path, error):
    aside = set_aside(path)
    warnings.warn(
        f"{path}: this checkpoint cannot be used ({error}); renamed to {aside.name}, the run "
        "starts again",
        RuntimeWarning,
        stacklevel=5,
    )


def _checked(content, like):
    digest, _, body = content.partition(b"\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its checksum is wrong: it is damaged, or an older version wrote it")
    state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    if missing := {*_PARTS} - state.keys():
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    if state["config"] != like["config"]:
        raise ValueError("it belongs to another configuration")
    names = {f.name for f in fields(Progress)}
    if state["progress"].keys() != names:
        raise ValueError(f"its counters: expected {sorted(names)}")
    _check_shapes(state["tensors"], like["tensors"], "tensors")
    return state


def _check_shapes(found, expected, where):
    """Whether `found` has the names, types and shapes of `expected`, all the way down."""
    if isinstance(expected, dict):
        if found.keys() != expected.keys():
            raise ValueError(f"{where}: it has other layers than the network or its optimizer")
        for name, value in expected.items():
            _check_shapes(found[name], value, f"{where}, {name}")
    elif isinstance(expected, torch.Tensor):
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise ValueError(f"{where}: expected {tuple(expected.shape)}, {expected.dtype}")
    elif isinstance(expected, list | tuple):
        if len(found) != len(expected):
            raise ValueError(f"{where}: expected {len(expected)} entries, got {len(found)}")
        for number, value in enumerate(expected):
            _check_shapes(found[number], value, f"{where}, {number}")
    elif type(found) is not type(expected):
        raise ValueError(f"{where}: expected {type(expected).__name__}, got {found!r}")


def write_weights(path: str | os.PathLike, network: torch.nn.Module) -> None:
    """Write the `state_dict` of a network, whole or not at all; makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "part") as file:
        torch.save(network.state_dict(), file)


def check_writable(name: str, path: str | os.PathLike) -> None:
    """Before the work, not after it: ValueError for a file that cannot be written."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name}: expected a file that can be written, got {str(path)!r}")
