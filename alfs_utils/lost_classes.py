"""See a lost class without clean labels: it has labels, and the network (almost) never predicts it.

Training with a flat loss can lose a whole class while loss and agreement with the given labels look
as they should (chapter 12b). Two counts give it away: how often each class is predicted, and how
often it is a label.

>>> given = np.arange(10).repeat(500)
>>> lost_classes(np.where(given == 7, 1, given), given)
[7]

The threshold. Let a class have n labels, of which a share `right` is right. The share is 1/k or
more if no other class is behind more of these labels than the class itself. A network that has not
lost the class predicts it for at least half of the samples whose label is right. The number of
these samples is binomial, B(n, right). Let the network predict the class m times. The class is
called lost if 2 m right labels would be too few: if Chernoff's bound for the probability that
B(n, right) <= 2 m is at most `LEVEL` / k.

So an alarm needs enough labels. If a class is never predicted, 66 labels of it are enough with ten
classes, and 917 with a hundred. If you know that more of your labels are right, pass `right`.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from alfs_utils import noise
from alfs_utils._arguments import array

__all__ = ["lost_classes", "lost_from_counts"]

LEVEL = 0.01  # how likely a false alarm for any class is at most, for a network as above


def lost_classes(
    predicted: npt.ArrayLike,
    given: npt.ArrayLike,
    num_classes: int | None = None,
    right: npt.ArrayLike | None = None,
) -> list[int]:
    """Return the classes that have labels and are (almost) never predicted.

    Parameters
    ----------
    predicted : (n,) array_like of integers
        The class that the network predicts for each sample: as it sees them in training, or
        afterwards.
    given : (n,) array_like of integers
        Their labels, noisy as they are.
    num_classes : int, optional
        k; by default one more than the largest number in either.
    right : number or (k,) array_like, optional
        Least share of right labels among the labels of a class, in (0, 1]. By default 1/k. From
        counts of trusted labels, see `estimation.count_matrix`: diagonal over column sums.

    Returns
    -------
    list of int
        In order; empty if nothing is wrong, or if there are too few labels to tell.

    Raises
    ------
    TypeError, ValueError
        If `predicted` and `given` are not classes of the same samples, or `right` is no share.
    """
    predicted, given, k = noise._label_pair("predicted", predicted, "given", given, num_classes)
    counts = (np.bincount(x, minlength=k) for x in (predicted, given))
    return lost_from_counts(*counts, right=right)


def lost_from_counts(
    predicted: Sequence[float] | np.ndarray,
    given: Sequence[float] | np.ndarray,
    right: npt.ArrayLike | None = None,
) -> list[int]:
    """Do the same from counts, (k,) each: how often each class was predicted, and was a label."""
    m, n = np.asarray(predicted, dtype=float), np.asarray(given, dtype=float)
    if m.shape != n.shape or m.ndim != 1 or not (np.r_[m, n] >= 0).all():
        raise ValueError(
            f"predicted, given: expected a count >= 0 for each class, got {m.shape} and {n.shape}"
        )
    share = array("right", 1 / len(m) if right is None else right, "shares in (0, 1]", float)
    if share.shape not in ((), m.shape) or not ((share > 0) & (share <= 1)).all():
        raise ValueError(f"right: expected a share in (0, 1] for each class, got {right!r:.60}")
    share = np.broadcast_to(share, m.shape)
    few = 2 * m < share * n
    evidence = _exponent(2 * m[few] / n[few], share[few]) * n[few]
    return np.flatnonzero(few)[evidence >= math.log(len(m) / LEVEL)].tolist()


def _exponent(x, p):
    """Chernoff: P(B(n, p) <= x n) <= exp(-n _exponent(x, p)) for x < p."""
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.where(x > 0, x * np.log(x / p), 0.0)
        return low + np.where(x < 1, (1 - x) * (np.log(1 - x) - np.log(1 - p)), 0.0)
