"""Many runs: nothing finished is lost, nothing is run twice, whatever is killed or full."""

import errno
import fcntl
import json
import multiprocessing
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pandas as pd
import psutil
import pytest
import torch
from helpers import PRELOADED, ROOT, require

from alfs_utils import data, records, sweep, training
from alfs_utils.__main__ import main
from alfs_utils.losses import FocalLoss, from_paper, settings
from alfs_utils.paper import protocol, which_runs
from alfs_utils.training import RunConfig, loop
from alfs_utils.training import checkpoint as checkpoints
from alfs_utils.training.history import CURVES

TINY = RunConfig("CELoss()", epochs=1, batch_size=512)
LONG = replace(TINY, epochs=100_000)  # never ends by itself
SMALL = ["--dataset", "digits", "--epochs", "1"]


@pytest.fixture
def here():
    """An executor in this process: the same code without the seconds that a worker needs."""
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(1) as executor:
        yield executor
    torch.set_num_threads(threads)


@pytest.fixture
def cli(here, monkeypatch):
    """The command, its workers threads of this process."""
    monkeypatch.setattr(sweep, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    return lambda *words: main(["sweep", *map(str, words)])


def wait_for(what, seconds=300):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def lock_of(config, results):
    return records.checkpoint_of(config, results).with_suffix(".lock")


def left_in(results):
    """What is in the folder of unfinished runs, but for the locks, which stay."""
    return sorted(p.name for p in (results / ".work").iterdir() if p.suffix != ".lock")


def packed(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


@pytest.fixture
def start():
    """Start a Python process in a session of its own; whatever is left of it is killed."""
    started = []

    def start(*words, **options):
        call = [sys.executable, *map(str, words)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        options = {"cwd": ROOT, "start_new_session": True} | pipes | options
        started.append(subprocess.Popen(call, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()  # its workers follow
        process.wait()


# --- which runs, in which order -------------------------------------------------------------


def test_the_most_telling_runs_come_first():
    rows = {name: from_paper(name, "mnist") for name in settings.ROWS["mnist"]}
    names = {str(loss): name for name, loss in rows.items()}
    cells = [(c.init_seed, c.noise, c.eta, names[c.loss]) for c in which_runs.table(None, "mnist")]
    assert len(set(cells)) == 3 * 10 * 9
    assert [seed for seed, *_ in cells] == [0] * 90 + [1] * 90 + [2] * 90
    assert [cell[1:] for cell in cells[90:180]] == [cell[1:] for cell in cells[:90]]
    first = ["CE", "GCE", "AGCE", "AUL", "NCE+RCE", "SCE"]
    order = [("symmetric", 0.8), ("symmetric", 0.4), ("asymmetric", 0.4)]
    for place, setting in enumerate(order):
        assert cells[6 * place : 6 * place + 6] == [(0, *setting, name) for name in first]
    assert {c[1:3] for c in cells[18:36]} == {("symmetric", eta) for eta in (0.6, 0.2, 0.0)}
    assert {c[1:3] for c in cells[36:54]} == {("asymmetric", eta) for eta in (0.1, 0.2, 0.3)}
    assert {c[3] for c in cells[:54]} == set(first)
    assert {c[3] for c in cells[54:90]} == set(names.values()) - set(first)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "cifar100-npz"])
def test_a_table_is_the_papers_runs(number, dataset):
    base = dataset.removesuffix("-npz")
    etas = {1: (0, 0.2, 0.4, 0.6, 0.8), 2: (0.1, 0.2, 0.3, 0.4)}[number]
    kind = {1: "symmetric", 2: "asymmetric"}[number]
    expected = {
        protocol.run(dataset, from_paper(name, base), kind, eta, seed)
        for name in settings.ROWS[base]
        for eta in etas
        for seed in (3, 4)
    }
    runs = which_runs.table(number, dataset, (3, 4))
    assert set(runs) == expected and len(runs) == len(expected)


def test_the_repository_has_other_losses_in_some_rows():
    tables, theirs = (
        which_runs.table(None, "mnist", (0,), source) for source in ("tables", "repository")
    )
    assert [(c.noise, c.eta) for c in theirs] == [(c.noise, c.eta) for c in tables]
    pairs = zip(tables, theirs, strict=True)
    other = {protocol.row_of(config) for config, their in pairs if config != their}
    assert other == {"SCE", "NCE+RCE"}
    runs = which_runs.extras("mnist", (0, 1))
    assert not set(runs) & set(which_runs.table(None, "mnist", (0, 1)))
    lines = Counter(which_runs.describe(c).removeprefix("mnist ")[:-7] for c in runs)
    assert lines == {
        f"{setting} {loss}": 2
        for setting in ("symmetric 0.8", "symmetric 0.4", "asymmetric 0.4")
        for loss in ("SCE (repository)", "NCE+RCE (repository)")
    } | {"symmetric 0.4 FL (formula)": 2}


def test_runs_are_described_in_short():
    for dataset in ("mnist", "cifar10", "cifar100", "digits"):
        for c in which_runs.table(None, dataset, (0,)):
            assert protocol.row_of(c) in settings.ROWS["mnist" if dataset == "digits" else dataset]
    run = protocol.run("mnist", FocalLoss(gamma=2), "symmetric", 0.2, 1, noise_seed=0)
    assert which_runs.describe(replace(run, precision="bfloat16")) == (
        "mnist symmetric 0.2 FocalLoss(gamma=2.0) seed 1 noise-seed 0 bfloat16"
    )


def test_the_digits_stand_in_for_mnist():
    runs = which_runs.table(2, "digits", (0, 1), epochs=3)
    assert runs[0] == RunConfig("CELoss()", noise="asymmetric", eta=0.4, epochs=3)
    assert runs[-1].noise_seed == runs[-1].augment_seed == 1 and len(runs) == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": 3}, "number: expected 1, 2 or None, got 3"),
        ({"dataset": "mnits"}, "dataset: expected one of 'digits', 'mnist', .*, got 'mnits'"),
        ({"source": "web"}, "source: expected one of .*, got 'web'"),
        ({"precision": "int8"}, "precision: expected one of .*, got 'int8'"),
    ],
)
def test_wrong_tables_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        which_runs.table(**({"number": 1, "dataset": "mnist"} | arguments))


# --- one sweep ------------------------------------------------------------------------------


def test_what_is_finished_is_not_run_again(here, tmp_path, capsys):
    configs = [TINY, replace(TINY, init_seed=1), TINY]
    options = {"executor": here, "pack": tmp_path / "all.jsonl", "weights": tmp_path / "weights"}
    assert sweep.run(configs[:1], tmp_path, **options) == {"done": 1}
    assert sweep.run(configs, tmp_path, **options) == {"already done": 1, "done": 1}
    assert sweep.run(configs, tmp_path, **options) == {"already done": 2}
    names = [records.run_id(c) for c in configs[:2]]
    assert packed(tmp_path / "all.jsonl") == names
    assert sorted(p.stem for p in (tmp_path / "weights").iterdir()) == sorted(names)
    assert left_in(tmp_path) == []
    record = records.find(TINY, tmp_path)
    alone = training.train(TINY, progress=False)
    assert record["test_accuracy"] == pytest.approx(alone.test_accuracy, rel=1e-8)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("[1/1] done: digits symm") for line in lines)
    assert f"{record['test_accuracy'][-1]:.2f} %" in lines[0]


