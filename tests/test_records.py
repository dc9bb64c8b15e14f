"""The ledger: stable ids, files that are whole or absent, and the rule of the verdicts."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import random
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import asdict, field, fields, make_dataclass, replace
from importlib import import_module

import pandas as pd
import pytest
from helpers import ROOT

from alfs_utils import __version__, records
from alfs_utils.losses import AGCELoss
from alfs_utils.paper import commands, comparison, protocol
from alfs_utils.training import History, RunConfig, train
from alfs_utils.training.history import CURVES

CONFIG = RunConfig("CELoss()", epochs=2, batch_size=256)


@pytest.fixture(scope="module")
def record():
    return records.make(train(CONFIG, progress=False))


def changed(record, **changes):
    """A record with other entries and the right checksum."""
    return records.seal(record | changes)


def of(record, **changes):
    """The same record as that of another run."""
    config = replace(CONFIG, **changes)
    return changed(record, id=records.run_id(config), config=asdict(config))


# --- ids ------------------------------------------------------------------------------------

# Committed records carry these. If one of them changes, the ledger has lost its runs.
GOLDEN = {
    "5462fce26ee8": RunConfig("CELoss()"),
    "489a691d8b9e": protocol.run("mnist", AGCELoss(a=4, q=0.2), "symmetric", 0.8, 0),
    "3c571da83741": protocol.run("mnist", "CELoss()", "symmetric", 0.8, 1),
    "7e1a5e031915": protocol.run(
        "cifar100-npz", "10 * NCELoss() + 0.1 * RCELoss()", "asymmetric", 0.4, 2
    ),
    "9c19c5d6b21c": protocol.run("mnist", "CELoss()", "symmetric", 0, 0, precision="bfloat16"),
    "4f974e9b8769": RunConfig("GCELoss(q=0.7)", train_size=100, augment=False, counts="exact"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_ids_stay_what_they_were(name):
    assert records.run_id(GOLDEN[name]) == name


@pytest.mark.parametrize("name", GOLDEN)
def test_an_id_depends_on_neither_the_order_nor_a_new_field_with_a_default(name):
    known = [(f.name, f.type, field(default=f.default)) for f in fields(RunConfig)]
    Later = make_dataclass("Later", [("new", int, 7), *reversed(known)], kw_only=True)
    values = asdict(GOLDEN[name])
    assert records.run_id(Later(**values)) == name
    assert records.run_id(Later(**values, new=8)) != name


def test_every_field_is_in_the_id():
    words = {"loss": "MAELoss()", "dataset": "mnist", "model": "mnist_cnn", "noise": "pairflip"}
    words |= {"counts": "exact", "precision": "bfloat16", "schedule": "exponential"}
    for f in fields(RunConfig):
        value = getattr(CONFIG, f.name)
        other = words[f.name] if f.name in words else not value if f.type is bool else value * 2 + 1
        if f.name in ("eta", "momentum"):
            other = 0.5
        assert records.run_id(replace(CONFIG, **{f.name: other})) != records.run_id(CONFIG)


# --- files ----------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_written(record, tmp_path):
    path = records.write(record, tmp_path)
    assert path == tmp_path / "digits" / f"{record['id']}.json"
    assert records.read(path) == record == records.find(CONFIG, tmp_path)
    assert record["config"] == asdict(CONFIG) and record["status"] == "finished"
    assert len(record["test_accuracy"]) == 2 and len(record["data_sha256"]) == 64
    assert [p.name for p in path.parent.iterdir()] == [path.name], "a temporary file is left"
    assert records.find(replace(CONFIG, init_seed=1), tmp_path) is None


def test_the_file_is_text_with_a_line_per_key(record, tmp_path):
    lines = records.write(record, tmp_path).read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("{", "}", len(record) + 2)
    assert lines[1] == f'"id": "{record["id"]}",'


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_or_none(record, tmp_path, monkeypatch, function):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    other = changed(record, seconds=1e6)
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space"):
        records.write(other, tmp_path)
    assert list((tmp_path / "digits").iterdir()) == []
    monkeypatch.undo()
    path = records.write(record, tmp_path)
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space"):
        records.write(other, tmp_path)
    assert records.read(path) == record and len(list(path.parent.iterdir())) == 1


def test_what_read_would_refuse_is_not_written(record, tmp_path):
    with pytest.raises(ValueError, match="test_accuracy"):
        records.write(changed(record, test_accuracy=[math.nan] * 2), tmp_path)
    with pytest.raises(ValueError, match=r"^sha256: expected the checksum of the other entries"):
        records.write(record | {"seconds": 1.0}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def curves(n, **changes):
    """Curves of n epochs, half of the test images right."""
    whole = {name: [50.0] * n for name in CURVES} | dict.fromkeys(HALVES, [[50.0, 50.0]] * n)
    return whole | changes


HALVES = ("half_accuracy", "half_agreement")
# What the checksum does not see: whoever writes these makes a right one.
FORGED = {
    "id": ["0" * 12, 5],
    "status": [None, [1], "finishee", "the training loss of epoch 2 is nan", "finished\n"],
    "test_accuracy": [
        [50.0],
        999,
        [999.0] * 2,
        [-5.0, 50.0],
        True,
        [True, 50.0],
        [[1.0]] * 2,
        "50",
    ],
    "train_loss": [[math.nan, 1.0], [math.inf, 1.0], ["1", 1.0], None],
    "fitted": ["no list", [101.0, 50.0]],
    "memorised": [[], [50.0] * 4],
    "half_accuracy": [[50.0] * 2, [[50.0]] * 2, [[50.0, 60.0]] * 2, [[1.0], [1.0, 2.0]], {}],
    "half_agreement": [[[1.0, math.inf], [1.0, 2.0]], [[1.0, 200.0]] * 2],
    "config": [
        {"epochs": 3},
        {"loss": "-" * 200_000 + "1"},
        {"loss": "CELoss()+" * 3000},
        {"lr": -1},
    ],
    "noise_rate": [7.0, -0.1, "0.6", True],
    "seconds": [math.nan, "1", -1.0, None],
    "cpu_seconds": [math.inf],
    "labels_sha256": ["", "Z" * 64, 5],
    "data_sha256": [None],
    "threads": [0, 1.5, True],
    "processes": [0],
    "mixed": [0],
    "deterministic": ["yes"],
    "code": ["", "x" * 300],
    "device": [["CPU"]],
    "finished": ["yesterday", "2026-11-24", ""],
    "last": [99.99],
    "eta": [0.1],
}


def forged(record):
    for key, values in FORGED.items():
        for value in values:
            if key == "config":
                value = record["config"] | value
            yield f"{key} {value!r:.40}", json.dumps(changed(record, **{key: value}))
    for key in ("id", "config", "seconds", "finished", "half_accuracy", "noise_rate"):
        less = {k: v for k, v in record.items() if k != key}
        yield f"no {key}", json.dumps(records.seal(less))


def damages(text, record):
    yield "empty", ""
    for end in range(0, len(text) - 2, 300):
        yield f"cut at {end}", text[:end]
    yield "no object", "[1, 2]"
    yield "no text", b"\xff\xfe\x00garbage"
    yield "another value", text.replace('"seconds": ', '"seconds": 1')
    yield "a key twice", text.replace('"seconds": ', '"seconds": 1.0,\n"seconds": ')
    yield "deep nesting", text.replace('"threads"', '"deep": ' + "[" * 100_000 + ',\n"threads"')
    yield "a number of 5000 digits", text.replace('"threads": 1', '"threads": ' + "9" * 5000)
    yield "too large", text + " " * records.LARGEST


def test_damaged_files_are_named_left_out_and_set_aside(record, tmp_path):
    record = changed(record, **curves(2))
    good = records.write(of(record, init_seed=5), tmp_path)
    path = records.write(record, tmp_path)
    cases = [*damages(path.read_text(), record), *forged(record)]
    assert len(cases) > 60
    aside = 0
    for what, text in cases:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ValueError, match=path.name):
            records.read(path)
        if what.startswith("cut") and int(what.split()[-1]) % 900:
            continue
        with pytest.warns(RuntimeWarning, match=f"left out: .*{path.name}"):
            frame = records.load(tmp_path)
        assert list(frame["id"]) == [good.stem], what
        with pytest.warns(RuntimeWarning, match=f"{path.name}.*renamed to {path.name}.bad"):
            assert records.find(CONFIG, tmp_path) is None
        assert not path.exists()
        aside += 1
    assert len(list(path.parent.glob("*.bad*"))) == aside, "one overwrote another"
    assert len(records.load(tmp_path)) == 1  # without a warning now


def place_what_is_no_file(path, kind):
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else path.with_name("nowhere"))


@pytest.mark.parametrize("kind", ["folder", "pipe", "loop", "dangling link"])
def test_what_is_no_file_is_named_and_stops_nothing(record, tmp_path, kind):
    good = records.write(of(record, init_seed=5), tmp_path)
    path = records.path_of(CONFIG, tmp_path)
    place_what_is_no_file(path, kind)
    records.pack(record, tmp_path / "all.jsonl")
    with pytest.warns(RuntimeWarning, match=f"left out: .*{path.name}"):
        assert list(records.load(tmp_path)["id"]) == [good.stem]
    if kind == "loop":
        with pytest.raises(OSError, match=path.name):
            records.find(CONFIG, tmp_path)
        with pytest.warns(RuntimeWarning, match=r"all\.jsonl, line 1: left out: .*"):
            assert records.unpack(tmp_path / "all.jsonl", tmp_path) == 0
    else:
        with pytest.warns(RuntimeWarning, match=f"{path.name}.*renamed"):
            assert records.unpack(tmp_path / "all.jsonl", tmp_path) == 1


def flips_accepted(path, times, seed):
    """Of so many single bit flips of a record, how many are read with another content."""
    good, choice, accepted = path.read_bytes(), random.Random(seed), 0
    for _ in range(times):
        bad, bit = bytearray(good), choice.randrange(8 * len(good))
        bad[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ValueError):
            accepted += records.parse(bytes(bad)) != json.loads(good)
    return accepted


def test_no_flipped_bit_of_a_record_is_accepted(record, tmp_path):
    assert flips_accepted(records.write(record, tmp_path), 100, seed=0) == 0


@pytest.mark.long
def test_none_of_500_flipped_bits_of_a_record_is_accepted():
    path = ROOT / "results" / "mnist" / "3a39fdfe918e.json"
    accepted = flips_accepted(path, 500, seed=1)
    print(f"\n500 flips of a record: {accepted} accepted with another content")
    assert accepted == 0


def test_a_record_without_a_checksum_is_left_where_it_is(record, tmp_path, monkeypatch, capsys):
    """Until tools/seal_records.py has checked it, in its place or from a packed file."""
    path = records.write(record, tmp_path / "ledger")
    sealed = path.read_text()
    old = {key: value for key, value in record.items() if key != "sha256"}
    for ask in (records.read, lambda _: records.find(CONFIG, tmp_path / "ledger")):
        path.write_text(json.dumps(old))
        with pytest.raises(ValueError, match=rf"{path}: has no checksum: tools/seal_records\.py"):
            ask(path)
    tool = str(ROOT / "tools" / "seal_records.py")
    monkeypatch.setattr(sys, "path", [*sys.path])
    packed = tmp_path / "all.jsonl"
    packed.write_text(f"{json.dumps(old)}\n{json.dumps(old | {'seconds': -1.0})}\n")
    for words, code in (([tmp_path / "ledger"], 0), ([packed, tmp_path / "other"], 1)):
        monkeypatch.setattr(sys, "argv", [tool, *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(tool, run_name="__main__")
        assert ended.value.code == code
    assert "all.jsonl, line 2: left as it is: not a whole record" in capsys.readouterr().err
    assert path.read_text() == sealed
    assert records.path_of(CONFIG, tmp_path / "other").read_text() == sealed


def test_a_copy_in_another_folder_does_not_count_twice(record, tmp_path):
    path = records.write(record, tmp_path)
    copy = tmp_path / "backup" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    with pytest.warns(RuntimeWarning, match=f"left out: .*{path.name}: the same run as .*backup"):
        assert len(records.load(tmp_path)) == 1
    copy.parent.rename(tmp_path / ".trash")
    path.unlink()
    assert len(records.load(tmp_path)) == 0


def test_a_record_of_a_newer_version_is_left_where_it_is(record, tmp_path):
    newer = of(record, init_seed=1)
    newer = changed(newer, config=newer["config"] | {"warmup": 5})
    path = tmp_path / "digits" / f"{newer['id']}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(newer))
    for ask in (records.read, lambda path: records.find(replace(CONFIG, init_seed=1), tmp_path)):
        with pytest.raises(ValueError, match=rf"{path}: written by a newer alfs_utils.*warmup"):
            ask(path)
    assert path.exists() and not list(path.parent.glob("*.bad"))
    with pytest.warns(RuntimeWarning, match="newer"):
        assert not len(records.load(tmp_path))


def test_an_installed_copy_has_a_version_and_no_commit(tmp_path):
    """Also inside somebody's repository, which it is no part of."""
    package = tmp_path / "venv" / "alfs_utils"
    shutil.copytree(ROOT / "alfs_utils", package, ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / ".gitignore").write_text("venv\n__pycache__\n")
    code = "import sys; from alfs_utils.training.environment import revision\n"
    code += "for _ in sys.stdin:\n    revision.cache_clear()\n    print(revision(), flush=True)"
    env = os.environ | {"PYTHONPATH": str(package.parent)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=env, **pipes) as asked:

        def revision():
            asked.stdin.write("\n")
            asked.stdin.flush()
            return asked.stdout.readline().strip()

        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "theirs"]):
            subprocess.run([*git, *words], check=True)
        assert revision() == f"alfs_utils {__version__}"
        (tmp_path / ".gitignore").write_text("__pycache__\n")
        for words in (["add", "."], ["commit", "-qm", "with it"]):
            subprocess.run([*git, *words], check=True)
        assert re.fullmatch("[0-9a-f]{40}", revision())
        (package / "new.py").touch()
        assert re.fullmatch(r"[0-9a-f]{40}\+changes", revision())


