"""What a page trains for its reader: cost first, and nothing that a disconnect can take away."""

import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from helpers import ROOT

from alfs_utils import _locks, data, records, sweep
from alfs_utils.data._torchvision import torchvision
from alfs_utils.paper import comparison
from alfs_utils.training import RunConfig, loop

TINY = RunConfig("CELoss()", eta=0.4, epochs=2, batch_size=256)
GRID = [TINY.seeded(seed) for seed in range(3)]
PAGE = """
from alfs_utils import sweep
from alfs_utils.training import RunConfig, loop

loop.CHECKPOINT_SECONDS = -1.0  # after every step
grid = [RunConfig("CELoss()", eta=0.4, epochs=2, batch_size=256).seeded(s) for s in range(3)]
own = sweep.own_runs(grid)
print(*own["last"], sep="\\n")
"""


@pytest.fixture
def ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFS_RESULTS_DIR", str(tmp_path / "mine"))
    return tmp_path / "mine"


def page(wait=True):
    here = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    kernel = subprocess.Popen([sys.executable, "-c", PAGE], cwd=ROOT, env=here, **pipes)
    return kernel.communicate() if wait else kernel


def test_a_page_that_is_killed_goes_on_and_keeps_what_it_had(ledger, capsys):
    kernel = page(wait=False)
    first, second = (records.path_of(config, ledger) for config in GRID[:2])
    checkpoint = records.checkpoint_of(GRID[1], ledger)
    wait_for(lambda: checkpoint.exists(), kernel)
    kernel.send_signal(signal.SIGKILL)
    kernel.communicate()
    assert first.exists() and not second.exists() and checkpoint.exists()
    written = first.stat().st_mtime_ns

    out, err = page()
    assert f"your own ledger, {ledger}: 1 done, 1 interrupted, 1 to do" in out, err
    assert "2 run(s) to do: from the start about 0.0 hours on" in out
    assert first.stat().st_mtime_ns == written and not checkpoint.exists()
    scores = [float(line) for line in out.splitlines()[-3:]]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert scores == pytest.approx([loop.train(config, progress=False).last for config in GRID])
    torch.set_num_threads(threads)
    assert [*sweep.own_runs(GRID)["last"]] == scores
    assert "3 done" in capsys.readouterr().out


def wait_for(condition, kernel, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert kernel.poll() is None and time.monotonic() < end, kernel.communicate()
        time.sleep(0.002)


def test_the_cost_comes_first_and_without_a_gpu_a_question(ledger, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "estimate", lambda *arguments, **options: 7.25)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sweep, "train_into", lambda *arguments, **options: trained.append(1))
    trained = []
    assert sweep.own_runs(GRID).empty and not trained
    out = capsys.readouterr().out
    assert "3 run(s) to do: from the start about 7.2 hours on CPU" in out
    assert "Nothing is trained: there is no GPU here" in out and 'own_runs device="cpu"' in out


def test_a_device_that_is_named_is_taken_however_long_it_takes(ledger, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "estimate", lambda *arguments, **options: 7.25)
    own = sweep.own_runs(GRID[:1], device="cpu", weights=True)
    assert len(own) == 1 and "Nothing" not in capsys.readouterr().out
    weights = torch.load(ledger / "weights" / f"{own['id'][0]}.pt", weights_only=True)
    assert all(value.isfinite().all() for value in weights.values())