def test_what_it_says(here, tmp_path, capfd):
    sweep.run([TINY], tmp_path / "silent", executor=here, progress=False)
    assert capfd.readouterr() == ("", "")
    sweep.run([TINY], tmp_path / "with a bar", executor=here, progress=True)
    said = capfd.readouterr().err
    assert "1/1" in said and "[1/1] done: digits symmetric 0.6 CELoss() seed 0: " in said


def test_a_run_that_fails_costs_only_itself(here, tmp_path, capsys):
    bad = replace(TINY, model="resnet34")  # wants coloured images
    assert sweep.run([bad, TINY], tmp_path, executor=here) == {"failed": 1, "done": 1}
    assert "[1/2] failed: digits symmetric 0.6 CELoss() seed 0: " in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:.*the training loss of epoch 1 is nan")
def test_a_run_that_diverges_is_finished(here, tmp_path, capsys):
    wild = replace(TINY, lr=1e30)
    assert sweep.run([wild], tmp_path, executor=here) == {"done": 1}
    assert "the training loss of epoch 1 is nan" in capsys.readouterr().err
    assert sweep.run([wild], tmp_path, executor=here) == {"already done": 1}


def test_a_damaged_record_is_set_aside_and_its_run_done_again(here, tmp_path):
    sweep.run([TINY], tmp_path, executor=here)
    path = records.path_of(TINY, tmp_path)
    os.truncate(path, 100)
    with pytest.warns(RuntimeWarning, match=f"{path.name}.*renamed"):
        assert sweep.run([TINY], tmp_path, executor=here) == {"done": 1}
    assert records.find(TINY, tmp_path) and path.with_name(f"{path.name}.bad").exists()


@pytest.mark.filterwarnings("ignore:.*newer alfs_utils")
def test_a_record_that_cannot_be_judged_stops_no_other_run(here, tmp_path, capsys):
    sweep.run([TINY], tmp_path, executor=here)
    path = records.path_of(TINY, tmp_path)
    record = json.loads(path.read_text())
    newer = records.seal(record | {"config": record["config"] | {"warmup": 5}})
    path.write_text(json.dumps(newer))
    two = [TINY, replace(TINY, init_seed=1)]
    assert sweep.states(two, tmp_path) == ["unreadable", "to do"]
    assert sweep.run(two, tmp_path, executor=here) == {"failed": 1, "done": 1}
    assert json.loads(path.read_text()) == newer and "warmup" in capsys.readouterr().err


def test_a_run_in_other_hands_is_left_to_them(here, tmp_path):
    (tmp_path / ".work").mkdir()
    with open(lock_of(TINY, tmp_path), "w") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert sweep.states([TINY], tmp_path) == ["running"]
        assert sweep.run([TINY], tmp_path, executor=here) == {"elsewhere": 1}
    assert sweep.states([TINY], tmp_path) == ["to do"]
    assert sweep.run([TINY], tmp_path, executor=here) == {"done": 1}
    assert sweep.states([TINY, LONG], tmp_path) == ["done", "to do"]