def test_a_record_under_another_name_is_refused(record, tmp_path):
    path = records.write(record, tmp_path)
    path = path.rename(path.with_name("0123456789ab.json"))
    with pytest.raises(
        ValueError, match=f"{path}: holds the record of another run, {record['id']}"
    ):
        records.read(path)


def test_a_run_that_was_not_finite_is_a_record_too(record, tmp_path):
    ended = {name: record[name][:1] for name in (*CURVES, "per_class", "lost")}
    ended = changed(record, status="the training loss of epoch 2 is nan", **ended)
    records.write(ended, tmp_path)
    (row,) = records.load(tmp_path).itertuples()
    assert row.status == ended["status"] and math.isnan(row.last)
    assert row.test_accuracy == record["test_accuracy"][:1]
    none = {name: [] for name in (*CURVES, "per_class", "lost")}
    records.write(changed(record, status="the training loss of epoch 1 is inf", **none), tmp_path)
    assert records.load(tmp_path)[["last", "best", "noisy_validation"]].isna().all(axis=None)


# --- the table ------------------------------------------------------------------------------


def test_the_table_has_a_row_per_run_in_order(record, tmp_path):
    changes = [
        {"loss": "MAELoss()"},
        {"init_seed": 1},
        {"eta": 0.2},
        {},
        {"dataset": "mnist", "model": "mnist_cnn"},
    ]
    for change in changes:
        records.write(of(record, **change), tmp_path)
    (tmp_path / "digits" / "README.json").write_text("{}")
    frame = records.load(tmp_path)
    columns = ["dataset", "loss", "eta", "init_seed"]
    assert frame[columns].to_numpy().tolist() == [
        ["digits", "CELoss()", 0.2, 0],
        ["digits", "CELoss()", 0.6, 0],
        ["digits", "CELoss()", 0.6, 1],
        ["digits", "MAELoss()", 0.6, 0],
        ["mnist", "CELoss()", 0.6, 0],
    ]
    assert {f.name for f in fields(RunConfig)} < set(frame.columns)
    accuracy = record["test_accuracy"]
    assert frame.at[0, "test_accuracy"] == accuracy and frame.at[0, "code"] == record["code"]
    assert (frame["last"] == accuracy[-1]).all() and (frame["best"] == max(accuracy)).all()
    memorised = record["memorised"]
    assert (frame["repeated"] == memorised[-1]).all() and memorised[0] != memorised[-1]
    kept = {f.name: record[f.name] for f in fields(History) if f.name in record}
    history = History(**kept | {"config": CONFIG})
    assert (frame["noisy_validation"] == history.noisy_validation).all()
    with pytest.raises(ValueError, match=r"^history: expected one that `train` returned"):
        records.make(history)


