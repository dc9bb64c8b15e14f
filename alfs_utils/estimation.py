"""How sure can one be of a noise model that was counted on a few trusted labels?

Everything starts from a count matrix N, (k, k) integers: N[i, j] samples whose true class is i were
given the label j. Given its true class, each label is taken to be drawn independently from row i of
the transition matrix T (class-conditional noise; the trusted samples are a random choice).

Intervals are exact (Clopper and Pearson, Biometrika 1934): they cover the truth with at least the
stated probability, for every T and every number of samples. For the ratio of two entries of a row,
T[i, i] / T[i, j]: among the N[i, i] + N[i, j] samples that got one of the two labels, N[i, i] is
binomial with p = T[i, i] / (T[i, i] + T[i, j]), whatever the other entries; an interval of p is one
of p / (1 - p). For the clean level, the smallest of many ratios:

- low is the smallest lower end. It needs no correction for the many ratios: it is wrong only if the
  lower end of the one ratio that *is* the smallest is too high. No bound L of the same confidence
  is larger, if L does not fall when a wrong label is corrected, or when samples of a class are
  dropped that got neither its label nor one given other. For let x samples of class a be labelled
  a and y be labelled b. Correct all other classes and drop the rest of class a: L has not fallen.
  But such tables come from every T in which only class a is noisy, with the label b only. There L
  bounds the odds of a binomial, and Clopper and Pearson's is the largest such bound that does not
  fall in x. So L is at most the lower end of T[a, a] / T[a, b], for all a and b.
- high is the smallest upper end, each at a tail divided by the number of ratios (Bonferroni), since
  any one of them can be too low.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alfs_utils._arguments import array, integer, real, shown
from alfs_utils.noise import count_matrix

__all__ = [
    "Interval",
    "class_clean_level_intervals",
    "clean_level_interval",
    "count_matrix",
    "labels_to_decide",
    "transition_intervals",
]


_MOST_SAMPLES = 10**10  # an interval takes a time of about the square root of this


class Interval(NamedTuple):
    """An estimate and its confidence interval, numbers or arrays; NaN where no sample was seen."""

    low: float | np.ndarray
    estimate: float | np.ndarray
    high: float | np.ndarray


def transition_intervals(counts: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Estimate the transition matrix, with a separate interval for each entry.

    Parameters
    ----------
    counts : (k, k) array_like of integers, k >= 2
    level : float
        Confidence in (0, 1); half of the rest is in each tail.

    Returns
    -------
    Interval of (k, k) float64. A class without samples has [0, 1] and the estimate NaN.

    Examples
    --------
    >>> transition_intervals([[8, 2], [0, 10]]).low.round(2)
    array([[0.44, 0.03],
           [0.  , 0.69]])
    """
    counts, tail = _counts(counts), _tail(level)
    size = np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape)
    estimate = np.divide(counts, size, out=np.full(size.shape, np.nan), where=size > 0)
    return Interval(_lower(counts, size, tail), estimate, 1 - _lower(size - counts, size, tail))


