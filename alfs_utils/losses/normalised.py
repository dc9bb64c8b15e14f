"""Normalised losses: L(u, y) / sum_k L(u, k) (Ma et al. 2020)."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
import torch.nn.functional as F

from alfs_utils._arguments import shown
from alfs_utils.losses.base import CELoss, Composite, Loss, LossOptions, Prediction, as_loss
from alfs_utils.losses.baselines import FocalLoss, GCELoss


def _present(log_probs):
    """Return log-probabilities with 0 for those of masked classes, in one pass each way."""
    return F.threshold(log_probs, torch.finfo(log_probs.dtype).min, 0.0)


class Normalized(Composite):
    """L(u, y) / sum_k L(u, k): a loss in [0, 1] that sums to one over the labels (Ma et al. 2020).

    It is symmetric for every base loss. It is not a function of u_y alone. A class whose logit is
    -inf is masked: the sum leaves it out, as if the logits had no such class.

    Parameters
    ----------
    loss : PointwiseLoss, sum of them, or nn.CrossEntropyLoss
        The base loss, kept as `loss`; weight, ignore_index and reduction are its own.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        loss = as_loss(loss)
        if not loss._is_pointwise():
            raise TypeError(f"loss: expected a function of one probability, got {shown(loss)}")
        self.loss = loss

    def _parts(self) -> Sequence[Loss]:
        return (self.loss,)

    def _per_example(self, prediction):
        total = self._total(prediction)
        # The sum is 0 only where it underflows or a class is alone; the loss is 0 there, as CE is.
        # It may be nan in an ignored row.
        total = torch.where(total >= torch.finfo(total.dtype).tiny, total, 1.0)
        return self.loss._per_example(prediction) / total

    def _total(self, prediction):
        masked = prediction.log_probs <= torch.finfo(prediction.log_probs.dtype).min
        # Any number will do in place of -inf; with this one, no gradient is nan.
        finite = Prediction(prediction.log_probs.masked_fill(masked, -1e4))
        return prediction.total(self.loss._per_example(finite).masked_fill(masked, 0))

    def __repr__(self):
        return f"{type(self).__name__}({self.loss!r})"


class _NormalizedShort(Normalized):
    """A normalised loss under its own name, whose repr shows the base loss's arguments.

    Its base has l(1) = 0 and takes log u alone.
    """

    def _total(self, prediction):
        return prediction.total(self.loss._per_example(Prediction(_present(prediction.log_probs))))

    def __repr__(self):
        return type(self).__name__ + repr(self.loss).removeprefix(type(self.loss).__name__)


class NCELoss(_NormalizedShort):
    """Normalised cross entropy, ln u_y / sum_k ln u_k (Ma et al. 2020)."""

    def __init__(self, **options: Unpack[LossOptions]) -> None:
        super().__init__(CELoss(**options))

    def _per_example(self, prediction):
        total = prediction.total(_present(prediction.log_probs))
        return prediction.log_u / torch.where(total < 0, total, -1.0)  # as in `Normalized`


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
