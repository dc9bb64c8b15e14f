"""Label noise that depends on the sample, with the posterior P(given | x) of every sample.

Each generator returns the noisy labels and an (n, k) float64 array: row i has the probabilities
with which sample i was given its label. So the clean level of a sample is known,
c(x) = P(true | x) / max_{j != true} P(j | x), and with it which samples a loss is certified for:
those with c(x) r > 1, where r is its asymmetry ratio.

>>> clean, x = np.arange(10).repeat(500), np.random.default_rng(0).normal(size=(5000, 20))
>>> noisy, posterior = part_dependent(clean, x, 0.3, seed=1, norm=3.0)
>>> round(noisy.rate, 2), posterior.shape, bool((sample_clean_levels(clean, posterior) > 1).all())
(0.3, (5000, 10), False)

As in `alfs_utils.noise`, nothing touches global random state, and a bad argument raises a TypeError
or ValueError that names it, its value and what was expected.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from alfs_utils._arguments import array, integer, option, real
from alfs_utils.noise import NoisyLabels, _labels

__all__ = [
    "MARGIN_KINDS",
    "class_matrix",
    "from_posterior",
    "margin_dependent",
    "part_dependent",
    "sample_clean_levels",
    "softmax_regression",
]

_MOST_CLASSES = 1000  # each has a matrix of its own
_TAG = 0x73616D706C65  # keeps these streams apart from those of `noise`
# The three noise functions of Zhang et al. (ICLR 2021, Section 4), of the margin d in [0, 1].
MARGIN_KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "I": lambda d: (1 - d**2) / 2,
    "II": lambda d: 1 - d**3,
    "III": lambda d: 1 - (d + d**2 + d**3) / 3,
}


def part_dependent(
    labels: npt.ArrayLike,
    features: npt.ArrayLike,
    eta: float,
    seed: int,
    *,
    norm: float | None,
    spread: float = 0.1,
    num_classes: int | None = None,
) -> tuple[NoisyLabels, np.ndarray]:
    """Draw the instance-dependent noise of Xia et al. (NeurIPS 2020, Algorithm 2).

    Sample i of class y changes with probability q_i, drawn from a normal distribution with mean eta
    and standard deviation `spread`, truncated to [0, 1]. Where it goes depends on its features:
    class j != y gets q_i softmax(x_i W_y)_j, with standard normal matrices W_y, one for each class.
    The logits x_i W_y have the standard deviation ||x_i||. So the length of x decides what noise
    this is: on raw pixels almost all of q_i falls on one class. The paper does not fix the length,
    so `norm` has no default.

    The q_i do not depend on x. With two classes there is one place to go, and nothing depends on x.

    Parameters
    ----------
    labels : (n,) array_like of integers in [0, k)
        Clean labels, n >= 1.
    features : (n, ...) array_like of numbers
        The inputs x, one row each; further axes are flattened.
    eta : float
        Location of the flip rates, in [0, 1]. Their mean differs from it where the truncation cuts
        one side: it is 0.129 for eta = 0.1.
    seed : int
        Non-negative; it decides W, the q_i and the draws.
    norm : float or None
        The features are multiplied by one number, so that the root mean square of their norms is
        this. None takes them as they are.
    spread : float in [0, 1]
    num_classes : int, optional
        k in [2, 1000], by default one more than the largest label.

    Returns
    -------
    noisy : NoisyLabels
        Its `T` is the `class_matrix` of the posterior, its `counts` are "sample".
    posterior : (n, k) float64
        P(given | x_i, q_i).
    """
    labels, k = _classes(labels, num_classes)
    x = _rows("features", features, len(labels))
    eta = real("eta", eta, "a number in [0, 1]", lambda eta: 0 <= eta <= 1)
    spread = real("spread", spread, "a number in [0, 1]", lambda spread: 0 <= spread <= 1)
    x = x if norm is None else _rescaled(x, norm)
    weights, rates = (_generator(seed, name) for name in ("weights", "rates"))
    q = rates.normal(eta, spread, len(labels))
    while (outside := (q < 0) | (q > 1)).any():
        q[outside] = rates.normal(eta, spread, outside.sum())
    posterior = np.empty((len(labels), k))
    for y in range(k):
        W, own = weights.standard_normal((x.shape[1], k)), labels == y
        logits = x[own] @ W
        logits[:, y] = -np.inf
        posterior[own] = q[own, None] * _softmax(logits)
        posterior[own, y] = 1 - q[own]
    length = "as given" if norm is None else f"{float(norm)}"
    recipe = f"part-dependent {eta}, spread {spread}, norm {length}"
    return from_posterior(labels, posterior, seed, recipe), posterior


def margin_dependent(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, eta: float, seed: int, kind: str = "II"
) -> tuple[NoisyLabels, np.ndarray]:
    """Draw noise from a model's margin, as Zhang et al. (ICLR 2021) do: hard samples change.

    Let u and s be the most and the second most probable class of a sample, and d the difference of
    their probabilities. The label u becomes s with probability tau(d) (`MARGIN_KINDS`), which is
    largest at d = 0. A sample with another label than u keeps it. To reach the rate, tau is
    multiplied by one number, and cut off at 1.

    Parameters
    ----------
    labels : (n,) array_like of integers in [0, k)
        Clean labels, n >= 1.
    probabilities : (n, k) array_like
        The model's, k >= 2; rows sum to 1, to 1e-6.
    eta : float
        Mean probability of a change, in [0, 1].
    seed : int
        Non-negative.
    kind : {"I", "II", "III"}
        tau = (1 - d^2)/2, 1 - d^3, or 1 - (d + d^2 + d^3)/3.

    Returns
    -------
    noisy : NoisyLabels
        Its `T` is the `class_matrix` of the posterior, its `counts` are "sample".
    posterior : (n, k) float64

    Raises
    ------
    TypeError, ValueError
        Also if not so many samples can change.
    """
    p, labels = _with_labels("probabilities", probabilities, labels)
    eta = real("eta", eta, "a number in [0, 1]", lambda eta: 0 <= eta <= 1)
    i = np.arange(len(p))
    first, second = np.argsort(-p, axis=1, kind="stable")[:, :2].T
    d = p[i, first] - p[i, second]
    tau = MARGIN_KINDS[option("kind", kind, MARGIN_KINDS)](d) * (first == labels)
    flip = _raised(tau, eta)
    posterior = np.zeros_like(p)
    posterior[i, second] = flip
    posterior[i, labels] = 1 - flip
    return from_posterior(labels, posterior, seed, f"margin-dependent {kind} {eta}"), posterior


def from_posterior(
    labels: npt.ArrayLike, posterior: npt.ArrayLike, seed: int, recipe: str = ""
) -> NoisyLabels:
    """Draw each label from its own distribution, the row of its sample.

    With the same seed, a label that changes at a lower rate also changes at a higher one.

    Parameters
    ----------
    labels : (n,) array_like of integers in [0, k)
        Clean labels.
    posterior : (n, k) array_like
        P(given | x), k >= 2; rows sum to 1, to 1e-6.
    seed : int
        Non-negative.
    recipe : str
        Free text for the card.

    Returns
    -------
    NoisyLabels
        Its `T` is `class_matrix(labels, posterior)`, its `counts` are "sample".

    Examples
    --------
    >>> from_posterior([0, 0, 1], [[1, 0], [0, 1], [0, 1]], seed=0).labels
    array([0, 1, 1])
    """
    posterior, labels = _with_labels("posterior", posterior, labels)
    i = np.arange(len(labels))
    u, v = _generator(seed, "draws").random((2, len(labels)))
    others = posterior.copy()
    others[i, labels] = 0
    cdf = others.cumsum(axis=1)
    total = cdf[:, -1]
    target = (cdf > v[:, None] * total[:, None]).argmax(axis=1)  # probability 0 is never drawn
    given = np.where(u < total, target, labels)
    stays = posterior[i, labels] == 0  # and a row that sums to less than 1 leaves none behind
    given[stays] = target[stays]
    return NoisyLabels(given, labels, class_matrix(labels, posterior), seed, "sample", recipe)


def class_matrix(labels: npt.ArrayLike, posterior: npt.ArrayLike) -> np.ndarray:
    """Return the transition matrix that the noise has on average: row i is the mean over class i.

    Noise drawn by class from it has the same rate and the same T, but is blind to the sample. The
    arguments are those of `from_posterior`; the result is (k, k) float64. A class without samples
    gets a row of the identity.
    """
    posterior, labels = _with_labels("posterior", posterior, labels)
    T = np.eye(posterior.shape[1])
    for y in np.unique(labels):
        T[y] = posterior[labels == y].mean(axis=0)
    return T / T.sum(axis=1, keepdims=True)


def sample_clean_levels(labels: npt.ArrayLike, posterior: npt.ArrayLike) -> np.ndarray:
    """Return c(x) = P(true | x) / max_{j != true} P(j | x) of each sample, (n,) float64.

    It is inf for a sample that never changes. The arguments are those of `from_posterior`.

    >>> sample_clean_levels([0, 1, 1], [[0.75, 0.25], [0.5, 0.5], [0, 1]])
    array([ 3.,  1., inf])
    """
    posterior, labels = _with_labels("posterior", posterior, labels)
    i = np.arange(len(labels))
    others = posterior.copy()
    others[i, labels] = 0
    rival = others.max(axis=1)
    return np.divide(posterior[i, labels], rival, out=np.full(len(labels), np.inf), where=rival > 0)


def softmax_regression(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    steps: int = 100,
    step: float = 0.1,
    num_classes: int | None = None,
) -> np.ndarray:
    """Fit a linear model with softmax, and return its probabilities of the same samples.

    Cross entropy, full batches, zero initial weights, features centred and scaled to unit variance
    each. Few steps leave it unsure, which is what a margin needs.

    Parameters
    ----------
    features : (n, ...) array_like of numbers
        One row each; further axes are flattened.
    labels : (n,) array_like of integers in [0, k)
    steps, step : int in [0, 10000], float > 0
        Of gradient descent.
    num_classes : int, optional
        k in [2, 1000], by default one more than the largest label.

    Returns
    -------
    (n, k) float64
    """
    labels, k = _classes(labels, num_classes)
    x = _rows("features", features, len(labels))
    steps = integer("steps", steps, 0, 10_000)
    step = real("step", step, "a positive number", lambda step: step > 0)
    x = x - x.mean(axis=0)
    x = np.column_stack([x / (x.std(axis=0) + 1e-9), np.ones(len(x))])
    truth, W = np.eye(k)[labels], np.zeros((x.shape[1], k))
    for _ in range(steps):
        W += step * x.T @ (truth - _softmax(x @ W)) / len(x)
    return _softmax(x @ W)


def _raised(tau, eta):
    """min(1, f tau) for the f that makes its mean eta.

    With the m largest cut off at 1, f = (n eta - m) / (sum of the others). The first m that needs
    no further cut is the right one.
    """
    n, order = len(tau), np.sort(tau)[::-1]
    most = np.count_nonzero(tau) / n
    if eta > most:
        raise ValueError(f"eta: expected at most {most:.4g}, the share that can change, got {eta}")
    m = np.arange(n + 1)
    rest = np.append(order[::-1].cumsum()[::-1], 0.0)
    f = np.divide(n * eta - m, rest, out=np.zeros(n + 1), where=rest > 0)
    fits = f * np.append(order, 0.0) <= 1
    return np.minimum(1.0, f[fits.argmax()] * tau) if eta < most else (tau > 0).astype(float)


def _softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def _rescaled(x, norm):
    norm = real("norm", norm, "a positive number, or None", lambda norm: norm > 0)
    length = math.sqrt((x**2).sum(axis=1).mean())
    if length == 0:
        raise ValueError("features: expected some that are not 0, to be rescaled, got zeros")
    return x * (norm / length)


def _generator(seed, name):
    seed = integer("seed", seed, 0)
    words = [seed, _TAG, int.from_bytes(name.encode(), "big")]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def _classes(labels, num_classes):
    k = None if num_classes is None else integer("num_classes", num_classes, 2, _MOST_CLASSES)
    labels = _labels("labels", labels, k or _MOST_CLASSES)
    k = k or int(labels.max()) + 1
    if k < 2:
        raise ValueError("labels: expected two classes or more, got class 0 alone")
    return labels, k


def _rows(name, values, n):
    values = array(name, values, "(n, ...) numbers", np.float64)
    if values.ndim < 2 or len(values) != n or values[0].size == 0:
        raise ValueError(
            f"{name}: expected shape ({n}, ...), a row for each label, got {values.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: expected finite numbers, got nan or inf")
    return values.reshape(n, -1)


def _with_labels(name, values, labels):
    """Return distributions (n, k) and their labels (n,)."""
    p = array(name, values, "(n, k) probabilities", np.float64)
    if p.ndim != 2 or p.shape[1] < 2 or len(p) == 0:
        raise ValueError(f"{name}: expected shape (n, k) with n >= 1 and k >= 2, got {p.shape}")
    good = (p >= 0).all(axis=1) & (np.abs(p.sum(axis=1) - 1) <= 1e-6)  # False for NaN
    if not good.all():
        i = good.argmin()
        raise ValueError(f"{name}: expected rows of probabilities with sum 1, got row {i} = {p[i]}")
    labels = _labels("labels", labels, p.shape[1])
    if len(p) != len(labels):
        raise ValueError(f"{name}: expected {len(labels)} rows, one for each label, got {len(p)}")
    return p, labels
