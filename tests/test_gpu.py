"""What can be known of a GPU without one; with one, the tests of `test_training.py` run, too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, require
from test_losses import CASES

from alfs_utils import losses, models
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
        run.epoch(None, lambda: False)
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
        run.epoch(None, lambda: False)
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
