"""The training loop: build, step, epoch, test.

The recipe is the paper's: SGD with momentum 0.9, a cosine schedule stepped per epoch down to 0,
weight decay, gradients clipped to a global norm of 5, the short last batch kept, and the clean test
set evaluated after every epoch.

Nothing that makes it fast changes what is learned. The data set lies on the device as uint8, a
batch is an index, augmentation is one look-up, images are channels-last, clipping and SGD work on
all parameters at once, and the host does not wait for the device within an epoch. On the CPU, freed
memory stays in the process (`_allocator`), and batch norm with what follows it is one function
(`fused`). `benchmarks/training.py` measures the speed.

If `torch.distributed` has been started, as torchrun does, each process takes its share of every
batch, and all processes have the same weights after every step.
"""

import hashlib
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import distributed, nn
from tqdm import tqdm

from alfs_utils import data, losses, models
from alfs_utils._arguments import integer
from alfs_utils.lost_classes import lost_from_counts
from alfs_utils.training import _allocator, fused, per_class, rounded
from alfs_utils.training.checkpoint import (
    check_writable,
    read_checkpoint,
    write_checkpoint,
    write_weights,
)
from alfs_utils.training.config import RunConfig
from alfs_utils.training.environment import (
    Clock,
    Environment,
    agreed,
    deterministic_algorithms,
    device_of,
    process,
)
from alfs_utils.training.history import History, Progress
from alfs_utils.training.labels import noisy_copy, noisy_labels

CHECKPOINT_SECONDS = 20.0
DECAY = 0.97  # of the exponential schedule, per epoch
SCHEDULES = {
    "cosine": lambda config, epoch: config.lr * (1 + math.cos(math.pi * epoch / config.epochs)) / 2,
    "exponential": lambda config, epoch: config.lr * DECAY**epoch,
}

load_once = lru_cache(maxsize=2)(data.load)


class Stopped(Exception):
    """The run was asked to stop; its checkpoint, if it has one, holds its state."""


def train(
    config: RunConfig,
    device: str | torch.device = "cpu",
    *,
    checkpoint: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    progress: bool | None = None,
    deterministic: bool = False,
    compiled: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    checkpoint_seconds: float | None = None,
) -> History:
    """Train one network and test it after every epoch.

    On one kind of CPU, with one version of torch and at a fixed number of threads, the same
    configuration gives the same history bit for bit, whether or not the run was interrupted.
    Torch's global random generator is neither used nor changed.

    Parameters
    ----------
    config : RunConfig
    device : str or torch.device, default "cpu"
    checkpoint : path, optional
        File that holds the state of the run; it is renewed about every 20 seconds and at the end.
        If the file is there, the run continues from it.
    weights : path, optional
        Where to save the final `state_dict` of the network.
    progress : bool, optional
        Whether to show a bar; by default, if standard error is a terminal.
    deterministic : bool
        On a GPU, use deterministic algorithms only (slower), so that runs repeat bit for bit there,
        too. Set CUBLAS_WORKSPACE_CONFIG=:4096:8 before.
    compiled : bool
        Whether the network goes through `torch.compile(mode="reduce-overhead")`, which on a GPU
        replays CUDA graphs, one for the full batch and one for the short last batch. Not for the
        CPU, where it is slower. Rounding differs, so histories do, too.
    should_stop : callable
        Called after every step; once it returns True, the state is saved and `Stopped` is raised.
        With several processes it must return the same in all of them.
    checkpoint_seconds : float, optional
        How often the checkpoint is renewed, if not about every 20 seconds: less often where every
        version of a file is uploaded.

    Returns
    -------
    History
        If the training loss of an epoch is not finite, the run ends there: `status` says so, and
        the epochs before are kept.

    Raises
    ------
    ValueError, OSError
        Before training starts: from `data.load`, if `weights` cannot be written, or if an argument
        is wrong.
    Stopped
        If `should_stop` returned True.
    """
    _check_config(config)
    if weights is not None and process()[0] == 0:
        check_writable("weights", weights)
    run = Run(config, device_of(device), deterministic, compiled)
    every = CHECKPOINT_SECONDS if checkpoint_seconds is None else checkpoint_seconds
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None:
        run.resume(path)
    hidden = True if run.rank else None if progress is None else not progress
    bar = tqdm(
        total=config.epochs,
        initial=run.progress.epoch,
        unit="epoch",
        desc=config.loss,
        dynamic_ncols=True,
        disable=hidden,
    )
    with bar, deterministic_algorithms(deterministic):
        while run.progress.epoch < config.epochs and run.progress.status == "finished":
            run.epoch(path, should_stop, every)
            bar.set_postfix(run.shown(), refresh=False)
            bar.update()
    if path is not None:
        run.save(path)
    if weights is not None and run.rank == 0:
        write_weights(weights, run.network)
    return run.history()


