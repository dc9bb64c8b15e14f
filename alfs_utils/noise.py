"""Class-conditional label noise: transition matrices, noisy labels, clean-labels domination.

A transition matrix T is a (k, k) float64 array whose rows sum to 1, with
T[i, j] = P(noisy label = j | clean label = i): in the noise model of the paper (eq. 2) row i
holds 1 - eta_i on the diagonal and eta_{i,j} elsewhere. Labels are integers 0..k-1.

>>> clean = np.arange(10).repeat(5000)
>>> noisy = corrupt(clean, symmetric(10, 0.4), seed=1)
>>> round(noisy.rate, 2), round(noisy.c, 6)
(0.4, 13.5)

The module needs NumPy only and touches no global random state. A bad argument raises a TypeError
or ValueError that names it, its value and what was expected.
"""

import hashlib
import io
import json
import os
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from alfs_utils import __version__
from alfs_utils._arguments import array, integer, option, real, shown
from alfs_utils._files import read_bytes, replacing
from alfs_utils.classes import NUM_CLASSES

__all__ = [
    "CIFAR100_SUPERCLASS",
    "NoisyLabels",
    "asymmetric",
    "class_clean_levels",
    "clean_level",
    "corrupt",
    "count_matrix",
    "dominant_classes",
    "is_clean_dominant",
    "matrix",
    "official_alfs",
    "pairflip",
    "symmetric",
    "transition_matrix",
]

# Superclass of each CIFAR-100 fine label, one base-20 digit each; fine and coarse labels count in
# the order of the data set's own files (Krizhevsky, "Learning multiple layers of features", 2009).
_COARSE = (
    "41e80677i33e9i7b397b6b5a76df3f0b1aceg9b55j88fdehia"
    "g4h420h4iha32ccgc19j2a01gc9dfdgj246j558ji12f60h8ed"
)
CIFAR100_SUPERCLASS = np.array([int(digit, 20) for digit in _COARSE])
CIFAR100_SUPERCLASS.setflags(write=False)

_PAPERS = ("mnist", "cifar10", "cifar100")  # data sets that have asymmetric noise of their own
_FLIPS = {
    "mnist": {7: 1, 2: 7, 3: 8, 5: 6, 6: 5},
    "cifar10": {9: 1, 2: 0, 3: 5, 5: 3, 4: 7},
}
_TAG = 0x6E6F697365  # keeps the noise stream apart from others that start from the same seed
_GENERATOR = f"PCG64(SeedSequence([seed, {_TAG}]))"
_COUNTS = ("iid", "exact", "official_alfs", "human", "sample")
_LARGEST = 2**31  # bytes of the arrays of a file
_MOST_CLASSES = 2**15  # a matrix of so many classes takes 8 GB
# The errors that json, zipfile and NumPy raise for damaged data.
_UNREADABLE = (
    AttributeError, EOFError, KeyError, MemoryError, RuntimeError, TypeError, ValueError,
    BadZipFile, zlib.error,
)  # fmt: skip


def symmetric(num_classes: int, eta: float, include_true: bool = False) -> np.ndarray:
    """Return the matrix of symmetric (uniform) noise: every wrong class is equally likely.

    Parameters
    ----------
    num_classes : int
        k >= 1. A single class has nowhere to go, so k = 1 needs eta = 0 (or `include_true`).
    eta : float
        Noise rate in [0, 1].
    include_true : bool
        False, as in the paper: each other class gets eta / (k - 1). True, as in DivideMix and
        ELR: a share eta is redrawn from all k classes, and the real rate is eta (k - 1) / k.

    Returns
    -------
    (k, k) float64 transition matrix.

    Examples
    --------
    >>> symmetric(3, 0.5)
    array([[0.5 , 0.25, 0.25],
           [0.25, 0.5 , 0.25],
           [0.25, 0.25, 0.5 ]])
    """
    if not isinstance(include_true, bool | np.bool_):
        raise TypeError(f"include_true: expected True or False, got {shown(include_true)}")
    k, eta = _classes_and_rate(num_classes, eta, alone=bool(include_true))
    if include_true:
        return (1 - eta) * np.eye(k) + eta / k
    T = np.full((k, k), eta / max(k - 1, 1))
    np.fill_diagonal(T, 1 - eta)
    return T


