"""Which labels are wrong? Rank them by what a trained network says of them.

A network that has not learned its wrong labels by heart contradicts them. The score of a sample is
the margin of its given label y, from the probabilities u that the network gives the classes:

    u_y - max_{j != y} u_j.

Below 0 another class is predicted, at -1 with all confidence. With two classes it ranks as u_y
does. Northcutt, Jiang and Chuang (JAIR 2021) rank by it, as one of several ways. Beside u_y and the
difference of the logits it found most wrong labels, on noise draws that no reported number has
(`alfs_utils.paper.cleaning`).

>>> suspicious([0, 1, 1], logits=[[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]])
array([2, 0, 1])

A ranking is no proof: check labels from the top, and stop where few of them turn out wrong.
"""

import warnings

import numpy as np
import numpy.typing as npt

from alfs_utils._arguments import array
from alfs_utils.lost_classes import lost_classes
from alfs_utils.noise import _labels

__all__ = ["margins", "suspicious"]


def suspicious(
    given: npt.ArrayLike,
    *,
    logits: npt.ArrayLike | None = None,
    probabilities: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Return the indices of all samples, the most suspicious label first.

    Parameters
    ----------
    given : (n,) array_like of integers
        The labels in question.
    logits, probabilities : (n, k) array_like, one of them
        What the network says of each sample.

    Returns
    -------
    (n,) int64
        Samples of equal margin stay in their order.

    Raises
    ------
    TypeError, ValueError
        As in `margins`.

    Warns
    -----
    UserWarning
        If the network has lost a class, see `lost_classes`: all labels of it then look wrong.
    """
    y, u = _checked(given, logits, probabilities)
    if lost := lost_classes(u.argmax(1), y, u.shape[1]):
        warnings.warn(
            f"classes {lost} have labels and are (almost) never predicted: all their labels look "
            "wrong. Train again before you trust this ranking; see alfs_utils.lost_classes",
            UserWarning,
            stacklevel=2,
        )
    return np.argsort(_margins(y, u), kind="stable")


def margins(
    given: npt.ArrayLike,
    *,
    logits: npt.ArrayLike | None = None,
    probabilities: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Return the margin of each given label, u_y - max_{j != y} u_j.

    The parameters are those of `suspicious`.

    Returns
    -------
    (n,) float64
        In [-1, 1], negative where another class is predicted.

    Raises
    ------
    TypeError, ValueError
        If not exactly one of `logits` and `probabilities` is given; if it is no (n, k >= 2) array
        of numbers, or holds one that is not finite; if rows of `probabilities` are not
        probabilities, to 1 %; if `given` are not n classes.
    """
    return _margins(*_checked(given, logits, probabilities))


def _margins(y, u):
    own = np.arange(u.shape[1]) == y[:, None]
    return u[own] - np.where(own, -1, u).max(1)


def _checked(given, logits, probabilities):
    """The labels (n,) and probabilities (n, k)."""
    if (logits is None) == (probabilities is None):
        raise TypeError("logits, probabilities: expected one of them")
    if probabilities is None:
        z = _outputs("logits", logits)
        u = np.exp(z - z.max(1, keepdims=True))
        u /= u.sum(1, keepdims=True)
    else:
        u = _outputs("probabilities", probabilities)
        if (u < 0).any() or (abs(u.sum(1) - 1) > 0.01).any():
            raise ValueError(
                "probabilities: expected rows >= 0 that sum to 1, got one that does not. "
                "Are these logits?"
            )
    y = _labels("given", given, u.shape[1])
    if len(y) != len(u):
        raise ValueError(f"given: expected {len(u)} labels, one for each row, got {len(y)}")
    return y, u


def _outputs(name, values):
    legal = "an (n, k) array of finite numbers, k >= 2"
    z = array(name, values, legal, float)
    if z.ndim != 2 or z.shape[1] < 2:
        raise ValueError(f"{name}: expected {legal}, got shape {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError(f"{name}: expected {legal}, got one that is not finite")
    return z
