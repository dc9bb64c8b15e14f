"""Batch norm with the pooling, the addend and the ReLU after it, as one function on the CPU.

Torch makes a pass over memory for each of these, forward and backward. `fused.cpp` does them
together. It also computes MNIST's first convolution again where its output is needed, instead of
storing it. g++ builds it into ~/.cache/alfs_utils when it is first needed; ctypes loads it.

It serves training, and the test after each epoch, on a Linux x86-64 CPU: float32 with AVX2,
bfloat16 with AVX-512. Elsewhere, where there is no g++, or if ALFS_KERNEL=stock is in the
environment, the network's own modules do the work: slower, and rounded otherwise. Parameters,
buffers and their names are the network's.
"""

import ctypes
import hashlib
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from alfs_utils import models
from alfs_utils._files import replacing

SOURCE = Path(__file__).with_name("fused.cpp")
FLAGS = (
    "-std=c++17 -O3 -march=native -mprefer-vector-width=512 -ffp-contract=fast -fno-math-errno "
    "-fno-trapping-math -Wno-psabi -fopenmp -shared -fPIC"
).split()
TYPES = {torch.float32: "float", torch.bfloat16: "bf16"}
LANES = 16  # of fused.cpp, or twice as many
SIDE_BY_SIDE = {8: 8, 4: 16}  # how many images of this width, see `_SideBySide`
CHANNELS_LAST = torch.channels_last


def kernel(device: torch.device, precision: str) -> str:
    """Name the kernel that trains there, "fused 3f2a91c0, g++ 12.2.0"; "" for stock modules.

    If the machine alone prevents its use, a warning says once what is missing.
    """
    known = {"float32": ("AVX2", "AVX512"), "bfloat16": ("AVX512",)}
    if device.type != "cpu" or precision not in known or os.environ.get("ALFS_KERNEL") == "stock":
        return ""
    capability = torch.backends.cpu.get_cpu_capability()
    if sys.platform != "linux" or capability not in known[precision]:
        name = known[precision][0].replace("AVX512", "AVX-512")
        return _stock(
            f"{precision} needs Linux and a CPU with {name}, this is {sys.platform}, {capability}"
        )
    library, name = _library()
    if library and precision == "bfloat16" and _has_amx():
        name += ", side by side"
    return name if library else _stock(name)


@cache
def _stock(reason):
    """Say once why the kernel is not used."""
    message = f"no fused kernel, training is slower: {reason}"
    warnings.warn_explicit(message, RuntimeWarning, __file__, 0)  # one line: no source to show
    return ""


@cache
def _library():
    """Return the kernels and their name; or None and the reason."""
    try:
        version = _run("g++", "-dumpfullversion").decode().strip()
        source = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:8]
        return ctypes.CDLL(str(_built(version))), f"fused {source}, g++ {version}"
    except subprocess.CalledProcessError as error:
        return None, f"g++ failed: {error.stderr.decode(errors='replace').strip()[:200]}"
    except (OSError, RuntimeError) as error:
        return None, str(error)


def _built(version):
    """Return the path of the shared library; build it if this kind of machine has none yet."""
    target = _run("g++", *FLAGS, "-Q", "--help=target")  # what "native" means here
    parts = [SOURCE.read_bytes(), " ".join([version, *FLAGS]).encode(), target]
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alfs_utils"
    built = folder / f"fused-{key}.so"
    if not built.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(built) as file:  # several processes may build at once
            _run("g++", *FLAGS, SOURCE, "-o", file.name)
    return built


def _run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout


# --- the network ----------------------------------------------------------------------------


def forward_of(network: nn.Sequential) -> Callable[[torch.Tensor], torch.Tensor]:
    """Make the function of the images that a network of `models` computes.

    Batch norm with what follows it goes through the kernel, which has to be there (see `kernel`);
    all else, and input that the kernel does not take, goes through the network's modules.
    """
    steps = _steps(list(network))

    def forward(x):
        for step in steps:
            x = step(x)
        return x

    return forward


def _steps(layers):
    match layers:
        case [
            nn.Conv2d() as convolution,
            nn.BatchNorm2d() as norm,
            nn.MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False),
            nn.ReLU(),
            *rest,
        ]:
            step = partial(_block, convolution, norm, pool=2)
        case [nn.Conv2d() as convolution, nn.BatchNorm2d() as norm, nn.ReLU(), *rest]:
            step = partial(_block, convolution, norm)
        case [models._BasicBlock() as block, *rest]:
            step = partial(_residual, block)
        case [step, *rest]:
            pass
        case []:
            return []
    return [step, *_steps(rest)]