def pairflip(num_classes: int, eta: float) -> np.ndarray:
    """Return the matrix of pair-flip noise: class i becomes i + 1 (mod k) with probability eta.

    Parameters and result are those of `symmetric`, without `include_true`.

    >>> pairflip(3, 0.25)
    array([[0.75, 0.25, 0.  ],
           [0.  , 0.75, 0.25],
           [0.25, 0.  , 0.75]])
    """
    k, eta = _classes_and_rate(num_classes, eta)
    return _flip(np.arange(k), np.roll(np.arange(k), -1), k, eta)


def asymmetric(dataset: str, eta: float, convention: str = "blocks") -> np.ndarray:
    """Return the matrix of asymmetric noise: a class becomes a similar one with probability eta.

    MNIST 7->1, 2->7, 3->8, 5<->6; CIFAR-10 truck->automobile, bird->airplane, cat<->dog,
    deer->horse (Patrini et al., CVPR 2017): five of ten classes change, hence about eta / 2 of all
    samples. In CIFAR-100 each class moves on to the next in a ring of five.

    Parameters
    ----------
    dataset : {"mnist", "cifar10", "cifar100"}
    eta : float
        Flip probability, in [0, 1], of the classes that change.
    convention : {"blocks", "superclass"}
        CIFAR-100 only. "blocks": rings of five consecutive fine labels, as in the code behind the
        papers' tables; labels are alphabetical, so only 6 of the 100 flips stay in a superclass.
        "superclass": rings inside the true superclasses, as in the papers' text.

    Returns
    -------
    (10, 10) or (100, 100) float64 transition matrix.

    Examples
    --------
    >>> T = asymmetric("cifar10", 0.4)
    >>> float(T[9, 1]), float(T[9, 9]), float(T[0, 0])
    (0.4, 0.6, 1.0)
    """
    option("dataset", dataset, _PAPERS)
    option("convention", convention, ("blocks", "superclass"))
    k, eta = _classes_and_rate(NUM_CLASSES[dataset], eta)
    if dataset == "cifar100":
        group = np.arange(k) // 5 if convention == "blocks" else CIFAR100_SUPERCLASS
        ring = np.argsort(group, kind="stable").reshape(20, 5)
        return _flip(ring, np.roll(ring, -1, axis=1), k, eta)
    if convention != "blocks":
        raise ValueError(f"convention: expected 'blocks' for {dataset}, got {convention!r}")
    return _flip(list(_FLIPS[dataset]), list(_FLIPS[dataset].values()), k, eta)


KINDS = {
    "symmetric": lambda dataset, eta: symmetric(NUM_CLASSES[dataset], eta),
    "asymmetric": lambda dataset, eta: asymmetric(_like(dataset), eta),
    "asymmetric-superclass": lambda dataset, eta: asymmetric(dataset, eta, "superclass"),
    "pairflip": lambda dataset, eta: pairflip(NUM_CLASSES[dataset], eta),
}


def matrix(kind: str, dataset: str, eta: float) -> np.ndarray:
    """Return the transition matrix of a kind of noise on a data set.

    Parameters
    ----------
    kind : {"symmetric", "asymmetric", "asymmetric-superclass", "pairflip"}
        "asymmetric" is the noise of `asymmetric`; "asymmetric-superclass" is its other convention,
        for CIFAR-100 alone.
    dataset : {"digits", "words", "words-4", "mnist", "cifar10", "cifar100"}
        Digits flip as MNIST's do; words have no asymmetric noise.
    eta : float in [0, 1]

    Returns
    -------
    (k, k) float64

    Examples
    --------
    >>> float(matrix("asymmetric", "cifar10", 0.4)[9, 1])
    0.4
    """
    option("kind", kind, KINDS)
    option("dataset", dataset, ("digits", "words", "words-4", *_PAPERS))
    return KINDS[kind](dataset, eta)


