"""The kernel against torch's own modules in float64, and the machines that do not have it."""

import contextlib
import copy
import os
import re
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch
from helpers import ROOT
from torch import nn
from torch.nn import functional as F

from alfs_utils import data, models, records
from alfs_utils.losses import AGCELoss, CELoss
from alfs_utils.training import RunConfig, Stopped, fused, loop, train

CPU = torch.device("cpu")
SHAPES = {
    "digits_cnn": (1, 8, 8),
    "mnist_cnn": (1, 28, 28),
    "cifar_cnn_small": (3, 32, 32),
    "cifar_cnn": (3, 32, 32),
    "resnet34": (3, 32, 32),
}
# The largest relative distance from float64: of float32 arithmetic; of results kept in bfloat16.
CLOSE, ROUNDED = 1e-6, 2.5e-3


def usable(precision="bfloat16"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fused.kernel(CPU, precision) != ""


def needs_kernel(precision):
    reason = f"this machine has no kernel for {precision}"
    return pytest.mark.skipif(not usable(precision), reason=reason)


pytestmark = needs_kernel("float32")
DTYPES = [torch.float32, pytest.param(torch.bfloat16, marks=needs_kernel("bfloat16"))]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# --- one block ------------------------------------------------------------------------------

# (images, channels, side), pooling, addend, ReLU
BLOCKS = [
    ((5, 20, 6), 2, False, True),
    ((37, 16, 4), 2, False, True),
    ((5, 20, 3), 1, False, True),
    ((5, 20, 3), 1, True, True),
    ((5, 20, 3), 1, False, False),
]


def norm_of(c, seed=0):
    """Batch norm with weights of both signs and statistics of its own."""
    generator = torch.Generator().manual_seed(seed)
    norm = nn.BatchNorm2d(c, eps=1e-3, momentum=0.3)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean, norm.running_var):
        tensor.copy_(torch.randn(c, generator=generator))
    norm.running_var.abs_()
    return norm


def stock(x, weight, bias, add, norm, pool, relu):
    y = x if weight is None else F.conv2d(x, weight, bias, padding=1)
    y = norm(y if weight is not None or bias is None else y + bias.view(-1, 1, 1))
    y = F.max_pool2d(y, pool) if pool > 1 else y
    y = y if add is None else y + add
    return torch.relu(y) if relu else y


def ours(x, weight, bias, add, norm, pool, relu):
    return fused._Fused.apply(x, weight, bias, norm.weight, norm.bias, add, norm, pool, relu)


def block(function, dtype, tensors, dy, norm, pool, relu):
    """Output, gradients and statistics of a block in `dtype`, as float64."""
    parameters = torch.float64 if dtype == torch.float64 else torch.float32
    first = tensors[1] is not None  # its images are float32, its output is `dtype` by autocast
    kinds = (parameters if first else dtype, parameters, parameters, dtype)
    leaves = [t if t is None else t.to(k).clone() for t, k in zip(tensors, kinds, strict=True)]
    for leaf in leaves[first:]:
        if leaf is not None:
            leaf.requires_grad_()
    norm = copy.deepcopy(norm).to(parameters)
    with torch.autocast("cpu", torch.bfloat16, enabled=first and dtype == torch.bfloat16):
        y = function(*leaves, norm, pool, relu)
    y.backward(dy.to(y.dtype))
    found = {"y": y, "dgamma": norm.weight.grad, "dbeta": norm.bias.grad}
    found |= {"mean": norm.running_mean, "var": norm.running_var}
    names = zip(("dx", "dweight", "dbias", "dadd"), leaves, strict=True)
    found |= {name: leaf.grad for name, leaf in names if leaf is not None}
    assert norm.num_batches_tracked == 1
    return {name: t.detach().double() for name, t in found.items() if t is not None}


