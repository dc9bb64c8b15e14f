"""The device, processes, threads and versions of a run; they belong to its record."""

import contextlib
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

import alfs_utils

PACKAGE = Path(alfs_utils.__file__).parent


@dataclass(frozen=True)
class Environment:
    """What the result of a run may depend on besides its configuration.

    Attributes
    ----------
    device : str
        Such as "NVIDIA H200" or "CPU AMD EPYC, AVX2".
    threads : int
        Threads of torch on the CPU.
    deterministic : bool
        Whether the run repeats bit for bit in the same environment.
    tf32 : bool
        Whether "float32" convolutions use TF32, on a GPU.
    torch, numpy, python, code : str
        Versions; `code` is `revision`.
    compiled : bool
        Whether the network went through `torch.compile`.
    processes : int
        How many trained it together.
    kernel : str
        The kernel that trained in place of stock modules, see `fused.kernel`; "" for none.
    """

    device: str
    threads: int
    deterministic: bool
    tf32: bool
    torch: str
    numpy: str
    python: str
    code: str
    compiled: bool
    processes: int
    kernel: str

    @classmethod
    def here(
        cls, device: torch.device, deterministic: bool, compiled: bool, kernel: str = ""
    ) -> "Environment":
        """Return the environment of this process."""
        cuda = device.type == "cuda"
        return cls(
            device=device_name(device),
            threads=torch.get_num_threads(),
            deterministic=deterministic or not cuda,
            tf32=cuda and torch.backends.cudnn.allow_tf32,
            torch=str(torch.__version__),
            numpy=np.__version__,
            python=platform.python_version(),
            code=revision(),
            compiled=compiled,
            processes=process()[1],
            kernel=kernel,
        )

    def rounds_as(self, other: dict) -> bool:
        """Return whether a run that began in the environment `other` continues here bit for bit.

        Changes of the code do not count, because the tests verify that its steps are the same;
        neither does the version of Python.
        """
        mine = asdict(self)
        return all(mine[name] == other.get(name) for name in mine.keys() - {"code", "python"})


def process() -> tuple[int, int]:
    """Return this process's rank and the number of processes: (0, 1) without torchrun."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def device_of(device: str | torch.device, here: bool = True) -> torch.device:
    """Return the device of a name; raise ValueError if no run, or no run `here`, can be on it."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        found = None
    if found is None or found.type not in ("cpu", "cuda"):
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {device!r:.60}")
    if found.type == "cuda" and here and not torch.cuda.is_available():
        raise ValueError(f"device: expected 'cpu' here, where torch sees no GPU, got {device!r}")
    return found


def agreed(value: Any) -> Any:
    """Return the value of the first process, in all processes."""
    values = [value]
    if process()[1] > 1:
        distributed.broadcast_object_list(values, 0)
    return values[0]


@contextlib.contextmanager
def processes(device: str) -> Iterator[str]:
    """Join the other processes if torchrun started this one; yield the device of this one."""
    if "LOCAL_RANK" not in os.environ:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


@cache
def device_name(device: torch.device) -> str:
    """Return the name of a device, such as "NVIDIA H200" or "CPU AMD EPYC, AVX2"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"CPU {name.strip()}, {torch.backends.cpu.get_cpu_capability()}"


@cache
def revision() -> str:
    """Return the git commit of this library, with "+changes" if files differ; else its version.

    An installed copy has no commit, even where it lies inside somebody's repository. A process
    asks once, when its first run starts, because the files may change later.
    """

    def git(*words):
        command = ["git", "-C", PACKAGE, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", ".")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"alfs_utils {alfs_utils.__version__}"


@contextlib.contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """Restrict torch to deterministic algorithms during the block, if `wanted`."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


class Clock:
    """Wall time and CPU time, in seconds, since the last `restart`."""

    def __init__(self):
        self.restart()

    def restart(self) -> None:
        self._since = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._since[0]

    @property
    def cpu_seconds(self) -> float:
        return time.process_time() - self._since[1]