def _like(dataset):
    return "mnist" if dataset == "digits" else dataset


def _flip(source, target, k, eta):
    T = np.eye(k)
    T[source, source] = 1 - eta
    T[source, target] += eta  # += because pairflip(1, 0) has target = source
    return T


@dataclass(frozen=True, eq=False, repr=False)
class NoisyLabels:
    """Noisy labels and how they were made.

    All arrays are read-only: make a tensor with ``torch.tensor(noisy.labels)``, which copies.
    (`torch.from_numpy` warns of arrays that it must not write to.) A label that T excludes,
    T[clean, label] = 0, raises a ValueError.

    Attributes
    ----------
    labels, clean : (n,) int64
        Noisy and clean labels.
    T : (k, k) float64
        Target transition matrix; `c` is its `clean_level`.
    seed, counts, recipe : int, str, str
        As given to `corrupt`; counts is "official_alfs" if that function made the labels, and
        "human" if nobody drew them, "sample" if each has its own distribution (`instance_noise`).
    mask : (n,) bool
        True where labels differ from clean; `rate` is the share of True.
    T_realised : (k, k) float64
        `transition_matrix` of these very labels; the rows of absent classes are NaN.
    sha256 : str
        Hash of the noisy labels as little-endian int64.
    """

    labels: np.ndarray
    clean: np.ndarray
    T: np.ndarray
    seed: int
    counts: str
    recipe: str = ""

    def __post_init__(self):
        T = _transition(self.T)
        labels, clean, _ = _label_pair("labels", self.labels, "clean", self.clean, len(T))
        for name, own in (("labels", labels), ("clean", clean), ("T", T)):
            object.__setattr__(self, name, _frozen(own.copy()))
        object.__setattr__(self, "seed", integer("seed", self.seed, 0))
        option("counts", self.counts, _COUNTS)
        if not isinstance(self.recipe, str):
            raise TypeError(f"recipe: expected a string, got {shown(self.recipe)}")
        excluded = T[clean, labels] == 0
        if self.counts == "official_alfs":  # which rounds down, so a label may stay at eta = 1
            excluded &= labels != clean
        if excluded.any():
            i = excluded.argmax()
            raise ValueError(
                f"labels: expected a class that T gives to class {clean[i]}, got {labels[i]} at "
                f"index {i}"
            )

    @cached_property
    def mask(self) -> np.ndarray:
        return _frozen(self.labels != self.clean)

    @cached_property
    def T_realised(self) -> np.ndarray:
        k = len(self.T)
        return _frozen(transition_matrix(clean=self.clean, noisy=self.labels, num_classes=k))

    @cached_property
    def rate(self) -> float:
        return float(self.mask.mean())

    @cached_property
    def c(self) -> float:
        return clean_level(self.T)

    @cached_property
    def sha256(self) -> str:
        return _sha256(self.labels)

    def __repr__(self):
        return (
            f"NoisyLabels(n={len(self.labels)}, k={len(self.T)}, rate={self.rate:.4f}, "
            f"c={self.c:.4g}, seed={self.seed}, counts={self.counts!r}, "
            f"recipe={self.recipe!r}, sha256={self.sha256[:8]}...)"
        )

    def save(self, path: str | os.PathLike) -> Path:
        """Write labels, clean labels and T to `path` (.npz), and a JSON card beside it (.json).

        The card holds recipe, seed, counts, generator and versions, and the facts that `load`
        verifies. Each file is replaced atomically. Return the path; ".npz" is appended if it is
        missing. Raise ValueError if the seed does not draw these labels, such as a part of them.
        """
        if not self._is_as_drawn():
            raise ValueError(f"labels: expected those that {self._made()} draws, got others")
        size = sum(x.nbytes for x in (self.labels, self.clean, self.T)) + 100_000
        if size > _LARGEST:
            raise ValueError(f"T: expected arrays of at most {_LARGEST} bytes to save, got {size}")
        path, card_path = _paths(path)
        arrays = io.BytesIO()
        np.savez_compressed(arrays, labels=self.labels, clean=self.clean, T=self.T)
        card = {
            "made": self._made(),
            "generator": _GENERATOR,
            "versions": {"alfs_utils": __version__, "numpy": np.__version__},
            "facts": self._facts(),
        }
        text = json.dumps(card, indent=2, allow_nan=False) + "\n"
        for target, content in ((path, arrays.getvalue()), (card_path, text.encode())):
            with replacing(target) as file:
                file.write(content)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike) -> "NoisyLabels":
        """Read what `save` wrote.

        The labels are drawn again from clean labels, T, seed and counts, unless people gave them
        or their noise depended on the sample.

        Raise FileNotFoundError if the .npz file or its card is missing, and ValueError if one of
        them cannot be read, if they disagree (shape, hash, rate, clean level, how they were made),
        or if other labels are drawn.
        """
        path, card_path = _paths(path)
        text, data = read_bytes(card_path), io.BytesIO(read_bytes(path))
        try:
            card = json.loads(text)
            said = dict(card["facts"], generator=card["generator"])
            with np.load(data, allow_pickle=False) as file:
                _check_unpacked(file.zip, said)
                noisy = cls(file["labels"], file["clean"], file["T"], **card["made"])
        except _UNREADABLE as error:
            raise ValueError(
                f"path: expected labels with their card, got {error!r} in {path}"
            ) from error
        for name, found in {"generator": _GENERATOR, **noisy._facts()}.items():
            if name not in said or said[name] != found:
                expected = f"{name} {said.get(name)!r}, as {card_path.name} says"
                raise ValueError(f"path: expected {expected}, got {found!r} in {path}")
        if not noisy._is_as_drawn():
            made = f"{noisy._made()} draws, as {card_path.name} says"
            raise ValueError(f"path: expected the labels that {made}, got others in {path}")
        return noisy

    def _made(self):
        return {"recipe": self.recipe, "seed": self.seed, "counts": self.counts}

    def _is_as_drawn(self):
        if self.counts in ("human", "sample"):  # T alone did not make them
            return True
        if self.counts == "official_alfs":
            dataset, kind, eta = self.recipe.split()
            again = official_alfs(self.clean, dataset, kind, float(eta), self.seed)
        else:
            again = corrupt(self.clean, self.T, self.seed, self.counts)
        return np.array_equal(again.labels, self.labels) and np.array_equal(again.T, self.T)

    def _facts(self):
        return {
            "num_samples": len(self.labels),
            "num_classes": len(self.T),
            "labels_sha256": self.sha256,
            "clean_sha256": _sha256(self.clean),
            "T_sha256": _sha256(self.T),
            "made_sha256": hashlib.sha256(json.dumps(self._made()).encode()).hexdigest(),
            "rate": self.rate,
            "clean_level": self.c if np.isfinite(self.c) else None,  # null: no noise in T
        }