def draw(shape, pool, add, dtype=torch.float32, ties=False, seed=0):
    """Input (with a mean far from 0), bias, addend and the output's gradient, exact in `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    n, c, side = shape

    def normal(*size):
        numbers = torch.randn(*size, generator=generator)
        return (numbers.round() if ties else numbers).to(dtype).double()

    x = normal(n, c, side, side) + (0 if ties else 3)
    x = x.to(dtype).double()
    rest = (n, c, side // pool, side // pool)
    return (x, None, torch.linspace(-1, 1, c), normal(*rest) if add else None), normal(*rest)


def far(found, expected):
    """The relative distance of each result; gradients that are 0 are left out."""
    assert found.keys() == expected.keys()
    return {
        name: ((found[name] - expected[name]).norm() / expected[name].norm()).item()
        for name in found
        if name != "dbias"
    }


def check(found, expected, dtype):
    for name, distance in far(found, expected).items():
        rounded = dtype == torch.bfloat16 and name in ("y", "dx")
        assert distance < (ROUNDED if rounded else CLOSE), (name, distance)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("ties", [False, True], ids=["", "ties"])
@pytest.mark.parametrize("case", BLOCKS, ids=str)
def test_a_block_against_float64(case, ties, dtype):
    """With ties the first maximum of a window takes the gradient, as torch has it."""
    shape, pool, add, relu = case
    tensors, dy = draw(shape, pool, add, dtype, ties)
    norm = norm_of(shape[1])
    expected = block(stock, torch.float64, tensors, dy, norm, pool, relu)
    found = block(ours, dtype, tensors, dy, norm, pool, relu)
    check(found, expected, dtype)
    assert not found["dbias"].any() and expected["dbias"].abs().max() < 1e-12


def first(side=10, n=21, c=32, ties=False):
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, 1, side, side, generator=generator).double()
    x[:, :, : side // 2] = x[:, :, : side // 2].round() if ties else x[:, :, : side // 2]
    weight = torch.randn(c, 1, 3, 3, generator=generator).double()
    dy = torch.randn(n, c, side // 2, side // 2, generator=generator).bfloat16().double()
    if ties:
        x[: n // 2] = 1.0
    return (x.float().double(), weight.float().double(), torch.linspace(-1, 1, c), None), dy


@pytest.mark.parametrize("ties", [False, True], ids=["", "ties"])
@pytest.mark.parametrize("side", [2, 10, 28, 36])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_first_block_against_float64(side, ties, dtype):
    """In bfloat16, too, its convolution is float32: only what it gives is rounded."""
    tensors, dy = first(side, ties=ties)
    norm = norm_of(32)
    expected = block(stock, torch.float64, tensors, dy, norm, 2, True)
    found = block(ours, dtype, tensors, dy, norm, 2, True)
    check(found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_number_of_threads_does_not_change_a_bit(dtype):
    cases = [(draw(shape, pool, add, dtype), pool, relu) for shape, pool, add, relu in BLOCKS]
    cases.append((first(), 2, True))
    for (tensors, dy), pool, relu in cases:
        norm = norm_of(tensors[0].shape[1] if tensors[1] is None else 32)
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(block(ours, dtype, tensors, dy, norm, pool, relu))
        for other in results[1:]:
            assert all(torch.equal(other[name], results[0][name]) for name in other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_not_finite_stays_where_torch_has_it(value, dtype):
    for shape, pool, add, relu in BLOCKS:
        tensors, dy = draw(shape, pool, add, dtype)
        tensors[0][1, 3, 2, 1] = value  # spoils its channel
        if add:
            tensors[3][2, 4, 1, 1] = value  # and this one pixel
        norm = norm_of(shape[1])
        expected = block(stock, dtype, tensors, dy, norm, pool, relu)
        found = block(ours, dtype, tensors, dy, norm, pool, relu)
        assert not found["y"].isfinite().all()
        for name in found.keys() - {"dbias"}:
            assert torch.equal(found[name].isfinite(), expected[name].isfinite()), name


def test_the_statistics_survive_a_mean_far_from_zero():
    """A naive sum of squares would lose the variance; the very first pixel may lie far out."""
    (x, *rest), dy = draw((40, 8, 6), 1, False)
    x[0, :, 0, 0] = 1000.0
    x = (x + 500).float().double()
    expected = block(stock, torch.float64, (x, *rest), dy, norm_of(8), 1, True)
    found = block(ours, torch.float32, (x, *rest), dy, norm_of(8), 1, True)
    assert far(found, expected)["var"] < 1e-5


# --- whole networks -------------------------------------------------------------------------


def step(network, forward, images, labels, dtype):
    """Gradients and buffers of one step, in float64."""
    lower = dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=lower):
        logits = forward(images.to(memory_format=torch.channels_last))
    F.cross_entropy(logits if logits.dtype == torch.float64 else logits.float(), labels).backward()
    gradients = {name: p.grad.double() for name, p in network.named_parameters()}
    return gradients, {name: b.double() for name, b in network.named_buffers()}


def residual():
    """ResNet-34 in small: its stem, and its blocks with and without a projection."""
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    blocks = [models._BasicBlock(16, 16, 1), models._BasicBlock(16, 32, 2)]
    return nn.Sequential(*stem, *blocks, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(32 * 16, 10))


def errors(name, dtype, seed):
    """How far `step` in `dtype` is from float64, by the kernel and by stock modules."""
    generator = torch.Generator().manual_seed(seed)
    base = residual() if name == "residual" else models.build(name, 10, seed)
    images = torch.randn(8, *SHAPES.get(name, (3, 32, 32)), generator=generator)
    labels = torch.randint(10, (8,), generator=generator)
    for module in base.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(-0.5, 1.5, generator=generator)
    exact = copy.deepcopy(base).double()
    exact = step(exact, exact, images.double(), labels, torch.float64)
    found = []
    for function in (fused.forward_of, lambda network: network):
        network = copy.deepcopy(base).to(memory_format=torch.channels_last)
        parts = step(network, function(network), images, labels, dtype)
        assert list(parts[1]) == list(exact[1])
        squares = [
            sum(((part[k] - true[k]) ** 2).sum() for k in true)
            / sum((t**2).sum() for t in true.values())
            for part, true in zip(parts, exact, strict=True)
        ]
        found.append(torch.stack(squares).sqrt())
    return torch.stack(found)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["digits_cnn", "mnist_cnn", "cifar_cnn_small", "residual"])
def test_gradients_are_no_worse_than_those_of_stock_modules(name, dtype):
    """In the median of five: a unit that rounding switches on or off outweighs all else."""
    kernel, modules = torch.stack([errors(name, dtype, seed) for seed in range(5)]).median(0).values
    slack = 1.25 if dtype == torch.bfloat16 else 1.1  # its roundings differ by chance
    assert (kernel <= slack * modules).all(), (kernel, modules)


@pytest.mark.parametrize("name", list(SHAPES))
def test_evaluation_is_that_of_the_network(name):
    images = torch.randn(6, *SHAPES[name], generator=torch.Generator().manual_seed(1))
    network = models.build(name, 10, 0).to(memory_format=torch.channels_last)
    with torch.no_grad():
        network(images)  # statistics
    network.eval()
    state = copy.deepcopy(network.state_dict())
    with torch.no_grad():
        found, expected = fused.forward_of(network)(images), network(images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    assert torch.equal(fused.forward_of(network)(images), expected)  # with a gradient: the modules


def test_what_the_kernel_does_not_take_goes_through_the_modules():
    """Odd sides, another kind of pooling, other dtypes and mixtures of them."""
    network = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.MaxPool2d(3), nn.ReLU()),
    )
    other = copy.deepcopy(network)
    images = torch.randn(4, 1, 11, 11)
    assert torch.equal(fused.forward_of(network)(images), other(images))
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), other.buffers(), strict=True))
    for dtype in (torch.float64, torch.bfloat16):
        network, other, images = network.to(dtype), other.to(dtype), images.to(dtype)
        assert torch.equal(fused.forward_of(network)(images), other(images))
    block, images = models._BasicBlock(16, 16, 1), torch.randn(2, 16, 4, 4)
    other = copy.deepcopy(block)
    with torch.autocast("cpu", torch.bfloat16):  # the shortcut is float32, all else is not
        assert torch.equal(fused.forward_of([block])(images), other(images))


@pytest.mark.parametrize("side", [8, 4])
def test_images_side_by_side_are_the_same_convolution(monkeypatch, side):
    """Where the CPU has no AMX this shows that it would be right there, not that it is faster."""
    generator = torch.Generator().manual_seed(2)
    convolution = nn.Conv2d(20, 24, 3, padding=1)
    x = torch.randn(32, 20, side, side, generator=generator).bfloat16().float()
    x = x.to(memory_format=torch.channels_last)
    convolution.weight.data = convolution.weight.data.bfloat16().float()
    dy = torch.randn(32, 24, side, side, generator=generator).bfloat16()

    def run(amx):
        monkeypatch.setattr(fused, "_has_amx", lambda: amx)
        leaf = x.clone().requires_grad_()
        convolution.weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            y = fused._convolved(convolution, leaf)
        assert ("SideBySide" in type(y.grad_fn).__name__) == amx
        y.backward(dy)
        return y.detach(), leaf.grad, convolution.weight.grad

    exact = copy.deepcopy(convolution).double()
    leaf = x.double().requires_grad_()
    expected = F.conv2d(leaf, exact.weight, None, padding=1)
    expected.backward(dy.double())
    expected = expected.detach(), leaf.grad, exact.weight.grad
    for found, plain, true in zip(run(True), run(False), expected, strict=True):
        error, usual = ((t.double() - true).norm() / true.norm() for t in (found, plain))
        assert error <= max(1.05 * usual, 3e-3)


# --- runs -----------------------------------------------------------------------------------


@pytest.fixture
def grey(monkeypatch):
    """A run of MNIST's network on the digits, enlarged and padded to 28 x 28."""
    digits = data.load("digits")

    def larger(images):
        return F.pad(images.repeat_interleave(3, 2).repeat_interleave(3, 3), (2, 2, 2, 2))

    enlarged = replace(
        digits,
        train_images=larger(digits.train_images),
        test_images=larger(digits.test_images),
    )
    monkeypatch.setattr(loop, "load_once", lambda name: enlarged)
    return RunConfig(
        AGCELoss(a=4, q=0.2), model="mnist_cnn", epochs=2, batch_size=64, train_size=330
    )


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("bfloat16", marks=needs_kernel("bfloat16"))]
)
def test_a_run_stopped_after_every_step_ends_bit_identical(grey, tmp_path, precision):
    config = replace(grey, precision=precision)
    whole = train(config, weights=tmp_path / "whole.pt")
    assert re.fullmatch(
        r"fused [0-9a-f]{8}, g\+\+ [0-9.]+(, side by side)?", whole.environment.kernel
    )
    while True:
        try:
            history = train(
                config,
                checkpoint=tmp_path / "run.ckpt",
                weights=tmp_path / "weights.pt",
                should_stop=lambda: True,
            )
            break
        except Stopped:
            pass
    assert replace(history, seconds=0, cpu_seconds=0) == replace(whole, seconds=0, cpu_seconds=0)
    one, other = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("whole", "weights"))
    assert one.keys() == models.build("mnist_cnn", 10, 0).state_dict().keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_went_on_with_another_kernel_says_so(grey, tmp_path, monkeypatch):
    def half(path):
        calls = iter([False] * 3 + [True])
        with pytest.raises(Stopped):
            train(grey, checkpoint=path, should_stop=lambda: next(calls))

    half(tmp_path / "a")
    monkeypatch.setenv("ALFS_KERNEL", "stock")
    history = train(grey, checkpoint=tmp_path / "a")
    record = records.make(history)
    assert (history.environment.kernel, history.mixed) == ("", True) and record["kernel"] == ""
    assert record["deterministic"] is False
    plain = train(grey)
    assert not plain.mixed and plain.train_loss != history.train_loss
    monkeypatch.delenv("ALFS_KERNEL")
    history = train(grey)
    assert (
        records.make(history)["kernel"]
        == history.environment.kernel
        == fused.kernel(CPU, "float32")
    )
    assert history.train_loss == pytest.approx(plain.train_loss, rel=1e-3)
    assert records.run_id(history.config) == records.run_id(plain.config)