class Run:
    """The state of a run, and what moves it on: `step`, `epoch`, `test`, `save`, `resume`."""

    def __init__(self, config, device, deterministic=False, compiled=False):
        self.config, self.device = config, device
        self.rank, self.processes = process()
        if device.type == "cpu":
            _allocator.keep_pages()
        dataset = load_once(config.dataset)
        fits = self.processes == 1 and not compiled and config.model != "resnet50"  # torchvision's
        self.kernel = fused.kernel(device, config.precision) if fits else ""
        self.environment = Environment.here(device, deterministic, compiled, self.kernel)
        self.dataset = dataset.to(device)
        noisy = noisy_labels(config, self.dataset)
        self.noise_rate, self.labels_sha256 = noisy.rate, noisy.sha256
        self.given = torch.tensor(noisy.labels, device=device)
        self.wrong = torch.tensor(noisy.mask, device=device)
        clean = torch.tensor(noisy.clean, device=device)
        self.repeated = per_class.Repeated(clean, self.wrong, self.dataset.num_classes)
        self.validation = noisy_copy(config, self.dataset)
        self._build(compiled)
        self.order = stream("order", config.order_seed)
        self.augmentation = stream("augmentation", config.augment_seed)
        self.generators = self.order.get_state(), self.augmentation.get_state()
        k = self.dataset.num_classes
        self.label_counts = torch.bincount(self.given, minlength=k).tolist()
        sums = 1 + 3 * k  # see `step`
        self.totals = torch.zeros(sums, dtype=torch.float64, device=device)
        self.progress = Progress()
        self.clock = Clock()

    @cached_property
    def data_sha256(self):
        """The hash of the data. For WebVision every file is read; a trial of speed does without."""
        return load_once(self.config.dataset).sha256

    def _build(self, compiled):
        """Build network, loss and optimizer."""
        config, k = self.config, self.dataset.num_classes
        network = models.build(config.model, k, config.init_seed)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        _check_last_batch(config.batch_size, len(self.given), network, self.processes)
        self.tested = fused.forward_of(self.network) if self.kernel else self.network
        self.forward = self.tested
        if self.processes > 1:
            self.forward = nn.parallel.DistributedDataParallel(self.network)
        if compiled:
            self.forward = torch.compile(self.forward, mode="reduce-overhead", dynamic=False)
        loss = losses.loss_from_string(config.loss)
        self.criterion = loss.for_labels(self.given, k).to(self.device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            config.lr,
            config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.nesterov,
            fused=True,
        )
        if config.momentum:  # torch leaves them unset if the very first step overflows
            for parameter in self.network.parameters():
                buffer = torch.zeros_like(parameter)
                self.optimizer.state[parameter]["momentum_buffer"] = buffer
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "float16")

    def step(self, index, images, weight=1.0):
        """Take one step on the samples `index`; do not wait for the device.

        All processes step along the mean of their gradients. `weight` turns this mean into the
        gradient of the whole batch: it is this process's number of samples over the average number.
        """
        given = self.given[index]
        with rounded.autocast(self.device, getattr(torch, self.config.precision)):
            logits = self.forward(images)
        loss = self.criterion(logits.float(), given)
        self.optimizer.zero_grad()
        self.scaler.scale(loss * weight).backward()
        self.scaler.unscale_(self.optimizer)
        if self.config.l1:
            for parameter in self.network.parameters():
                parameter.grad.add_(parameter.detach().sign(), alpha=self.config.l1)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            predicted = logits.argmax(1)
            hits = self.repeated.count(index, predicted == given)
            loss = loss.double().view(1) * len(index)
            sums = torch.cat([loss, hits, self.repeated.tally(predicted)])
            self.totals += self._summed(sums)

    def epoch(self, path, should_stop, every):
        """Train from the current step to the end of the epoch, and test."""
        config, now, n = self.config, self.progress, len(self.given)
        self.generators = self.order.get_state(), self.augmentation.get_state()
        order = torch.randperm(n, generator=self.order).to(self.device)
        places = self._places(n, config.batch_size)[now.step :]
        augmentation = self.augmentation if config.augment else None
        for group in self.optimizer.param_groups:
            group["lr"] = SCHEDULES[config.schedule](config, now.epoch)
        self.network.train()
        for index, images in self.dataset.train_batches(order, places, augmentation):
            whole = min(config.batch_size, n - now.step * config.batch_size)
            self.step(index, images, self.processes * len(index) / whole)
            now.step += 1
            stop = should_stop()
            if path and (stop or self.clock.seconds > every):
                self.save(path)
            if stop:
                raise Stopped(f"stopped in epoch {now.epoch + 1} of {config.epochs}")
        now.epoch, now.step = now.epoch + 1, 0
        self._finish_epoch(n)

    def _finish_epoch(self, n):
        k = self.dataset.num_classes
        loss, *counts = self.totals.tolist()
        repeated, seen_as = counts[: 2 * k], counts[2 * k :]
        self.totals.zero_()
        now = self.progress
        if not math.isfinite(loss):
            now.status = f"the training loss of epoch {now.epoch} is {loss / n}"
            warnings.warn(f"{self.config.loss}: {now.status}", RuntimeWarning, stacklevel=4)
            return
        now.train_loss.append(loss / n)
        now.lost.append(lost_from_counts(seen_as, self.label_counts))
        self._warn_of_lost_classes()
        now.fitted.append(100 * sum(repeated) / n)
        if self.noise_rate:
            now.memorised.append(100 * sum(repeated[k:]) / sum(self.repeated.sizes[k:]))
        predicted = self.test()
        if now.epoch in per_class.kept(self.config.epochs):
            labels = self.dataset.test_labels
            now.per_class.append(self.repeated.shares(now.epoch, repeated, predicted, labels))
        hits, agrees = predicted == self.dataset.test_labels, predicted == self.validation
        now.test_accuracy.append(percent(hits))
        now.half_accuracy.append([percent(hits[half::2]) for half in (0, 1)])
        now.half_agreement.append([percent(agrees[half::2]) for half in (0, 1)])

    def _warn_of_lost_classes(self):
        """Warn of classes that are lost in the second epoch in a row."""
        *before, last = [set(), *map(set, self.progress.lost[-3:])]
        if new := sorted((last & before[-1]) - set.intersection(*before[-2:])):
            epoch, words = self.progress.epoch, ", ".join(map(str, new))
            text = f"class {words} (almost) never predicted by epoch {epoch}, though it has labels"
            warnings.warn(f"{self.config}: {text}; see alfs_utils.lost_classes", RuntimeWarning, 4)

    @torch.no_grad()
    def test(self):
        """Predict the class of every test image; each process predicts its share."""
        if self.processes > 1:
            for buffer in self.network.buffers():
                distributed.broadcast(buffer, 0)  # batch norm's statistics differ
        self.network.eval()
        predicted = torch.zeros_like(self.dataset.test_labels)
        places = self._places(len(predicted), self.dataset.test_batch)
        for place, images in zip(places, self.dataset.test_batches(places), strict=True):
            predicted[place] = self.tested(images).argmax(1)
        return self._summed(predicted)

    def _places(self, n, batch_size):
        """Return each batch of n samples in a row, or this process's share of it."""
        ends = [min(start + batch_size, n) for start in range(0, n, batch_size)]
        return [
            slice(number * batch_size + self.rank, end, self.processes)
            for number, end in enumerate(ends)
        ]

    def _summed(self, tensor):
        """Sum a tensor over all processes."""
        if self.processes > 1:
            distributed.all_reduce(tensor)
        return tensor

    def shown(self):
        """Return the numbers beside the progress bar."""
        if not self.progress.test_accuracy:
            return {}
        loss, test = self.progress.train_loss[-1], self.progress.test_accuracy[-1]
        return {"loss": f"{loss:.4f}", "test": f"{test:.2f}"}

    def history(self):
        self._charge()
        costs_and_curves = asdict(self.progress)
        del costs_and_curves["epoch"], costs_and_curves["step"]
        return History(
            config=self.config,
            noise_rate=self.noise_rate,
            labels_sha256=self.labels_sha256,
            data_sha256=self.data_sha256,
            environment=self.environment,
            **costs_and_curves,
        )

    # --- checkpoints ---

    def save(self, path):
        """Write all that changes in a run."""
        if self.rank == 0:  # all processes have the same state
            self._charge()
            write_checkpoint(path, self.state())

    def resume(self, path):
        """Continue from a checkpoint, if there is one that can be used."""
        state = agreed(None if self.rank else read_checkpoint(path, self.state()))
        if state is None:
            return
        totals = state["tensors"].pop("totals")
        self.totals.copy_(totals)
        for name, part in state["tensors"].items():
            getattr(self, name).load_state_dict(part)
        self.progress = Progress(**state["progress"])
        same_data = state["data_sha256"] == self.data_sha256  # an image may have been mended
        if not (same_data and self.environment.rounds_as(state["environment"])):
            self.progress.mixed = True
        self.generators = state["generators"]
        for generator, value in zip((self.order, self.augmentation), self.generators, strict=True):
            generator.set_state(value)

    def state(self):
        """Return the content of a checkpoint; its tensors are the run's own, not copies."""
        parts = ("network", "optimizer", "scaler", "criterion")
        tensors = {name: dict(getattr(self, name).state_dict()) for name in parts}
        return {
            "config": asdict(self.config),
            "data_sha256": self.data_sha256,
            "labels_sha256": self.labels_sha256,
            "steps": len(self._places(len(self.given), self.config.batch_size)),
            "progress": asdict(self.progress),
            "tensors": tensors | {"totals": self.totals},
            "generators": self.generators,
            "environment": asdict(self.environment),
        }

    def _charge(self):
        """Add the time since the last call to the costs of the run."""
        self.progress.seconds += self.clock.seconds
        self.progress.cpu_seconds += self.clock.cpu_seconds
        self.clock.restart()