def corrupt(
    labels: npt.ArrayLike, T: npt.ArrayLike, seed: int, counts: str = "iid", recipe: str = ""
) -> NoisyLabels:
    """Draw noisy labels from a transition matrix; the result depends on the arguments only.

    With the same seed and counts, a label that changes at a lower rate also changes at a higher
    one.

    Parameters
    ----------
    labels : (n,) array_like of integers in [0, k)
        Clean labels, n >= 1.
    T : (k, k) array_like
        Transition matrix, row-stochastic to 1e-6.
    seed : int
        Non-negative. Not a Generator, because a card can record an integer only.
    counts : {"iid", "exact"}
        "iid": every label changes independently with probability eta_i = 1 - T[i, i].
        "exact": exactly round(eta_i n_i) (ties to even) of the n_i samples of class i change, drawn
        without replacement. In both cases the new labels are i.i.d. from the rest of row i.
    recipe : str
        Free text for the card, such as "symmetric 0.4".

    Examples
    --------
    >>> noisy = corrupt(np.arange(100).repeat(500), symmetric(100, 0.1), seed=0, counts="exact")
    >>> noisy.rate, np.bincount(noisy.clean[noisy.mask])[:3]
    (0.1, array([50, 50, 50]))
    """
    T = _transition(T)
    labels = _labels("labels", labels, len(T))
    option("counts", counts, ("iid", "exact"))
    quota = None
    if counts == "exact":
        eta = np.clip(1 - np.diag(T), 0, 1)  # within its tolerance, T[i, i] may exceed 1
        quota = np.rint(eta * np.bincount(labels, minlength=len(T))).astype(int)
    return _corrupt(labels, T, seed, quota, counts, recipe)


