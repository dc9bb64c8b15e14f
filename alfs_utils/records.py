"""The ledger: one small text file per finished run, and what can be read from many of them.

A record's id is a hash of the run's configuration, so a run has one place in the ledger wherever
and whenever it was trained. Records are written whole or not at all.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import platform
import re
import subprocess
import warnings
from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from alfs_utils import __version__, data
from alfs_utils._files import replacing
from alfs_utils.training import CURVES, History, RunConfig, device_name, load_once

__all__ = [
    "Record",
    "basis",
    "find",
    "load",
    "pack",
    "read",
    "run_id",
    "runs_of",
    "unpack",
    "verdict",
    "write",
]

VERDICTS = ("reproduced", "close", "not reproduced", "preliminary", "not yet run")

Record = dict  # what is in a file: see `make`


def run_id(config: RunConfig) -> str:
    """Twelve hexadecimal digits that name a configuration.

    Only the fields that differ from `RunConfig`'s defaults are hashed: a field added later, whose
    default means "as before", leaves the ids of older runs as they were. Defaults never change.
    """
    given = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if f.name == "loss" or getattr(config, f.name) != f.default
    }
    text = json.dumps(given, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make(
    history: History,
    device: str | torch.device = "cpu",
    deterministic: bool = False,
    compiled: bool = False,
) -> dict:
    """The record of a run that has just ended in this process, trained with these arguments."""
    return {
        "id": run_id(history.config),
        "config": asdict(history.config),
        "status": history.status,
        **{name: _rounded(getattr(history, name)) for name in CURVES},
        "per_class": history.per_class,
        "noise_rate": history.noise_rate,
        "labels_sha256": history.labels_sha256,
        "data_sha256": load_once(history.config.dataset).sha256,
        "seconds": round(history.seconds, 1),
        "cpu_seconds": round(history.cpu_seconds, 1),
        **_environment(torch.device(device), deterministic, history.mixed),
        "compiled": compiled,
        "kernel": history.kernel,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _rounded(x):
    return [_rounded(part) for part in x] if isinstance(x, list | tuple) else float(f"{x:.9g}")


def _environment(device, deterministic, mixed):
    cuda = device.type == "cuda"
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "deterministic": (deterministic or not cuda) and not mixed,
        "mixed": mixed,
        "tf32": cuda and torch.backends.cudnn.allow_tf32,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "code": revision(),
    }


@cache
def revision():
    """The git commit of this library, "+changes" if its files differ from it; else its version.

    An installed copy has no commit, even where it lies inside somebody's repository.
    Asked once per process: ask before a long run, for while it trains the files may change.
    """

    def git(*words):
        command = ["git", "-C", Path(__file__).parent, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)
        changed = git("status", "--porcelain", ".")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"alfs_utils {__version__}"


# --- files ----------------------------------------------------------------------------------


def path_of(config: RunConfig, folder: str | os.PathLike = "results") -> Path:
    """Where the record of a configuration lies: `folder`/data set/id.json."""
    return Path(folder) / config.dataset / f"{run_id(config)}.json"


def checkpoint_of(config: RunConfig, folder: str | os.PathLike = "results") -> Path:
    """Where an unfinished run keeps its state; its lock lies beside it, see `_files.try_lock`."""
    return Path(folder) / ".work" / f"{run_id(config)}.ckpt"


def write(record: Record, folder: str | os.PathLike = "results") -> Path:
    """Write a record; at any moment the file is there whole or not at all. Returns its path.

    Raises
    ------
    ValueError
        If the record is not what `read` accepts.
    OSError
        If the file cannot be written; then what was there before is there still.
    """
    path = path_of(_check(record), folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    with replacing(path) as file:
        file.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())
        file.flush()
        os.fsync(file.fileno())
    return path


def read(path: str | os.PathLike) -> Record:
    """Read one record and check it.

    Raises
    ------
    ValueError
        If the file is no record, is cut off, or does not belong to its name; the message names it.
    """
    return _read(Path(path))[0]


def _read(path):
    try:
        record, config = _parse(path.read_bytes())
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error
    if record["id"] != path.stem:
        raise ValueError(f"{path}: holds the record of another run, {record['id']}")
    return record, config


def _parse(text):
    """A record and its configuration."""
    try:
        record = json.loads(text)
        return record, _check(record)
    except _NewerError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a whole record: {error!r}") from error


class _NewerError(ValueError):
    """A record is whole, and this version of the library does not know what it says."""


def _check(record):
    known = {f.name for f in fields(RunConfig)}
    if unknown := sorted(record["config"].keys() - known):
        raise _NewerError(f"written by a newer alfs_utils, which has {', '.join(unknown)}")
    config = RunConfig(**record["config"])
    if record["id"] != run_id(config):
        raise ValueError(f"id {record['id']!r} does not belong to the configuration")
    for name in sorted(_NEEDED - record.keys()):
        raise ValueError(f"{name} is missing")
    epochs = len(record["test_accuracy"])
    if record["status"] == "finished" and epochs != config.epochs:
        raise ValueError(f"expected {config.epochs} epochs, got {epochs}")
    for name in CURVES:
        # `memorised` is empty without wrong labels.
        if len(record[name]) != epochs and not (name == "memorised" and not record[name]):
            raise ValueError(f"{name}: expected {epochs} epochs, got {len(record[name])}")
        if not np.isfinite(record[name]).all():
            raise ValueError(f"{name}: expected finite numbers")
    return config


_NEEDED = {"status", "seconds", "device", "code", "noise_rate", "finished", *CURVES}


def find(config: RunConfig, folder: str | os.PathLike = "results") -> Record | None:
    """The record of a configuration, or None. A damaged file is renamed to *.bad and named.

    Raises
    ------
    ValueError
        If a newer version of the library wrote it; then it stays where it is.
    """
    path = path_of(config, folder)
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except _NewerError:
        raise
    except ValueError as error:
        aside = path.with_name(path.name + ".bad")
        with contextlib.suppress(FileNotFoundError):  # another process was first
            os.replace(path, aside)
        warnings.warn(f"{error}; renamed to {aside.name}", RuntimeWarning, stacklevel=2)
        return None


def load(folder: str | os.PathLike = "results") -> pd.DataFrame:
    """All records below a folder as a tidy table, one row per run.

    Returns
    -------
    DataFrame
        The fields of `RunConfig`; `last`, `best`, `noisy_validation` (test accuracy in percent),
        `repeated` (of the wrong labels), see `History`; the curves as lists; status, cost and
        environment. Ordered by data set, loss, noise, rate and seed. Damaged files, and a second
        copy of a run, are left out with a warning that names them.
    """
    rows, seen = [], {}
    for path in sorted(Path(folder).rglob("[!.]*.json")):
        if not re.fullmatch("[0-9a-f]{12}", path.stem):
            continue  # something else that is kept in the folder
        try:
            record, config = _read(path)
            first = seen.setdefault(record["id"], path)
            if first is not path:
                raise ValueError(f"{path}: the same run as {first}")
            rows.append(_row(record, config))
        except ValueError as error:
            warnings.warn(f"left out: {error}", RuntimeWarning, stacklevel=2)
    columns = [f.name for f in fields(RunConfig)]
    frame = pd.DataFrame(rows, columns=None if rows else [*_FIRST, *columns])
    return frame.sort_values(["dataset", "loss", "noise", "eta", "init_seed", "id"]).reset_index(
        drop=True
    )


_SCORES = ("last", "best", "noisy_validation", "repeated")  # properties of `History`
_FIRST = ("id", "status", *_SCORES)


def _row(record, config):
    kept = {f.name: record[f.name] for f in fields(History) if f.name in record}
    history = History(**(kept | {"config": config}))
    scores = {name: getattr(history, name) for name in _SCORES}
    rest = {key: value for key, value in record.items() if key not in ("config", "id", "status")}
    return {"id": record["id"], "status": record["status"], **scores, **vars(config), **rest}


def runs_of(ledger: pd.DataFrame, configs: Iterable[RunConfig]) -> pd.DataFrame:
    """The rows of `load` that are finished runs of these configurations, in their order.

    A run on the official files stands for the same run on arrays ("-npz"), if there are both.
    """
    rows = ledger[ledger["status"] == "finished"].set_index("id", drop=False)
    found = []
    for config in configs:
        same = (replace(config, dataset=name) for name in data.sources(config.dataset))
        found += [i for i in map(run_id, same) if i in rows.index][:1]
    return rows.loc[found].reset_index(drop=True)


def basis(runs: pd.DataFrame) -> str:
    """What is read from these rows of `load` rests on, in words: runs, seeds, data.

    "preliminary" where `verdict` would say so: fewer than three seeds, or arrays.
    """
    if runs.empty:
        return "no run yet"
    seeds, names = runs["init_seed"].nunique(), sorted(set(runs["dataset"]))
    few = seeds < 3 or any(name != data.base_name(name) for name in names)
    words = f"{len(runs)} run(s), {seeds} seed(s), on {' and '.join(names)}"
    return words + (": preliminary" if few else "")


def to_csv(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write the table of `load` without the curves, one line per run."""
    frame.drop(columns=[*CURVES, "per_class"], errors="ignore").to_csv(path, index=False)


