"""The losses that the paper compares with: MAE, unhinged, RCE, SCE, GCE, focal."""

import math
from decimal import Decimal
from typing import Unpack

import numpy as np
import torch

from alfs_utils._arguments import option, real
from alfs_utils.losses.base import COMPATS, LossOptions, PointwiseLoss
from alfs_utils.losses.numerics import like, log, power, power_gap

LOG_1E_4 = math.log(1e-4)


class _LinearLoss(PointwiseLoss):
    """l(u) = scale (1 - u)."""

    scale: float

    def _formula(self, u):
        (scale,) = like(u, self.scale)
        return scale * (1 - u)

    def _of_log_probability(self, log_u):
        # Not expm1: its derivative loses u below 1e-7.
        return torch.rsub(torch.exp(log_u), self.scale, alpha=self.scale)

    _of_probability = _formula

    def _derivative(self, u):
        (scale,) = like(u, self.scale)
        return -scale + 0 * u

    def curvature(self) -> int:
        return 0


class MAELoss(_LinearLoss):
    """Mean absolute error between u and the one-hot target, l(u) = 2 - 2u. Symmetric."""

    scale = 2.0
    curvature = _LinearLoss.curvature


class UnhingedLoss(_LinearLoss):
    """Unhinged loss, l(u) = 1 - u: half of MAE, and AUL with p = 1 for every a."""

    scale = 1.0
    curvature = _LinearLoss.curvature