def official_alfs(
    labels: npt.ArrayLike, dataset: str, kind: str, eta: float, seed: int
) -> NoisyLabels:
    """Draw noisy labels with the counting of the paper's code (github.com/hitcszx/ALFs).

    MNIST: i.i.d. CIFAR-10/100 symmetric: exactly int(eta n) // k samples of every class, whatever
    its size. CIFAR-10 asymmetric: exactly int(eta n / 10) of each source class, which is the
    code's int(5000 eta) on the training set. CIFAR-100 asymmetric: i.i.d., in blocks.
    The function reproduces the counting of that code, not its random stream.

    Parameters
    ----------
    labels : (n,) array_like of integers in [0, k)
        Clean labels, n >= 1; each class must have at least as many samples as change in it.
    dataset : {"mnist", "cifar10", "cifar100"}
    kind : {"symmetric", "asymmetric"}
    eta, seed : float in [0, 1], int

    Examples
    --------
    >>> clean = np.arange(10).repeat([900, 1100] + [1000] * 8)
    >>> noisy = official_alfs(clean, "cifar10", "symmetric", 0.4, seed=0)
    >>> np.bincount(noisy.clean[noisy.mask])[:3]
    array([400, 400, 400])
    """
    option("dataset", dataset, _PAPERS)
    option("kind", kind, ("symmetric", "asymmetric"))
    k = NUM_CLASSES[dataset]
    T = symmetric(k, eta) if kind == "symmetric" else asymmetric(dataset, eta)
    labels, eta = _labels("labels", labels, k), float(eta)  # as the recipe will say it
    quota = None
    if kind == "symmetric" and dataset != "mnist":
        quota = np.full(k, int(eta * len(labels)) // k)
    elif dataset == "cifar10":
        quota = np.where(np.diag(T) < 1, int(eta * len(labels) / k), 0)
    size = np.bincount(labels, minlength=k)
    if quota is not None and (quota > size).any():
        i = np.argmax(quota > size)
        raise ValueError(f"labels: expected {quota[i]} samples or more of class {i}, got {size[i]}")
    return _corrupt(labels, T, seed, quota, "official_alfs", f"{dataset} {kind} {eta}")


def _corrupt(labels, T, seed, quota, counts, recipe):
    """Change the labels whose u is below eta_i; with a quota, the quota[i] with the smallest u."""
    seed = integer("seed", seed, 0)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _TAG])))
    u, v = generator.random((2, len(labels)))
    limit = 1 - np.diag(T)
    if quota is not None:
        order = np.argsort(labels.astype(np.min_scalar_type(len(T))), kind="stable")  # radix sort
        ends = np.cumsum(np.bincount(labels, minlength=len(T)))
        classes = zip(np.split(order, ends[:-1]), quota, strict=True)
        limit = np.array([np.partition(np.append(u[own], 1), m)[m] for own, m in classes])
    changed = np.flatnonzero(u < limit[labels])
    noisy = labels.copy()
    noisy[changed] = _destinations(labels[changed], T, v[changed])
    return NoisyLabels(noisy, labels, T, seed, counts, recipe)