def test_it_is_used_for_our_networks_on_the_cpu_alone(monkeypatch):
    """And not where torch compiles, or several processes share a batch."""
    assert fused.kernel(torch.device("cuda"), "float32") == fused.kernel(CPU, "float16") == ""
    config = RunConfig(CELoss())
    assert loop.Run(config, CPU).kernel
    assert loop.Run(replace(config, model="resnet50"), CPU).kernel == ""
    run = loop.Run(config, CPU, compiled=True)
    assert run.kernel == "" and run.tested is run.network
    monkeypatch.setattr(loop, "process", lambda: (0, 2))
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", lambda network: network)
    assert loop.Run(config, CPU).kernel == ""


# --- machines without it --------------------------------------------------------------------

RUN = """
import sys
from alfs_utils import records, training
config = training.RunConfig("CELoss()", epochs=1, batch_size=200)
histories = [training.train(config) for _ in range(2)]
print(records.make(histories[0])["kernel"], histories[0].train_loss[0])
"""
SAME = RunConfig("CELoss()", epochs=1, batch_size=200)


@pytest.fixture
def anew():
    """The kernel is looked for again, in this test and after it."""

    def forget():
        fused._library.cache_clear()
        fused._stock.cache_clear()

    forget()
    yield
    forget()


def test_without_a_compiler_the_modules_train_and_one_line_says_so(tmp_path, monkeypatch):
    """In a process of its own: all that it says is one line."""
    environment = {"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    run = subprocess.run(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    said = run.stderr
    assert re.fullmatch(r".*RuntimeWarning: no fused kernel, training is slower: .*g\+\+.*\n", said)
    monkeypatch.setenv("ALFS_KERNEL", "stock")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = train(SAME)
    assert records.make(history)["kernel"] == ""
    assert run.stdout == f" {history.train_loss[0]}\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PATH", "{folder}", "g++ failed: no such luck"),
        ("XDG_CACHE_HOME", "/dev/null", "[Errno 20] Not a directory"),
    ],
    ids=["a compiler that fails", "a full cache"],
)
def test_what_fails_is_said_once_and_is_no_obstacle(tmp_path, monkeypatch, anew, name, value, said):
    (tmp_path / "g++").write_text("#!/bin/sh\necho 'no such luck' >&2\nexit 1\n")
    (tmp_path / "g++").chmod(0o755)
    monkeypatch.setenv(name, value.format(folder=tmp_path))
    with pytest.warns(RuntimeWarning) as caught:
        histories = [train(SAME) for _ in range(2)]
    (text,) = (str(warning.message) for warning in caught)
    assert text.startswith(f"no fused kernel, training is slower: {said}") and "\n" not in text
    assert [records.make(history)["kernel"] for history in histories] == ["", ""]