def test_an_empty_ledger_gives_an_empty_table(tmp_path):
    frame = records.load(tmp_path / "nothing here")
    assert len(frame) == 0 and {"id", "last", "dataset", "loss"} <= set(frame.columns)


def test_what_answers_rest_on():
    def found(datasets, seeds):
        return comparison.basis(pd.DataFrame({"dataset": datasets, "init_seed": seeds}))

    assert found([], []) == "no run yet"
    assert found(["mnist"] * 4, [0, 0, 1, 2]) == "4 run(s), 3 seed(s), on mnist"
    assert found(["mnist"] * 2, [0, 1]) == "2 run(s), 2 seed(s), on mnist: preliminary"
    arrays = found(["cifar10", "cifar10", "cifar10-npz"], [0, 1, 2])
    assert arrays == "3 run(s), 3 seed(s), on cifar10 and cifar10-npz: preliminary"


def test_runs_are_found_in_the_order_of_the_question(record, tmp_path):
    for seed in (2, 0, 1):
        records.write(of(record, init_seed=seed), tmp_path)
    none = {name: [] for name in (*CURVES, "per_class", "lost")} | {
        "status": "the training loss of epoch 1 is nan"
    }
    records.write(changed(of(record, init_seed=3), **none), tmp_path)
    configs = [replace(CONFIG, init_seed=seed) for seed in (1, 3, 7, 0)]
    found = records.runs_of(records.load(tmp_path), configs)
    assert list(found["init_seed"]) == [1, 0] and list(found.index) == [0, 1]
    assert list(records.load(tmp_path / "none")["id"]) == []
    assert not len(records.runs_of(records.load(tmp_path / "none"), configs))