def test_a_run_that_others_finished_in_the_meantime_is_left_alone(here, tmp_path, monkeypatch):
    pack = tmp_path / "all.jsonl"
    sweep.run([TINY], tmp_path, executor=here, pack=pack)
    answers = iter([None, records.find(TINY, tmp_path)])  # the latter with the lock
    monkeypatch.setattr(records, "find", lambda *arguments: next(answers))
    assert sweep.run([TINY], tmp_path, executor=here, pack=pack) == {"already done": 1}
    assert len(packed(pack)) == 1


def test_looking_at_a_run_does_not_keep_a_sweep_from_it(here, tmp_path):
    (tmp_path / ".work").mkdir()
    looker = open(lock_of(TINY, tmp_path), "w")
    fcntl.flock(looker, fcntl.LOCK_EX)
    threading.Timer(0.2, looker.close).start()
    assert sweep.train_into(tmp_path, TINY, "cpu")[0] == "done"


def test_a_file_system_without_locks_is_refused_by_name(here, tmp_path, monkeypatch):
    for code in (errno.ENOLCK, errno.ENOSYS):
        monkeypatch.setattr(fcntl, "flock", lambda *_, code=code: full_disk(code))
        words = rf"{tmp_path}/\.work/sweep-.*: expected a file that can be locked, got .*locks"
        with pytest.raises(OSError, match=words):
            sweep.run([TINY], tmp_path, executor=here)
        with pytest.raises(OSError, match=rf"{lock_of(TINY, tmp_path)}: expected a file that can"):
            sweep.train_into(tmp_path, TINY, "cpu")
    assert not list(tmp_path.rglob("*.json"))


def test_how_a_run_was_made_is_passed_on_and_recorded(cli, tmp_path, monkeypatch):
    """Compiled and deterministic runs, for which a GPU is only needed to be faster."""
    compiled, seen = [], []
    monkeypatch.setattr(torch, "compile", lambda f, **_: compiled.append(f) or f)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    step = loop.Run.step

    def looked_at(self, *arguments):
        seen.append(torch.are_deterministic_algorithms_enabled())
        step(self, *arguments)

    monkeypatch.setattr(loop.Run, "step", looked_at)
    words = [*SMALL, "--results", tmp_path, "--device", "cpu", "--first", 1]
    for options in ([], ["--compile"], ["--deterministic"]):
        assert cli(*words, *options) == 0
    assert sorted(records.load(tmp_path)["compiled"]) == [False, False, True] and len(compiled) == 1
    assert set(seen) == {False, True}
    assert os.environ.pop("CUBLAS_WORKSPACE_CONFIG") == ":4096:8"


@pytest.mark.parametrize("clock", [0, -3600], ids=["", "set back"])
def test_a_time_budget_keeps_what_is_finished(here, tmp_path, monkeypatch, clock):
    start, now = time.monotonic(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + clock * (time.monotonic() > start + 1))
    configs = [TINY, LONG, replace(LONG, init_seed=1)]
    counts = sweep.run(configs, tmp_path, executor=here, time_budget=2)
    assert counts == {"done": 1, "stopped": 2} and time.monotonic() - start < 10
    assert sweep.states([TINY, LONG], tmp_path) == ["done", "interrupted"]
    assert left_in(tmp_path) == [f"{records.run_id(LONG)}.ckpt"]


# --- disks ----------------------------------------------------------------------------------


def full_disk(code=errno.ENOSPC, *_):
    code = code if isinstance(code, int) else errno.ENOSPC
    raise OSError(code, os.strerror(code))


def test_a_full_disk_costs_no_training(here, tmp_path, monkeypatch, capsys):
    options = {"executor": here, "pack": tmp_path / "all.jsonl"}
    with monkeypatch.context() as patch:
        patch.setattr(records, "write", full_disk)
        assert sweep.run([TINY], tmp_path, **options) == {"failed": 1}
    assert "OSError: [Errno 28] No space left" in capsys.readouterr().err
    assert sweep.states([TINY], tmp_path) == ["interrupted"]
    monkeypatch.setattr(loop.Run, "epoch", full_disk)  # nothing is left to be trained
    assert sweep.run([TINY], tmp_path, **options) == {"done": 1}
    assert packed(tmp_path / "all.jsonl") == [records.run_id(TINY)]
    assert sweep.states([TINY], tmp_path) == ["done"]


def test_a_full_disk_for_the_packed_file_keeps_no_record_out_of_the_ledger(
    here, tmp_path, monkeypatch
):
    options = {"executor": here, "pack": tmp_path / "all.jsonl"}
    with monkeypatch.context() as patch:
        patch.setattr(records, "pack", full_disk)
        with pytest.warns(RuntimeWarning, match=r"all\.jsonl: record .* not appended, the next"):
            assert sweep.run([TINY], tmp_path, **options) == {"done": 1}
    assert records.find(TINY, tmp_path) and packed(options["pack"]) == []
    assert sweep.run([TINY], tmp_path, **options) == {"already done": 1}
    assert packed(options["pack"]) == [records.run_id(TINY)] and left_in(tmp_path) == []


