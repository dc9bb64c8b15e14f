"""The ledger: one small text file per finished run, and what can be read from many of them.

A record's id is a hash of the run's configuration, so a run has one place in the ledger wherever
and whenever it was trained. Records are written whole or not at all, and each has a checksum: a
file that a disk or a hand has changed is no longer a record.
"""

import contextlib
import gc
import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from alfs_utils import data
from alfs_utils._files import read_bytes, replacing, set_aside
from alfs_utils._locks import locked
from alfs_utils.training import History, RunConfig, per_class, run_id
from alfs_utils.training.history import CURVES, check_curves, failed_epoch

__all__ = [
    "Record",
    "checkpoint_of",
    "find",
    "load",
    "make",
    "pack",
    "parse",
    "path_of",
    "read",
    "run_id",
    "runs_of",
    "seal",
    "to_csv",
    "unpack",
    "write",
]

Record = dict[str, Any]  # what is in a file: see `make`
LARGEST = 1_000_000  # bytes; a larger file is no record, and is not parsed


def make(history: History) -> Record:
    """Make the record of a run that was trained here; raise ValueError if it is from a record."""
    if history.environment is None:
        raise ValueError(f"history: expected one that `train` returned, got {history!r:.100}")
    environment = asdict(history.environment)
    environment["deterministic"] &= not history.mixed
    return seal(
        {
            "id": run_id(history.config),
            "config": asdict(history.config),
            "status": history.status,
            **{name: _rounded(getattr(history, name)) for name in CURVES},
            "per_class": history.per_class,
            "lost": history.lost,
            "noise_rate": history.noise_rate,
            "labels_sha256": history.labels_sha256,
            "data_sha256": history.data_sha256,
            "seconds": round(history.seconds, 1),
            "cpu_seconds": round(history.cpu_seconds, 1),
            "mixed": history.mixed,
            **environment,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def seal(record: Record) -> Record:
    """Return the same record with "sha256", the checksum of all other entries, at its end.

    It is the checksum of the file that would hold the other entries.
    """
    content = {name: value for name, value in record.items() if name != "sha256"}
    return content | {"sha256": hashlib.sha256(_text(content)).hexdigest()}


def _text(record):
    """Return the content of a file: a line for each entry."""
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _is_sealed(text):
    """Whether a text as `write` leaves it has the right checksum; for others ask `seal`."""
    content, _, digest = text.rpartition(b',\n"sha256": "')
    found = hashlib.sha256(content + b"\n}\n").hexdigest()
    return digest == f'{found}"\n}}\n'.encode()


def _rounded(x):
    return [_rounded(part) for part in x] if isinstance(x, list | tuple) else float(f"{x:.9g}")


# --- files ----------------------------------------------------------------------------------


def path_of(config: RunConfig, folder: str | os.PathLike = "results") -> Path:
    """Return the path of a configuration's record: `folder`/data set/id.json."""
    return Path(folder) / config.dataset / f"{run_id(config)}.json"


def checkpoint_of(config: RunConfig, folder: str | os.PathLike = "results") -> Path:
    """Return the path of an unfinished run's checkpoint; its lock lies beside it, see `sweep`."""
    return Path(folder) / ".work" / f"{run_id(config)}.ckpt"


def write(record: Record, folder: str | os.PathLike = "results") -> Path:
    """Write a record and return its path. At any moment the file is whole, or absent.

    Raises
    ------
    ValueError
        If the record is not what `read` accepts.
    OSError
        If the file cannot be written; an earlier file then stays as it was.
    """
    if seal(record) != record:
        raise ValueError("sha256: expected the checksum of the other entries, see `seal`")
    path = path_of(_check(record), folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(_text(record))
    return path


def read(path: str | os.PathLike) -> Record:
    """Read one record and check it.

    Raises
    ------
    ValueError
        If the file is no record, is damaged, or does not belong to its name; the message names it.
    OSError
        If the file cannot be read.
    """
    return _read(Path(path))[0]


def _read(path):
    """Read the record in a file, and its configuration."""
    try:
        record, config = _parsed(read_bytes(path), sealed=True)
    except ValueError as error:
        raise type(error)(f"{path}: {error}") from error
    if record["id"] != path.stem:
        raise ValueError(f"{path}: holds the record of another run, {record['id']}")
    return record, config


def parse(text: bytes, sealed: bool = True) -> Record:
    """Read and check the record in a text; `sealed=False` accepts one older than checksums.

    Raises
    ------
    ValueError
        If anything is wrong with the text.
    """
    return _parsed(text, sealed)[0]


def _parsed(text, sealed):
    if len(text) > LARGEST:
        raise ValueError(f"not a whole record: expected at most {LARGEST} bytes, got {len(text)}")
    try:
        record = json.loads(text, object_pairs_hook=_once)
        if not isinstance(record, dict):
            raise TypeError("expected an object")
        old = sealed and "sha256" not in record
        if sealed and not old and not _is_sealed(text) and seal(record) != record:
            raise ValueError("sha256: expected the checksum of the other entries")
        config = _check(record)
        if old:
            raise _OtherVersionError("has no checksum: tools/seal_records.py adds it")
        return record, config
    except _OtherVersionError:
        raise
    except Exception as error:  # among them RecursionError and MemoryError
        raise ValueError(f"not a whole record: {error!r:.300}") from error


def _once(pairs):
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a key stands twice")
    return record


class _OtherVersionError(ValueError):
    """Another version of the library wrote the record, which may be whole."""


def _check(record):
    """Return the configuration of a record; raise an error of any class if a part is wrong."""
    if unknown := sorted(record["config"].keys() - _CONFIG):
        raise _OtherVersionError(f"written by a newer alfs_utils, which has {', '.join(unknown)}")
    config = RunConfig(**record["config"])
    if record["id"] != run_id(config):
        raise ValueError(f"id {record['id']!r} does not belong to the configuration")
    for name in sorted(_NEEDED - record.keys()):
        raise ValueError(f"{name} is missing")
    for name in record.keys() & _COMPUTED:
        raise ValueError(f"{name}: expected no such entry, which `load` computes")
    for name, (legal, accept) in _LEGAL.items():
        if name in record and not accept(record[name]):
            raise ValueError(f"{name}: expected {legal}, got {record[name]!r:.60}")
    failed = failed_epoch(record["status"])
    if not 1 <= (failed or 1) <= config.epochs:
        raise ValueError(f"status: expected an epoch up to {config.epochs}, got {failed}")
    epochs = failed - 1 if failed else config.epochs
    check_curves(record, epochs)
    if record.get("per_class"):  # the first records have none
        per_class.check(record["per_class"], config.epochs, epochs)
    if "lost" in record:
        per_class.check_lost(record["lost"], epochs)
    if epochs and bool(record["memorised"]) != (record["noise_rate"] > 0):
        raise ValueError("memorised: expected a curve if there are wrong labels, else none")
    return config


def _is(kind, accept=lambda value: True):
    return lambda value: type(value) is kind and accept(value)


def _is_date(text):
    return datetime.fromisoformat(text).tzinfo is not None


_CONFIG = {f.name for f in fields(RunConfig)}
_SCORES = ("last", "best", "noisy_validation", "repeated")  # properties of `History`
_COMPUTED = _CONFIG | {*_SCORES}
_NAME = "a text of at most 200 characters", _is(str, lambda text: 0 < len(text) <= 200)
_HASH = "64 hexadecimal digits", _is(str, re.compile("[0-9a-f]{64}").fullmatch)
_SECONDS = "a number >= 0", _is(float, lambda x: 0 <= x < float("inf"))
_FLAG = "true or false", _is(bool)
_COUNT = "an integer >= 1", _is(int, lambda n: n >= 1)
_LEGAL = {
    **dict.fromkeys(("device", "torch", "numpy", "python", "code"), _NAME),
    **dict.fromkeys(("labels_sha256", "data_sha256"), _HASH),
    **dict.fromkeys(("seconds", "cpu_seconds"), _SECONDS),
    **dict.fromkeys(("mixed", "deterministic", "tf32", "compiled"), _FLAG),
    **dict.fromkeys(("threads", "processes"), _COUNT),
    "kernel": ("a text of at most 200 characters", _is(str, lambda text: len(text) <= 200)),
    "noise_rate": ("a number in [0, 1]", _is(float, lambda x: 0 <= x <= 1)),
    "finished": ("a date with its time zone", _is(str, _is_date)),
}
# Entries that came later are not in the first records.
_NEEDED = {"status", *CURVES, *_LEGAL} - {"mixed", "tf32", "compiled", "processes", "kernel"}


def find(config: RunConfig, folder: str | os.PathLike = "results") -> Record | None:
    """Find the record of a configuration; None if there is none.

    A damaged file is renamed to *.bad, and a warning names it.

    Raises
    ------
    ValueError
        If another version of the library wrote it; then it stays where it is.
    OSError
        If it cannot be read.
    """
    path = path_of(config, folder)
    try:
        return read(path)
    except FileNotFoundError:
        if not path.is_symlink():
            return None
        error = ValueError(f"{path}: a link to nothing")
    except _OtherVersionError:
        raise
    except ValueError as found:
        error = found
    aside = set_aside(path)
    warnings.warn(f"{error}; renamed to {aside.name}", RuntimeWarning, stacklevel=2)
    return None


def load(folder: str | os.PathLike = "results") -> pd.DataFrame:
    """Load all records below a folder as a tidy table, one row per run.

    Returns
    -------
    DataFrame
        The fields of `RunConfig`; `last`, `best`, `noisy_validation` (test accuracy in percent),
        `repeated` (of the wrong labels), see `History`; the curves as lists; status, cost and
        environment. Rows are ordered by data set, loss, noise, rate and seed. Damaged files, and a
        second copy of a run, are left out with a warning that names them.
    """
    rows, seen = [], {}
    with _uncollected():
        for path in _paths(folder):
            try:
                record, config = _read(path)
                first = seen.setdefault(record["id"], path)
                if first is not path:
                    raise ValueError(f"{path}: the same run as {first}")
                rows.append(_row(record, config))
            except (OSError, ValueError) as error:
                warnings.warn(f"left out: {error}", RuntimeWarning, stacklevel=2)
    columns = [f.name for f in fields(RunConfig)]
    frame = pd.DataFrame(rows, columns=None if rows else [*_FIRST, *columns])
    return frame.sort_values(["dataset", "loss", "noise", "eta", "init_seed", "id"]).reset_index(
        drop=True
    )


@contextlib.contextmanager
def _uncollected():
    """Stop the garbage collector during the block.

    It would go through all lists that stay, over and over, which is half of the time for many
    records.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _paths(folder) -> Iterator[Path]:
    """Yield all files named like records, in order; warn of each folder that cannot be read."""

    def warn(error):
        if not isinstance(error, FileNotFoundError):
            warnings.warn(f"left out: {error}", RuntimeWarning, stacklevel=4)

    for home, folders, files in os.walk(folder, onerror=warn):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(folders + files):
            if re.fullmatch(r"[0-9a-f]{12}\.json", name):
                yield Path(home, name)


_FIRST = ("id", "status", *_SCORES)


def _row(record, config):
    kept = {f.name: record[f.name] for f in fields(History) if f.name in record}
    history = History(**(kept | {"config": config}))
    scores = {name: getattr(history, name) for name in _SCORES}
    rest = {key: value for key, value in record.items() if key not in ("config", "id", "status")}
    return {"id": record["id"], "status": record["status"], **scores, **vars(config), **rest}


def runs_of(ledger: pd.DataFrame, configs: Iterable[RunConfig]) -> pd.DataFrame:
    """Return the rows of `load` that are finished runs of these configurations, in their order.

    A run on the official files stands for the same run on arrays ("-npz"), if there are both.
    """
    rows = ledger[ledger["status"] == "finished"].set_index("id", drop=False)
    found = []
    for config in configs:
        same = (replace(config, dataset=name) for name in data.sources(config.dataset))
        found += [i for i in map(run_id, same) if i in rows.index][:1]
    return rows.loc[found].reset_index(drop=True)


def to_csv(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write the table of `load` without the curves, one line per run."""
    frame.drop(columns=[*CURVES, "per_class", "lost"], errors="ignore").to_csv(path, index=False)


def pack(record: Record, path: str | os.PathLike) -> None:
    """Append a record to a .jsonl file, one line each, unless it is there already.

    Several processes may append at once.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock")), open(path, "a+b") as file:
        file.seek(0)
        line = json.dumps(record).encode() + b"\n"
        if line in file:
            return
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(end - 1)
            if file.read(1) != b"\n":  # an earlier writer was killed in the middle of its line
                file.write(b"\n")
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def unpack(path: str | os.PathLike, folder: str | os.PathLike = "results") -> int:
    """Write the records of a .jsonl file into a ledger; return how many were new.

    A record that the ledger already has is left as it is; a damaged line, or a record of the ledger
    that cannot be read, is named in a warning.
    """
    new = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record, config = _parsed(line, sealed=True)
                there = find(config, folder) is not None
            except (OSError, ValueError) as error:
                warnings.warn(f"{path}, line {number}: left out: {error}", RuntimeWarning, 2)
                continue
            if not there:
                write(record, folder)
                new += 1
    return new
