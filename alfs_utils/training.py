"""One training run: a frozen configuration in, a history out.

The recipe is the paper's: SGD with momentum 0.9, a cosine schedule stepped per epoch down to 0,
weight decay, gradients clipped to a global norm of 5, the short last batch kept, and the clean test
set evaluated after every epoch.

It is made fast by nothing that changes what is learned: the data set lies on the device as uint8, a
batch is an index, augmentation is one look-up, images are channels-last, clipping and SGD work on
all parameters at once, the host does not wait for the device within an epoch, and on the CPU freed
memory stays in the process (`alfs_utils._allocator`). `benchmarks/training.py` measures it.
"""

import contextlib
import hashlib
import math
import os
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from alfs_utils import _allocator, data, losses, models, noise

__all__ = ["PROTOCOLS", "History", "RunConfig", "Stopped", "paper_run", "stream", "train"]

CHECKPOINT_SECONDS = 20.0

# The paper's recipe per data set; what is not named here is a default of `RunConfig`.
PROTOCOLS = {
    "mnist": {"model": "mnist_cnn", "epochs": 50, "lr": 0.01, "weight_decay": 1e-3},
    "cifar10": {"model": "cifar_cnn", "epochs": 120, "lr": 0.01, "weight_decay": 1e-4},
    "cifar100": {"model": "resnet34", "epochs": 200, "lr": 0.1, "weight_decay": 1e-5},
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on; two runs with equal configurations are the same run.

    Parameters
    ----------
    loss : str or nn.Module
        A loss, or its `repr`: "AGCELoss(a=4.0, q=0.2)". Stored as the string.
    dataset : str
        A name that `alfs_utils.data.load` knows.
    model : str
        A name that `alfs_utils.models.build` knows.
    noise : {"symmetric", "asymmetric", "asymmetric-superclass", "pairflip"}
        Kind of label noise on the training labels; every epoch is tested on clean labels.
        "asymmetric" is `noise.asymmetric` (digits flip as MNIST's do); "-superclass" is CIFAR-100's
        other convention.
    eta : float
        Noise rate, in [0, 1].
    counts : {"iid", "exact", "official"}
        How many labels of a class change: `noise.corrupt`, or `noise.official_alfs`.
    augment : bool
        Whether training images are augmented as is usual for the data set.
    epochs, batch_size, lr, momentum, weight_decay, clip_norm
        Optimisation; `lr` falls to 0 along a cosine, `clip_norm` bounds the global gradient norm.
    noise_seed, init_seed, order_seed, augment_seed : int
        Four independent streams: which labels flip, the initial weights, the order of the samples,
        the augmentation. Change one and the other three stay as they were.
    precision : {"float32", "bfloat16", "float16"}
        Of the network's forward and backward pass (autocast); weights and loss stay float32.
    train_size : int
        Train on the first so many training images only; 0 for all.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it. Everything is checked here, before any
        training starts.
    """

    loss: str | nn.Module
    dataset: str = "digits"
    model: str = "digits_cnn"
    noise: str = "symmetric"
    eta: float = 0.6
    augment: bool = True
    epochs: int = 40
    batch_size: int = 128
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-3
    clip_norm: float = 5.0
    noise_seed: int = 0
    init_seed: int = 0
    order_seed: int = 0
    augment_seed: int = 0
    # New fields go to the end, with the default that means "as before": see `records.run_id`.
    counts: str = "iid"
    precision: str = "float32"
    train_size: int = 0

    def __post_init__(self):
        object.__setattr__(self, "loss", str(losses.loss_from_string(str(self.loss))))
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {sorted(known)}, got {getattr(self, name)!r}"
                )
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}")
        for name in ("eta", "lr", "momentum", "weight_decay", "clip_norm"):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be an int of at least {least}, got {value!r}")
        for name in ("lr", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("momentum", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.counts == "official" and (
            data.base_name(self.dataset) == "digits" or self.noise not in _OFFICIAL_KINDS
        ):
            raise ValueError(
                "counts must be 'iid' or 'exact' for the digits and for noise that the paper's "
                f"code does not have, got 'official' with {self.dataset!r}, {self.noise!r}"
            )


def paper_run(
    dataset: str, loss: str | nn.Module, noise: str, eta: float, seed: int = 0, **changes
) -> RunConfig:
    """The configuration of one run of Tables 1 and 2: the paper's recipe with all seeds equal.

    Parameters
    ----------
    dataset : str
        "mnist", "cifar10" or "cifar100", or the "-npz" name of the latter two.
    loss, noise, eta
        See `RunConfig`. Clean labels: "symmetric", 0.
    seed : int
        Noise, initial weights, order and augmentation all start from it.
    **changes
        Other fields of `RunConfig`; a run with changes is not the paper's.
    """
    base = data.base_name(dataset)
    if base not in PROTOCOLS:
        raise ValueError(f"dataset must be one of {sorted(PROTOCOLS)}, got {dataset!r}")
    seeds = dict.fromkeys(("noise_seed", "init_seed", "order_seed", "augment_seed"), seed)
    recipe = {"dataset": dataset, "noise": noise, "eta": eta, "counts": "official", **seeds}
    return RunConfig(loss, **(recipe | PROTOCOLS[base] | changes))


@dataclass(frozen=True)
class History:
    """What a run leaves behind: one entry per finished epoch, and what it cost.

    Attributes
    ----------
    config : RunConfig
    train_loss : list of float
        Mean loss on the noisy training labels over each epoch.
    test_accuracy : list of float
        Accuracy on the clean test labels after each epoch, in percent.
    noise_rate : float
        Realised fraction of flipped training labels.
    seconds : float
        Wall time of the whole run, interruptions not counted.
    cpu_seconds : float
        CPU time of the process; with `seconds`, tells a busy machine from a slow run.
    fitted : list of float
        Percent of the given training labels that the network predicted when it saw them.
    memorised : list of float
        The same among the wrong labels; empty if there are none.
    half_accuracy, half_agreement : list of two floats
        Accuracy on the clean labels, and agreement with noisy copies of them, on the test images of
        even and of odd index, in percent.
    status : str
        "finished", or "the training loss of epoch 3 is nan".
    labels_sha256 : str
        Hash of the noisy training labels (`NoisyLabels.sha256`).
    """

    config: RunConfig
    train_loss: list[float]
    test_accuracy: list[float]
    noise_rate: float
    seconds: float
    cpu_seconds: float = math.nan
    fitted: list[float] = field(default_factory=list)
    memorised: list[float] = field(default_factory=list)
    half_accuracy: list[list[float]] = field(default_factory=list)
    half_agreement: list[list[float]] = field(default_factory=list)
    status: str = "finished"
    labels_sha256: str = ""

    @property
    def last(self) -> float:
        """Test accuracy of the last epoch, which the tables report; NaN for an unfinished run."""
        return self.test_accuracy[-1] if self.status == "finished" else math.nan

    @property
    def best(self) -> float:
        """Test accuracy of the best epoch: needs clean test labels to choose it."""
        return max(self.test_accuracy, default=math.nan)

    @property
    def noisy_validation(self) -> float:
        """Test accuracy at the epoch that noisy validation labels choose.

        Cross-fitted, so that nothing is chosen on the images it is reported on: the epoch that
        agrees best with noisy labels on one half of the test set is reported on the other half.
        """
        if not self.half_agreement:
            return math.nan
        chosen = np.argmax(self.half_agreement, axis=0)
        return float(np.mean([self.half_accuracy[chosen[h]][1 - h] for h in (0, 1)]))


class Stopped(Exception):
    """A run was asked to stop; its checkpoint has all that it did."""


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
) -> History:
    """Train one network and test it after every epoch.

    On the CPU, at a fixed number of threads, the same configuration gives the same history bit for
    bit, whether or not the run was interrupted. Torch's global random generator is neither used nor
    changed.

    Parameters
    ----------
    config : RunConfig
    device : str or torch.device, default "cpu"
    checkpoint : path, optional
        File that holds the state of the run, renewed about every 20 seconds and at the end. If it
        is there, the run goes on from it.
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
        Asked between two steps; once it says True, the state is saved and `Stopped` is raised.

    Returns
    -------
    History
        If the training loss of an epoch is not finite, the run ends there: `status` says so, and
        the epochs before are kept.

    Raises
    ------
    ValueError, FileNotFoundError
        From `data.load`, before training starts.
    Stopped
    """
    from tqdm.auto import tqdm

    run = _Run(config, torch.device(device))
    if compiled:
        run.forward = torch.compile(run.network, mode="reduce-overhead", dynamic=False)
    if checkpoint is not None:
        checkpoint = Path(checkpoint)
        run.resume(checkpoint)
    bar = tqdm(
        total=config.epochs,
        initial=run.epoch,
        unit="epoch",
        desc=config.loss,
        disable=None if progress is None else not progress,
        dynamic_ncols=True,
    )
    with bar, _deterministic_algorithms(deterministic):
        while run.epoch < config.epochs and run.status == "finished":
            run.run_epoch(checkpoint, should_stop)
            if run.test_accuracy:
                shown = {
                    "loss": f"{run.train_loss[-1]:.4f}",
                    "test": f"{run.test_accuracy[-1]:.2f}",
                }
                bar.set_postfix(shown, refresh=False)
            bar.update()
    if checkpoint is not None:
        run.save(checkpoint)
    if weights is not None:
        _write(weights, run.network.state_dict())
    return run.history()


def seconds_per_epoch(config: RunConfig, device: str | torch.device = "cpu", steps: int = 30):
    """Time some training steps and a part of the test, and scale both to an epoch (a float)."""
    run = _Run(config, torch.device(device))
    index = torch.arange(min(config.batch_size, len(run.given)), device=run.device)
    draws = data.draw_augmentation(run.dataset, len(index)) if config.augment else None
    draws = draws if draws is None else draws.to(run.device)
    images = run.dataset.test_images[:1000]

    def timed(action, times):
        for _ in range(3):
            action()  # the first steps allocate and choose algorithms
        run.totals.tolist()  # waits for the device
        start = time.perf_counter()
        for _ in range(times):
            action()
        run.totals.tolist()
        return (time.perf_counter() - start) / times

    run.network.train()
    step = timed(lambda: run.train_step(index, draws), steps)
    test = timed(lambda: predict(run.network, run.dataset, images), 3)
    return step * len(run.given) / len(index) + test * len(run.dataset.test_images) / len(images)


def stream(name: str, seed: int) -> torch.Generator:
    """A random stream of its own for each name, so that equal seeds do not mean equal draws."""
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def noisy_labels(config: RunConfig, dataset: data.DataSet) -> noise.NoisyLabels:
    """Corrupt the training labels as `config` says; depends on nothing but the noise settings."""
    labels = dataset.train_labels[: config.train_size or None].cpu().numpy()
    if config.counts == "official":
        name = data.base_name(config.dataset)
        return noise.official_alfs(labels, name, config.noise, config.eta, config.noise_seed)
    return noise.corrupt(labels, transition_matrix(config), config.noise_seed, config.counts)


def transition_matrix(config: RunConfig) -> np.ndarray:
    """The (k, k) matrix of `config`'s label noise."""
    name = data.base_name(config.dataset)
    name = "mnist" if name == "digits" else name
    return _NOISE[config.noise](name, config.eta)


def accuracy(network: nn.Module, dataset: data.DataSet, batch_size: int = 1000) -> float:
    """Percent of the clean test labels that the network predicts."""
    hits = predict(network, dataset, dataset.test_images, batch_size) == dataset.test_labels
    return 100 * hits.double().mean().item()


@torch.no_grad()
def predict(
    network: nn.Module, dataset: data.DataSet, images: torch.Tensor, batch_size: int = 1000
) -> torch.Tensor:
    """Predicted class of each uint8 image, (N,) int64; leaves the network in evaluation mode."""
    network.eval()
    batches = images.split(batch_size)
    return torch.cat([network(dataset.normalise(batch)).argmax(1) for batch in batches])


class _Run:
    """The state of a run between two steps."""

    def __init__(self, config, device):
        self.config, self.device = config, device
        if device.type == "cpu":
            _allocator.keep_pages()
        self.dataset = load_once(config.dataset).to(device)
        noisy = noisy_labels(config, self.dataset)
        self.noise_rate, self.labels_sha256 = noisy.rate, noisy.sha256
        if len(noisy.labels) % config.batch_size == 1:
            raise ValueError(
                "batch_size must not leave a last batch of a single image, which batch norm cannot "
                f"use, got {config.batch_size} for {len(noisy.labels)} images"
            )
        self.given = torch.tensor(noisy.labels, device=device)
        self.wrong = torch.tensor(noisy.mask, device=device)
        self.validation = _noisy_copy(config, self.dataset)
        network = models.build(config.model, self.dataset.num_classes, config.init_seed)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.forward = self.network
        self.criterion = _criterion(config, self.given, self.dataset.num_classes).to(device)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            config.lr,
            config.momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.order = stream("order", config.order_seed)
        self.augmentation = stream("augmentation", config.augment_seed)
        self.generators = self.order.get_state(), self.augmentation.get_state()
        self.epoch = self.step = 0
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)
        self.status = "finished"
        for name in _CURVES:
            setattr(self, name, [])
        self.seconds = self.cpu_seconds = 0.0
        self._start_clock()

    def run_epoch(self, checkpoint, should_stop):
        """Train from the current step to the end of the epoch, and test."""
        config, n = self.config, len(self.given)
        self.generators = self.order.get_state(), self.augmentation.get_state()
        order = torch.randperm(n, generator=self.order).to(self.device)
        draws = None
        if config.augment:
            draws = data.draw_augmentation(self.dataset, n, self.augmentation)
            draws = draws if draws is None else draws.to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * (1 + math.cos(math.pi * self.epoch / config.epochs)) / 2
        self.network.train()
        saved = time.monotonic()
        for start in range(self.step * config.batch_size, n, config.batch_size):
            here = slice(start, start + config.batch_size)
            self.train_step(order[here], draws if draws is None else draws[here])
            self.step += 1
            stop = should_stop()
            if checkpoint and (stop or time.monotonic() - saved > CHECKPOINT_SECONDS):
                self.save(checkpoint)
                saved = time.monotonic()
            if stop:
                raise Stopped(f"stopped in epoch {self.epoch + 1} of {config.epochs}")
        self.epoch, self.step = self.epoch + 1, 0
        self._finish_epoch(n)

    def train_step(self, index, draws):
        """One step on the samples `index`; does not wait for the device."""
        config, dataset = self.config, self.dataset
        images = dataset.normalise(data.augment(dataset.train_images[index], draws))
        given = self.given[index]
        with self._autocast():
            logits = self.forward(images)
        loss = self.criterion(logits.float(), given)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            hits = logits.argmax(1) == given
            sums = loss.double() * len(index), hits.sum(), (hits & self.wrong[index]).sum()
            self.totals += torch.stack([s.double() for s in sums])

    def _autocast(self):
        precision = self.config.precision
        if precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, precision))

    def _finish_epoch(self, n):
        loss, fitted, memorised = self.totals.tolist()
        self.totals.zero_()
        if not math.isfinite(loss):
            self.status = f"the training loss of epoch {self.epoch} is {loss / n}"
            warnings.warn(f"{self.config.loss}: {self.status}", RuntimeWarning, stacklevel=4)
            return
        self.train_loss.append(loss / n)
        self.fitted.append(100 * fitted / n)
        if self.noise_rate:
            self.memorised.append(100 * memorised / self.wrong.sum().item())
        predicted = predict(self.network, self.dataset, self.dataset.test_images)
        hits, agrees = predicted == self.dataset.test_labels, predicted == self.validation
        self.test_accuracy.append(_percent(hits))
        self.half_accuracy.append([_percent(hits[half::2]) for half in (0, 1)])
        self.half_agreement.append([_percent(agrees[half::2]) for half in (0, 1)])

    def save(self, path):
        """Write all that changes in a run; a disk that refuses does not cost the run."""
        self._stop_clock()
        state = {
            "config": asdict(self.config),
            "plain": {name: getattr(self, name) for name in (*_COUNTERS, *_CURVES)},
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "criterion": self.criterion.state_dict(),
            "totals": self.totals,
            "generators": self.generators,
        }
        try:
            _write(path, state)
        except OSError as error:
            warnings.warn(f"{path}: no checkpoint written ({error})", RuntimeWarning, stacklevel=3)
        self._start_clock()

    def resume(self, path):
        """Go on from a checkpoint, if there is one; one that cannot be used is set aside."""
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if RunConfig(**state["config"]) != self.config:
                raise ValueError("it belongs to another configuration")
        except Exception as error:  # torch.load has no common class for what can be wrong
            aside = path.with_name(path.name + ".bad")
            os.replace(path, aside)
            warnings.warn(
                f"{path}: this checkpoint cannot be used ({error}); renamed to {aside.name}, the "
                "run starts again",
                RuntimeWarning,
                stacklevel=3,
            )
            return
        self.generators = tuple(before.cpu() for before in state["generators"])
        for name, value in state["plain"].items():
            setattr(self, name, value)
        for name in ("network", "optimizer", "scaler", "criterion"):
            getattr(self, name).load_state_dict(state[name])
        self.totals = state["totals"]
        self.order.set_state(self.generators[0])
        self.augmentation.set_state(self.generators[1])

    def history(self):
        self._stop_clock()
        names = {f.name for f in fields(History)}
        return History(**{name: value for name, value in vars(self).items() if name in names})

    def _start_clock(self):
        self._since = time.perf_counter(), time.process_time()

    def _stop_clock(self):
        wall, cpu = self._since
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu


_CURVES = ("train_loss", "fitted", "memorised", "test_accuracy", "half_accuracy", "half_agreement")
_COUNTERS = ("epoch", "step", "status", "seconds", "cpu_seconds")


def _criterion(config, given, num_classes):
    """The configured loss; NLNL as the authors' code has it weights the classes by their counts."""
    loss = losses.loss_from_string(config.loss)
    if isinstance(loss, losses.NLNLLoss) and loss.compat == "official" and loss.weight is None:
        counts = torch.bincount(given, minlength=num_classes)
        weight = (counts.max() / counts.clamp(min=1)).float().cpu()
        return losses.NLNLLoss(loss.seed, compat="official", weight=weight)
    return loss


def _noisy_copy(config, dataset):
    """Test labels with the same kind of noise, to choose an epoch as one could without clean ones.

    Its seed is far from those in use, so that it shares no draw with the training labels.
    """
    clean = dataset.test_labels.cpu().numpy()
    noisy = noise.corrupt(clean, transition_matrix(config), config.noise_seed + 2**31)
    return torch.tensor(noisy.labels, device=dataset.test_labels.device)


def _percent(hits):
    return 100 * hits.double().mean().item()


def _write(path, state):
    """Write a file of tensors so that at any moment either the old or the new one is there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        torch.save(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _deterministic_algorithms(wanted):
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if wanted:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


load_once = lru_cache(maxsize=2)(data.load)

_NOISE = {
    "symmetric": lambda name, eta: noise.symmetric(len(data.CLASS_COUNTS[name]), eta),
    "pairflip": lambda name, eta: noise.pairflip(len(data.CLASS_COUNTS[name]), eta),
    "asymmetric": noise.asymmetric,
    "asymmetric-superclass": lambda name, eta: noise.asymmetric(name, eta, "superclass"),
}
_OFFICIAL_KINDS = ("symmetric", "asymmetric")
_CHOICES = {
    "dataset": data.NAMES,
    "model": models.NAMES,
    "noise": tuple(_NOISE),
    "counts": ("iid", "exact", "official"),
    "precision": ("float32", "bfloat16", "float16"),
}
_LEAST = {"epochs": 1, "batch_size": 1, "train_size": 0} | dict.fromkeys(
    ("noise_seed", "init_seed", "order_seed", "augment_seed"), 0
)
