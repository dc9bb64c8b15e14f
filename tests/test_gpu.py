"""What can be known of a GPU without one; with one, the tests of `test_training.py` run, too."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers import ROOT, require
from test_losses import CASES

from alfs_utils import losses, models
from alfs_utils.paper import protocol, which_runs
from alfs_utils.training import RunConfig, loop

# Torch's CPU build has no guard for CUDA devices, which even a fake tensor asks for.
GUARD = """
#include <c10/core/impl/DeviceGuardImplInterface.h>
C10_REGISTER_GUARD_IMPL(CUDA, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::CUDA>);
"""


@pytest.fixture(scope="module")
def guard(tmp_path_factory):
    require(shutil.which("g++") is not None, "g++")
    if torch.version.cuda is not None:
        pytest.skip("this torch has CUDA's own guard, which asks the driver for a GPU")
    folder, home = tmp_path_factory.mktemp("guard"), Path(torch.__file__).parent
    (folder / "guard.cpp").write_text(GUARD)
    paths = [f"-I{home}/include", f"-L{home}/lib", f"-Wl,-rpath,{home}/lib"]
    command = ["g++", "-std=c++20", "-shared", "-fPIC", *paths, "guard.cpp", "-o", "guard.so"]
    subprocess.run([*command, "-lc10"], cwd=folder, check=True)
    return folder / "guard.so"


def test_steps_tests_and_losses_stay_on_the_device_and_do_not_wait(guard):
    """`fake_gpu.py` says how; its two controls are that waiting and mixing devices are noticed."""
    names = dict(CASES)  # one case of each loss
    each = [str(getattr(losses, name)(**kwargs)) for name, kwargs in names.items()]
    each += ["NCELoss() + 4.0 * AGCELoss(a=6.0, q=1.5)"]
    command = [sys.executable, "-W", "error", ROOT / "tests" / "fake_gpu.py", guard, *each]
    here = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=here)
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.splitlines() == [*models.NAMES, *each]
    missing = losses.LOSSES.keys() - names.keys()
    assert missing == {"NLNLLoss", "Normalized"}  # one draws on the device; parts of the other ran


# --- what a captured graph needs -------------------------------------------------------------


@pytest.mark.parametrize("loss", ["AGCELoss(a=4.0, q=0.2)", "NCELoss() + RCELoss()"])
def test_a_network_meets_two_shapes_and_no_more(loss):
    """A CUDA graph is captured for each shape of its input: the full batch's and the last one's."""
    run = loop.Run(RunConfig(loss, batch_size=256, epochs=2), torch.device("cpu"))
    shapes, forward = [], run.forward

    def noted(images):
        shapes.append((images.shape, images.stride(), images.dtype))
        return forward(images)

    run.forward = noted
    for _ in range(2):
        run.epoch(None, lambda: False, 0.0)
    assert len({*shapes[:5]}) == 1 and shapes[:6] == shapes[6:] and len({*shapes}) == 2


def test_the_network_is_one_graph():
    """`torch.compile` captures a network whole, for both shapes, and loses nothing."""
    config = RunConfig("AGCELoss(a=4.0, q=0.2)", batch_size=256, epochs=1)
    compiled, plain = (loop.Run(config, torch.device("cpu")) for _ in range(2))
    plain.tested = plain.forward = plain.network  # without the kernel of the CPU
    graphs = []

    def kept(graph, example):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    compiled.tested = compiled.network
    compiled.forward = torch.compile(compiled.network, backend=kept, fullgraph=True, dynamic=False)
    for run in (compiled, plain):
        run.epoch(None, lambda: False, 0.0)
    assert len(graphs) == 2
    assert compiled.history().test_accuracy == plain.history().test_accuracy


@pytest.mark.slow
def test_a_compiled_step_is_that_of_the_plain_network():
    require(shutil.which("g++") is not None, "g++")
    config = RunConfig("AGCELoss(a=4.0, q=0.2)", batch_size=256)
    runs = [loop.Run(config, torch.device("cpu"), compiled=flag) for flag in (True, False)]
    for run in runs:
        run.network.train()
        batches = run.dataset.train_batches(torch.arange(256), [slice(0, 256)], run.augmentation)
        run.step(*next(batches))
    assert runs[0].environment.compiled and not runs[0].kernel
    for one, other in zip(*(run.network.parameters() for run in runs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


# --- a session on a GPU ------------------------------------------------------------------------


def session(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_session

    return gpu_session


def test_a_session_tests_times_trains_packs_and_says_what_is_left(tmp_path, monkeypatch, capsys):
    room, commands = session(monkeypatch), []

    def noted(name, command, seconds):
        commands.append((" ".join(map(str, command[1:])), seconds))
        return name != "tests"

    monkeypatch.setattr(room, "_do", noted)
    monkeypatch.setattr(room.sweep, "run", in_this_process)
    arguments = ["--device", "cpu", "--dry", "--results", str(tmp_path)]
    assert room.main([*arguments, "--pack", str(tmp_path / "all.jsonl")]) == 1  # the tests failed
    assert ["pytest" in commands[0][0], "training.py" in commands[1][0]] == [True, True]
    assert 0 < commands[0][1] < 0.15 * 120 and len(commands) == 2
    out = capsys.readouterr().out
    assert "MNIST, the tables (on the digits): 2 done" in out
    assert "Figure 3 (on the digits): 2 to do" in out
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 3


def test_a_session_without_a_gpu_ends_at_once(monkeypatch, capsys):
    room = session(monkeypatch)
    monkeypatch.setattr(room, "_do", lambda *arguments: pytest.fail("it went on"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        room.main(["--minutes", "12"])
    assert "device: expected 'cpu' here, where torch sees no GPU" in capsys.readouterr().err


def test_what_takes_too_long_is_cut_off(monkeypatch, capfd):
    room = session(monkeypatch)
    for code, seconds, said in (
        ("import time; time.sleep(60)", 0.2, "cut off"),
        ("raise SystemExit(2)", 60, "2"),
        ("print('hello')", 60, "passed"),
    ):
        assert room._do("it", [sys.executable, "-c", code], seconds) == (said == "passed")
        assert f"--- it: {said}, " in capfd.readouterr().out


def in_this_process(configs, results, *, time_budget, device, pack, **options):
    """A sweep whose time is up after three runs."""
    from alfs_utils import sweep

    assert 0 < time_budget < 120
    for config in configs[:3]:
        sweep.train_into(results, config, device, pack=pack)
    return {"done": 3, "stopped": len(configs) - 3}


def test_a_session_has_the_missing_runs_in_their_order(monkeypatch):
    room = session(monkeypatch)
    monkeypatch.setattr(room, "_is_there", lambda *arguments: True)
    tables, *cifar10 = room._runs(dry=False).values()
    assert len(tables) == 270 and [len(runs) for runs in cifar10] == [5, 5, 25]
    assert {run.dataset for run in tables} == {"mnist"}
    rows = [protocol.row_of(run) or run.loss for run in cifar10[0]]
    assert rows == ["CE", "AUL", "AGCE", "MAELoss()", "NCE+AGCE"]
    assert cifar10[2] == which_runs.figure_3(cifar10[2][0].dataset)


@pytest.mark.long
def test_a_dry_session_is_over_within_two_minutes():
    start = time.monotonic()
    command = [sys.executable, "benchmarks/gpu_session.py", "--device", "cpu", "--dry"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0 and time.monotonic() - start < 120, run.stdout + run.stderr
    assert "ours is" in run.stdout and run.stdout.count("2 done") == 4