def test_csv_round_trip(record, tmp_path):
    for seed in (0, 1):
        records.write(of(record, init_seed=seed), tmp_path)
    frame = records.load(tmp_path)
    records.to_csv(frame, tmp_path / "all.csv")
    back = pd.read_csv(tmp_path / "all.csv")
    plain = frame.drop(columns=[*CURVES, "per_class", "lost"])
    assert (tmp_path / "all.csv").read_text().count("\n") == 3
    pd.testing.assert_frame_equal(back, plain, check_dtype=False)


def least_seconds(work):
    """Least of some times that the CPU takes, of this process: others may be at work."""
    seconds = []
    for _ in range(5):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def write_many(record, folder, monkeypatch, n):
    """Write n records of 50 epochs."""
    many = {name: record[name] * 25 for name in (*CURVES, "lost")} | {"per_class": []}
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for seed in range(n):
        records.write(changed(of(record, epochs=50, init_seed=seed), **many), folder)


def test_500_records_load_in_a_few_times_what_reading_their_json_takes(
    record, tmp_path, monkeypatch
):
    write_many(record, tmp_path, monkeypatch, 500)
    texts = [path.read_bytes() for path in tmp_path.rglob("*.json")]
    assert len(records.load(tmp_path)) == len(texts) == 500
    plain = least_seconds(lambda: [json.loads(text) for text in texts])
    assert least_seconds(lambda: records.load(tmp_path)) < 5 * plain


