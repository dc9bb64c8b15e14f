"""Checks of chapter 1: Definition 1, Assumption 1 and what is said about them."""

from fractions import Fraction

import numpy as np

from alfs_utils import noise
from alfs_utils.paper.checks import Check

__all__ = ["assumption_1", "average_rate", "definition_1"]


def definition_1(dominant=noise.dominant_classes, tables=300) -> Check:
    """Definition 1 against its own words, on random small data sets; control: absolute majority.

    `dominant(clean, given, k)` says for each class whether its label is dominant.
    """
    rng = np.random.default_rng(0)
    wrong = majority_wrong = yes = 0
    for _ in range(tables):
        clean, given = rng.integers(0, 4, (2, 24))
        said = dominant(clean, given, 4)
        for i in range(4):
            counts = [int(((clean == i) & (given == j)).sum()) for j in range(4)]
            right = counts[i] > max(counts[:i] + counts[i + 1 :])
            yes += right
            wrong += bool(said[i]) != right
            majority_wrong += (2 * counts[i] > sum(counts)) != right
    line = (
        f"{4 * tables} classes, {yes} of them dominant: {wrong} judged wrongly; "
        f'reading it as "more than half" would misjudge {majority_wrong}'
    )
    return Check(wrong == 0 and 0 < yes < 4 * tables, majority_wrong > 0, line)


def average_rate(rate=Fraction(1, 10), dominant=noise.dominant_classes) -> Check:
    """Does a low average noise rate make a data set clean-labels-dominant? A counterexample.

    Ten balanced classes, one of which carries another's label throughout. What holds: the same
    amount of noise spread evenly leaves every class dominant. Control: 95 % spread evenly does not.
    """
    clean = np.repeat(np.arange(10), 100)
    given = np.where(clean == 3, 5, clean)
    low = Fraction(int((given != clean).sum()), len(clean)) <= rate
    spread = np.where(np.arange(1000) % 10 == 0, (clean + 1) % 10, clean)
    same_rate = np.mean(spread != clean) == np.mean(given != clean)
    swamped = np.where(np.arange(1000) % 20 == 0, clean, (clean + 1) % 10)
    line = (
        f"average rate {np.mean(given != clean):.0%}, dominant in "
        f"{dominant(clean, given).sum()} of 10 classes; spread evenly: in "
        f"{dominant(clean, spread).sum()} of 10; 95 % spread evenly: in "
        f"{dominant(clean, swamped).sum()} of 10"
    )
    implied = not low or bool(dominant(clean, given).all())
    survives = bool(same_rate and dominant(clean, spread).all())
    return Check(implied, not dominant(clean, swamped).any(), line, repaired=survives)


def assumption_1(bound=lambda k: Fraction(1, k)) -> Check:
    """Assumption 1 implies 1 - eta > 1/k; for symmetric noise they are equivalent.

    All label distributions of 3 and 4 classes on a grid of sixtieths, in exact fractions.
    Control: the converse fails.
    """
    cases = holds = broken = converse = 0
    for k in (3, 4):
        for row in _compositions(60, k):
            kept, others = Fraction(row[0], 60), max(row[1:])
            dominant, above = row[0] > others, kept > bound(k)
            cases, holds = cases + 1, holds + dominant
            broken += dominant and not above
            converse += above and not dominant
    grid = [(k, Fraction(n, 1000)) for k in (2, 3, 10, 100) for n in range(1001)]
    differ = sum((1 - eta > eta / (k - 1)) != (1 - eta > bound(k)) for k, eta in grid)
    line = (
        f"{cases} exact distributions, Assumption 1 holds in {holds}: implication violated "
        f"{broken} times, its converse {converse} times; symmetric noise: the two differ in "
        f"{differ} of {len(grid)} cases"
    )
    return Check(broken == differ == 0 and 0 < holds < cases, converse > 0, line)


def _compositions(total, parts):
    """All tuples of `parts` numbers >= 0 with the given sum."""
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
