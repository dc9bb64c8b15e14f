"""How hard a loss pulls: what the optimiser sees of it."""

import numpy as np
import numpy.typing as npt

from alfs_utils._arguments import array, integer
from alfs_utils.losses.base import Loss, LossSum, as_loss
from alfs_utils.losses.negative import NLNLLoss
from alfs_utils.losses.normalised import Normalized
from alfs_utils.losses.successors import AMSELoss, _NormalizedNegative

MOST_CLASSES = 2**53  # a float holds every k up to here


def value_and_pull(loss: Loss, u: npt.ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return loss and pull of a sample whose label has probability u.

    The other classes have probability (1 - u)/(k - 1) each. The pull is -dL/du along
    this line, for every loss; the logit of the label then has the gradient -pull u (1 - u). For
    pointwise losses the pull is -l'(u). For NLNL the loss is the mean over complementary labels.
    The compatibility mode of a loss is ignored: all values are those of the formula.

    Parameters
    ----------
    loss : Loss
    u : float or ndarray
        Probabilities in (0, 1]; at 1, the limit.
    k : int
        Number of classes, at least 2.

    Returns
    -------
    (value, pull), two float64 arrays of the shape of `u`.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """
    loss, k = as_loss(loss), integer("k", k, 2, MOST_CLASSES)
    u = array("u", u, "probabilities in [0, 1]", np.float64)
    if not ((u >= 0) & (u <= 1)).all():
        raise ValueError(f"u: expected probabilities in [0, 1], got {u[~((u >= 0) & (u <= 1))][0]}")
    other = (1 - u) / (k - 1)
    if isinstance(loss, LossSum):
        parts = [(c, *value_and_pull(part, u, k)) for c, part in loss.terms]
        return (
            sum((c * value for c, value, _ in parts), 0 * u),
            sum((c * pull for c, _, pull in parts), 0 * u),
        )
    if isinstance(loss, NLNLLoss):
        return -np.log1p(-other), 1 / (k - 2 + u)
    if isinstance(loss, AMSELoss):
        square = (loss.a - u) ** 2 + (k - 1) * other**2
        return square / k, 2 * (loss.a - u + other) / k
    if isinstance(loss, _NormalizedNegative):
        (own, own_pull), (rest, rest_pull) = (_negative(loss, x, k) for x in (u, other))
        total = own + (k - 1) * rest
        return 1 - own / total, (own_pull * (k - 1) * rest + own * rest_pull) / total**2
    if not isinstance(loss, Normalized):
        return loss.of_probability(u), 0 - loss.slope(u)

    own, own_pull = value_and_pull(loss.loss, u, k)
    rest, rest_pull = value_and_pull(loss.loss, other, k)
    total = own + (k - 1) * rest
    with np.errstate(invalid="ignore"):
        pull = (own_pull * (k - 1) * rest + own * rest_pull) / total**2
    # At u = 1: an infinite loss of the others, then an infinite pull of theirs against own = 0.
    pull = np.where((u == 1) & (own == 0), own_pull / ((k - 1) * rest), pull)
    return own / total, pull


def _negative(loss, u, k):
    """Return v of a normalised negative loss and its derivative."""
    value, pull = value_and_pull(loss.loss, np.maximum(u, loss.p_min), k)
    return loss.loss.of_probability(loss.p_min) - value, pull * (u > loss.p_min)