def _residual(block, x):
    first, first_norm, _, second, second_norm = block.body
    shortcut = _block(*block.shortcut, x, relu=False) if len(block.shortcut) else x
    return _block(second, second_norm, _block(first, first_norm, x), add=shortcut)


def _block(convolution, norm, x, pool=1, relu=True, add=None):
    """Compute relu(pool(norm(convolution(x))) + add)."""
    how = convolution.bias, norm.weight, norm.bias, add, norm, pool, relu
    if pool == 2 and _fits_first(convolution, norm, x):
        return _Fused.apply(x, convolution.weight, *how)
    y = _convolved(convolution, x)
    if _fits(norm, y, pool) and (add is None or (add.shape, add.dtype) == (y.shape, y.dtype)):
        return _Fused.apply(y, None, *how)
    y = norm(convolution(x))
    y = nn.functional.max_pool2d(y, pool) if pool > 1 else y
    y = y if add is None else y + add
    return torch.relu(y) if relu else y


def _fits(norm, x, pool):
    whole = x.shape[2] % pool == x.shape[3] % pool == 0 and x.numel() > x.shape[1]
    usual = norm.affine and norm.track_running_stats and norm.momentum is not None
    ready = norm.training or not torch.is_grad_enabled()  # evaluation has another gradient
    typed = x.dtype in TYPES and norm.weight.dtype == torch.float32
    return whole and usual and ready and typed and x.is_cpu


def _fits_first(convolution, norm, x):
    """Whether images are grey, need no gradient, and have sides that pooling halves."""
    c = convolution
    grey = c.in_channels == 1 and c.out_channels % LANES == 0 and not x.requires_grad
    typed = x.dtype == c.weight.dtype == torch.float32 and _autocast(x) in TYPES
    return grey and typed and _three_by_three(c) and _fits(norm, x, 2)


def _three_by_three(convolution):
    c = convolution
    plain = c.padding == c.stride == c.dilation == (1, 1) and c.groups == 1
    return plain and c.kernel_size == (3, 3) and c.padding_mode == "zeros"


def _autocast(x):
    """Return the dtype that a convolution of x gives."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


# --- convolutions of small images -----------------------------------------------------------


@cache
def _has_amx():
    """Whether the CPU has Intel's matrix unit for bfloat16."""
    return "amx_bf16" in Path("/proc/cpuinfo").read_text()


def _convolved(convolution, x):
    """Convolve without the bias; put small images side by side where that is faster."""
    k = SIDE_BY_SIDE.get(x.shape[3], 0)
    whole = k and len(x) % k == 0 and _three_by_three(convolution)
    if whole and _autocast(x) == torch.bfloat16 and _has_amx():
        return _SideBySide.apply(x.bfloat16(), convolution.weight.bfloat16(), k)
    return convolution._conv_forward(x, convolution.weight, None)


class _SideBySide(torch.autograd.Function):
    """A 3 x 3 convolution that sees k images as one, a column of zeros behind each.

    For AMX, oneDNN pads the rows of an image: to 32 pixels for the gradient of the weights, else to
    16. So images of width 8 gain in that gradient alone, images of width 4 everywhere.
    """

    @staticmethod
    def forward(ctx, x, weight, k):
        ctx.k, ctx.everywhere = k, x.shape[3] < 8
        wide = _joined(x, k) if ctx.everywhere else x
        ctx.save_for_backward(wide, weight)
        y = torch.conv2d(wide, weight, None, padding=1)
        return _parted(y, k) if ctx.everywhere else y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        dy = _channels_last(dy)
        wide = _joined(dy, ctx.k)
        dx = _gradient(wide if ctx.everywhere else dy, x, weight, 0)
        dx = _parted(dx, ctx.k) if ctx.everywhere else dx
        dweight = _gradient(wide, x if ctx.everywhere else _joined(x, ctx.k), weight, 1)
        return dx, dweight, None


def _gradient(dy, x, weight, which):
    """Return the gradient of a 3 x 3 convolution by x (0) or by the weight (1)."""
    how = None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    mask = [which == i for i in range(3)]
    return torch.ops.aten.convolution_backward(dy, x, weight, *how, mask)[which]