class RCELoss(_LinearLoss):
    """Reverse cross entropy, l(u) = -A (1 - u), where A stands for ln 0.

    Parameters
    ----------
    A : float < 0
        ln(1e-4) = -9.21 in the code behind every published table, although the literature
        writes A = -4; A = -2 is MAE.
    compat : {"formula", "official"}
        "official" clamps every probability at 1e-7 from below, as the authors' code does, which
        drops the gradient of smaller ones; `of_probability` stays the formula's.
    """

    _arguments = ("A",)

    def __init__(
        self, A: float = LOG_1E_4, *, compat: str = "formula", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(**options)
        self.A = real("A", A, "a number < 0", lambda A: A < 0)
        self.compat = option("compat", compat, COMPATS)

    curvature = _LinearLoss.curvature

    @property
    def scale(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return -self.A

    def _per_example(self, prediction):
        if self.compat == "formula":
            return super()._per_example(prediction)
        u = prediction.log_probs.exp().clamp(min=1e-7)
        return self.scale * prediction.counted(prediction.total(u) - prediction.pick(u))


class SCELoss(PointwiseLoss):
    """Symmetric cross entropy, alpha CE + beta RCE: l(u) = -alpha ln u - beta A (1 - u).

    Parameters
    ----------
    alpha, beta : float >= 0
        Published settings: (0.01, 1) for MNIST, (0.1, 1) for CIFAR-10, (6, 0.1) for CIFAR-100.
    A : float < 0
        ln(1e-4) in the code behind every published table (the literature writes -4).
    compat : {"formula", "official"}
        "official" clamps the probabilities of the RCE part, see `RCELoss`.
    """

    _arguments = ("alpha", "beta", "A")

    def __init__(
        self,
        alpha: float,
        beta: float,
        A: float = LOG_1E_4,
        *,
        compat: str = "formula",
        **options: Unpack[LossOptions],
    ) -> None:
        super().__init__(**options)
        self.alpha = real("alpha", alpha, "a number >= 0", lambda x: x >= 0)
        self.beta = real("beta", beta, "a number >= 0", lambda x: x >= 0)
        self.A = real("A", A, "a number < 0", lambda A: A < 0)
        self.compat = option("compat", compat, COMPATS)

    def _formula(self, u):
        alpha, beta, A = like(u, self.alpha, self.beta, self.A)
        linear = -beta * A * (1 - u)
        return linear - alpha * log(u) if alpha else linear

    def _per_example(self, prediction):
        if self.compat == "formula":
            return super()._per_example(prediction)
        u = prediction.log_probs.exp().clamp(min=1e-7)
        reverse = -self.A * prediction.counted(prediction.total(u) - prediction.pick(u))
        return torch.sub(self.beta * reverse, prediction.log_u, alpha=self.alpha)

    def _of_log_probability(self, log_u):
        scale = -self.beta * self.A
        linear = torch.rsub(torch.exp(log_u), scale, alpha=scale)
        return torch.sub(linear, log_u, alpha=self.alpha)

    def _derivative(self, u):
        alpha, beta, A = like(u, self.alpha, self.beta, self.A)
        linear = beta * A + 0 * u
        return linear - alpha / u if alpha else linear

    def curvature(self) -> int:
        return 1 if self.alpha else 0


class GCELoss(PointwiseLoss):
    """Generalized cross entropy, l(u) = (1 - u^q) / q; CE for q -> 0, half of MAE at q = 1.

    Parameters
    ----------
    q : float > 0
        0.7 in the paper.
    compat : {"formula", "official"}
        "official" clamps u at 1e-7, as the authors' code does: no gradient below it. "formula"
        keeps the gradient wherever u^q can be represented.
    """

    _arguments = ("q",)

    def __init__(
        self, q: float = 0.7, *, compat: str = "formula", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(**options)
        self.q = real("q", q, "a number > 0 (q -> 0 is CELoss)", lambda q: q > 0)
        self.compat = option("compat", compat, COMPATS)

    def _formula(self, u):
        (q,) = like(u, self.q)
        return (1 - u**q) / q

    def _of_log_probability(self, log_u):
        if self.compat == "official":
            log_u = log_u.clamp(min=math.log(1e-7))
        return power_gap(log_u, self.q, 0.0, -math.inf, sign=-1.0)

    def _derivative(self, u):
        (q,) = like(u, self.q)
        return -power(u, q - 1)

    def curvature(self) -> int:
        return (self.q < 1) - (self.q > 1)

    def inverse_slope(self, y: np.ndarray) -> np.ndarray:
        return y ** (1 / (self.q - 1))


class FocalLoss(PointwiseLoss):
    """Focal loss, l(u) = -(1 - u)^gamma ln u; CE at gamma = 0.

    For 0 < gamma < 1 the power has an infinite slope at u = 1, where the loss's own slope is 0;
    the gradient there is that limit, not NaN.

    Parameters
    ----------
    gamma : float >= 0
        0.5 in the paper.
    compat : {"formula", "official"}
        "official" holds (1 - u)^gamma constant in the gradient, as the authors' code does.
    """

    _arguments = ("gamma",)

    def __init__(
        self, gamma: float = 0.5, *, compat: str = "formula", **options: Unpack[LossOptions]
    ) -> None:
        super().__init__(**options)
        self.gamma = real("gamma", gamma, "a number >= 0", lambda gamma: gamma >= 0)
        self.compat = option("compat", compat, COMPATS)

    def _formula(self, u):
        (gamma,) = like(u, self.gamma)
        return -power(1 - u, gamma) * log(u) if u != 1 else u * 0

    def _of_log_probability(self, log_u):
        v = 1 - torch.exp(log_u)
        if self.compat == "official":
            v = v.detach()
        # Far below the resolution of u: keeps 0 * inf out of both derivatives at u = 1.
        v = v.clamp(min=torch.finfo(v.dtype).eps ** 2)
        # The compiler has no shortcut of its own for the square root.
        return -log_u * (v.sqrt() if self.gamma == 0.5 else v**self.gamma)

    def _of_probability(self, u):
        return -torch.log(u) * (1 - u) ** self.gamma

    def _derivative(self, u):
        (gamma,) = like(u, self.gamma)
        if isinstance(u, Decimal) and u == 1:
            return -power(1 - u, gamma)
        steep = gamma * power(1 - u, gamma - 1) * log(u) if gamma else 0
        return steep - power(1 - u, gamma) / u

    def curvature(self) -> int:
        # With v = (1-u)/u >= -ln u: (1-u)^(2-gamma) l'' = gamma (gamma-1) (-ln u) + 2 gamma v + v^2
        # is > 0 term by term if gamma >= 1, and else at least gamma (gamma+1) v + v^2.
        return 1