@pytest.mark.long
def test_5000_records_load_in_three_seconds(record, tmp_path, monkeypatch):
    write_many(record, tmp_path, monkeypatch, 5000)
    seconds = least_seconds(lambda: records.load(tmp_path))
    print(f"\n5,000 records of 50 epochs: {seconds:.2f} s of CPU")
    assert seconds < 3


# --- what is committed ----------------------------------------------------------------------

GOLDEN_RECORDS = json.loads((ROOT / "tests" / "golden" / "records.json").read_text())


@pytest.fixture(scope="module")
def committed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # every one of them loads
        return records.load(ROOT / "results")


@pytest.mark.parametrize("name", GOLDEN_RECORDS)
def test_a_committed_record_has_the_bytes_from_before_there_were_checksums(name):
    text = (ROOT / "results" / name).read_text()
    record = records.read(ROOT / "results" / name)
    before = text.replace(f',\n"sha256": "{record["sha256"]}"\n', "\n")
    found = hashlib.sha256(before.encode()).hexdigest()
    assert found == GOLDEN_RECORDS[name]["sha256"] == record["sha256"]


def test_every_folder_of_records_says_what_makes_it():
    table = (ROOT / "results" / "README.md").read_text().split("| made by |")[1].splitlines()
    rows = [line.split("|")[1:4] for line in table if line.startswith("| `")]
    named = {folder for row in rows for folder in re.findall(r"`([a-z0-9-]+)/`", row[0])}
    there = {path.name for path in (ROOT / "results").iterdir() if path.is_dir()} - {".work"}
    assert there - {"cifar10-npz"} <= named
    for _, _, makers in rows:
        for maker in re.findall(r"`([^`]+)`", makers):
            if match := re.fullmatch(r"(\w+)\.(write\w*)", maker):
                assert callable(getattr(import_module(f"alfs_utils.paper.{match[1]}"), match[2]))
            elif match := re.match(r"python -m alfs_utils (\w+)", maker):
                assert callable(getattr(commands, match[1]))
            else:
                assert (ROOT / maker).exists()


