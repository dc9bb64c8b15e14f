"""Chapter 16's checks: wrong formulas that make them fail."""

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.instance_noise import class_matrix, part_dependent
from alfs_utils.paper.checks import instance


def by_class(clean, posterior):
    return class_matrix(clean, posterior)[clean]


def a_little_more(clean, posterior):
    """Every sample changes 15 % more often."""
    own = np.eye(posterior.shape[1])[clean]
    return own + 1.15 * (posterior - own)


def of_unit_length(clean, x, eta, seed, norm):
    return part_dependent(clean, x, eta, seed, norm=1.0)


def harder_if_large(clean, x, eta, seed, norm):
    noisy, posterior = part_dependent(clean, x, eta, seed, norm=norm)
    own = np.eye(posterior.shape[1])[clean]
    rate = 1 / (1 + np.exp(x.reshape(len(x), -1).astype(float).mean(1, keepdims=True)))
    return noisy, own + rate * (posterior - own)


def nothing(margins, budget):
    return -(margins <= 0).mean()


MUTANTS = {
    "posteriors: the class matrix": (instance.posteriors, {"believed": by_class}),
    "posteriors: 15 % more": (instance.posteriors, {"believed": a_little_more}),
    "part: length forgotten": (instance.part_dependent_noise, {"generate": of_unit_length}),
    "part: rates of x": (instance.part_dependent_noise, {"generate": harder_if_large}),
    "certificate: by class": (instance.class_certificate, {"weights_of": by_class}),
    "certificate: without p0": (instance.class_certificate, {"bound": nothing}),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_formula_is_noticed(name):
    check, arguments = MUTANTS[name]
    assert outcome(check(**arguments)) != expected(check)


def test_surprise_is_one_for_the_truth_and_large_for_another():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=20_000)
    given = (rng.random(20_000)[:, None] > p.cumsum(1)).sum(1)
    assert instance.surprise(given, p, p, groups=100) == pytest.approx(1, abs=0.2)
    assert instance.surprise(given, p.mean(0) + 0 * p, p) > 100
