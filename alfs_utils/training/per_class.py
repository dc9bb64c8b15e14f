"""What one number per epoch cannot show: how a run fares with each class.

A whole class can be lost without a trace in the curves of loss and accuracy. So a run counts, in
every step, which labels the network repeats, by class and by right or wrong; after a few epochs
(`kept`) the shares go into `History.per_class`, and with it into the record.
"""

import torch
from torch import Tensor


def kept(epochs: int) -> list[int]:
    """Return the epochs that are kept: ten spread over the run from the first on, and the last."""
    return sorted({1 + i * epochs // 10 for i in range(10)} | {epochs})


def check_lost(lost: list[list[int]], done: int) -> None:
    """Raise ValueError unless this lists classes for each of the epochs that are done."""
    if lost == [[]] * done:  # as nearly always
        return
    if len(lost) != done:
        raise ValueError(f"lost: expected a list for each of {done} epochs")
    for classes in lost:
        if {*map(type, classes)} - {int} or classes != sorted({*classes}) or min([0, *classes]) < 0:
            raise ValueError(f"lost: expected classes in order, got {classes!r:.60}")


def check(entries: list[dict], epochs: int, done: int) -> None:
    """Raise ValueError unless these are the entries of a run with so many of its epochs done."""
    expected = [epoch for epoch in kept(epochs) if epoch <= done]
    if [entry["epoch"] for entry in entries] != expected:
        raise ValueError(f"per_class: expected the epochs {expected}")
    for entry in entries:
        shares = {name: value for name, value in entry.items() if name != "epoch"}
        if shares.keys() != {*_SHARES} or len({len(values) for values in shares.values()}) != 1:
            raise ValueError(f"per_class: expected {', '.join(_SHARES)}, a number for each class")
        numbers = [x for values in shares.values() for x in values if x is not None]
        if not all(type(x) in (int, float) and 0 <= x <= 100 for x in numbers):
            raise ValueError("per_class: expected percentages")


_SHARES = ("test_accuracy", "repeated_right", "repeated_wrong")


class Repeated:
    """Counts the training labels that a network repeats, by clean class, right and wrong ones.

    Parameters
    ----------
    clean : Tensor
        int64 (N,), the clean label of every training image.
    wrong : Tensor
        bool (N,), whether the label that it was given is another.
    num_classes : int
        k in the paper.
    """

    def __init__(self, clean: Tensor, wrong: Tensor, num_classes: int):
        self.group = clean + num_classes * wrong
        self.sizes = torch.bincount(self.group, minlength=2 * num_classes).tolist()

    def count(self, index: Tensor, hits: Tensor) -> Tensor:
        """Count the samples `index` with `hits`: float64 (2k,), first right, then wrong labels.

        The host does not wait for the device.
        """
        counts = torch.zeros(len(self.sizes), dtype=torch.float64, device=hits.device)
        return counts.index_add_(0, self.group[index], hits.double())

    def tally(self, predicted: Tensor) -> Tensor:
        """Count the samples for which each class is predicted: float64 (k,)."""
        k = len(self.sizes) // 2
        counts = torch.zeros(k, dtype=torch.float64, device=predicted.device)
        return counts.index_add_(0, predicted, torch.ones_like(predicted, dtype=torch.float64))

    def shares(self, epoch: int, counts: list[float], predicted: Tensor, labels: Tensor) -> dict:
        """Make an entry of `History.per_class` from an epoch's `count` and its test."""
        k = len(self.sizes) // 2
        sizes = torch.bincount(labels, minlength=k).tolist()
        hits = torch.bincount(labels[predicted == labels], minlength=k).tolist()
        repeated = _percent(counts, self.sizes)
        return {
            "epoch": epoch,
            "test_accuracy": _percent(hits, sizes),
            "repeated_right": repeated[:k],
            "repeated_wrong": repeated[k:],
        }


def _percent(parts, wholes):
    """Round percentages to 0.1, whole ones to int: 100 classes add 20 kB to a record at most."""
    shares = [round(100 * p / w, 1) if w else None for p, w in zip(parts, wholes, strict=True)]
    return [int(x) if x is not None and x.is_integer() else x for x in shares]
