"""The state of an unfinished run on disk: written whole, verified whole before any of it is used.

A file is the SHA-256 of what follows, a line break, and what `torch.save` writes.
"""

import hashlib
import io
import os
import warnings
from pathlib import Path
from typing import Any

import torch

from alfs_utils._files import read_bytes, replacing, set_aside
from alfs_utils.training import per_class
from alfs_utils.training.config import RunConfig
from alfs_utils.training.history import check_curves, failed_epoch


def packed(state: dict[str, Any]) -> bytes:
    """Return the content of a file that holds `state`."""
    buffer = io.BytesIO()  # in memory: torch turns a full disk into errors of its own
    torch.save(state, buffer)
    content = buffer.getvalue()
    return hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state; if that fails, only warn, so that the run goes on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, "part") as file:
            file.write(packed(state))
    except OSError as error:
        warnings.warn(f"{path}: no checkpoint written ({error})", RuntimeWarning, stacklevel=4)


def read_checkpoint(path: Path, like: dict[str, Any]) -> dict[str, Any] | None:
    """Read the state in a file; return None if there is none, and set an unusable file aside.

    Parameters
    ----------
    path : Path
    like : dict
        The state of the run as it starts. The file must hold a state of the same run: the same
        configuration and labels, and tensors of the same names, types and shapes.
    """
    try:
        return _checked(read_bytes(path), like)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch.load has no common class for what can be wrong
        aside = set_aside(path)
        warnings.warn(
            f"{path}: this checkpoint cannot be used ({error}); renamed to {aside.name}, the run "
            "starts again",
            RuntimeWarning,
            stacklevel=4,
        )
        return None


def _checked(content, like):
    digest, _, body = content.partition(b"\n")
    if digest != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its checksum is wrong: it is damaged, or an older version wrote it")
    state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    # A field of the configuration that is newer than the file has the value it had before.
    newer = like["config"].keys() - state["config"].keys()
    state["config"] |= {name: getattr(RunConfig, name) for name in newer}
    _check_shapes(state, like, "state")
    for name, part in _identity(like).items():
        if _identity(state)[name] != part:
            raise ValueError(f"{name}: it belongs to another run")
    for generator in state["generators"]:
        torch.Generator().set_state(generator)
    _check_progress(state["progress"], state["config"]["epochs"], state["steps"])
    return state


def _identity(state):
    """Return the entries that do not change while a run trains."""
    groups = state["tensors"]["optimizer"]["param_groups"]
    groups = [{k: v for k, v in group.items() if k != "lr"} for group in groups]
    fixed = ("config", "labels_sha256", "steps")
    return {name: state[name] for name in fixed} | {"optimizer": groups}


def _check_progress(progress, epochs, steps):
    failed = failed_epoch(progress["status"])
    done = progress["epoch"] - (failed is not None)
    if failed not in (None, progress["epoch"]):
        raise ValueError(f"status: got {progress['status']!r} in epoch {progress['epoch']}")
    if not (0 <= done <= epochs and 0 <= progress["step"] <= steps):
        raise ValueError(f"it is at step {progress['step']} of epoch {progress['epoch']}")
    if not (progress["seconds"] >= 0 and progress["cpu_seconds"] >= 0):
        raise ValueError(f"seconds: got {progress['seconds']}, {progress['cpu_seconds']}")
    check_curves(progress, done)
    per_class.check(progress["per_class"], epochs, done)


def _check_shapes(found, expected, where):
    """Raise ValueError unless names, types and shapes in `found` are those in `expected`."""
    if type(found) is not type(expected):
        raise ValueError(f"{where}: expected {type(expected).__name__}, got {found!r:.100}")
    if isinstance(expected, dict):
        if found.keys() != expected.keys():
            raise ValueError(f"{where}: expected {[*expected]}, got {[*found]}")
        for name, value in expected.items():
            _check_shapes(found[name], value, f"{where}, {name}")
    elif isinstance(expected, torch.Tensor):
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise ValueError(f"{where}: expected {tuple(expected.shape)}, {expected.dtype}")
    elif isinstance(expected, tuple):
        if len(found) != len(expected):
            raise ValueError(f"{where}: expected {len(expected)} entries, got {len(found)}")
        for number, value in enumerate(expected):
            _check_shapes(found[number], value, f"{where}, {number}")


def write_weights(path: str | os.PathLike, network: torch.nn.Module) -> None:
    """Write the `state_dict` of a network, whole or not at all; make its folder."""
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "part") as file:
        file.write(buffer.getbuffer())


def check_writable(name: str, path: str | os.PathLike) -> None:
    """Raise ValueError, before the work starts, if a file cannot be written; make its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"{name}: expected a file that can be written, got {str(path)!r}")