def _joined(x, k):
    n, c, h, w = x.shape
    wide = x.new_zeros(n // k, h, k, w + 1, c)
    wide[..., :w, :] = x.permute(0, 2, 3, 1).view(n // k, k, h, w, c).transpose(1, 2)
    return wide.view(n // k, h, k * (w + 1), c).permute(0, 3, 1, 2)


def _parted(wide, k):
    n, c, h, w = wide.shape
    apart = wide.permute(0, 2, 3, 1).reshape(n, h, k, w // k, c)[..., :-1, :].transpose(1, 2)
    return apart.reshape(n * k, h, w // k - 1, c).permute(0, 3, 1, 2)


# --- the kernel -----------------------------------------------------------------------------


class _Fused(torch.autograd.Function):
    """relu(pool(norm(x)) + add); with `weight`, norm(convolution(x)) of images x.

    `bias` is that of the convolution, which batch norm takes out again: it moves the running mean
    and nothing else, and its gradient is 0.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, gamma, beta, add, norm, pool, relu):
        n, c, h, w = len(x), len(gamma), *x.shape[2:]
        dtype = x.dtype if weight is None else _autocast(x)
        x, add = _channels_last(x), _channels_last(add)
        size = n, c, h // pool, w // pool
        y = torch.empty(size, dtype=dtype, memory_format=CHANNELS_LAST)
        kept = {name: gamma.new_empty(c) for name in ("mean", "invstd", "scale", "shift")}
        kept["gram"] = torch.empty(10, 10, dtype=torch.float64)
        ctx.how = {"c": c, "pool": pool, "relu": relu, "dtype": dtype}
        norm.num_batches_tracked += norm.training
        running = {"running_mean": norm.running_mean, "running_var": norm.running_var}
        numbers = {"eps": norm.eps, "momentum": norm.momentum, "training": norm.training}
        given = {"weight": weight, "bias": bias, "gamma": gamma, "beta": beta, "add": add}
        _call("forward", x, **ctx.how, **kept, **running, **numbers, **given, y=y)
        ctx.names = tuple(kept)
        ctx.save_for_backward(x, weight, bias, add, *kept.values())
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, dy):
        x, weight, bias, add, *kept = ctx.saved_tensors
        kept = dict(zip(ctx.names, kept, strict=True))
        gradients = {
            "dx": torch.empty_like(x) if weight is None else None,
            "dweight": None if weight is None else torch.empty_like(weight),
            "dgamma": torch.empty_like(kept["mean"]),
            "dbeta": torch.empty_like(kept["mean"]),
            "dadd": None if add is None else torch.empty_like(add),
        }
        dy = _channels_last(dy.to(ctx.how["dtype"]))
        _call("backward", x, **ctx.how, **kept, **gradients, weight=weight, add=add, dy=dy)
        dx, dweight, *dnorm, dadd = gradients.values()
        dbias = None if bias is None else torch.zeros_like(bias)
        return dx, dweight, dbias, *dnorm, dadd, None, None, None


class _Call(ctypes.Structure):
    """The arguments of a kernel, as in fused.cpp."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in "nhwc"),
        *((name, ctypes.c_int32) for name in ("pool", "relu", "training", "threads")),
        *((name, ctypes.c_float) for name in ("eps", "momentum")),
        *((name, ctypes.c_void_p) for name in ("x", "add", "dy", "y", "dx", "dadd")),
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "gamma", "beta")),
        *((name, ctypes.c_void_p) for name in ("running_mean", "running_var")),
        *((name, ctypes.c_void_p) for name in ("mean", "invstd", "scale", "shift", "gram")),
        *((name, ctypes.c_void_p) for name in ("dweight", "dgamma", "dbeta")),
    ]


def _call(way, x, dtype, weight, **arguments):
    n, _, h, w = x.shape
    arguments |= {"x": x, "weight": weight}
    fields = {k: v.data_ptr() if torch.is_tensor(v) else v for k, v in arguments.items()}
    call = _Call(n=n, h=h, w=w, threads=torch.get_num_threads(), **fields)
    name = "norm" if weight is None else "first"
    getattr(_library()[0], f"{name}_{way}_{TYPES[dtype]}")(ctypes.byref(call))


def _channels_last(x):
    return x if x is None else x.contiguous(memory_format=CHANNELS_LAST)
