"""What `asymmetry` knows about losses that look at all probabilities: AMSE, and NNCE and NNFL."""

from fractions import Fraction
from typing import Any

import numpy as np
import torch

from alfs_utils import _enclosure
from alfs_utils._parts import Part
from alfs_utils.losses import AMSELoss, NNCELoss, NNFLLoss
from alfs_utils.losses.base import Prediction


class Square:
    """AMSE. With W the sum of w, C F(u) = W |u - a w / W|^2 + a constant.

    So its only minimiser is the projection of a w / W onto the simplex, and that is e_t iff the
    constraint of class n holds there: a w_t / W - 1 >= a w_n / W, for the strongest rival n.
    """

    corner = 0.0
    method = "projection: closed form"

    def __init__(self, loss):
        self.a = Fraction(loss.a)

    def values(self, u, number):
        """Return L(u, .) for a list of Fractions."""
        square = sum(x * x for x in u)
        return [number((self.a * self.a - 2 * self.a * x + square) / len(u)) for x in u]

    def margin(self, w, t):
        """Return a (w_t - w_n) / W - 1, exactly."""
        top, *rest = (Fraction(x) for x in [w[t], *w[:t], *w[t + 1 :]])
        return self.a * (top - max(rest)) / (top + sum(rest)) - 1

    def step(self, w, t):
        """Return the d for which F is least at (1 - d) e_t + d e_n, n the strongest rival."""
        return float(max(-self.margin(w, t) / 2, 0))

    def minimiser(self, w):
        """Return the projection of a w / W onto the simplex, for floats."""
        x = w / w.max()  # their sum could overflow
        x = float(self.a) * x / x.sum()
        ordered = np.sort(x)[::-1]
        excess = (ordered.cumsum() - 1) / np.arange(1, len(w) + 1)
        u = np.maximum(x - excess[ordered > excess][-1], 0)
        return u / u.sum()

    def slopes(self, w, u):
        """Return the gradient of F."""
        return 2 * (w.sum() * u - float(self.a) * w) / len(w)


class Negative:
    """NNCE and NNFL. F is W minus the mean of w with weights v >= 0, so at least W - w_t.

    It is W - w_t iff v_i = 0 for all i != t: at every u whose other probabilities are at most
    p_min, and nowhere else.
    """

    method = "a mean of the weights"

    def __init__(self, loss):
        self.corner, self.loss = loss.p_min, loss
        self.l: Any = _enclosure.formula([(1.0, loss.loss)])

    def values(self, u, number):
        """Return L(u, .) for a list of Fractions."""
        floor = Fraction(self.corner)
        worst = self.l(number(floor))
        v = [worst - self.l(number(x)) if x > floor else number(Fraction(0)) for x in u]
        return [1 - x / sum(v) for x in v]

    def margin(self, w, t):
        """Return inf: there is no condition but w_t > w_n."""
        if len(w) * self.corner >= 1:
            raise ValueError(
                f"loss: expected p_min < 1/{len(w)}, for {len(w)} classes, got {self.loss}"
            )
        return float("inf")

    def minimiser(self, w):
        """Return e_t."""
        return np.eye(len(w))[w.argmax()]

    def slopes(self, w, u):
        """Return the gradient of F at a minimiser."""
        return np.zeros(len(w))


KINDS: dict[type, Any] = {AMSELoss: Square, NNCELoss: Negative, NNFLLoss: Negative}


def part(loss, coefficient):
    """Make the part of such a loss; None for any other, and for a subclass."""
    if type(loss) not in KINDS:
        return None

    def values(u):
        rows = torch.as_tensor(np.asarray(u, dtype=float)).log()
        rows = rows.clamp(min=-1e4)  # -inf would be a masked class
        per_example = loss._per_example(Prediction(rows.reshape(-1, rows.shape[-1])))
        return per_example.reshape(rows.shape).numpy()

    known = KINDS[type(loss)](loss)
    strict = not known.corner
    return Part(values, coefficient=coefficient, whole=known, method=known.method, strict=strict)
