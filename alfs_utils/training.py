"""One training run: a frozen configuration in, a history out.

The recipe is the paper's: SGD with momentum 0.9, a cosine schedule stepped per epoch down to 0,
weight decay, gradients clipped to a global norm of 5, the short last batch kept, and the clean test
set evaluated after every epoch.
"""

import time
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from alfs_utils import data, losses, models, noise

__all__ = ["History", "RunConfig", "train"]


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
    noise : {"symmetric", "pairflip"}
        Kind of label noise on the training labels; every epoch is tested on clean labels.
    eta : float
        Noise rate, in [0, 1].
    augment : bool
        Whether training images are shifted at random (by up to `DataSet.crop_padding` pixels).
    epochs, batch_size, lr, momentum, weight_decay, clip_norm
        Optimisation; `lr` falls to 0 along a cosine, `clip_norm` bounds the global gradient norm.
    noise_seed, init_seed, order_seed, augment_seed : int
        Four independent streams: which labels flip, the initial weights, the order of the samples,
        the augmentation. Change one and the other three stay as they were.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it. Names are checked before training starts.
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

    def __post_init__(self):
        object.__setattr__(self, "loss", str(self.loss))
        losses.loss_from_string(self.loss)
        if self.noise not in _NOISE:
            raise ValueError(f"noise must be one of {sorted(_NOISE)}, got {self.noise!r}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("lr", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class History:
    """What a run leaves behind: one entry per epoch, and what it cost.

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
        Wall time of the whole run.
    """

    config: RunConfig
    train_loss: list[float]
    test_accuracy: list[float]
    noise_rate: float
    seconds: float


def train(config: RunConfig, device: str | torch.device = "cpu") -> History:
    """Train one network and test it after every epoch.

    On the CPU, at a fixed number of threads, the same configuration gives the same history bit for
    bit. Torch's global random generator is neither used nor changed.

    Parameters
    ----------
    config : RunConfig
    device : str or torch.device, default "cpu"

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        If the training loss of an epoch is not finite; the message names the epoch.
    """
    start = time.perf_counter()
    dataset = load_once(config.dataset).to(device)
    noisy = noisy_labels(config, dataset)
    labels = torch.tensor(noisy.labels, device=device)
    network = models.build(config.model, dataset.num_classes, config.init_seed).to(device)
    criterion = losses.loss_from_string(config.loss).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs)
    padding = dataset.crop_padding if config.augment else 0
    order = torch.Generator().manual_seed(config.order_seed)
    augment = torch.Generator().manual_seed(config.augment_seed)

    train_loss, test_accuracy = [], []
    for epoch in range(1, config.epochs + 1):
        network.train()
        total = torch.zeros((), device=device)
        shuffled = torch.randperm(len(labels), generator=order).to(device)
        for index in shuffled.split(config.batch_size):
            images = data.random_crop(dataset.train_images[index], padding, augment)
            loss = criterion(network(dataset.normalise(images)), labels[index])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            optimizer.step()
            total += loss.detach() * len(index)
        schedule.step()
        train_loss.append(total.item() / len(labels))
        if not torch.isfinite(total):
            raise FloatingPointError(f"the training loss of epoch {epoch} is {train_loss[-1]}")
        test_accuracy.append(accuracy(network, dataset))
    seconds = time.perf_counter() - start
    return History(config, train_loss, test_accuracy, noisy.rate, seconds)


def noisy_labels(config: RunConfig, dataset: data.DataSet) -> noise.NoisyLabels:
    """Corrupt the training labels as `config` says; depends on nothing but the noise settings."""
    T = _NOISE[config.noise](dataset.num_classes, config.eta)
    return noise.corrupt(dataset.train_labels.cpu().numpy(), T, config.noise_seed)


@torch.no_grad()
def accuracy(network: nn.Module, dataset: data.DataSet, batch_size: int = 2000) -> float:
    """Percent of the clean test labels that the network predicts."""
    network.eval()
    correct = sum(
        (network(dataset.normalise(images)).argmax(1) == labels).sum()
        for images, labels in zip(
            dataset.test_images.split(batch_size),
            dataset.test_labels.split(batch_size),
            strict=True,
        )
    )
    return 100 * correct.item() / len(dataset.test_labels)


load_once = lru_cache(maxsize=2)(data.load)

_NOISE = {"symmetric": noise.symmetric, "pairflip": noise.pairflip}