def test_every_committed_record_is_in_the_cell_that_it_was_in(committed):
    """As it was before the three floors: tests/golden/records.json."""
    cells = {}
    for dataset in ("mnist", "cifar10", "cifar100"):
        runs, others = comparison.split(committed, dataset)
        cells |= {r["id"]: [dataset, r["method"], r["column"]] for r in runs.to_dict("records")}
        cells |= {r["id"]: [dataset, r["reason"]] for r in others.to_dict("records")}
    assert set(cells) == set(committed["id"])
    for name, before in GOLDEN_RECORDS.items():
        run_id = name.partition("/")[2].removesuffix(".json")
        assert cells[run_id] == before["cell"], run_id


# --- one file for many ----------------------------------------------------------------------


def test_packing_from_several_processes_at_once_loses_nothing(record, tmp_path):
    path = tmp_path / "new folder" / "all.jsonl"
    long = {name: record[name] * 100 for name in CURVES}  # more than one write's buffer
    many = [changed(of(record, init_seed=seed, epochs=200), **long) for seed in range(120)]
    packers = []
    for start in range(4):
        packers.append(os.fork())
        if not packers[-1]:
            for one in many[start::4]:
                records.pack(one, path)
            os._exit(0)
    assert [os.waitpid(packer, 0)[1] for packer in packers] == [0] * 4
    assert sorted(path.read_text().splitlines()) == sorted(json.dumps(one) for one in many)


