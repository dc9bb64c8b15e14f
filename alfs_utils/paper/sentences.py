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
from itertools import pairwise

import pandas as pd

from alfs_utils import data
from alfs_utils.losses import from_paper
from alfs_utils.paper.printed import CELLS
from alfs_utils.paper.which_runs import (
    FIGURE_3,
    REDUCED_METHODS,
    REDUCED_ROBUST,
    TUNED,
    figure_5_ids,
)

__all__ = [
    "CLAIMS",
    "Claim",
    "Outcome",
    "figure_3_answers",
    "figure_5_answers",
    "reduced_answers",
    "reduced_margin",
    "tuning_answers",
]


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


# --- figures, tuning and reduced runs ---------------------------------------------------------

ROBUST = 5.0  # a run is robust if it ends within so many points of its best epoch (chapter 0)
LEARNED = 20.0  # twice chance: a run whose best epoch is below has learned nothing that it can keep


def reduced_answers(runs: pd.DataFrame) -> list[tuple[str, bool | None]]:
    """Answer four readings of `reduced_runs`, fixed before the first such run had ended.

    `REDUCED` was changed once after that, see chapter 12. The readings compare means over seeds.
    The answer is None where a run is missing.
    """
    by = runs.groupby("method")
    last, best, repeated = by["last"].mean(), by["best"].mean(), by["repeated"].mean()
    cases = (
        (
            "CE ends more than 5 points below its best epoch",
            ("CE",),
            lambda: best["CE"] - last["CE"] > ROBUST,
        ),
        (
            "GCE, AGCE, AUL and NCE+AGCE each end above CE",
            REDUCED_METHODS,
            lambda: last.drop("CE").min() > last["CE"],
        ),
        (
            "AGCE, AUL and NCE+AGCE each end above GCE",
            ("GCE", *REDUCED_ROBUST),
            lambda: reduced_margin(runs) > 0,
        ),
        (
            "these four each repeat fewer of the wrong labels than CE",
            REDUCED_METHODS,
            lambda: repeated.drop("CE").max() < repeated["CE"],
        ),
    )
    return [
        (reading, bool(rule()) if set(needed) <= set(last.index) else None)
        for reading, needed, rule in cases
    ]


def reduced_margin(runs: pd.DataFrame) -> float:
    """Points by which AGCE, AUL and NCE+AGCE all end above GCE; NaN where one is missing."""
    last = runs.groupby("method")["last"].mean().reindex(REDUCED_METHODS)
    return float(last[[*REDUCED_ROBUST]].min(skipna=False) - last["GCE"])


def figure_3_answers(runs: pd.DataFrame) -> list[tuple[str, str, bool | None]]:
    """Hold what Section 4.1 says of Figure 3 against runs; the readings were fixed before any run.

    Parameters
    ----------
    runs : DataFrame
        Rows of `records.load`, one per loss: `records.runs_of(ledger, figure_3())`.

    Returns
    -------
    list of (quotation, reading, answer)
        The answer is None where a run is missing, or never got above twice chance: such a network
        has nothing to lose, so it is neither robust nor overfitted.
    """
    ends = dict(zip(runs["loss"], zip(runs["best"], runs["last"], strict=True), strict=True))
    half, concave, below_one, two, ael = ([ends.get(str(x)) for x in p.losses] for p in FIGURE_3)
    below, above = half[:1], half[1:2]  # a = 0.1 < 16/65 < a = 0.3
    cases = (
        ("when q = 1.5, all the curves remain robust", "all four", concave, _robust),
        (
            "the AGCE whose asymmetry ratio is smaller than 16/65 exhibits significant overfitting",
            "q = 0.5, a = 0.1 is not robust (a, not the ratio, is below 16/65)",
            below,
            _overfits,
        ),
        (
            "the curve is not robust on a = 0.3 > 16/65",
            "q = 0.5, a = 0.3 is not robust",
            above,
            _overfits,
        ),
        ("more and more robust as a increases gradually", "q = 0.5: the drop falls", half, _falls),
        ("when p < 1, AUL always remains robust", "p = 0.5: all four", below_one, _robust),
        ("when p = 2, AUL becomes more and more robust", "the drop falls", two, _falls),
        ("which is similar to AEL", "the drop falls", ael, _falls),
    )
    return [
        (quotation, reading, bool(rule(_drops(found))) if _learned(found) else None)
        for quotation, reading, found, rule in cases
    ]


def tuning_answers(runs: pd.DataFrame) -> list[tuple[str, str, bool | None]]:
    """Say whether the setting for a data set ends above the setting for the other one.

    Parameters
    ----------
    runs : DataFrame
        Rows of `records.load`, one per loss and data set, of the runs of `tuning`.

    Returns
    -------
    list of (data set, method, answer)
        The answer is None where one of the two runs is missing.
    """
    names = ("mnist", "cifar10")
    ends = {(data.base_name(run.dataset), run.loss): run.last for run in runs.itertuples()}
    rows = []
    for method in TUNED:
        losses = {name: str(from_paper(method, name)) for name in names}
        for name, other in zip(names, reversed(names), strict=True):
            own, theirs = ends.get((name, losses[name])), ends.get((name, losses[other]))
            answer = None if own is None or theirs is None else bool(own > theirs)
            rows.append((name, method, answer))
    return rows


def figure_5_answers(
    runs: pd.DataFrame, features: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, str, bool | None]]:
    """Hold what Section 4.2 says of Figure 5 against runs; the readings were fixed before any run.

    Parameters
    ----------
    runs : DataFrame
        Rows of `records.load`: `records.runs_of(ledger, figure_5())`.
    features : mapping of str to mapping
        For the id of a run, the metrics of its test features, see `features.metrics`.

    Returns
    -------
    list of (quotation, reading, answer)
        The answer is None where a run, or its features, are missing.
    """
    drops = dict(zip(runs["id"], runs["best"] - runs["last"], strict=True))
    ids = figure_5_ids()

    def measure(name, *keys):
        return [features.get(ids[key], {}).get(name) for key in keys]

    overfits, mixed, separated = (
        "GCE encounters obvious overfitting with label noise",
        "the embeddings look completely mixed together when η = 0.8",
        "AGCE learns good representations with more separated and clearly bounded clusters",
    )
    noisy = (0.2, 0.4, 0.6, 0.8)
    cases = [
        (
            overfits,
            f"GCE overfits at η = {eta}",
            [drops.get(ids["GCE", eta])],
            _overfits,
        )
        for eta in noisy
    ]
    knn = measure("knn", ("GCE", 0.8))
    cases += [(mixed, "GCE's features are mixed at η = 0.8", knn, lambda found: found[0] < 50)]
    cases += [
        (
            separated,
            f"AGCE's are more separated at η = {eta}",
            measure("silhouette", ("AGCE", eta), ("GCE", eta)),
            lambda found: found[0] > found[1],
        )
        for eta in noisy
    ]
    return [
        (quotation, reading, None if None in found else bool(rule(found)))
        for quotation, reading, found, rule in cases
    ]


def _learned(ends):
    return None not in ends and min(best for best, _ in ends) > LEARNED


def _drops(ends):
    return [best - last for best, last in ends]


def _robust(drops):
    return max(drops) <= ROBUST


def _overfits(drops):
    return min(drops) > ROBUST


def _falls(drops):
    return drops[0] > drops[-1] and all(a >= b for a, b in pairwise(drops))
