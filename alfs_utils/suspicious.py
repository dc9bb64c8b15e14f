"""Which labels are wrong? Rank them by what a trained network says of them.

A robust loss leaves wrong labels unlearned, so the network contradicts them. The score of a sample
is the margin of its given label y: the logit of y less the largest other logit,

    z_y - max_{j != y} z_j = ln(u_y / max_{j != y} u_j).

Below 0 the network predicts another class, and the lower, the surer it is. It is the margin of
Crammer and Singer (JMLR 2001); Pleiss et al. (NeurIPS 2020) sum it over the epochs to find wrong
labels. Of the probability u_y itself, the difference of probabilities and this margin, it was
chosen on noise draws that no reported number has; with two classes all three rank alike.

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
        What the network says of each sample. Logits are better: probabilities of 0 and 1, to
        rounding, tie. A network that did not train on the sample says more (the guide "Clean your
        labels" measures how much).

    Returns
    -------
    (n,) int64
        Those of equal margin in their order.

    Raises
    ------
    TypeError, ValueError
        As in `margins`.

    Warns
    -----
    UserWarning
        If the network has lost a class, see `lost_classes`: all labels of it then look wrong.
    """
    scores = margins(given, logits=logits, probabilities=probabilities)
    outputs = array("outputs", logits if probabilities is None else probabilities)
    if lost := lost_classes(outputs.argmax(1), given, outputs.shape[1]):
        warnings.warn(
            f"classes {lost} have labels and are (almost) never predicted: all their labels look "
            "wrong. Train again before you trust this ranking; see alfs_utils.lost_classes",
            UserWarning,
            stacklevel=2,
        )
    return np.argsort(scores, kind="stable")


def margins(
    given: npt.ArrayLike,
    *,
    logits: npt.ArrayLike | None = None,
    probabilities: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Return the margin of each given label, ln(u_y / max_{j != y} u_j).

    The parameters are those of `suspicious`.

    Returns
    -------
    (n,) float64
        Negative where another class is predicted. Infinite where a probability is 0.

    Raises
    ------
    TypeError, ValueError
        If not exactly one of `logits` and `probabilities` is given; if it is no (n, k >= 2) array
        of numbers, or is NaN or (as a logit) infinite somewhere; if rows of `probabilities` are not
        probabilities, to 1 %; if `given` are not n classes.
    """
    if (logits is None) == (probabilities is None):
        raise TypeError("logits, probabilities: expected one of them")
    if probabilities is None:
        z = _outputs("logits", logits)
    else:
        u = _outputs("probabilities", probabilities)
        if (u < 0).any() or (abs(u.sum(1) - 1) > 0.01).any():
            raise ValueError(
                "probabilities: expected rows >= 0 that sum to 1, got one that does not. "
                "Are these logits?"
            )
        with np.errstate(divide="ignore"):
            z = np.log(u)
    y = _labels("given", given, z.shape[1])
    if len(y) != len(z):
        raise ValueError(f"given: expected {len(z)} labels, one for each row, got {len(y)}")
    rows = np.arange(len(z))
    rivals = z.copy()
    rivals[rows, y] = -np.inf
    return z[rows, y] - rivals.max(1)


def _outputs(name, values):
    legal = "an (n, k) array of finite numbers, k >= 2"
    z = array(name, values, legal, float)
    if z.ndim != 2 or z.shape[1] < 2:
        raise ValueError(f"{name}: expected {legal}, got shape {z.shape}")
    if not np.isfinite(z).all():
        raise ValueError(f"{name}: expected {legal}, got one that is not finite")
    return z