def test_a_disk_that_fills_up_has_room_for_the_record(here, tmp_path, monkeypatch):
    """No checkpoint can be written any more, and the record only where a run kept room for it."""
    write = records.write
    room = records.checkpoint_of(TINY, tmp_path).with_suffix(".room")
    kept = []

    def small_disk(record, folder):
        if room.exists():
            full_disk()
        return write(record, folder)

    def no_checkpoint(state):
        kept.append(room.stat().st_size)
        full_disk()

    monkeypatch.setattr(records, "write", small_disk)
    monkeypatch.setattr(checkpoints, "packed", no_checkpoint)
    with pytest.warns(RuntimeWarning, match="no checkpoint written"):
        assert sweep.run([TINY], tmp_path, executor=here, progress=False) == {"done": 1}
    assert set(kept) == {sweep.RESERVE} and len(records.load(tmp_path)) == 1
    longest = max(
        path.stat().st_size for path in (ROOT / "results").rglob(f"{12 * '[0-9a-f]'}.json")
    )
    assert 2 * longest < sweep.RESERVE


def test_what_killed_processes_left_is_cleaned_at_the_next_start(here, tmp_path):
    other = replace(TINY, init_seed=1)
    sweep.run([TINY], tmp_path, executor=here)
    record, work = records.path_of(TINY, tmp_path), tmp_path / ".work"
    done, mine, theirs = (records.run_id(c) for c in (TINY, LONG, other))
    litter = [record.with_name(f".{done}.json.{'0' * 32}"), work / f"{done}.ckpt"]
    litter += [work / f".{mine}.ckpt.part", work / f"{mine}.room", work / f"sweep-{'1' * 32}"]
    kept = [work / f"{mine}.ckpt", record.with_name(f".{theirs}.json.{'0' * 32}"), record]
    kept += [work / f"{theirs}.room", work / f"sweep-{'2' * 32}", tmp_path / "digits" / ".notes"]
    for path in [*litter, *kept[:-1]]:
        path.touch()
    kept[-1].touch()
    with open(lock_of(other, tmp_path), "w") as run, open(kept[-2], "w") as flag:
        for file in (run, flag):  # somebody is at work there
            fcntl.flock(file, fcntl.LOCK_EX)
        assert sweep.run([TINY], tmp_path, executor=here) == {"already done": 1}
    assert [path.exists() for path in litter] == [False] * 5
    assert [path.exists() for path in kept] == [True] * 6 and records.find(TINY, tmp_path)


def test_weights_that_no_ledger_has_are_named(here, tmp_path, capsys):
    sweep.run([TINY], tmp_path, executor=here, progress=False)
    two = [TINY, replace(TINY, init_seed=1)]
    sweep.run(two, tmp_path, executor=here, weights=tmp_path / "w")
    assert capsys.readouterr().err.startswith(f"{records.run_id(TINY)}: done earlier, and their")
    sweep.run(two[1:], tmp_path, executor=here, weights=tmp_path / "w")
    assert "done earlier" not in capsys.readouterr().err


