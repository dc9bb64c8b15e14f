"""The paper's own losses: AGCE, AUL and AEL (Corollaries 1 to 3)."""

import math
from typing import Unpack

import numpy as np
import torch

from alfs_utils._arguments import real
from alfs_utils.losses.base import LossOptions, PointwiseLoss
from alfs_utils.losses.numerics import (
    TINY_EXPONENT,
    exp,
    in_float32_range,
    like,
    log,
    power,
    power_gap,
)


class AGCELoss(PointwiseLoss):
    """Asymmetric generalized cross entropy, l(u) = ((a + 1)^q - (a + u)^q) / q (Corollary 1).

    q = 0 is the limit ln((a + 1) / (a + u)); a = 0 is GCE. At a = 0, q < 1, where l'(0) is
    infinite, the gradient in the logits tends to 0 with u and is computed without a NaN.
    An a below the smallest normal number of the dtype counts as 0.

    Parameters
    ----------
    a : float
        >= 0 if q > 0, else > 0.
    q : float
        (a, q) of Tables 1 and 2: MNIST (4, 0.2), CIFAR-10 (0.6, 0.6); with NCE: CIFAR-10
        (6, 1.5), CIFAR-100 (1.8, 3).

    Raises
    ------
    ValueError
        For illegal parameters, or where the loss or its slope exceeds 1e38.
    """

    _arguments = ("a", "q")

    def __init__(self, a: float, q: float, **options: Unpack[LossOptions]) -> None:
        super().__init__(**options)
        self.q = real("q", q)
        if self.q > 0:
            self.a = real("a", a, "a number >= 0 for q > 0", lambda a: a >= 0)
        else:
            self.a = real("a", a, "a number > 0 for q <= 0", lambda a: a > 0)
        zero = (self.a, self.q - 1) if self.q <= 0 else (1.0, 0.0)
        in_float32_range(self, (self.a + 1, self.q), zero)

    def _formula(self, u):
        a, q = like(u, self.a, self.q)
        if abs(q) < TINY_EXPONENT and a + u > 0:
            return log((a + 1) / (a + u))
        return ((a + 1) ** q - (a + u) ** q) / q

    def _of_log_probability(self, log_u):
        a = self.a if self.a >= torch.finfo(log_u.dtype).tiny else 0.0
        # x = log((a + u) / (a + 1)) without cancellation, for small and for large a.
        if a == 0:
            x, extreme = log_u, -math.inf
        else:
            u, extreme = torch.exp(log_u), -math.log1p(1 / a)
            if a < 0.1:
                x = torch.log(u + a) - math.log1p(a)
            else:
                x = torch.log1p(torch.rsub(u, -1 / (a + 1), alpha=-1 / (a + 1)))
        return power_gap(x, self.q, math.log1p(a), extreme, sign=-1.0)

    def _derivative(self, u):
        a, q = like(u, self.a, self.q)
        return -power(a + u, q - 1)

    def curvature(self) -> int:
        return (self.q < 1) - (self.q > 1)

    def inverse_slope(self, y: np.ndarray) -> np.ndarray:
        return y ** (1 / (self.q - 1)) - self.a


class AULLoss(PointwiseLoss):
    """Asymmetric unhinged loss, l(u) = ((a - u)^p - (a - 1)^p) / p (Corollary 2).

    p = 0 is the limit ln((a - u) / (a - 1)); p = 1 is the unhinged loss for every a. At a = 1,
    p < 1, where l'(1) is infinite, the gradient in the logits is of order (1 - u)^p and tends
    to 0 as u -> 1; it is computed without a NaN, and close to a = 1 from log(1 - u), so that it
    is not lost where u rounds to 1.

    Parameters
    ----------
    a : float
        >= 1 if p > 0, else > 1.
    p : float
        (a, p) of Tables 1 and 2: MNIST (3, 0.1), CIFAR-10 (5.5, 3); with NCE: CIFAR-10
        (6.3, 1.5), CIFAR-100 (6, 3).

    Raises
    ------
    ValueError
        For illegal parameters, or where the loss or (but for a = 1) its slope exceeds 1e38.
    """

    _arguments = ("a", "p")

    def __init__(self, a: float, p: float, **options: Unpack[LossOptions]) -> None:
        super().__init__(**options)
        self.p = real("p", p)
        if self.p > 0:
            self.a = real("a", a, "a number >= 1 for p > 0", lambda a: a >= 1)
        else:
            self.a = real("a", a, "a number > 1 for p <= 0", lambda a: a > 1)
        one = (self.p, -1.0) if self.a == 1 else (self.a - 1, self.p - 1)
        in_float32_range(self, (self.a, self.p), one)

    def _formula(self, u):
        a, p = like(u, self.a, self.p)
        if abs(p) < TINY_EXPONENT and a > 1:
            return log((a - u) / (a - 1))
        return ((a - u) ** p - (a - 1) ** p) / p

    def _near_one(self):
        return self.a < 1.01

    def _per_example(self, prediction):
        if not self._near_one():
            return super()._per_example(prediction)
        return self._of_log_complement(prediction.log_complement())

    def _of_log_probability(self, log_u):
        if self._near_one():
            return self._of_log_complement(torch.log(-torch.expm1(log_u)))
        b = self.a - 1
        return self._of_ratio(torch.rsub(torch.exp(log_u), 1 / b, alpha=1 / b))

    def _of_log_complement(self, log_v):
        if self.a == 1:
            return torch.exp(self.p * log_v) / self.p
        return self._of_ratio(torch.exp(log_v) / (self.a - 1))

    def _of_ratio(self, ratio):
        """The loss as a function of (1 - u) / (a - 1)."""
        b = self.a - 1
        return power_gap(torch.log1p(ratio), self.p, math.log(b), math.log1p(1 / b))

    def _derivative(self, u):
        a, p = like(u, self.a, self.p)
        return -power(a - u, p - 1)

    def curvature(self) -> int:
        return (self.p > 1) - (self.p < 1)

    def inverse_slope(self, y: np.ndarray) -> np.ndarray:
        return self.a - y ** (1 / (self.p - 1))


class AELLoss(PointwiseLoss):
    """Asymmetric exponential loss, l(u) = e^{-u/a} (Corollary 3).

    Parameters
    ----------
    a : float > 0
        Tables 1 and 2: MNIST 3.5, CIFAR-10 2.5; with NCE: CIFAR-10 5, CIFAR-100 1.5.
    """

    _arguments = ("a",)

    def __init__(self, a: float, **options: Unpack[LossOptions]) -> None:
        super().__init__(**options)
        self.a = real("a", a, "a number > 0", lambda a: a > 0)

    def _formula(self, u):
        (a,) = like(u, self.a)
        return exp(-u / a)

    def _of_log_probability(self, log_u):
        if self.a > 1e-12:
            return torch.exp(torch.exp(log_u) * (-1 / self.a))
        # Capped where the loss has long been 0: u / a may overflow.
        return torch.exp(-torch.exp((log_u - math.log(self.a)).clamp(max=50.0)))

    def _derivative(self, u):
        (a,) = like(u, self.a)
        return -exp(-u / a) / a

    def curvature(self) -> int:
        return 1

    def inverse_slope(self, y: np.ndarray) -> np.ndarray:
        return -self.a * np.log(self.a * y)
