"""Losses that came after the paper: AMSE, NNCE and NNFL (of ANL), MAE with a logit bias."""

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Unpack

import numpy as np
import torch

from alfs_utils._arguments import real
from alfs_utils.losses.base import (
    CELoss,
    Composite,
    Loss,
    LossOptions,
    PointwiseLoss,
)
from alfs_utils.losses.baselines import FocalLoss
from alfs_utils.losses.numerics import in_float32_range


class AMSELoss(Loss):
    """Asymmetric mean square error, L(u, y) = |a e_y - u|^2 / C (Wang et al., ICCV 2025).

    It is not a function of u_y alone. a = 1 is the Brier score over C. A class whose logit is -inf
    is masked, and C does not count it. JAL is a sum with NCE:
    ``NCELoss() + AMSELoss(a=30)`` for CIFAR-10, ``5 * NCELoss() + AMSELoss(a=20)`` for CIFAR-100.

    Parameters
    ----------
    a : float >= 1
    """

    _arguments = ("a",)

    def __init__(self, a: float, **options: Unpack[LossOptions]) -> None:
        super().__init__(**options)
        self.a = real("a", a, "a number >= 1", lambda a: a >= 1)
        in_float32_range(self, (self.a, 2.0))

    def _per_example(self, prediction):
        log_probs = prediction.log_probs
        u = torch.exp(log_probs)
        classes = prediction.total((log_probs > torch.finfo(u.dtype).min).to(u.dtype))
        own = torch.rsub(prediction.pick(u), self.a**2, alpha=2 * self.a)
        return prediction.counted((own + prediction.total(u * u)) / classes)


class _NormalizedNegative(Composite):
    """1 - v(u_y) / sum_k v(u_k), v(u) = l(p_min) - l(max(u, p_min)) for a pointwise l."""

    _arguments = ("p_min",)

    def __init__(self, loss: PointwiseLoss, p_min: float) -> None:
        super().__init__()
        self.p_min = real("p_min", p_min, "a number in (0, 1/2)", lambda p: 0 < p < 0.5)
        self.loss = loss

    def _parts(self) -> Sequence[Loss]:
        return (self.loss,)

    def _per_example(self, prediction):
        log_u = prediction.log_probs
        floor = math.log(self.p_min)
        worst = self.loss._of_log_probability(log_u.new_full((), floor))
        v = worst - self.loss._of_log_probability(log_u.clamp(min=floor))
        # The sum is 0 only where there are more than 1 / p_min classes.
        total = prediction.total(v).clamp(min=torch.finfo(v.dtype).tiny)
        return prediction.counted(1 - prediction.pick(v) / total)

    def __repr__(self):
        rest = repr(self.loss).partition("(")[2]
        comma = "" if rest == ")" else ", "
        return f"{type(self).__name__}(p_min={self.p_min!r}{comma}{rest}"


class NNCELoss(_NormalizedNegative):
    """Normalised negative cross entropy (Ye et al., NeurIPS 2023); ANL-CE is a sum with NCE.

    L(u, y) = 1 - v_y / sum_k v_k with ``v_k = ln(max(u_k, p_min) / p_min)``. A label whose
    probability is below `p_min` gives no gradient.

    Parameters
    ----------
    p_min : float in (0, 1/2)
        1e-7 in the paper. It should be below 1/C: where no probability is above it, the loss is 1.
    """

    def __init__(self, p_min: float = 1e-7, **options: Unpack[LossOptions]) -> None:
        super().__init__(CELoss(**options), p_min)


class NNFLLoss(_NormalizedNegative):
    """Normalised negative focal loss (Ye et al., NeurIPS 2023); ANL-FL is a sum with NFL.

    Parameters
    ----------
    gamma, compat
        As in `FocalLoss`; 0.5 in the paper.
    p_min
        As in `NNCELoss`.
    """

    def __init__(
        self,
        gamma: float = 0.5,
        p_min: float = 1e-7,
        *,
        compat: str = "formula",
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(FocalLoss(gamma, compat=compat, **options), p_min)


class BiasedMAELoss(PointwiseLoss):
    """MAE with a logit bias, l(u) = 2 (1 - u) / (1 + (b - 1) u), ``b = exp(eps)``.

    It is MAE after `eps` has been added to the logit of the target (Staats et al., AAAI 2025).

    Parameters
    ----------
    eps : float >= 0
        0 is MAE.
    """

    _arguments = ("eps",)

    def __init__(self, eps: float, **options: Unpack[LossOptions]) -> None:
        super().__init__(**options)
        self.eps = real("eps", eps, "a number >= 0", lambda eps: eps >= 0)
        in_float32_range(self, (math.e, self.eps))

    def _odds(self, u):
        return Decimal(self.eps).exp() if isinstance(u, Decimal) else math.exp(self.eps)

    def _formula(self, u):
        return 2 * (1 - u) / (1 + (self._odds(u) - 1) * u)

    def _of_log_probability(self, log_u):
        return self._formula(torch.exp(log_u))

    _of_probability = _formula

    def _derivative(self, u):
        b = self._odds(u)
        return -2 * b / (1 + (b - 1) * u) ** 2

    def curvature(self) -> int:
        return int(self.eps > 0)

    def inverse_slope(self, y: np.ndarray) -> np.ndarray:
        b = math.exp(self.eps)
        return (np.sqrt(2 * b / y) - 1) / (b - 1)