def test_runs_in_threads_of_one_process_take_turns(tmp_path, monkeypatch):
    """As on a Dask worker with several threads: torch's random generator is the process's."""
    at_work, most = [], []

    def train(*arguments, **options):
        at_work.append(arguments)
        most.append(len(at_work))
        time.sleep(0.05)
        at_work.pop()
        raise training.Stopped

    monkeypatch.setattr(training, "train", train)
    configs = [replace(TINY, init_seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as executor:
        assert sweep.run(configs, tmp_path, device="cpu", executor=executor) == {"stopped": 4}
    assert most == [1] * 4


WRONG = [
    ({"workers": 0}, "workers: expected an int of at least 1, got 0"),
    ({"threads": 0.5}, "threads: expected an int of at least 1, got 0.5"),
    ({"threads": 10**11}, "threads: expected an int of at most 4096, got 1"),
    ({"workers": 10**11}, "workers: expected an int of at most 1024, got 1"),
    ({"time_budget": -1}, "time_budget: expected a number of seconds >= 0, got -1"),
    ({"device": "gpu"}, "device: expected 'cpu' or 'cuda', got 'gpu'"),
    ({"device": "meta"}, "device: expected 'cpu' or 'cuda', got 'meta'"),
    ({"device": "cuda"}, "device: expected 'cpu' here, .* got 'cuda'"),
    ({"results": ""}, "results: expected a folder, got ''"),
    ({"compiled": True, "executor": "here"}, "compiled: expected False with an executor"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments_are_named_before_the_work(tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        sweep.run([TINY], **({"results": tmp_path} | arguments))
    assert list(tmp_path.iterdir()) == []


def test_the_estimate_counts_runs_and_epochs(monkeypatch):
    seconds = {512: 2.0, 64: 9.0}
    with monkeypatch.context() as patch:
        patch.setattr(training, "seconds_per_epoch", lambda config, *_: seconds[config.batch_size])
        twice = replace(TINY, epochs=2, eta=0.1)
        assert sweep.estimate([TINY, twice, twice]) == pytest.approx(5 * 2 / 3600)
        assert sweep.estimate([]) == 0
    for name, value in (("dataset", "words"), ("model", "news_mlp"), ("precision", "bfloat16")):
        with monkeypatch.context() as patch:  # each of these is timed on its own
            other = replace(TINY, **{name: value})
            seconds = {TINY: 2.0, other: 9.0}
            patch.setattr(training, "seconds_per_epoch", lambda config, *_: seconds[config])  # noqa: B023
            assert sweep.estimate([TINY, other]) == pytest.approx(TINY.epochs * 11 / 3600)
    assert 0 < sweep.estimate([TINY], "cpu", steps=2) < 0.1
    with pytest.raises(ValueError, match=r"^device: expected .* got 'zz'"):
        sweep.estimate([TINY], "zz")


# --- processes ------------------------------------------------------------------------------


# As if these were not installed: no notebook, no plots.
BARE = """
from importlib.machinery import PathFinder
genuine = PathFinder.find_spec
absent = {"matplotlib", "seaborn", "IPython", "ipykernel", "papermill", "dask"}

def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in absent else genuine(name, path, target)

PathFinder.find_spec = find_spec
"""


def test_two_sweeps_at_once_do_every_run_once_with_nothing_but_what_they_need(tmp_path, start):
    (tmp_path / "sitecustomize.py").write_text(BARE)
    pack, results = tmp_path / "all.jsonl", tmp_path / "results"
    words = ["--dataset", "digits", "--epochs", 4, "--only", "symmetric 0.8 seed 0"]
    options = {"env": os.environ | {"PYTHONPATH": str(tmp_path)}}
    words += ["--results", results, "--pack", pack]
    both = [start("-m", "alfs_utils.sweep", *words, **options) for _ in range(2)]
    said = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], said
    chosen = [c for c in which_runs.table(1, "digits", (0,), epochs=4) if c.eta == 0.8]
    assert sorted(packed(pack)) == sorted(map(records.run_id, chosen))
    assert sweep.states(chosen, results) == ["done"] * 10
    assert all(" done" in out for out, _ in said), "both had work, or there was nothing to see"


def workers_of(pid):
    children = psutil.Process(pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def holder_of(config, results, pids):
    """The process that has the run: of those, the one with its lock file open."""
    path = str(lock_of(config, results))
    (pid,) = (p for p in pids if path in [file.path for file in psutil.Process(p).open_files()])
    return pid


@pytest.fixture
def killing(tmp_path):
    """Kill the worker that has a run, as soon as one has it; gives the killed ones."""
    killed = []

    def kill(config, pids):
        wait_for(lambda: sweep.states([config], tmp_path) == ["running"])
        killed.append(holder_of(config, tmp_path, pids()))
        os.kill(killed[-1], signal.SIGKILL)

    def start(config, pids):
        threading.Thread(target=kill, args=(config, pids)).start()
        return killed

    return start


SLOW = replace(TINY, epochs=15)
FOUR = [SLOW, *(replace(SLOW, epochs=1, init_seed=seed) for seed in range(3))]


def test_a_worker_that_is_killed_costs_only_the_run_it_had(tmp_path, killing):
    pack = tmp_path / "all.jsonl"
    killed = killing(SLOW, lambda: [child.pid for child in workers_of(os.getpid())])
    counts = sweep.run(FOUR, tmp_path, workers=2, pack=pack, device="cpu", progress=False)
    assert killed and counts == {"done": 4}
    assert sorted(packed(pack)) == sorted(map(records.run_id, FOUR))
    assert workers_of(os.getpid()) == []


def deadly_worker(pids, deadly):
    """Start a worker in which one run ends its process, as a lack of memory would."""
    sweep._start_worker()
    genuine = training.train

    def train(config, *arguments, **options):
        with open(pids, "a") as file:
            print(os.getpid(), file=file)
        if records.run_id(config) == deadly:
            os._exit(1)
        return genuine(config, *arguments, **options)

    training.train = train


def test_a_run_that_kills_its_workers_is_given_up_and_a_broken_worker_is_replaced(
    tmp_path, monkeypatch, capsys
):
    """An illegal memory access on a GPU makes everything after it in its process fail, too."""
    runs = [TINY, replace(TINY, model="resnet34"), replace(TINY, init_seed=1)]
    pids, deadly = tmp_path / "pids", records.run_id(runs[2])
    # Workers from a server that has imported all they need: four of them start here.
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    monkeypatch.setattr(multiprocessing, "get_context", lambda method: processes)
    monkeypatch.setattr(sweep, "_start_worker", partial(deadly_worker, pids, deadly))
    monkeypatch.setattr(sweep, "TRIES", 2)
    counts = sweep.run([*runs, replace(TINY, init_seed=2)], tmp_path, device="cpu")
    assert counts == {"done": 2, "failed": 2}
    said = capsys.readouterr().err
    assert "its worker process died 2 times (killed, or out of memory?)" in said
    first, failed, *rest = pids.read_text().split()
    assert first == failed and first not in rest, "after a failure the process is another"
    assert len(set(rest)) == 3, "two died, and one did the last run"


KILLED = [
    replace(TINY, epochs=3, train_size=300, batch_size=50, init_seed=seed) for seed in range(4)
]


def sweep_in_a_child(results):
    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS = 0.01
    with ThreadPoolExecutor(1) as executor:
        sweep.run(KILLED, results, executor=executor, pack=results / "all.jsonl", progress=False)


def has_begun(results, child):
    """Whether a child is in its sweep (its flag is open), or has ended."""
    try:
        files = [file.path for file in psutil.Process(child.pid).open_files()]
    except psutil.Error:
        files = []
    return not child.is_alive() or any(f"{results}/.work/sweep-" in path for path in files)


def kill_at_random(tmp_path, kills, seed):
    """Sweeps that are killed again and again end as those that are not; gives their number."""
    torch.set_num_threads(1)
    expected = {records.run_id(c): records.make(training.train(c)) for c in KILLED}
    moments, killed, rounds = random.Random(seed), 0, 0
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    while killed < kills:
        rounds += 1
        results = tmp_path / str(rounds)
        while True:
            child = processes.Process(target=sweep_in_a_child, args=(results,))
            child.start()
            wait_for(partial(has_begun, results, child))
            child.join(moments.uniform(0, 1))
            child.kill()
            child.join()
            if child.exitcode == 0:  # it came to its end
                break
            assert child.exitcode == -signal.SIGKILL
            killed += 1
        found = records.load(results)
        assert sorted(found["id"]) == sorted(expected), "lost, or doubled"
        for record in (records.read(path) for path in results.glob("digits/*.json")):
            for name in CURVES:
                assert record[name] == expected[record["id"]][name], "changed"
        assert sorted(packed(results / "all.jsonl")) == sorted(expected)
        assert left_in(results) == [] and not list(results.glob("*/.*")), "litter"
    return rounds


def test_sweeps_killed_at_random_lose_double_and_change_nothing(here, tmp_path):
    kill_at_random(tmp_path, 4, seed=random.randrange(1000))


@pytest.mark.long
def test_sweeps_killed_500_times_lose_double_and_change_nothing(here, tmp_path):
    rounds = kill_at_random(tmp_path, 500, seed=random.randrange(1000))
    print(f"\n500 kills in {rounds} sweeps of {len(KILLED)}: 0 lost, 0 doubled, 0 changed")


# With a checkpoint every tenth of a second, in its workers, too.
DRIVER = """
import signal
import sys
from dataclasses import replace
from functools import partial
sys.path.insert(0, {root!r})
from alfs_utils import sweep, training
from alfs_utils.__main__ import main
from alfs_utils.training import loop
loop.CHECKPOINT_SECONDS = 0.1
short = training.RunConfig("CELoss()", epochs=1, batch_size=512)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run behind "&"
if __name__ == "__main__" and sys.argv[1] == "short and long":
    sweep.run([short, replace(short, epochs=100_000)], sys.argv[2], workers=2, device="cpu")
elif __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
"""


@pytest.fixture
def drive(start, tmp_path):
    path = tmp_path / "driver.py"
    path.write_text(DRIVER.format(root=str(ROOT)))
    return lambda *words: start(path, *words)


def test_workers_follow_a_parent_that_is_killed(here, drive, tmp_path, monkeypatch):
    results = tmp_path / "results"
    parent = drive("short and long", results)
    checkpoint = records.checkpoint_of(LONG, results)
    wait_for(lambda: records.path_of(TINY, results).exists() and checkpoint.exists())
    workers = workers_of(parent.pid)
    parent.kill()
    parent.communicate()
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert len(gone) == 2 and alive == [], "one of them idle, one at work"
    assert sweep.states([TINY, LONG], results) == ["done", "interrupted"]

    epochs, genuine = [], loop.Run.epoch

    def seen(run, *arguments):
        epochs.append((run.progress.epoch, run.progress.step))
        return genuine(run, *arguments)

    monkeypatch.setattr(loop.Run, "epoch", seen)
    assert sweep.run([TINY, LONG], results, executor=here, time_budget=1)["stopped"] == 1
    assert epochs[0] > (0, 0), "it went on from its checkpoint"
    assert left_in(results) == [checkpoint.name], "the killed parent's flag is gone"


def test_ctrl_c_stops_everything_and_keeps_checkpoints(drive, tmp_path):
    words = ["--dataset", "digits", "--epochs", 100_000, "--first", 2, "--workers", 2]
    one = drive(*words, "--results", tmp_path, "--device", "cpu")
    runs = which_runs.table(None, "digits", (0,), epochs=100_000)[:2]
    checkpoints = [records.checkpoint_of(config, tmp_path) for config in runs]
    wait_for(lambda: all(path.exists() for path in checkpoints))
    workers, since = workers_of(one.pid), time.monotonic()
    os.killpg(one.pid, signal.SIGINT)  # as a terminal does: to all of them
    said = one.communicate(timeout=120)[1]
    assert one.returncode == 130 and time.monotonic() - since < 60  # on a busy machine
    assert said == "interrupted: finished runs are in the ledger, the others resume\n"
    assert len(workers) == 2 and psutil.wait_procs(workers, timeout=5)[1] == []
    assert sweep.states(runs, tmp_path) == ["interrupted"] * 2
    assert left_in(tmp_path) == sorted(path.name for path in checkpoints)


# --- the command ----------------------------------------------------------------------------


def test_list_only_first_and_seeds(cli, tmp_path, capsys):
    ledger = ("--results", tmp_path)
    assert cli(*SMALL, *ledger, "--seeds", 1, "--first", 1) == 0
    assert capsys.readouterr().out == "1 done\n"
    records.checkpoint_of(which_runs.table(1, "digits", epochs=1)[1], tmp_path).touch()
    assert cli(*SMALL, *ledger, "--list", "--table", 1, "--seeds", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    first = records.run_id(which_runs.table(1, "digits", epochs=1)[0])
    assert lines[0] == f"{first}  done         digits symmetric 0.8 CE seed 0"
    assert lines[1].endswith("  interrupted  digits symmetric 0.8 GCE seed 0")
    assert lines[-1] == "1 done, 1 interrupted, 98 to do" and len(lines) == 101

    def listed(*words):
        assert cli(*SMALL, *ledger, "--list", *words) == 0
        return [line.split("digits ")[1] for line in capsys.readouterr().out.splitlines()[:-1]]

    assert listed("--only", "symmetric 0.8 NCE+RCE") == [
        f"symmetric 0.8 NCE+RCE seed {seed}" for seed in range(3)
    ]
    assert listed("--only", "CE,AGCE 0.4", "--seeds", 1) == [
        f"{noise} 0.4 {name} seed 0"
        for noise in ("symmetric", "asymmetric")
        for name in ("CE", "AGCE")
    ]
    assert listed("--only", first) == ["symmetric 0.8 CE seed 0"]
    assert listed("--first", 1) == ["symmetric 0.8 GCE seed 0"], "the first that is not done"
    assert len(listed("--grid", "extras", "--seeds", 1)) == 7
    assert not list((tmp_path / "digits").glob("*.bad"))


def test_the_estimate_is_printed_in_hours(cli, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *arguments: 36.0)
    assert cli(*SMALL, "--results", tmp_path, "--seeds", 1, "--estimate") == 0
    assert capsys.readouterr().out == "90 runs to do, about 0.9 hours one after the other\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "mnist"], "error: .*train-images-idx3-ubyte: not found.*download=True.*"),
        (["--dataset", "mnits"], "error: dataset: expected one of .*, got 'mnits'"),
        ([*SMALL, "--only", "XYZ"], "error: --only: expected words that --list shows.* got 'XYZ'"),
        ([*SMALL, "--precision", "int8"], "error: precision: expected one of .*, got 'int8'"),
        ([*SMALL, "--results", "README.md"], "error: .*README.md.*"),
        ([*SMALL, "--workers", "0"], "error: workers: expected an int of at least 1, got 0"),
        ([*SMALL, "--seeds", "0"], "error: --seeds: expected an int of at least 1, got 0"),
        ([*SMALL, "--seeds", "9" * 60], "error: --seeds: expected an int of at most 1000, got 9.*"),
        ([*SMALL, "--first", "-1"], "error: --first: expected an int of at least 0, got -1"),
        ([*SMALL, "--epochs", "9" * 60], "error: epochs: expected an int of at most .*, got 9.*"),
        (["--dataset", ""], "error: dataset: expected one of .*, got ''"),
        ([*SMALL, "--threads", "99999999999"], "error: threads: expected an int of at most 4096.*"),
        ([*SMALL, "--device", "gpu"], "error: device: expected 'cpu' or 'cuda', got 'gpu'"),
        (["--grid", "figure-3", *SMALL], "error: dataset: expected one of .*, got 'digits'"),
        (["--grid", "extras", "--table", "1"], "error: --table: expected none with --grid"),
        ([*SMALL, "--pack", "tests"], "error: .*Is a directory: .*tests'"),
    ],
)
def test_what_is_wrong_takes_one_line(cli, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(ROOT)
    ledger = [] if "--results" in words else ["--results", tmp_path]
    assert cli(*words, *ledger) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert re.fullmatch(message, said.err.strip()), said.err


@pytest.mark.parametrize("option", ["--results", "--pack", "--weights"])
def test_a_path_has_a_name(cli, option, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli(*SMALL, option, "")
    assert f"argument {option}: expected a path, got ''" in capsys.readouterr().err


def test_a_time_budget_longer_than_any_clock(here, tmp_path):
    assert sweep.run([], tmp_path, executor=here, time_budget=1e300) == {}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("8m", 480), ("1.5h", 5400)]
)
def test_times(cli, tmp_path, monkeypatch, text, seconds):
    budgets = []
    monkeypatch.setattr(
        sweep, "run", lambda *_, time_budget, **__: budgets.append(time_budget) or {}
    )
    assert cli(*SMALL, "--results", tmp_path, "--time-budget", text) == 0 and budgets == [seconds]


@pytest.mark.parametrize("words", [["--time-budget", "soon"], ["--table", "3"], ["--lst"]])
def test_words_it_does_not_know(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["sweep", *words])
    assert stopped.value.code == 2 and words[-1] in capsys.readouterr().err


def test_a_reader_may_have_seen_enough(cli, tmp_path, monkeypatch, capfd):
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, os.fdopen(writer, "w") as stdout:
        patch.setattr(sys, "stdout", stdout)
        assert cli(*SMALL, "--results", tmp_path, "--list") == 0
    assert capfd.readouterr() == ("", "")


# --- beyond one machine ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    distributed = installed("distributed")
    options = {"processes": True, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        yield cluster


def installed(name):
    try:
        return __import__(name)
    except ImportError:
        require(False, f"{name} (requirements-extras.txt)")


def test_dask_workers_of_which_one_is_killed(cluster, tmp_path, killing):
    pack = tmp_path / "all.jsonl"
    with cluster.get_client() as client:
        pids = client.run(os.getpid).values()
        killed = killing(SLOW, lambda: pids)
        counts = sweep.run(
            FOUR, tmp_path, pack=pack, executor=client.get_executor(), progress=False
        )
    assert killed and counts == {"done": 4}
    assert sorted(packed(pack)) == sorted(map(records.run_id, FOUR))


def test_the_command_takes_a_schedulers_address(cluster, cli, tmp_path, capsys):
    words = (*SMALL, "--first", 2, "--results", tmp_path)
    assert cli(*words, "--address", cluster.scheduler_address) == 0
    assert capsys.readouterr().out == "2 done\n"
    assert len(records.load(tmp_path)) == 2


def test_without_dask_the_address_is_refused(cli, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    assert cli(*SMALL, "--results", tmp_path, "--address", "tcp://localhost:1") == 2
    assert "error: --address needs Dask: pip install distributed" in capsys.readouterr().err


SCHEDULER = """#!/bin/sh
cp "$1" "$0.script"
setsid sh "$0.script" >"$0.log" 2>&1 &
echo "Submitted batch job $!"
"""


def test_the_slurm_script_on_the_page(tmp_path, monkeypatch, capsys):
    """As a reader would run it, but for the scheduler: here jobs run on this machine at once."""
    installed("dask_jobqueue")
    for name, text in {"sbatch": SCHEDULER, "scancel": '#!/bin/sh\nkill -- -"$1"\n'}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    (code,) = (text for text in page("python") if "SLURMCluster" in text)
    code = small(code, [('"mnist"', '"digits", (0,), epochs=1'), ("jobs=20", "jobs=1")])
    code = code.replace("sweep.run(runs,", "sweep.run(runs[:2],")
    names = {"__name__": "__main__"}
    try:
        exec(code, names)
    finally:
        names["client"].close()
        names["cluster"].close()
    script, counts = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert counts == "{'done': 2}" and len(records.load(tmp_path / "results")) == 2
    header = [line for line in script.splitlines() if line.startswith("#SBATCH")]
    asked = ["-p gpu", "-n 1", "--cpus-per-task=1", "--mem=8G", "-t 04:00:00", "--gres=gpu:1"]
    assert header[1:] == [f"#SBATCH {option}" for option in asked]
    (worker,) = (line for line in script.splitlines() if "dask_worker" in line)
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    assert "--nthreads 1 " in worker and "--nworkers 1 " not in worker


# --- the page -------------------------------------------------------------------------------

PAGE = (ROOT / "book" / "reproduce.md").read_text()


def page(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def small(text, changes):
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


LINES = [line for text in page("bash") for line in text.splitlines()]
SWEEPS = [line for line in LINES if line.startswith("python -m alfs_utils sweep ")]
# What cannot run here: installing, and what the network or another machine has.
ELSEWHERE = [
    'pip install --editable ".[train]"',
    "export ALFS_DATA_DIR=~/data",
    "git clone https://github.com/OWNER/alf-book",
    "pip install --no-deps --editable ./alf-book",
    "python benchmarks/gpu_session.py --minutes 12 --pack runs.jsonl",  # see test_gpu.py
]


@pytest.mark.parametrize("line", SWEEPS)
def test_every_sweep_on_the_page_runs(cli, tmp_path, monkeypatch, line):
    """With digits for MNIST, one epoch, one seed and two runs; grids and CIFAR are only listed."""
    line += " --list" if "--grid" in line or "cifar" in line else ""
    line = line.replace("mnist", "digits").replace("--device cuda", "--device cpu")
    line = line.replace("/tmp/", "").replace("/content/drive/MyDrive/", "")
    words = [*shlex.split(line)[4:], "--epochs", "1", "--first", "2"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "seconds_per_epoch", lambda *arguments: 1.0)
    assert cli(*words) == 0
    trained = not {"--list", "--estimate"} & set(words)
    ledgers = list(tmp_path.rglob("digits"))
    assert len(ledgers) == trained and len(records.load(tmp_path)) == 2 * trained
    assert len(list(tmp_path.glob("*.jsonl"))) == ("--pack" in words)


def test_the_page_shows_nothing_that_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    rest = [line for line in LINES if line not in SWEEPS and line not in ELSEWHERE]
    assert [line.split(" ")[0] for line in rest] == ["python", "python", "cp", "python"]
    for line in rest[:2]:  # the command that the error message of missing data gives
        with pytest.raises(FileNotFoundError, match=re.escape(line)):
            data.load("mnist")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(re.findall(r"\"\.\[(\w+)\]\"", PAGE)) <= set(extras)


def test_records_are_put_together_as_the_page_says(here, tmp_path, monkeypatch):
    sweep.run([TINY], tmp_path / "results", executor=here)
    two = [TINY, replace(TINY, init_seed=1)]
    pack = tmp_path / "runs.jsonl"
    sweep.run(two, tmp_path / "other-ledger", executor=here, pack=pack)
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": path}
    before = records.find(TINY, tmp_path / "results")
    copy, unpack = (line for line in LINES if line.startswith("cp ") or "unpack" in line)
    copy = copy.replace("/mnist", "/digits")
    for line, said in ((unpack, "1\n"), (unpack, "0\n"), (copy, "")):
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True)
        assert done.stdout.decode() == said, done.stderr
    assert records.find(TINY, tmp_path / "results") == before
    assert len(records.load(tmp_path / "results")) == 2


def test_the_pages_python_runs(here, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweep, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    sweep.run([TINY], "results", executor=here)
    colab, _slurm, grid, reading = page("python")
    assert "google.colab" in colab
    exec(small(grid, [("epochs=5", "epochs=1")]), {"__name__": "__main__"})
    assert "{'done': 3}" in capsys.readouterr().out and len(records.load("my-ledger")) == 3
    exec(reading, {})
    assert "CELoss()" in capsys.readouterr().out
    assert len(pd.read_csv("runs.csv")) == 1
