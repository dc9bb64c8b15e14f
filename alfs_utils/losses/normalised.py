"""Normalised losses: L(u, y) / sum_k L(u, k) (Ma et al. 2020)."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch

from alfs_utils.losses.base import CELoss, Composite, Loss, LossOptions, Prediction, as_loss
from alfs_utils.losses.baselines import FocalLoss, GCELoss


class Normalized(Composite):
    """L(u, y) / sum_k L(u, k): a loss in [0, 1] that sums to one over the labels (Ma et al. 2020).

    It is symmetric for every base loss. It is not a function of u_y alone.

    Parameters
    ----------
    loss : PointwiseLoss, sum of them, or nn.CrossEntropyLoss
        The base loss, kept as `loss`; weight, ignore_index and reduction are its own.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        loss = as_loss(loss)
        if not loss._is_pointwise():
            raise TypeError(f"loss: expected a function of one probability, got {loss!r}")
        self.loss = loss

    def _parts(self) -> Sequence[Loss]:
        return (self.loss,)

    def _per_example(self, prediction):
        all_classes = self.loss._per_example(Prediction(prediction.log_probs))
        # The sum is 0 only where it underflows or C = 1; the loss is 0 there, as CE is for C = 1.
        total = prediction.total(all_classes).clamp(min=torch.finfo(all_classes.dtype).tiny)
        return prediction.pick(all_classes) / total

    def __repr__(self):
        return f"{type(self).__name__}({self.loss!r})"


class _NormalizedShort(Normalized):
    """A normalised loss under its own name, whose repr shows the base loss's arguments."""

    def __repr__(self):
        return type(self).__name__ + repr(self.loss).removeprefix(type(self.loss).__name__)


class NCELoss(_NormalizedShort):
    """Normalised cross entropy, ln u_y / sum_k ln u_k (Ma et al. 2020)."""

    def __init__(self, **options: Unpack[LossOptions]) -> None:
        super().__init__(CELoss(**options))

    def _per_example(self, prediction):
        if prediction.log_probs.shape[1] == 1:
            return -prediction.log_u
        return prediction.log_u / prediction.total(prediction.log_probs)


class NormalizedFocalLoss(_NormalizedShort):
    """Normalised focal loss; parameters as in `FocalLoss`."""

    def __init__(
        self, gamma: float = 0.5, *, compat: str = "formula", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(FocalLoss(gamma, compat=compat, **options))


class NormalizedGCELoss(_NormalizedShort):
    """Normalised generalized cross entropy; parameters as in `GCELoss`."""

    def __init__(
        self, q: float = 0.7, *, compat: str = "formula", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(GCELoss(q, compat=compat, **options))
