"""The progress of a run, and its history once it has ended."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from alfs_utils import noise
from alfs_utils.training.config import RunConfig
from alfs_utils.training.environment import Environment

# The lists of `History`, one entry per finished epoch.
CURVES = ("train_loss", "fitted", "memorised", "test_accuracy", "half_accuracy", "half_agreement")


@dataclass
class Progress:
    """How far a run is: counters, cost so far, and one entry per finished epoch in each curve."""

    epoch: int = 0
    step: int = 0
    status: str = "finished"
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    mixed: bool = False
    train_loss: list[float] = field(default_factory=list)
    fitted: list[float] = field(default_factory=list)
    memorised: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    half_accuracy: list[list[float]] = field(default_factory=list)
    half_agreement: list[list[float]] = field(default_factory=list)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    lost: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """The result of a run: one entry per finished epoch, and its cost.

    Attributes
    ----------
    config : RunConfig
    train_loss : list of float
        Mean loss on the noisy training labels over each epoch.
    test_accuracy : list of float
        Accuracy on the clean test labels after each epoch, in percent.
    noise_rate : float
        Realised fraction of training labels that were flipped; 0 where they are noisy already.
    seconds : float
        Wall time of the whole run, without interruptions.
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
    data_sha256 : str
        Hash of the images and clean labels (`DataSet.sha256`).
    mixed : bool
        Whether the run went on from a checkpoint of another device, version of torch, number of
        threads, arguments of `train` or images; then it does not repeat bit for bit.
    per_class : list of dict
        One entry for each epoch of `per_class.kept`: the number "epoch", and lists of one number
        per class, in percent, rounded to 0.1. "test_accuracy" is that on the clean labels.
        "repeated_right" and "repeated_wrong" look at the training images of a clean class that were
        given the right and a wrong label: for how many of them did the network predict the given
        label when it saw them? None where there are no such images.
    environment : Environment or None
        What the run ran on; None for a history that was read from a record.
    lost : list of list of int
        For each epoch the classes that were (almost) never predicted in training although they have
        labels (`alfs_utils.lost_classes`, which needs no clean label). The first records have none.
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
    data_sha256: str = ""
    mixed: bool = False
    per_class: list[dict[str, Any]] = field(default_factory=list)
    environment: Environment | None = None
    lost: list[list[int]] = field(default_factory=list)

    @property
    def last(self) -> float:
        """Test accuracy of the last epoch, which the tables report; NaN for an unfinished run."""
        return self.test_accuracy[-1] if self.status == "finished" else math.nan

    @property
    def best(self) -> float:
        """Test accuracy of the best epoch; choosing it needs clean test labels."""
        return max(self.test_accuracy, default=math.nan)

    @property
    def repeated(self) -> float:
        """Percent of the wrong labels that the network repeats in its last epoch, or NaN."""
        return self.memorised[-1] if self.memorised else math.nan

    @property
    def noisy_validation(self) -> float:
        """Test accuracy at the epoch that noisy validation labels choose.

        One half of the test set chooses the epoch: the one that agrees best with its noisy labels.
        The other half reports the accuracy. The halves take turns, and the result is the mean of
        both. It is NaN where noisy test labels are not drawn: the training labels are noisy as they
        come, people gave them, or their noise depends on the sample.
        """
        if not self.half_agreement or self.config.noise not in noise.KINDS:
            return math.nan
        agreement = [[pair[half] for pair in self.half_agreement] for half in (0, 1)]
        chosen = [half.index(max(half)) for half in agreement]
        return sum(self.half_accuracy[chosen[h]][1 - h] for h in (0, 1)) / 2


def failed_epoch(status: str) -> int | None:
    """Return the epoch whose loss was not finite, None for "finished"; else raise ValueError."""
    if status == "finished":
        return None
    found = re.fullmatch("the training loss of epoch ([0-9]{1,9}) is (nan|-?inf)", status)
    if not found:
        raise ValueError(f"status: expected 'finished', or which loss was nan, got {status!r}")
    return int(found[1])


def check_curves(curves: Mapping[str, Any], epochs: int) -> None:
    """Raise ValueError unless each of `CURVES` has a possible entry for each of the epochs."""
    for name in CURVES:
        values = curves[name]
        if not isinstance(values, list) or len(values) != epochs:
            if name != "memorised" or values != []:  # there may be no wrong labels
                raise ValueError(f"{name}: expected a list of {epochs} epochs, got {values!r:.60}")
        if name.startswith("half"):
            if not ({list}.issuperset(map(type, values)) and {2}.issuperset(map(len, values))):
                raise ValueError(f"{name}: expected two numbers for each epoch")
            values = list(chain.from_iterable(values))
        if not {float, int}.issuperset(map(type, values)) or not math.isfinite(sum(values)):
            raise ValueError(f"{name}: expected finite numbers")
        if values and name != "train_loss" and not 0 <= min(values) <= max(values) <= 100:
            raise ValueError(f"{name}: expected percentages, got {min(values)} to {max(values)}")
    # All data sets have an even number of test images; records round to 9 digits.
    for (even, odd), whole in zip(curves["half_accuracy"], curves["test_accuracy"], strict=True):
        if abs((even + odd) / 2 - whole) > 1e-6:
            raise ValueError("half_accuracy: expected halves whose mean is test_accuracy")
