"""Chapter 1's checks, and wrong formulas that they must see."""

from fractions import Fraction

import numpy as np
import pytest

from alfs_utils import noise
from alfs_utils.paper.checks import domination


def majority(clean, given, k=None):
    return np.diag(np.nan_to_num(noise.transition_matrix(clean, given, k))) > 0.5


def with_ties(clean, given, k=None):
    counts = np.zeros((k or clean.max() + 1,) * 2)
    np.add.at(counts, (clean, given), 1)
    return np.diag(counts) >= (counts - np.diag(np.diag(counts))).max(axis=1)


@pytest.mark.parametrize("mutant", [majority, with_ties, lambda c, g, k: ~majority(c, g, k)])
def test_definition_1_sees_a_wrong_criterion(mutant):
    assert not domination.definition_1(dominant=mutant).printed


def test_average_rate_sees_a_criterion_that_is_always_true():
    always = domination.average_rate(dominant=lambda clean, given: np.ones(10, bool))
    assert always.printed and not always.control


@pytest.mark.parametrize("factor", [Fraction(1005, 1000), Fraction(995, 1000), 2])
def test_assumption_1_sees_a_moved_bound(factor):
    assert not domination.assumption_1(bound=lambda k: factor * Fraction(1, k)).printed


def test_cifar100_flips_sees_wrong_superclasses():
    blocks = np.arange(100) // 5
    found = domination.cifar100_flips(superclass=blocks)
    assert found.printed and not found.repaired
