"""The ranking sentences of Sections 4.2 and 4.3, as predicates on a table of accuracies.

The same predicate reads the paper's own means and ours::

    printed = {cell.key: cell.mean for cell in CELLS}
    [claim.outcome(printed).holds for claim in CLAIMS]

A sentence that can be read in two ways stands here twice. "Significant" names no measure, so only
the order of the means counts; "underfitting" is read as an accuracy below that of CE. MNIST has no
rows for NCE+ALF, so "all datasets" means the CIFARs.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from alfs_utils.paper.tables import CELLS

__all__ = ["CLAIMS", "Claim", "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What a table of accuracies says of one claim.

    Attributes
    ----------
    holds : bool or None
        None: cells are missing, and the answer depends on them.
    supporting, contradicting, undecided : tuple of tuple
        The cells of the claim, as (dataset, method, noise, eta). A claim about "most" cells may
        hold with some cells against it.
    """

    holds: bool | None
    supporting: tuple
    contradicting: tuple
    undecided: tuple


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper about which loss does better where.

    Attributes
    ----------
    section : str
    quotation : str
        The paper's words.
    reading : str
        What is computed, in a line.
    parts : tuple of tuple
        Groups of cells; the claim holds if every group has enough cells that support it.
    rivals : tuple of str or None
        The losses that a cell is compared with, in its own column; None: all others.
    needed : {"all", "most"} or int
        How many cells of a group must support the claim; "most" is more than half.
    relation : callable
        How a cell must compare with a rival, by default greater.
    spared : int
        With how many rivals it need not: 2 for the top three.
    """

    section: str
    quotation: str
    reading: str
    parts: tuple
    rivals: tuple | None
    needed: str | int = "all"
    relation: Callable = operator.gt
    spared: int = 0

    def outcome(self, accuracies: Mapping) -> Outcome:
        """Apply the claim to accuracies.

        Parameters
        ----------
        accuracies : mapping from (dataset, method, noise, eta), see `Cell.key`, to float
            In percent or not. A cell that is absent, None or NaN is missing.

        Raises
        ------
        ValueError
            For a key that is no cell of Tables 1 to 3.
        """
        for key in accuracies:
            if key not in _KEYS:
                raise ValueError(
                    f"accuracies has the key {key!r}: expected (dataset, method, noise, eta) of a "
                    "cell of Tables 1 to 3, such as ('mnist', 'AGCE', 'symmetric', 0.8)"
                )
        answers = {key: self._supports(key, accuracies) for part in self.parts for key in part}
        enough = [
            _at_least(self._needed_of(len(part)), [answers[key] for key in part])
            for part in self.parts
        ]
        sides = (tuple(k for k, a in answers.items() if a is side) for side in (True, False, None))
        return Outcome(_at_least(len(enough), enough), *sides)

    def _needed_of(self, n):
        return {"all": n, "most": n // 2 + 1}.get(self.needed, self.needed)

    def _supports(self, key, accuracies):
        dataset, _, noise, eta = key
        rivals = [rival for rival in _COLUMNS[dataset, noise, eta] if rival != key]
        if self.rivals is not None:
            rivals = [rival for rival in rivals if rival[1] in self.rivals]
        own = accuracies.get(key)
        answers = [_compare(self.relation, own, accuracies.get(rival)) for rival in rivals]
        return _at_least(len(rivals) - self.spared, answers)


def _compare(relation, a, b):
    """True, False, or None where a number is missing."""
    missing = any(x is None or x != x for x in (a, b))
    return None if missing else bool(relation(a, b))


def _at_least(n, answers):
    """Whether at least n answers are True; None where the missing ones decide."""
    true, missing = answers.count(True), answers.count(None)
    return True if true >= n else False if true + missing < n else None


_KEYS = {c.key for c in CELLS}
_COLUMNS = {}  # (dataset, noise, eta): the cells of all its methods
for _c in CELLS:
    _COLUMNS.setdefault((_c.dataset, _c.noise, _c.eta), []).append(_c.key)


def _cells(method, datasets, noises, etas=None):
    return tuple(
        c.key
        for c in CELLS
        if c.method == method and c.dataset in datasets and c.noise in noises
        if etas is None or c.eta in etas
    )


_NAMED = ("GCE", "SCE", "NLNL", "NCE")
_BASELINES = ("CE", "FL", *_NAMED, "NCE+RCE")
_ALFS = ("AGCE", "AUL", "AEL")
_SUMS = ("NCE+AGCE", "NCE+AUL", "NCE+AEL")
_EASY = ("mnist", "cifar10")
_CIFAR = ("cifar10", "cifar100")
_NOISY = ("symmetric", "asymmetric")
_ALL_NOISES = ("clean", *_NOISY)

_IMPROVEMENT = (
    "AGCE, AUL and AEL have a significant improvement in most label noise settings for MNIST and "
    "CIFAR-10"
)
_TOP_THREE = (
    "our NCE+ALFs, especially NCE+AGCE and NCE+AUL, achieve the top three best results in most "
    "test scenarios across all datasets"
)
_UNDERFITTING = (
    "in our limited parameter tuning, ALFs suffer from underfitting with asymmetric label noise "
    "with η = 0.4"
)

CLAIMS = (
    Claim(
        "4.2",
        _IMPROVEMENT,
        "each of the three above GCE, SCE, NLNL and NCE in most of the 16 noisy settings",
        tuple(_cells(method, _EASY, _NOISY) for method in _ALFS),
        _NAMED,
        needed="most",
    ),
    Claim(
        "4.2",
        _IMPROVEMENT,
        "each of the three above all seven baselines in most of the 16 noisy settings",
        tuple(_cells(method, _EASY, _NOISY) for method in _ALFS),
        _BASELINES,
        needed="most",
    ),
    Claim(
        "4.2",
        "compared with GCE, SCE, NLNL and NCE, AUL achieves better test accuracy on MNIST and "
        "CIFAR-10 for symmetric noise with any noise rate and asymmetric noise with noise rate "
        "η ∈ {0.1, 0.2, 0.3}",
        "AUL above the four in all 14 settings",
        (
            _cells("AUL", _EASY, ("symmetric",))
            + _cells("AUL", _EASY, ("asymmetric",), (0.1, 0.2, 0.3)),
        ),
        _NAMED,
    ),
    Claim(
        "4.2",
        _UNDERFITTING,
        "AGCE, AUL and AEL below CE there, on MNIST and on CIFAR-10",
        tuple(_cells(method, _EASY, ("asymmetric",), (0.4,)) for method in _ALFS),
        ("CE",),
        relation=operator.lt,
    ),
    Claim(
        "4.2",
        _UNDERFITTING,
        "AGCE, AUL and AEL below CE there, on CIFAR-10 alone",
        tuple(_cells(method, ("cifar10",), ("asymmetric",), (0.4,)) for method in _ALFS),
        ("CE",),
        relation=operator.lt,
    ),
    Claim(
        "4.2",
        _TOP_THREE,
        "each of the three sums, ties counted in its favour, in most of the 18 CIFAR settings",
        tuple(_cells(method, _CIFAR, _ALL_NOISES) for method in _SUMS),
        None,
        needed="most",
        relation=operator.ge,
        spared=2,
    ),
    Claim(
        "4.2",
        _TOP_THREE,
        "NCE+AGCE and NCE+AUL, each, ties counted in its favour, in most of the 18 CIFAR settings",
        tuple(_cells(method, _CIFAR, _ALL_NOISES) for method in _SUMS[:2]),
        None,
        needed="most",
        relation=operator.ge,
        spared=2,
    ),
    Claim(
        "4.2",
        "In several cases, our method are better than all baseline methods",
        "at least three cells of the six proposed losses are above all seven baselines",
        (
            sum(
                (_cells(method, (*_EASY, "cifar100"), _ALL_NOISES) for method in _ALFS + _SUMS),
                start=(),
            ),
        ),
        _BASELINES,
        needed=3,
    ),
    Claim(
        "4.3",
        "AGCE and NCE+AGCE outperform the existing loss functions GCE, SCE, and NCE+RCE",
        "both above the three in Table 3",
        tuple(_cells(method, ("webvision",), ("real-world",)) for method in ("AGCE", "NCE+AGCE")),
        ("GCE", "SCE", "NCE+RCE"),
    ),
)
