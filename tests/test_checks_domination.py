"""Chapter 1's checks, and wrong formulas that they must see."""

from fractions import Fraction

import numpy as np
import pytest

from alfs_utils import noise
from alfs_utils.paper.checks import domination


def majority(clean, given, k=None):
    return (
        np.diag(np.nan_to_num(noise.transition_matrix(clean=clean, noisy=given, num_classes=k)))
        > 0.5
    )


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


def rate_only(T, eta, every_class=True):
    return bool(np.allclose(1 - np.diag(T), eta)) or not every_class


def touched_only(T, eta, every_class=True):
    return domination.is_asymmetric_noise(T, eta, every_class=False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"asymmetric": rate_only},
        {"asymmetric": touched_only, "symmetric": lambda T, eta, per_label=True: True},
        {"asymmetric": lambda T, eta, every_class=True: False},
        {"symmetric": lambda T, eta, per_label=True: domination.is_symmetric_noise(T, eta)},
    ],
    ids=["the rate alone", "touched classes throughout", "never", "per label throughout"],
)
def test_noise_definitions_sees_other_definitions(wrong):
    found = domination.noise_definitions(**wrong)
    assert (found.printed, found.repaired, found.control) != (False, True, True)


def test_average_rate_needs_half_of_every_class():
    """With its assumption it holds because each class keeps more than half of its labels."""

    def ahead_of_all(clean, given):
        return np.diag(noise.transition_matrix(clean=clean, noisy=given, num_classes=10)) > 0.65

    assert domination.average_rate().assumed
    assert not domination.average_rate(dominant=ahead_of_all).assumed