@pytest.mark.parametrize("cores,each", [(8, 4), (2, 1), (1, 1)])
def test_workers_share_the_threads(cores, each, ledger, monkeypatch):
    """Two workers with two threads each, on two cores, were six times as slow."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setattr(sweep, "run", lambda *_, **how: given.append(how["threads"]))
    given = []
    sweep.own_runs(GRID, keep=False, workers=2)
    assert given == [each]


def test_missing_data_are_named_and_nothing_breaks(ledger, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    config = RunConfig("CELoss()", "mnist", model="mnist_cnn", eta=0.4)
    assert sweep.own_runs([config]).empty
    assert "Nothing is trained, for want of data." in capsys.readouterr().out


def test_a_trial_is_silent_and_leaves_nothing(ledger, capfd):
    own = sweep.own_runs(GRID[:2], keep=False)
    assert len(own) == 2 and not ledger.exists() and capfd.readouterr() == ("", "")


def test_several_at_once_are_kept_as_well(ledger, capsys):
    assert len(sweep.own_runs(GRID[:2], workers=2, device="cpu")) == 2
    assert {*sweep.states(GRID[:2], ledger)} == {"done"}


@pytest.mark.parametrize("refused", [False, True])
def test_in_colab_the_ledger_is_on_the_drive(tmp_path, monkeypatch, refused):
    asked = []

    def mount(place):
        asked.append(place)
        if refused:
            raise ValueError("mount failed")
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True)

    colab = types.ModuleType("google.colab")
    colab.drive = types.SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.delenv("ALFS_RESULTS_DIR", raising=False)
    monkeypatch.setattr(sweep, "DRIVE", tmp_path / "drive")
    if refused:
        with pytest.raises(OSError, match=r"expected a Drive.*mount failed.*ALFS_RESULTS_DIR"):
            sweep.own_ledger()
        return
    for _ in range(2):
        assert sweep.own_ledger() == tmp_path / "drive" / "MyDrive" / "alf-ledger"
    assert asked == [str(tmp_path / "drive")]


def test_elsewhere_the_ledger_is_at_home(monkeypatch):
    monkeypatch.delenv("ALFS_RESULTS_DIR", raising=False)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    assert sweep.own_ledger() == Path.home() / "alf-ledger"


def test_a_drive_without_locks_is_used_by_one_machine(ledger, tmp_path, monkeypatch, capsys):
    acquire = _locks.FileLock.acquire

    def on_a_drive(lock, *arguments, **options):
        if str(ledger) in str(lock.lock_file):
            raise OSError(38, "Function not implemented")
        return acquire(lock, *arguments, **options)

    monkeypatch.setattr(_locks.FileLock, "acquire", on_a_drive)
    monkeypatch.setattr(sweep.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(_locks.ELSEWHERE, "")
    with pytest.raises(OSError, match=f"system with locks.*{_locks.ELSEWHERE}"):
        sweep.run(GRID[:1], ledger, progress=False)
    assert len(sweep.own_runs(GRID[:1], device="cpu")) == 1
    assert "has no file locks: train there from one machine at a time" in capsys.readouterr().out
    path = ledger / "x"
    with _locks.locked(path, 0) as mine, _locks.locked(path, 0) as again:
        assert mine and not again and not path.exists()
    assert sweep.run(GRID[:2], ledger, progress=False) == {"already done": 1, "done": 1}


def test_on_a_drive_checkpoints_are_rarer(tmp_path, monkeypatch):
    """The Drive keeps every version of a file, so that a ResNet-34 would fill it in an hour."""
    monkeypatch.setattr(sweep, "DRIVE", tmp_path)
    seen = []
    monkeypatch.setattr(
        sweep, "train_into", lambda *a, **how: seen.append(how["checkpoint_seconds"]) or ("", "")
    )
    for folder in (tmp_path / "MyDrive", tmp_path.parent):
        sweep._train_own(GRID[:1], folder, 1, "cpu")
    assert seen == [sweep.DRIVE_SECONDS, None]


def test_the_interval_of_checkpoints_can_be_set(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop.Run, "save", lambda run, path: saved.append(run.progress.step))
    counts = []
    for seconds in (None, -1.0, 1e9):
        saved.clear()
        path = tmp_path / "a"
        loop.train(replace(TINY, epochs=1), checkpoint=path, checkpoint_seconds=seconds)
        counts.append(len(saved))
    assert counts == [1, 7, 1]  # at the end; after each of six steps; at the end


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_a_download_that_fails_says_what_is_missing(tmp_path, monkeypatch, name):
    def fail(*arguments, **options):
        raise URLError("no route to host") if name == "cifar10" else RuntimeError("no room")

    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    kind = getattr(torchvision.datasets, name.upper())
    monkeypatch.setattr(kind, "download", fail)
    said = rf"^{name}: its files are not in {tmp_path} \(ALFS_DATA_DIR .* fetched: .*no ro"
    with pytest.raises(ConnectionError, match=said):
        data.load(name, download=True)
    with pytest.raises(ConnectionError, match=said):
        comparison.redo(name, "NCE+RCE", "symmetric", 0.8, 0, full=True)
