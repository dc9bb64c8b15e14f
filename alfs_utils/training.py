"""One training run: a frozen configuration in, a history out.

The recipe is the paper's: SGD with momentum 0.9, a cosine schedule stepped per epoch down to 0,
weight decay, gradients clipped to a global norm of 5, the short last batch kept, and the clean test
set evaluated after every epoch.

It is made fast by nothing that changes what is learned: the data set lies on the device as uint8, a
batch is an index, augmentation is one look-up, images are channels-last, clipping and SGD work on
all parameters at once, the host does not wait for the device within an epoch, and on the CPU freed
memory stays in the process (`alfs_utils._allocator`) and batch norm with what follows it is one
function (`alfs_utils.fused`). `benchmarks/training.py` measures it.

Where `torch.distributed` has been started, as `python -m alfs_utils.webvision` does under torchrun,
each process takes its share of every batch, and all have the same weights after every step.
"""

import contextlib
import hashlib
import math
import numbers
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import distributed, nn

from alfs_utils import _allocator, data, fused, human, losses, models, noise, per_class
from alfs_utils._files import replacing
from alfs_utils._progress import progress_bar

__all__ = ["PROTOCOLS", "History", "RunConfig", "Stopped", "paper_run", "stream", "train"]

CHECKPOINT_SECONDS = 20.0