def _destinations(source, T, v):
    """Invert the distribution function of each source's off-diagonal row at v in [0, 1).

    Indexed search (Chen and Asau, 1974): a table of the inverse on a grid says where to start.
    A row that sums to 1 only within the tolerance may have no other class: its labels stay.
    """
    off = _off_diagonal(T)
    cdf = np.cumsum(np.where(off.any(axis=1, keepdims=True), off, np.eye(len(T))), axis=1)
    cdf /= cdf[:, -1:]
    cells = 1 << len(T).bit_length()  # a power of two: v * cells and the grid are exact
    grid = np.arange(cells) / cells
    table = np.array([np.searchsorted(row, grid, side="right") for row in cdf])
    target = table[source, (v * cells).astype(np.int64)]
    late = np.flatnonzero(cdf[source, target] <= v)  # <= : probability 0 is never drawn
    while len(late):
        target[late] += 1
        late = late[cdf[source[late], target[late]] <= v[late]]
    return target


def transition_matrix(
    *, clean: npt.ArrayLike, noisy: npt.ArrayLike, num_classes: int | None = None
) -> np.ndarray:
    """Return the realised transition matrix: the shares of the noisy labels in each class.

    `clean` and `noisy` are (n,) integers, n >= 1; `num_classes` is k, by default one more than
    the largest label. The result is (k, k) float64; the row of a class without samples is NaN.

    >>> transition_matrix(clean=[0, 0, 0, 0, 2], noisy=[0, 0, 0, 1, 2], num_classes=3)
    array([[0.75, 0.25, 0.  ],
           [ nan,  nan,  nan],
           [0.  , 0.  , 1.  ]])
    """
    count = count_matrix(clean=clean, noisy=noisy, num_classes=num_classes)
    size = count.sum(axis=1, keepdims=True)
    return np.divide(count, size, out=np.full(count.shape, np.nan), where=size > 0)


def class_clean_levels(T: npt.ArrayLike) -> np.ndarray:
    """Return the clean level T[i, i] / max_{j != i} T[i, j] of each class i, (k,) float64.

    It is inf for a class that never changes and 0 for one that always does.
    """
    T = _transition(T)
    rival = _off_diagonal(T).max(axis=1)
    return np.divide(np.diag(T), rival, out=np.full(len(T), np.inf), where=rival > 0)


def clean_level(T: npt.ArrayLike) -> float:
    """Return the clean level c = min_i min_{j != i} T[i, i] / T[i, j] (remark to Theorem 6).

    It is inf if there is no noise.

    >>> [round(clean_level(symmetric(10, eta)), 6) for eta in (0, 0.2, 0.4, 0.6, 0.8)]
    [inf, 36.0, 13.5, 6.0, 2.25]
    """
    return float(class_clean_levels(T).min())


def is_clean_dominant(T: npt.ArrayLike) -> bool:
    """Return whether T[i, i] > T[i, j] for all j != i (Assumption 1), that is, whether c > 1.

    >>> is_clean_dominant(pairflip(10, 0.45)), is_clean_dominant(pairflip(10, 0.5))
    (True, False)
    """
    return clean_level(T) > 1


def dominant_classes(
    *, clean: npt.ArrayLike, noisy: npt.ArrayLike, num_classes: int | None = None
) -> np.ndarray:
    """Say which classes are dominant in a noisy data set (Definition 1), (k,) bool.

    Class i is dominant if the label i is strictly the most frequent noisy label among the samples
    whose clean label is i. A class without samples is not dominant (eq. 4 reads 0 > 0). The data
    set is clean-labels-dominant if all classes are dominant. The parameters are those of
    `transition_matrix`.

    >>> dominant_classes(clean=[0, 0, 0, 1, 1], noisy=[0, 0, 1, 1, 0], num_classes=3)
    array([ True, False, False])
    """
    count = count_matrix(clean=clean, noisy=noisy, num_classes=num_classes)
    return np.diag(count) > _off_diagonal(count).max(axis=1)