def test_packing_waits_for_its_turn(record, tmp_path):
    path = tmp_path / "all.jsonl"
    path.touch()
    with open(tmp_path / "all.jsonl.lock", "w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        packer = threading.Thread(target=records.pack, args=(record, path))
        packer.start()
        packer.join(timeout=0.3)
        assert packer.is_alive() and path.stat().st_size == 0
    packer.join()
    assert json.loads(path.read_text()) == record


def test_unpacking_is_repeatable_and_keeps_what_is_there(record, tmp_path):
    path, ledger = tmp_path / "all.jsonl", tmp_path / "ledger"
    mine = changed(record, seconds=1.0)
    records.write(mine, ledger)
    for seed in (0, 1, 2, 2):
        records.pack(of(record, init_seed=seed), path)
    assert records.unpack(path, ledger) == 2
    assert records.unpack(path, ledger) == 0
    assert records.find(CONFIG, ledger) == mine
    assert len(records.load(ledger)) == 3


def test_a_line_that_was_cut_off_is_named_and_the_next_stands_alone(record, tmp_path):
    path, ledger = tmp_path / "all.jsonl", tmp_path / "ledger"
    records.pack(of(record, init_seed=0), path)
    records.pack(of(record, init_seed=1), path)
    os.truncate(path, path.stat().st_size - random.Random(0).randrange(2, 200))
    with pytest.warns(RuntimeWarning, match=r"all\.jsonl, line 2: left out"):
        assert records.unpack(path, ledger) == 1
    records.pack(of(record, init_seed=2), path)
    with pytest.warns(RuntimeWarning, match=r"all\.jsonl, line 2: left out"):
        assert records.unpack(path, ledger) == 1
    assert set(records.load(ledger)["init_seed"]) == {0, 2}


# --- verdicts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "mean", "std", "verdict"),
    [
        # Nothing spreads: the limits are 0.5 and 1 points, and belong to the milder side.
        ([90.5] * 3, 90, 0, "reproduced"),
        ([89.5] * 3, 90, 0, "reproduced"),
        ([90.51] * 3, 90, 0, "close"),
        ([91.0] * 3, 90, 0, "close"),
        ([89.0] * 3, 90, 0, "close"),
        ([91.01] * 3, 90, 0, "not reproduced"),
        ([88.99] * 3, 90, 0, "not reproduced"),
        # The paper's spread: 2 sqrt(1.5**2 / 3) = sqrt(3) = 1.732 points, whatever our number.
        ([91.73] * 3, 90, 1.5, "reproduced"),
        ([91.74] * 3, 90, 1.5, "close"),
        ([93.46] * 3, 90, 1.5, "close"),
        ([93.47] * 3, 90, 1.5, "not reproduced"),
        ([91.73] * 9, 90, 1.5, "reproduced"),
        # Ours: 2 sqrt(1 / 3) = 1.155 with three runs, 2 sqrt((4/3) / 4) = 1.155 with four.
        ([90.15, 91.15, 92.15], 90, 0, "reproduced"),
        ([90.16, 91.16, 92.16], 90, 0, "close"),
        ([91.30, 92.30, 93.30], 90, 0, "close"),
        ([91.32, 92.32, 93.32], 90, 0, "not reproduced"),
        ([90.15, 90.15, 92.15, 92.15], 90, 0, "reproduced"),
        ([90.16, 90.16, 92.16, 92.16], 90, 0, "close"),
        # Both: 2 sqrt(0.75 + 1/3) = 2.082.
        ([91.08, 92.08, 93.08], 90, 1.5, "reproduced"),
        ([91.09, 92.09, 93.09], 90, 1.5, "close"),
        ([math.nan, 90.0, 90.0], 90, 1, "not reproduced"),
        # Too little to say more.
        ([], 90, 1, "not yet run"),
        ([90.0] * 2, 90, 1, "preliminary"),
        ([10.0] * 2, 90, 1, "preliminary"),
        ([90.0] * 3, None, None, "preliminary"),
        ([90.0] * 3, 90, None, "preliminary"),
        ([], None, None, "not yet run"),
    ],
)
def test_verdicts_on_both_sides_of_every_limit(ours, mean, std, verdict):
    assert verdict in comparison.OUTCOMES
    assert comparison.outcome(ours, mean, std) == verdict
    assert comparison.outcome(pd.Series(ours, dtype=float), mean, std) == verdict
    caution = "preliminary" if ours else "not yet run"
    assert comparison.outcome(ours, mean, std, preliminary=True) == caution