def seconds_per_epoch(config: RunConfig, device: str | torch.device = "cpu", steps: int = 30):
    """Time some training steps and a part of the test, and scale both to an epoch (a float)."""
    _check_config(config)
    steps = integer("steps", steps, 1)
    run = Run(config, device_of(device))
    n, n_test = len(run.given), len(run.dataset.test_labels)
    order = torch.arange(n, device=run.device)
    warm_up = 3  # the first steps allocate and choose algorithms
    batch = slice(0, min(config.batch_size, n))
    augmentation = run.augmentation if config.augment else None
    batches = run.dataset.train_batches(order, [batch] * (steps + warm_up), augmentation)
    part = slice(0, min(run.dataset.test_batch, n_test))
    tests = run.dataset.test_batches([part] * (3 + warm_up))

    def timed(action, times):
        for _ in range(warm_up):
            action()
        run.totals.tolist()  # waits for the device
        start = time.perf_counter()
        for _ in range(times):
            action()
        run.totals.tolist()
        return (time.perf_counter() - start) / times

    run.network.train()
    step = timed(lambda: run.step(*next(batches)), steps)
    run.network.eval()
    with torch.no_grad():
        test = timed(lambda: run.tested(next(tests)), 3)
    return step * n / batch.stop + test * n_test / part.stop