def count_matrix(
    *, clean: npt.ArrayLike, noisy: npt.ArrayLike, num_classes: int | None = None
) -> np.ndarray:
    """Count how often class i was called j; arguments as in `transition_matrix`.

    >>> count_matrix(clean=[0, 0, 0, 1, 1], noisy=[0, 0, 1, 1, 1])
    array([[2, 1],
           [0, 2]])
    """
    clean, noisy, k = _label_pair("clean", clean, "noisy", noisy, num_classes)
    return np.bincount(clean * k + noisy, minlength=k * k).reshape(k, k)


def _off_diagonal(T):
    T = T.copy()
    np.fill_diagonal(T, 0)
    return T


def _classes_and_rate(num_classes, eta, alone=False):
    k = integer("num_classes", num_classes, 1, _MOST_CLASSES)
    eta = real("eta", eta, "a number in [0, 1]", lambda eta: 0 <= eta <= 1)
    if k == 1 and eta > 0 and not alone:
        raise ValueError(f"num_classes: expected at least 2 for eta = {eta} > 0, got 1")
    return k, eta


def _transition(T):
    T = array("T", T, "a square matrix of numbers", np.float64).copy()
    if T.ndim != 2 or T.shape[0] != T.shape[1] or T.size == 0:
        raise ValueError(f"T: expected shape (k, k) with k >= 1, got {T.shape}")
    good = (T >= 0).all(axis=1) & (np.abs(T.sum(axis=1) - 1) <= 1e-6)  # False for NaN and inf
    if not good.all():
        i = np.argmin(good)
        columns = (T >= 0).all() and (np.abs(T.sum(axis=0) - 1) <= 1e-6).all()
        hint = "; its columns have sum 1, as cleanlab's matrices do: pass T.T" if columns else ""
        raise ValueError(f"T: expected rows of probabilities with sum 1, got T[{i}] = {T[i]}{hint}")
    return T


def _labels(name, labels, num_classes):
    labels = array(name, labels, "(n,) integers")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(f"{name}: expected shape (n,) with n >= 1, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integers, got {labels.dtype}: {shown(labels[:5])}")
    top = _MOST_CLASSES if num_classes is None else num_classes
    for i in labels.argmin(), labels.argmax():
        if not 0 <= labels[i] < top:
            raise ValueError(f"{name}: expected values in [0, {top}), got {labels[i]} at index {i}")
    return labels.astype(np.int64, copy=False)


def _label_pair(name, labels, other_name, others, num_classes):
    k = None if num_classes is None else integer("num_classes", num_classes, 1, _MOST_CLASSES)
    labels, others = _labels(name, labels, k), _labels(other_name, others, k)
    if len(labels) != len(others):
        raise ValueError(
            f"{other_name}: expected {len(labels)} labels, as many as {name}, got {len(others)}"
        )
    return labels, others, k or int(max(labels.max(), others.max())) + 1


def _frozen(values):
    values.setflags(write=False)
    return values


def _sha256(values):
    return hashlib.sha256(values.astype(values.dtype.newbyteorder("<")).tobytes()).hexdigest()


def _check_unpacked(archive, said):
    """Refuse an archive that would unpack to more than the card says, or to more than 2 GB."""
    n, k = (integer(name, said[name], 1) for name in ("num_samples", "num_classes"))
    most = min(16 * n + 8 * k**2 + 100_000, _LARGEST)  # and what comes before the numbers
    size = sum(part.file_size for part in archive.infolist())
    if size > most:
        raise ValueError(f"expected at most {most} bytes unpacked, got {size}")


def _paths(path):
    path = Path(path)
    if path.suffix != ".npz":  # not with_suffix: "symmetric.0.4" would become "symmetric.0.npz"
        path = path.with_name(path.name + ".npz")
    return path, path.with_suffix(".json")