def pack(record: Record, path: str | os.PathLike) -> None:
    """Append a record to a .jsonl file, one line each; several processes may do so at once."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":  # an earlier writer was killed in the middle of its line
                file.write(b"\n")
        file.write(json.dumps(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def unpack(path: str | os.PathLike, folder: str | os.PathLike = "results") -> int:
    """Write the records of a .jsonl file into a ledger; returns how many were new.

    A record that the ledger already has is left as it is; a damaged line is named in a warning.
    """
    new = 0
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), 1):
        if not line:
            continue
        try:
            record, config = _parse(line)
        except ValueError as error:
            warnings.warn(f"{path}, line {number}: left out: {error}", RuntimeWarning, 2)
            continue
        if find(config, folder) is None:
            write(record, folder)
            new += 1
    return new


# --- ours and the paper's -------------------------------------------------------------------


def verdict(ours, mean: float | None, std: float | None, preliminary: bool = False) -> str:
    """Was a cell of the paper's tables reproduced? The rule was fixed before any run.

    With n runs of ours, |difference of the means| <= max(2 sqrt(s_paper^2 / 3 + s_ours^2 / n), 0.5
    points) is "reproduced", within twice that "close", else "not reproduced".

    Parameters
    ----------
    ours : sequence of float
        Accuracies of our runs, in percent.
    mean, std : float or None
        The paper's, in percent; None if it has none in hand.
    preliminary : bool
        Whether our runs are not the paper's protocol in full: arrays instead of the official files.

    Returns
    -------
    str
        One of `VERDICTS`: "not yet run" without runs, "preliminary" with fewer than 3, without the
        paper's mean and standard deviation, or if `preliminary`.
    """
    ours = np.asarray(list(ours), dtype=float)
    if not len(ours):
        return "not yet run"
    if preliminary or len(ours) < 3 or mean is None or std is None:
        return "preliminary"
    difference = abs(ours.mean() - mean)
    spread = math.sqrt(std**2 / 3 + ours.var(ddof=1) / len(ours))
    limit = max(2 * spread, 0.5)
    if not difference <= 2 * limit:
        return "not reproduced"
    return "reproduced" if difference <= limit else "close"
