"""What a run runs on and with: device, processes, threads, versions. It belongs to its record."""

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
    """What the result of a run may depend on beside its configuration.

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

    @classmethod
    def here(cls, device: torch.device, deterministic: bool, compiled: bool) -> "Environment":
        """That of this process."""
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
        )

    def rounds_as(self, other: dict) -> bool:
        """Whether a run that began in the environment `other` goes on here bit for bit.

        The code may have changed: that its steps have not is what the tests say.
        """
        mine = asdict(self)
        return all(mine[name] == other.get(name) for name in mine.keys() - {"code", "python"})


def process() -> tuple[int, int]:
    """This process's number (rank) and how many there are: (0, 1) unless torchrun started them."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def agreed(value: Any) -> Any:
    """The value of the first of the processes, in all of them."""
    values = [value]
    if process()[1] > 1:
        distributed.broadcast_object_list(values, 0)
    return values[0]


@contextlib.contextmanager
def processes(device: str) -> Iterator[str]:
    """Join the other processes if torchrun started this one; yields the device of this one."""
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
    """What a run ran on, such as "NVIDIA H200" or "CPU AMD EPYC, AVX2"."""
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
    """The git commit of this library, "+changes" if its files differ from it; else its version.

    An installed copy has no commit, even where it lies inside somebody's repository. Asked once
    per process, when its first run starts: while it trains the files may change.
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
    """Let torch use deterministic algorithms only, if `wanted`; afterwards all is as before."""
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
    """Seconds by the clock and of CPU time since it was last read."""

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
