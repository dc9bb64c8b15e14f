"""The configuration of a run: everything that its result depends on."""

import hashlib
import json
import math
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
from torch import nn

from alfs_utils import data, losses, models
from alfs_utils._arguments import integer, option, real, shown
from alfs_utils.training.labels import KINDS

SEEDS = ("noise_seed", "init_seed", "order_seed", "augment_seed")


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
        people gave to the images of CIFAR-10 or CIFAR-100. Words have "words-worst" and
        "words-one" (`data.words`), with `eta` 0. "instance" and "margin" depend on the sample
        (`training.labels`), for digits and words. "none", with `eta` 0, is for
        "webvision-mini", whose labels are noisy already, and for it alone.
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
        GPU, "float32" convolutions use TF32 unless torch is told otherwise; the record says so. On
        a CPU whose best is AVX2, bfloat16 is float32 arithmetic on rounded operands (`rounded`).
    train_size : int
        Train on the first so many training images only; 0 for all.
    nesterov : bool
        Nesterov's momentum.
    schedule : {"cosine", "exponential"}
        How `lr` falls after every epoch: to 0 along a cosine, or by 3 %.
    l1 : float
        `l1` times the sum of the absolute values of all parameters is added to the loss, before
        clipping; recorded losses leave it out. ANL and JAL have it instead of `weight_decay`.

    Raises
    ------
    TypeError, ValueError
        If a value is of another type or out of range; the message names it. Errors that depend on
        the data (`train_size`, images that `model` does not fit) show when training starts.
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
    # New fields go to the end, with the default that means "as before": see `run_id`.
    counts: str = "iid"
    precision: str = "float32"
    train_size: int = 0
    nesterov: bool = False
    schedule: str = "cosine"
    l1: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "loss", _checked_loss(self.loss))
        for name, known in _CHOICES.items():
            option(name, getattr(self, name), known)
        for name, (legal, accept) in _REALS.items():
            object.__setattr__(self, name, _checked_real(name, getattr(self, name), legal, accept))
        for name in ("augment", "nesterov"):
            if not isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name}: expected True or False, got {getattr(self, name)!r}")
            object.__setattr__(self, name, bool(getattr(self, name)))
        for name, least in _LEAST.items():
            object.__setattr__(self, name, integer(name, getattr(self, name), least, 2**32 - 1))
        if self.nesterov and not self.momentum:
            raise ValueError("momentum: expected a positive number with nesterov, got 0.0")
        KINDS[self.noise].check(self)

    def __str__(self) -> str:
        """Describe the run in a few words; the repr has all of it."""
        noise = f"{self.noise} {self.eta:g}"
        return f"{self.dataset} {noise} {self.loss} seed {self.init_seed}"

    def seeded(self, seed: int) -> "RunConfig":
        """Return the same run with all four seeds set to `seed`."""
        return replace(self, **dict.fromkeys(SEEDS, seed))


def run_id(config: RunConfig) -> str:
    """Return the twelve hexadecimal digits that name a configuration.

    Only the fields that differ from `RunConfig`'s defaults are hashed: a field added later, whose
    default means "as before", leaves the ids of older runs as they were. Defaults never change.
    """
    given = {
        f.name: getattr(config, f.name)
        for f in fields(config)
        if f.name == "loss" or getattr(config, f.name) != f.default
    }
    text = json.dumps(given, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checked_loss(loss):
    """Return the repr of a loss that a run can train with."""
    if not isinstance(loss, str | nn.Module):
        raise TypeError(f"loss: expected one of alfs_utils.losses or its repr, got {shown(loss)}")
    try:
        found, reduction = _parsed_loss(str(loss))
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"loss: expected one of alfs_utils.losses or its repr, got {shown(loss)}: {error}"
        ) from error
    if reduction != "mean":
        raise ValueError(f"loss: expected reduction='mean', got {loss!r}")
    return found


@lru_cache(maxsize=1000)  # a ledger has many runs of few losses
def _parsed_loss(text):
    loss = losses.loss_from_string(text)
    return str(loss), loss.reduction


def _checked_real(name, value, legal, accept):
    if name == "clip_norm" and value == math.inf:
        return math.inf
    return real(name, value, legal, accept)


_REALS = {
    "eta": ("a number in [0, 1]", lambda x: 0 <= x <= 1),
    "lr": ("a positive number", lambda x: x > 0),
    "clip_norm": ("a positive number, or inf", lambda x: x > 0),
    "momentum": ("a number >= 0", lambda x: x >= 0),
    "weight_decay": ("a number >= 0", lambda x: x >= 0),
    "l1": ("a number >= 0", lambda x: x >= 0),
}
_CHOICES = {
    "dataset": data.NAMES,
    "model": models.NAMES,
    "noise": tuple(KINDS),
    "schedule": ("cosine", "exponential"),
    "counts": ("iid", "exact", "official"),
    "precision": ("float32", "bfloat16", "float16"),
}
_LEAST = {"epochs": 1, "batch_size": 1, "train_size": 0} | dict.fromkeys(SEEDS, 0)