def stream(name: str, seed: int) -> torch.Generator:
    """Make the random stream of a name; equal seeds give other streams for other names."""
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def accuracy(network: nn.Module, dataset: data.DataSet, batch_size: int = 1000) -> float:
    """Return the percentage of clean test labels that the network predicts."""
    return percent(
        predict(network, dataset, dataset.test_images, batch_size) == dataset.test_labels
    )


@torch.no_grad()
def predict(
    network: nn.Module, dataset: data.DataSet, images: torch.Tensor, batch_size: int = 1000
) -> torch.Tensor:
    """Predict the class of each uint8 image, (N,) int64; leave the network in evaluation mode."""
    network.eval()
    batches = images.split(integer("batch_size", batch_size, 1))
    return torch.cat([network(dataset.normalise(batch)).argmax(1) for batch in batches])


def _check_config(config):
    if not isinstance(config, RunConfig):
        raise TypeError(f"config: expected a RunConfig, got {config!r:.60}")


def _check_last_batch(batch_size, n, network, processes):
    smallest = ((n - 1) % batch_size + 1) // processes
    if smallest < 1:
        raise ValueError(
            f"batch_size: expected one that leaves an image for each of {processes} processes in "
            f"the last batch, got {batch_size} for {n} images"
        )
    if smallest == 1 and any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        raise ValueError(
            "batch_size: expected one that leaves two or more images, as batch norm needs, in the "
            f"last batch, got {batch_size} for {n} images"
        )


def percent(hits: torch.Tensor) -> float:
    """Return the share of True, in percent."""
    return 100 * hits.double().mean().item()
