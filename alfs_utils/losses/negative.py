"""Negative learning: losses of a complementary label (Kim et al. 2019)."""

from typing import Any, Unpack

import torch
from torch import Tensor

from alfs_utils._arguments import integer, option
from alfs_utils.losses.base import (
    COMPATS,
    REDUCTIONS,
    Loss,
    LossOptions,
    Prediction,
    apply,
    class_index,
    class_weights,
)


def _negative(prediction, compat):
    """Return -ln(1 - u_k) for the target k of `prediction`."""
    if prediction.target is None:
        raise TypeError("target: expected class indices to learn from, got class probabilities")
    if prediction.log_probs.shape[1] < 2:
        raise ValueError("input: expected at least 2 classes to learn from, got 1")
    if compat == "official":
        return -torch.log((1 - torch.exp(prediction.log_u)).clamp(min=1e-5))
    return -prediction.log_complement()


def negative_learning(
    input: Tensor,
    complementary: Tensor,
    *,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    compat: str = "formula",
) -> Tensor:
    """Compute -ln(1 - u_k) for a complementary label k, "the class is not k" (Kim et al. 2019).

    The deterministic core of `NLNLLoss`.

    Parameters
    ----------
    input : Tensor
        Logits, (C,), (N, C) or (N, C, d1, ...) with C >= 2.
    complementary : Tensor of int64
        Complementary labels, the shape of `input` without the class axis. `weight` and
        `ignore_index` refer to them.
    weight, ignore_index, reduction
        As in `F.cross_entropy`.
    compat : {"formula", "official"}
        "official" clamps 1 - u at 1e-5, as the authors' code does: no gradient below it.
        "formula" takes log(1 - u) from the other logits, which is exact up to u = 1.

    Raises
    ------
    TypeError
        For class-probability targets.
    ValueError
        For a single class.
    """
    option("reduction", reduction, REDUCTIONS)
    option("compat", compat, COMPATS)
    return apply(
        lambda prediction: _negative(prediction, compat),
        input,
        complementary,
        class_weights(weight),
        class_index("ignore_index", ignore_index),
        reduction,
    )


class NLNLLoss(Loss):
    """Negative learning: -ln(1 - u_k) for a wrong label k drawn uniformly (NLNL, stage 1).

    Every call draws one complementary label per element, whatever the reduction, from the
    loss's own generator, whose state is part of `state_dict` (and is left out in loading where
    its device is missing). The published code adds a positive-learning term of zero, which is NaN
    since torch 1.11; this loss leaves it out.

    `torch.compile` with `fullgraph` and `torch.export` cannot hold a generator. There, draw
    outside with `draw` and train with `negative_learning`, which they can hold. In a distributed
    run each process needs a seed of its own, for instance ``NLNLLoss(seed=dist.get_rank())``:
    with one seed all draw the same.

    Parameters
    ----------
    seed : int >= 0
        Seed of `generator`, which is made anew when the device changes. Register the generator
        with a CUDA graph that draws.
    compat : {"formula", "official"}
        "official" clamps 1 - u at 1e-5 (see `negative_learning`) and, with `weight`, divides
        the mean by the number of elements instead of their weights (outside sums).

    Raises
    ------
    TypeError
        In the call, for class-probability targets.
    """

    _arguments = ("seed",)

    def __init__(
        self, seed: int = 0, *, compat: str = "formula", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(**options)
        self.seed = integer("seed", seed, 0, 2**64 - 1)
        self.compat = option("compat", compat, COMPATS)
        self.generator = torch.Generator().manual_seed(self.seed)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return apply(
            self._per_example,
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            mean_over_n=self.compat == "official",
        )

    def draw(self, target: Tensor, num_classes: int) -> Tensor:
        """Draw complementary labels, uniform over the classes other than `target`, in its shape."""
        if target.is_meta:  # no numbers, hence no generator
            return torch.empty_like(target)
        if self.generator.device != target.device:
            self.generator = torch.Generator(target.device).manual_seed(self.seed)
        k = torch.randint(
            num_classes - 1, target.shape, generator=self.generator, device=target.device
        )
        return k + (k >= target)

    def for_labels(self, labels: Tensor, num_classes: int) -> "NLNLLoss":
        """Weight class i, with n_i given labels, by max_j n_j / n_i, as the authors' code does.

        This applies only with ``compat="official"`` and without a `weight` of its own.
        """
        if self.compat != "official" or self.weight is not None:
            return self
        counts = torch.bincount(labels, minlength=num_classes)
        weight = (counts.max() / counts.clamp(min=1)).float().cpu()
        return NLNLLoss(self.seed, compat="official", weight=weight)

    def _per_example(self, prediction):
        if prediction.target is not None and prediction.log_probs.shape[1] > 1:
            drawn = self.draw(prediction.target, prediction.log_probs.shape[1])
            # Not its own ignore_index, which may be a class that was drawn.
            drawn = drawn.masked_fill(prediction.target == prediction.ignore_index, -100)
            prediction = Prediction(prediction.log_probs, drawn)
        return _negative(prediction, self.compat)

    def get_extra_state(self) -> dict[str, Any]:
        return {"device": str(self.generator.device), "state": self.generator.get_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        try:
            generator = torch.Generator(state["device"])
        except RuntimeError:  # saved on a GPU, loaded where there is none: no state fits
            return
        # A generator takes its state from the CPU, but `map_location` may have moved it.
        self.generator = generator.set_state(state["state"].cpu())