@pytest.mark.parametrize(
    ("platform", "capability", "precision", "known"),
    [
        ("darwin", "AVX2", "float32", False),
        ("win32", "AVX2", "float32", False),
        ("linux", "DEFAULT", "float32", False),  # ARM says so, too
        ("linux", "AVX2", "bfloat16", False),
        ("linux", "AVX2", "float32", True),
        ("linux", "AVX512", "bfloat16", True),
    ],
)
def test_other_platforms_and_cpus_have_stock_modules(
    monkeypatch, platform, capability, precision, known
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    fused._stock.cache_clear()
    with contextlib.nullcontext() if known else pytest.warns(RuntimeWarning, match=capability):
        assert bool(fused.kernel(CPU, precision)) is known


def test_several_processes_may_build_at_once(tmp_path):
    code = "import torch; from alfs_utils.training import fused\n"
    code += "fused.FLAGS = ['-O1' if flag == '-O3' else flag for flag in fused.FLAGS]\n"  # sooner
    code += "print(fused.kernel(torch.device('cpu'), 'float32'))"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    children = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = {child.communicate()[0].strip() for child in children}
    assert answers == {fused.kernel(CPU, "float32")}
    (built,) = (tmp_path / "alfs_utils").iterdir()
    assert built.suffix == ".so"