def class_clean_level_intervals(counts: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Estimate the clean level T[i, i] / max_{j != i} T[i, j] of each class, one interval each.

    The parameters are those of `transition_intervals`. The result is an Interval of (k,) float64; a
    class without samples has [0, inf] and the estimate NaN.

    >>> [x.round(2).tolist() for x in class_clean_level_intervals([[60, 20], [0, 80]])]
    [[1.78, 21.19], [3.0, inf], [5.25, inf]]
    """
    counts, tail = _counts(counts), _tail(level)
    rivals = len(counts) - 1
    low, high = _ratios(counts, tail, tail / rivals)
    return Interval(low.min(axis=1), _estimates(counts), high.min(axis=1))


def clean_level_interval(counts: npt.ArrayLike, level: float = 0.95) -> Interval:
    """Estimate the clean level c, the smallest of all classes; see `noise.clean_level`.

    The parameters are those of `transition_intervals`. The result is an Interval of floats.

    >>> [round(x, 2) for x in clean_level_interval([[60, 20], [0, 80]])]
    [1.78, 3.0, 5.7]
    """
    counts, tail = _counts(counts), _tail(level)
    k = len(counts)
    low, high = _ratios(counts, tail, tail / (k * (k - 1)))
    estimate = _estimates(counts).min()  # NaN stays NaN
    return Interval(float(low.min()), float(estimate), float(high.min()))


def labels_to_decide(counts: npt.ArrayLike, level: float = 0.95, draws: int = 100) -> float:
    """Estimate how many random labels it takes in all to show that c > 1, from some that were seen.

    The parameters are those of `transition_intervals`, but `level` is for the lower end alone, in
    (0.5, 1). The result is the least number, on a grid of ratio 1.1, for which nine of ten `draws`
    show it. Each draw has the labels seen, and the others from T as estimated by `_smoothed`. (The
    counted shares would ask for too many: the class that looks worst looks worse than it is.) The
    result is inf if a thousand times as many labels as were seen do not suffice.

    >>> round(labels_to_decide([[8, 4], [0, 50]]))
    285
    """
    level = real("level", level, "a number in (0.5, 1)", lambda level: 0.5 < level < 1)
    draws = integer("draws", draws, 1)
    counts, tail = _counts(counts), 1 - level
    seen, k, rng = int(counts.sum()), len(counts), np.random.default_rng(0)
    shares = (counts.sum(axis=1) + 1) / (seen + k)
    T = _smoothed(counts) * shares[:, None]

    def enough(step):
        more = rng.multinomial(math.ceil(seen * (1.1**step - 1)), T.ravel(), draws)
        tables = counts + more.reshape(draws, k, k)
        own = np.diagonal(tables, axis1=1, axis2=2)
        both = own + np.where(np.eye(k, dtype=bool), 0, tables).max(axis=2)
        leads = 2 * own - both > NormalDist().inv_cdf(1 - tail) * np.sqrt(both)
        few = both < 1000  # beyond, the normal approximation is as good
        leads[few] = _lower(own[few], both[few], tail) > 0.5
        return leads.all(axis=1).mean() >= 0.9

    low, high = 0, math.ceil(math.log(1000, 1.1))
    if enough(low):
        return float(seen)
    if not seen or not enough(high):
        return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(seen + math.ceil(seen * (1.1**high - 1)))


def _smoothed(counts):
    """Estimate T, each row drawn towards the others as far as the rows look alike.

    Empirical Bayes: the shares of the right labels have a common beta distribution, those of each
    wrong label among the wrong ones a Dirichlet distribution with equal means.
    """
    k, own = len(counts), np.diag(counts)
    sides = np.stack([own, counts.sum(axis=1) - own], axis=1)
    right = _posterior(sides, (sides.sum(axis=0) + 1) / (sides.sum() + 2))[:, :1]
    T, off = np.diag(right[:, 0]), ~np.eye(k, dtype=bool)
    wrong = _posterior(counts[off].reshape(k, k - 1), np.full(k - 1, 1 / (k - 1)))
    T[off] = ((1 - right) * wrong).ravel()
    return T


def _posterior(counts, mean):
    """Return the mean shares of each row under the Dirichlet prior of greatest likelihood."""

    def likelihood(strength):
        prior = strength * np.broadcast_to(mean, counts.shape)
        gains = _log_gamma(prior + counts) - _log_gamma(prior)
        return gains.sum() - (_log_gamma(strength + counts.sum(1)) - math.lgamma(strength)).sum()

    strength = max(np.geomspace(0.1, 1e4, 21), key=likelihood)
    posterior = counts + strength * mean
    return posterior / posterior.sum(axis=1, keepdims=True)


_log_gamma = np.vectorize(math.lgamma, otypes=[float])


def _estimates(counts):
    own, rival = np.diag(counts), (counts - np.diag(np.diag(counts))).max(axis=1)
    estimate = np.where(own + rival > 0, np.inf, np.nan)
    return np.divide(own, rival, out=estimate, where=rival > 0)


def _ratios(counts, low_tail, high_tail):
    """Return lower and upper ends of T[i, i] / T[i, j], (k, k) each, with inf on the diagonal."""
    own = np.broadcast_to(np.diag(counts)[:, None], counts.shape)
    low = _odds(_lower(own, own + counts, low_tail))
    high = _odds(1 - _lower(counts, own + counts, high_tail))
    for ends in (low, high):
        np.fill_diagonal(ends, np.inf)
    return low, high


def _odds(p):
    return np.divide(p, 1 - p, out=np.full(p.shape, np.inf), where=p < 1)


def _lower(successes, trials, tail):
    """Return Clopper-Pearson's lower end: the p with P(X >= successes) = tail; 0 for no success.

    log P(X >= s) is concave in log p, with slope s P(X = s) / P(X >= s), so that Newton's steps
    after the first approach the solution from below.
    """
    p, seen = np.zeros(successes.shape), successes > 0
    if not seen.any():
        return p
    s, n = successes[seen], trials[seen]
    known = math.log(tail) - _stirling(n) + _stirling(s) + _stirling(n - s)
    x = s / (n + 1)
    for _ in range(50):
        total = _tail_over_first(s, n, x)
        misses = (n - s) * np.log1p((s - n * x) / np.maximum(n - s, 1))
        step = (known - s * np.log(n * x / s) - misses - np.log(total)) * total / s
        x = x * np.exp(step)
        if (np.abs(step) < 1e-10).all():
            break
    p[seen] = x
    return p


def _tail_over_first(s, n, x):
    """Return P(X >= s) / P(X = s) for X ~ B(n, x); its terms fall, because s is above the mean."""
    term, total, j, n = np.ones((len(s), 1)), np.ones(len(s)), s[:, None], n[:, None]
    odds = (x / (1 - x))[:, None]
    size = min(32 + 4 * math.isqrt(n.max()), 32 + 10**6 // len(s))  # some megabytes at a time
    while (term[:, 0] > 1e-17 * total).any():
        steps = j + np.arange(size)
        terms = term * np.cumprod(odds * np.maximum(n - steps, 0) / (steps + 1), axis=1)
        term, total, j = terms[:, -1:], total + terms.sum(axis=1), j + size
    return total


_FEW = np.array([math.lgamma(m + 1) - m * math.log(m or 1) + m for m in range(16)])


def _stirling(m):
    """Return log(m! / (m / e)^m), which remains when a binomial's large parts cancel."""
    x = np.maximum(m, 16.0)
    series = (1 / 12 - (1 / 360 - (1 / 1260 - 1 / 1680 / x**2) / x**2) / x**2) / x
    return np.where(m < 16, _FEW[np.minimum(m, 15)], np.log(2 * np.pi * x) / 2 + series)


def _counts(counts):
    counts = array("counts", counts, "(k, k) integers")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or len(counts) < 2:
        raise ValueError(f"counts: expected shape (k, k) with k >= 2, got {counts.shape}")
    if counts.dtype.kind not in "iu":
        raise TypeError(f"counts: expected integers, got {counts.dtype}: {shown(counts[0])}")
    if counts.min() < 0:
        i, j = np.argwhere(counts < 0)[0]
        raise ValueError(f"counts: expected numbers >= 0, got {counts[i, j]} at [{i}, {j}]")
    if counts.sum(dtype=float) > _MOST_SAMPLES:
        raise ValueError(
            f"counts: expected a sum of at most {_MOST_SAMPLES}, got {counts.sum(dtype=float):g}"
        )
    return counts.astype(np.int64)


def _tail(level):
    level = real("level", level, "a number in (0, 1)", lambda level: 0 < level < 1)
    return (1 - level) / 2