# The paper's recipe per data set; what is not named here is a default of `RunConfig`.
PROTOCOLS = {
    "mnist": {"model": "mnist_cnn", "epochs": 50, "lr": 0.01, "weight_decay": 1e-3},
    "cifar10": {"model": "cifar_cnn", "epochs": 120, "lr": 0.01, "weight_decay": 1e-4},
    "cifar100": {"model": "resnet34", "epochs": 200, "lr": 0.1, "weight_decay": 1e-5},
}
# Table 3's, apart from the others: here the labels are noisy as they come.
WEBVISION = {
    "model": "resnet50",
    "counts": "iid",
    "epochs": 250,
    "batch_size": 256,
    "lr": 0.4,
    "weight_decay": 3e-5,
    "nesterov": True,
    "schedule": "exponential",
}
DECAY = 0.97  # of the exponential schedule, per epoch
SEEDS = ("noise_seed", "init_seed", "order_seed", "augment_seed")
# The lists of `History`, one entry per finished epoch.
CURVES = ("train_loss", "fitted", "memorised", "test_accuracy", "half_accuracy", "half_agreement")


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
    noise : {"symmetric", "asymmetric", "asymmetric-superclass", "pairflip", "none"} or human labels
        Kind of label noise on the training labels; every epoch is tested on clean labels.
        "asymmetric" is `noise.asymmetric` (digits flip as MNIST's do); "-superclass" is CIFAR-100's
        other convention. One of `human.NAMES`, such as "cifar10n-worst", with `eta` 0: labels that
        people gave to the images of CIFAR-10 or CIFAR-100. "none", with `eta` 0, is for
        "webvision-mini", whose labels are noisy as they come, and for it alone.
    eta : float
        Noise rate, in [0, 1].
    counts : {"iid", "exact", "official"}
        How many labels of a class change: `noise.corrupt`, or `noise.official_alfs`.
    augment : bool
        Whether training images are augmented as is usual for the data set.
    epochs, batch_size, lr, momentum, weight_decay, clip_norm
        Optimisation; `lr` falls along `schedule`, `clip_norm` bounds the global gradient norm.
        `batch_size` is that of all processes together.
    noise_seed, init_seed, order_seed, augment_seed : int
        Four independent streams: which labels flip, the initial weights, the order of the samples,
        the augmentation. Change one and the other three stay as they were.
    precision : {"float32", "bfloat16", "float16"}
        Of the network's forward and backward pass (autocast); weights and loss stay float32. On a
        GPU, "float32" convolutions use TF32 unless torch is told otherwise; the record says so.
    train_size : int
        Train on the first so many training images only; 0 for all.
    nesterov : bool
        Nesterov's momentum.
    schedule : {"cosine", "exponential"}
        How `lr` falls after every epoch: to 0 along a cosine, or by 3 %.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it. What the data decide (`train_size`,
        images that `model` does not fit) shows when training starts.
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
    nesterov: bool = False
    schedule: str = "cosine"

    def __post_init__(self):
        self._check_fields()
        self._check_combinations()

    def _check_fields(self):
        try:
            loss = losses.loss_from_string(str(self.loss))
            if loss.reduction != "mean":
                raise ValueError(f"its reduction must be 'mean', got {loss.reduction!r}")
            object.__setattr__(self, "loss", str(loss))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"loss must be one of alfs_utils.losses or its repr, got {self.loss!r}: {error}"
            ) from error
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {sorted(known)}, got {getattr(self, name)!r}"
                )
        for name in ("eta", "lr", "momentum", "weight_decay", "clip_norm"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise ValueError(f"{name} must be a number, got {value!r}")
            if math.isinf(value) and name != "clip_norm":
                raise ValueError(f"{name} must be finite, got {value!r}")
            object.__setattr__(self, name, float(value))
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}")
        for name in ("augment", "nesterov"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {getattr(self, name)!r}")
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

    def _check_combinations(self):
        if self.noise == "asymmetric-superclass" and data.base_name(self.dataset) != "cifar100":
            raise ValueError(
                "noise must be another than that of CIFAR-100's superclasses for "
                f"{self.dataset!r}, got {self.noise!r}"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("momentum must be positive with nesterov, got 0.0")
        as_it_comes = self.dataset in _NOISY_AS_THEY_COME
        if as_it_comes != (self.noise == "none"):
            expected = "'none'" if as_it_comes else "another than 'none'"
            raise ValueError(f"noise must be {expected} for {self.dataset!r}, got {self.noise!r}")
        people = human.DATASETS.get(self.noise)
        if people and people != data.base_name(self.dataset):
            raise ValueError(f"dataset must be {people!r} for {self.noise!r}, got {self.dataset!r}")
        if self.noise not in _NOISE and (self.eta or self.counts != "iid"):
            raise ValueError(
                f"eta must be 0.0 and counts 'iid' for noise={self.noise!r}, got {self.eta} and "
                f"{self.counts!r}"
            )
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
    """The configuration of one run of Tables 1 to 3: the paper's recipe with all seeds equal.

    Parameters
    ----------
    dataset : str
        "mnist", "cifar10" or "cifar100", or the "-npz" name of the latter two; "webvision-mini".
    loss, noise, eta
        See `RunConfig`. Clean labels: "symmetric", 0. "webvision-mini": "none", 0. Human labels:
        their name, 0; they are not in the paper, the rest of the recipe is, and so with
        "asymmetric-superclass".
    seed : int
        Noise, initial weights, order and augmentation all start from it.
    **changes
        Other fields of `RunConfig`; a run with changes is not the paper's.
    """
    base, protocols = data.base_name(dataset), PROTOCOLS | {"webvision-mini": WEBVISION}
    if base not in protocols:
        raise ValueError(f"dataset must be one of {sorted(protocols)}, got {dataset!r}")
    seeds = dict.fromkeys(SEEDS, seed)
    counts = "official" if noise in _OFFICIAL_KINDS else "iid"
    recipe = {"dataset": dataset, "noise": noise, "eta": eta, "counts": counts, **seeds}
    return RunConfig(loss, **(recipe | protocols[base] | changes))


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
        Realised fraction of training labels that were flipped; 0 where they are noisy as they come.
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
    mixed : bool
        Whether the run went on from a checkpoint of another device, version of torch, number of
        threads, kernel or arguments of `train`; then it does not repeat bit for bit.
    kernel : str
        What trained in place of stock modules, see `fused.kernel`; "" if nothing did.
    per_class : list of dict
        After the epochs of `per_class.kept`, one entry each, with lists of one number per class, in
        percent, rounded to 0.1: "epoch"; "test_accuracy" on the clean labels; "repeated_right" and
        "repeated_wrong", how many of the right and of the wrong labels that training images of
        this clean class were given the network predicted when it saw them; None where there is
        none.
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
    mixed: bool = False
    kernel: str = ""
    per_class: list[dict] = field(default_factory=list)

    @property
    def last(self) -> float:
        """Test accuracy of the last epoch, which the tables report; NaN for an unfinished run."""
        return self.test_accuracy[-1] if self.status == "finished" else math.nan

    @property
    def best(self) -> float:
        """Test accuracy of the best epoch: needs clean test labels to choose it."""
        return max(self.test_accuracy, default=math.nan)

    @property
    def repeated(self) -> float:
        """Percent of the wrong labels that the network repeats in its last epoch; NaN without."""
        return self.memorised[-1] if self.memorised else math.nan

    @property
    def noisy_validation(self) -> float:
        """Test accuracy at the epoch that noisy validation labels choose.

        Cross-fitted, so that nothing is chosen on the images it is reported on: the epoch that
        agrees best with noisy labels on one half of the test set is reported on the other half.
        NaN where nobody knows how to draw them: the training labels are noisy as they come, or
        people gave them.
        """
        if not self.half_agreement or self.config.noise not in _NOISE:
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

    On one kind of CPU, with one version of torch and at a fixed number of threads, the same
    configuration gives the same history bit for bit, whether or not the run was interrupted.
    Torch's global random generator is neither used nor changed.

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
        Asked between two steps; once it says True, the state is saved and `Stopped` is raised. With
        several processes it must say the same in all of them.

    Returns
    -------
    History
        If the training loss of an epoch is not finite, the run ends there: `status` says so, and
        the epochs before are kept.

    Raises
    ------
    ValueError, OSError
        Before training starts: from `data.load`, or for `weights` that cannot be written.
    Stopped
    """
    if weights is not None and process()[0] == 0:
        _check_writable(weights)
    run = _Run(config, torch.device(device), compiled)
    run.how += [deterministic, compiled]
    if compiled:
        run.forward = torch.compile(run.forward, mode="reduce-overhead", dynamic=False)
    if checkpoint is not None:
        checkpoint = Path(checkpoint)
        run.resume(checkpoint)
    bar = progress_bar(
        False if run.rank else progress,
        total=config.epochs,
        initial=run.epoch,
        unit="epoch",
        desc=config.loss,
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
    if weights is not None and run.rank == 0:
        _write(weights, run.network.state_dict())
    return run.history()


def seconds_per_epoch(config: RunConfig, device: str | torch.device = "cpu", steps: int = 30):
    """Time some training steps and a part of the test, and scale both to an epoch (a float)."""
    run = _Run(config, torch.device(device))
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
    step = timed(lambda: run.train_step(*next(batches)), steps)
    run.network.eval()
    with torch.no_grad():
        test = timed(lambda: run.tested(next(tests)), 3)
    return step * n / batch.stop + test * n_test / part.stop


def process() -> tuple[int, int]:
    """This process's number (rank) and how many there are: (0, 1) unless torchrun started them."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


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


def stream(name: str, seed: int) -> torch.Generator:
    """A random stream of its own for each name, so that equal seeds do not mean equal draws."""
    digest = hashlib.sha256(f"{name} {seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))


def noisy_labels(config: RunConfig, dataset: data.DataSet) -> noise.NoisyLabels:
    """Corrupt the training labels as `config` says; depends on nothing but the noise settings."""
    if config.train_size > len(dataset.train_labels):
        raise ValueError(
            f"train_size must be at most {len(dataset.train_labels)} for {config.dataset!r}, "
            f"got {config.train_size}"
        )
    labels = dataset.train_labels[: config.train_size or None].cpu().numpy()
    if config.noise == "none":
        return noise.corrupt(labels, np.eye(dataset.num_classes), config.noise_seed)
    if config.noise in human.DATASETS:
        given = human.load(config.noise, dataset.train_labels.cpu().numpy())
        n, seed = len(labels), config.noise_seed
        return noise.NoisyLabels(given.labels[:n], labels, given.T, seed, "human", config.noise)
    if config.counts == "official":
        name = data.base_name(config.dataset)
        return noise.official_alfs(labels, name, config.noise, config.eta, config.noise_seed)
    return noise.corrupt(labels, transition_matrix(config), config.noise_seed, config.counts)


def transition_matrix(config: RunConfig) -> np.ndarray:
    """The (k, k) matrix of `config`'s label noise; ValueError for noise that nobody knows."""
    if config.noise not in _NOISE:
        raise ValueError(f"noise {config.noise!r} of {config.dataset!r}: not drawn from a matrix")
    name = data.base_name(config.dataset)
    name = "mnist" if name == "digits" else name
    return _NOISE[config.noise](name, config.eta)


def accuracy(network: nn.Module, dataset: data.DataSet, batch_size: int = 1000) -> float:
    """Percent of the clean test labels that the network predicts."""
    return _percent(
        predict(network, dataset, dataset.test_images, batch_size) == dataset.test_labels
    )


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

    def __init__(self, config, device, compiled=False):
        self.config, self.device = config, device
        self.rank, self.processes = process()
        if device.type == "cpu":
            _allocator.keep_pages()
        self.dataset = load_once(config.dataset).to(device)
        noisy = noisy_labels(config, self.dataset)
        self.noise_rate, self.labels_sha256 = noisy.rate, noisy.sha256
        self.given = torch.tensor(noisy.labels, device=device)
        self.wrong = torch.tensor(noisy.mask, device=device)
        clean = torch.tensor(noisy.clean, device=device)
        self.repeated = per_class.Repeated(clean, self.wrong, self.dataset.num_classes)
        self.validation = _noisy_copy(config, self.dataset)
        network = models.build(config.model, self.dataset.num_classes, config.init_seed)
        self.network = network.to(device, memory_format=torch.channels_last)
        _check_last_batch(config.batch_size, len(self.given), network, self.processes)
        fits = self.processes == 1 and not compiled and config.model != "resnet50"  # torchvision's
        self.kernel = fused.kernel(device, config.precision) if fits else ""
        self.tested = fused.forward_of(self.network) if self.kernel else self.network
        self.forward = self.tested
        if self.processes > 1:
            self.forward = nn.parallel.DistributedDataParallel(self.network)
        self.criterion = _criterion(config, self.given, self.dataset.num_classes).to(device)
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
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.order = stream("order", config.order_seed)
        self.augmentation = stream("augmentation", config.augment_seed)
        self.generators = self.order.get_state(), self.augmentation.get_state()
        self.epoch = self.step = 0
        counts = len(self.repeated.sizes)
        self.totals = torch.zeros(1 + counts, dtype=torch.float64, device=device)
        self.how = [device_name(device), str(torch.__version__), torch.get_num_threads()]
        self.how += [self.kernel]
        self.mixed = False
        self.status = "finished"
        for name in CURVES:
            setattr(self, name, [])
        self.per_class = []
        self.seconds = self.cpu_seconds = 0.0
        self._start_clock()

    def run_epoch(self, checkpoint, should_stop):
        """Train from the current step to the end of the epoch, and test."""
        config, n = self.config, len(self.given)
        self.generators = self.order.get_state(), self.augmentation.get_state()
        order = torch.randperm(n, generator=self.order).to(self.device)
        places = self._places(n, config.batch_size)[self.step :]
        augmentation = self.augmentation if config.augment else None
        for group in self.optimizer.param_groups:
            group["lr"] = _SCHEDULES[config.schedule](config, self.epoch)
        self.network.train()
        for index, images in self.dataset.train_batches(order, places, augmentation):
            whole = min(config.batch_size, n - self.step * config.batch_size)
            self.train_step(index, images, self.processes * len(index) / whole)
            self.step += 1
            stop = should_stop()
            if checkpoint and (stop or self._since_save() > CHECKPOINT_SECONDS):
                self.save(checkpoint)
            if stop:
                raise Stopped(f"stopped in epoch {self.epoch + 1} of {config.epochs}")
        self.epoch, self.step = self.epoch + 1, 0
        self._finish_epoch(n)

    def _places(self, n, batch_size):
        """Each batch of n samples in a row, or this process's share of it."""
        ends = [min(start + batch_size, n) for start in range(0, n, batch_size)]
        return [
            slice(number * batch_size + self.rank, end, self.processes)
            for number, end in enumerate(ends)
        ]

    def train_step(self, index, images, weight=1.0):
        """One step on the samples `index`; does not wait for the device.

        `weight` makes the mean of the processes' gradients, which all of them then step along, that
        of the whole batch: this process's samples over the processes' average.
        """
        config = self.config
        given = self.given[index]
        with self._autocast():
            logits = self.forward(images)
        loss = self.criterion(logits.float(), given)
        self.optimizer.zero_grad()
        self.scaler.scale(loss * weight).backward()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm, foreach=True)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        with torch.no_grad():
            hits = self.repeated.count(index, logits.argmax(1) == given)
            sums = torch.cat([loss.double().view(1) * len(index), hits])
            self.totals += self._summed(sums)

    def _summed(self, tensor):
        """The sum over all processes."""
        if self.processes > 1:
            distributed.all_reduce(tensor)
        return tensor

    @torch.no_grad()
    def _predicted(self):
        """Predicted class of every test image; each process predicts its share."""
        if self.processes > 1:
            for buffer in self.network.buffers():
                distributed.broadcast(buffer, 0)  # batch norm's statistics differ
        self.network.eval()
        predicted = torch.zeros_like(self.dataset.test_labels)
        places = self._places(len(predicted), self.dataset.test_batch)
        for place, images in zip(places, self.dataset.test_batches(places), strict=True):
            predicted[place] = self.tested(images).argmax(1)
        return self._summed(predicted)

    def _autocast(self):
        precision = self.config.precision
        if precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, getattr(torch, precision))

    def _finish_epoch(self, n):
        loss, *hits = self.totals.tolist()
        self.totals.zero_()
        if not math.isfinite(loss):
            self.status = f"the training loss of epoch {self.epoch} is {loss / n}"
            warnings.warn(f"{self.config.loss}: {self.status}", RuntimeWarning, stacklevel=4)
            return
        self.train_loss.append(loss / n)
        self.fitted.append(100 * sum(hits) / n)
        if self.noise_rate:
            k = self.dataset.num_classes
            self.memorised.append(100 * sum(hits[k:]) / sum(self.repeated.sizes[k:]))
        predicted = self._predicted()
        if self.epoch in per_class.kept(self.config.epochs):
            labels = self.dataset.test_labels
            self.per_class.append(self.repeated.shares(self.epoch, hits, predicted, labels))
        hits, agrees = predicted == self.dataset.test_labels, predicted == self.validation
        self.test_accuracy.append(_percent(hits))
        self.half_accuracy.append([_percent(hits[half::2]) for half in (0, 1)])
        self.half_agreement.append([_percent(agrees[half::2]) for half in (0, 1)])

    def save(self, path):
        """Write all that changes in a run; a disk that refuses does not cost the run."""
        if self.rank:
            return  # all processes have the same state
        self._stop_clock()
        state = {
            "config": asdict(self.config),
            "plain": {name: getattr(self, name) for name in (*_COUNTERS, *CURVES)},
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "criterion": self.criterion.state_dict(),
            "totals": self.totals,
            "generators": self.generators,
            "how": self.how,
            "mixed": self.mixed,
        }
        try:
            _write(path, state)
        except OSError as error:
            warnings.warn(f"{path}: no checkpoint written ({error})", RuntimeWarning, stacklevel=3)
        self._start_clock()

    def resume(self, path):
        """Go on from a checkpoint, if there is one; one that cannot be used is set aside."""
        state = None if self.rank else self._read(path)
        if self.processes > 1:
            states = [state]
            distributed.broadcast_object_list(states, 0)
            state = states[0]
        if state is None:
            return
        self.generators = state["generators"]
        for name, value in state["plain"].items():
            setattr(self, name, value)
        for name in ("network", "optimizer", "scaler", "criterion"):
            getattr(self, name).load_state_dict(state[name])
        self.totals = state["totals"].to(self.device)
        self.mixed = state.get("mixed", False) or state.get("how", self.how) != self.how
        self.order.set_state(self.generators[0])
        self.augmentation.set_state(self.generators[1])

    def _read(self, path):
        if not path.exists():
            return None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if RunConfig(**state["config"]) != self.config:
                raise ValueError("it belongs to another configuration")
            missing = {*_COUNTERS, *CURVES} - state["plain"].keys() | {*_TENSORS} - state.keys()
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            shapes = {name: value.shape for name, value in self.network.state_dict().items()}
            if {name: value.shape for name, value in state["network"].items()} != shapes:
                raise ValueError("its network has other layers")
            for name, extra in state["criterion"].items():
                where = extra["device"] if name.endswith("_extra_state") else self.device
                if torch.device(where).type != self.device.type:
                    raise ValueError("its loss draws on another kind of device")
            return state
        except Exception as error:  # torch.load has no common class for what can be wrong
            aside = path.with_name(path.name + ".bad")
            os.replace(path, aside)
            warnings.warn(
                f"{path}: this checkpoint cannot be used ({error}); renamed to {aside.name}, the "
                "run starts again",
                RuntimeWarning,
                stacklevel=4,
            )
            return None

    def history(self):
        self._stop_clock()
        names = {f.name for f in fields(History)}
        return History(**{name: value for name, value in vars(self).items() if name in names})

    def _start_clock(self):
        self._since = time.perf_counter(), time.process_time()

    def _since_save(self):
        return time.perf_counter() - self._since[0]  # `save` starts the clock anew

    def _stop_clock(self):
        wall, cpu = self._since
        self.seconds += time.perf_counter() - wall
        self.cpu_seconds += time.process_time() - cpu


_TENSORS = ("network", "optimizer", "scaler", "criterion", "totals", "generators")
_COUNTERS = ("epoch", "step", "status", "seconds", "cpu_seconds", "per_class")


def _criterion(config, given, num_classes):
    """The configured loss; NLNL as the authors' code has it weights the classes by their counts."""
    loss = losses.loss_from_string(config.loss)
    if isinstance(loss, losses.NLNLLoss) and loss.compat == "official" and loss.weight is None:
        counts = torch.bincount(given, minlength=num_classes)
        weight = (counts.max() / counts.clamp(min=1)).float().cpu()
        return losses.NLNLLoss(loss.seed, compat="official", weight=weight)
    return loss


def _check_writable(path):
    """Before the work, not after it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ValueError(f"weights must be a file that can be written, got {str(path)!r}")


def _check_last_batch(batch_size, n, network, processes):
    smallest = ((n - 1) % batch_size + 1) // processes
    if smallest < 1:
        raise ValueError(
            f"batch_size must leave an image for each of {processes} processes in the last batch, "
            f"got {batch_size} for {n} images"
        )
    if smallest == 1 and any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        raise ValueError(
            "batch_size must leave more than one image in the last batch, batch norm needs two: "
            f"got {batch_size} for {n} images"
        )


def _noisy_copy(config, dataset):
    """Test labels with the same kind of noise, to choose an epoch as one could without clean ones.

    Without a model of the noise, the clean ones: `History.noisy_validation` does not use them.
    Its seed is far from those in use, so that it shares no draw with the training labels.
    """
    if config.noise not in _NOISE:
        return dataset.test_labels
    clean = dataset.test_labels.cpu().numpy()
    noisy = noise.corrupt(clean, transition_matrix(config), config.noise_seed + 2**31)
    return torch.tensor(noisy.labels, device=dataset.test_labels.device)


def _percent(hits):
    return 100 * hits.double().mean().item()


def _write(path, state):
    """Write a file of tensors, see `replacing`; makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, "part") as file:  # a path would turn a full disk into a RuntimeError
        torch.save(state, file)


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


_SCHEDULES = {
    "cosine": lambda config, epoch: config.lr * (1 + math.cos(math.pi * epoch / config.epochs)) / 2,
    "exponential": lambda config, epoch: config.lr * DECAY**epoch,
}

load_once = lru_cache(maxsize=2)(data.load)

_NOISE = {
    "symmetric": lambda name, eta: noise.symmetric(len(data.CLASS_COUNTS[name]), eta),
    "pairflip": lambda name, eta: noise.pairflip(len(data.CLASS_COUNTS[name]), eta),
    "asymmetric": noise.asymmetric,
    "asymmetric-superclass": lambda name, eta: noise.asymmetric(name, eta, "superclass"),
}
_NOISY_AS_THEY_COME = ("webvision-mini",)
_OFFICIAL_KINDS = ("symmetric", "asymmetric")
_CHOICES = {
    "dataset": data.NAMES,
    "model": models.NAMES,
    "noise": (*_NOISE, "none", *human.NAMES),
    "schedule": tuple(_SCHEDULES),
    "counts": ("iid", "exact", "official"),
    "precision": ("float32", "bfloat16", "float16"),
}
_LEAST = {"epochs": 1, "batch_size": 1, "train_size": 0} | dict.fromkeys(SEEDS, 0)
