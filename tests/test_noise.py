"""Label noise: golden hashes, an independent reference, statistics, properties, bad input."""

import doctest
import hashlib
import io
import json
import math
import os
import re
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from alfs_utils import noise
from alfs_utils.noise import (
    CIFAR100_SUPERCLASS,
    NoisyLabels,
    asymmetric,
    class_clean_levels,
    clean_level,
    corrupt,
    dominant_classes,
    is_clean_dominant,
    official_alfs,
    pairflip,
    symmetric,
    transition_matrix,
)

ROOT = Path(__file__).parents[1]
PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)
RATES = st.floats(0, 1)


def cycle(k, per_class):
    """Balanced labels 0, 1, ..., k - 1, 0, 1, ..."""
    return np.arange(k * per_class) % k


@st.composite
def transition_matrices(draw, max_classes=6):
    """Row-stochastic matrices of 1 to 6 classes with many zeros, zero diagonals included."""
    k = draw(st.integers(1, max_classes))
    row = st.lists(st.integers(0, 5), min_size=k, max_size=k).filter(any)
    weights = np.array(draw(st.lists(row, min_size=k, max_size=k)), dtype=float)
    return weights / weights.sum(axis=1, keepdims=True)


@st.composite
def problems(draw):
    """(labels, T, seed, counts) as `corrupt` takes them."""
    T = draw(transition_matrices())
    labels = draw(st.lists(st.integers(0, len(T) - 1), min_size=1, max_size=80))
    seed = draw(st.integers(0, 2**70))
    return np.array(labels), T, seed, draw(st.sampled_from(["iid", "exact"]))


# --- transition matrices ---------------------------------------------------------------------


@PROPERTY
@given(k=st.integers(2, 12), eta=RATES, include_true=st.booleans())
def test_matrices_are_row_stochastic_and_have_the_rate(k, eta, include_true):
    matrices = [symmetric(k, eta, include_true), pairflip(k, eta)]
    matrices += [asymmetric(name, eta) for name in ("mnist", "cifar10", "cifar100")]
    matrices += [asymmetric("cifar100", eta, "superclass")]
    for T in matrices:
        assert T.dtype == np.float64 and T.shape == (len(T), len(T))
        assert (T >= 0).all()
        np.testing.assert_allclose(T.sum(axis=1), 1, atol=1e-12)
    real = eta * (k - 1) / k if include_true else eta
    np.testing.assert_allclose(1 - np.diag(matrices[0]), real, atol=1e-12)
    off = matrices[0][~np.eye(k, dtype=bool)]
    np.testing.assert_allclose(off, real / (k - 1), atol=1e-12)


def flips(T):
    """{source: (target, probability)} of the rows that are not the identity's."""
    assert ((T > 0).sum(axis=1) <= 2).all()
    off = T - np.diag(np.diag(T))
    return {int(i): (int(off[i].argmax()), off[i].max()) for i in np.flatnonzero(off.any(axis=1))}


def test_asymmetric_matrices_are_those_of_the_literature():
    mnist = {7: (1, 0.3), 2: (7, 0.3), 3: (8, 0.3), 5: (6, 0.3), 6: (5, 0.3)}
    cifar10 = {9: (1, 0.3), 2: (0, 0.3), 3: (5, 0.3), 5: (3, 0.3), 4: (7, 0.3)}
    assert flips(asymmetric("mnist", 0.3)) == mnist
    assert flips(asymmetric("cifar10", 0.3)) == cifar10
    blocks = {i: (i + 1 if i % 5 < 4 else i - 4, 0.3) for i in range(100)}
    assert flips(asymmetric("cifar100", 0.3)) == blocks
    assert flips(pairflip(4, 0.3)) == {0: (1, 0.3), 1: (2, 0.3), 2: (3, 0.3), 3: (0, 0.3)}


# https://www.cs.toronto.edu/~kriz/cifar.html, spelled as in the data set's own files.
SUPERCLASSES = {
    "aquatic_mammals": "beaver dolphin otter seal whale",
    "fish": "aquarium_fish flatfish ray shark trout",
    "flowers": "orchid poppy rose sunflower tulip",
    "food_containers": "bottle bowl can cup plate",
    "fruit_and_vegetables": "apple mushroom orange pear sweet_pepper",
    "household_electrical_devices": "clock keyboard lamp telephone television",
    "household_furniture": "bed chair couch table wardrobe",
    "insects": "bee beetle butterfly caterpillar cockroach",
    "large_carnivores": "bear leopard lion tiger wolf",
    "large_man-made_outdoor_things": "bridge castle house road skyscraper",
    "large_natural_outdoor_scenes": "cloud forest mountain plain sea",
    "large_omnivores_and_herbivores": "camel cattle chimpanzee elephant kangaroo",
    "medium_mammals": "fox porcupine possum raccoon skunk",
    "non-insect_invertebrates": "crab lobster snail spider worm",
    "people": "baby boy girl man woman",
    "reptiles": "crocodile dinosaur lizard snake turtle",
    "small_mammals": "hamster mouse rabbit shrew squirrel",
    "trees": "maple_tree oak_tree palm_tree pine_tree willow_tree",
    "vehicles_1": "bicycle bus motorcycle pickup_truck train",
    "vehicles_2": "lawn_mower rocket streetcar tank tractor",
}
COARSE_NAMES = sorted(SUPERCLASSES)
COARSE_OF = {fine: coarse for coarse, names in SUPERCLASSES.items() for fine in names.split()}
FINE_NAMES = sorted(COARSE_OF)


def test_cifar100_superclasses_are_the_official_ones():
    expected = [COARSE_NAMES.index(COARSE_OF[fine]) for fine in FINE_NAMES]
    assert CIFAR100_SUPERCLASS.tolist() == expected
    assert np.bincount(CIFAR100_SUPERCLASS).tolist() == [5] * 20
    assert not CIFAR100_SUPERCLASS.flags.writeable
    assert FINE_NAMES[0] == "apple"
    assert COARSE_NAMES[CIFAR100_SUPERCLASS[0]] == "fruit_and_vegetables"


def test_only_six_block_flips_stay_in_their_superclass():
    stay = {
        FINE_NAMES[i]: FINE_NAMES[j]
        for i, (j, _) in flips(asymmetric("cifar100", 0.4)).items()
        if CIFAR100_SUPERCLASS[i] == CIFAR100_SUPERCLASS[j]
    }
    assert stay == {
        "bee": "beetle",
        "cattle": "camel",
        "leopard": "lion",
        "porcupine": "possum",
        "telephone": "television",
        "tractor": "tank",
    }


def test_superclass_flips_are_rings_in_the_order_of_the_fine_label():
    T = asymmetric("cifar100", 0.4, "superclass")
    expected = {}
    for names in SUPERCLASSES.values():
        ring = sorted(names.split())
        expected |= dict(zip(ring, ring[1:] + ring[:1], strict=True))
    assert {FINE_NAMES[i]: FINE_NAMES[j] for i, (j, _) in flips(T).items()} == expected
    assert set(T[T > 0]) == {0.4, 0.6}


@pytest.mark.parametrize("make", [symmetric, pairflip])
def test_extreme_rates_and_one_class(make):
    np.testing.assert_array_equal(make(4, 0), np.eye(4))
    assert np.diag(make(4, 1)).tolist() == [0] * 4
    assert make(1, 0).tolist() == [[1]]
    with pytest.raises(ValueError, match=r"num_classes: expected at least 2 for eta = 0.1"):
        make(1, 0.1)


def test_include_true_has_a_lower_real_rate_than_its_name():
    np.testing.assert_allclose(np.diag(symmetric(10, 0.5, include_true=True)), 1 - 0.45)
    assert symmetric(1, 1, include_true=True).tolist() == [[1]]
    np.testing.assert_array_equal(symmetric(4, 1, include_true=True), np.full((4, 4), 0.25))


# --- clean level and dominance ---------------------------------------------------------------


@pytest.mark.parametrize(
    "T, c",
    [(symmetric(10, eta), c) for eta, c in ((0.2, 36), (0.4, 13.5), (0.6, 6), (0.8, 2.25))]
    + [(symmetric(100, 0.8), 99 / 4), (symmetric(10, 0.8, include_true=True), 3.5)]
    + [
        (asymmetric(name, eta), c)
        for name in ("mnist", "cifar10", "cifar100")
        for eta, c in ((0.1, 9), (0.2, 4), (0.3, 7 / 3), (0.4, 1.5))
    ],
)
def test_clean_levels_of_the_literature(T, c):
    assert clean_level(T) == pytest.approx(c, rel=1e-12)


@PROPERTY
@given(transition_matrices())
def test_clean_level_and_assumption_1_against_their_definitions(T):
    k = len(T)
    pairs = [(T[i, i], T[i, j]) for i in range(k) for j in range(k) if j != i]
    expected = min((stay / go for stay, go in pairs if go > 0), default=math.inf)
    assert clean_level(T) == expected == class_clean_levels(T).min()
    assert is_clean_dominant(T) is all(stay > go for stay, go in pairs)


def test_clean_level_of_each_class():
    T = [[1, 0, 0], [0.5, 0, 0.5], [0.1, 0.2, 0.7]]
    np.testing.assert_allclose(class_clean_levels(T), [np.inf, 0, 3.5])


def test_assumption_1_is_strict():
    assert not is_clean_dominant(pairflip(3, 0.5))
    assert is_clean_dominant(pairflip(3, 0.5 - 1e-12))
    # More than 1/k clean is not enough when the noise is not symmetric.
    assert not is_clean_dominant([[0.4, 0.6, 0], [0, 1, 0], [0, 0, 1]])
    assert is_clean_dominant([[1.0]])


@PROPERTY
@given(problems())
def test_definition_1_against_its_sums(problem):
    clean, T, seed, counts = problem
    noisy, k = corrupt(clean, T, seed, counts).labels, len(T)
    rows = [[sum((clean == i) & (noisy == j)) for j in range(k)] for i in range(k)]
    dominant = [row[i] > max(row[:i] + row[i + 1 :], default=0) for i, row in enumerate(rows)]
    assert dominant_classes(clean=clean, noisy=noisy, num_classes=k).tolist() == dominant
    realised = transition_matrix(clean=clean, noisy=noisy, num_classes=k)
    for row, found in zip(rows, realised, strict=True):
        expected = [n / sum(row) if sum(row) else math.nan for n in row]
        np.testing.assert_array_equal(found, expected)


def test_dominance_of_ties_absent_classes_and_inferred_classes():
    assert dominant_classes(clean=[0, 0, 2, 2, 2], noisy=[0, 1, 2, 2, 0]).tolist() == [
        False,
        False,
        True,
    ]
    assert dominant_classes(clean=[0], noisy=[0]).tolist() == [True]
    # Three of seven are enough against two and two.
    assert dominant_classes(clean=[0] * 7, noisy=[0, 0, 0, 1, 1, 2, 2]).tolist() == [
        True,
        False,
        False,
    ]
    assert dominant_classes(clean=[0, 0, 0], noisy=[0, 0, 3]).tolist() == [
        True,
        False,
        False,
        False,
    ]
    # A tenth of the labels wrong, but all in one class: not clean-labels-dominant.
    clean = cycle(10, 20)
    noisy = np.where(clean == 3, 8, clean)
    assert dominant_classes(clean=clean, noisy=noisy).tolist() == [i != 3 for i in range(10)]


# --- corrupt ---------------------------------------------------------------------------------

GOLDEN = {
    "symmetric iid": (
        lambda: corrupt(cycle(10, 5000), symmetric(10, 0.4), 1),
        "58fba19d596a70e6",
        [2, 7, 3, 4, 4, 5, 5, 8, 8, 9, 0, 1],
    ),
    "symmetric exact": (
        lambda: corrupt(cycle(10, 5000), symmetric(10, 0.4), 1, "exact"),
        "9328ed3bc4f8c345",
        [2, 7, 2, 4, 4, 5, 5, 8, 8, 9, 0, 1],
    ),
    "symmetric include_true": (
        lambda: corrupt(cycle(10, 5000), symmetric(10, 0.4, include_true=True), 1),
        "7fc9bb9e2414145c",
        [2, 7, 2, 4, 4, 5, 5, 8, 8, 9, 0, 1],
    ),
    "pairflip": (
        lambda: corrupt(cycle(10, 5000), pairflip(10, 0.45), 2),
        "f7ece8aca0dbce1d",
        [1, 2, 3, 3, 5, 5, 6, 8, 8, 9, 1, 1],
    ),
    "mnist": (
        lambda: corrupt(cycle(10, 6000), asymmetric("mnist", 0.3), 3),
        "4af0e22f67abafd3",
        [0, 1, 2, 3, 4, 6, 6, 7, 8, 9, 0, 1],
    ),
    "cifar10 exact": (
        lambda: corrupt(cycle(10, 5000), asymmetric("cifar10", 0.4), 4, "exact"),
        "6b183b8e2c25931b",
        [0, 1, 2, 5, 4, 5, 6, 7, 8, 9, 0, 1],
    ),
    "cifar100 blocks": (
        lambda: corrupt(cycle(100, 500), asymmetric("cifar100", 0.4), 5),
        "aaecdf46a2accec1",
        [1, 2, 2, 4, 4, 5, 6, 8, 8, 5, 11, 11],
    ),
    "cifar100 superclass": (
        lambda: corrupt(cycle(100, 500), asymmetric("cifar100", 0.4, "superclass"), 5),
        "084e1a85cdce66d0",
        [51, 32, 2, 42, 4, 5, 6, 14, 8, 10, 16, 11],
    ),
    "official mnist symmetric": (
        lambda: official_alfs(cycle(10, 6000), "mnist", "symmetric", 0.4, 6),
        "d597a16a041d2862",
        [2, 1, 2, 1, 4, 7, 0, 7, 0, 9, 0, 6],
    ),
    "official mnist asymmetric": (
        lambda: official_alfs(cycle(10, 6000), "mnist", "asymmetric", 0.4, 6),
        "5a798dab46d36f0e",
        [0, 1, 2, 8, 4, 6, 5, 7, 8, 9, 0, 1],
    ),
    "official cifar10 symmetric": (
        lambda: official_alfs(cycle(10, 5000), "cifar10", "symmetric", 0.4, 6),
        "5e39d17051eef1c5",
        [2, 1, 2, 6, 4, 7, 1, 7, 4, 9, 0, 9],
    ),
    "official cifar10 asymmetric": (
        lambda: official_alfs(cycle(10, 5000), "cifar10", "asymmetric", 0.4, 6),
        "2c896f2f34b64cac",
        [0, 1, 2, 5, 4, 3, 6, 7, 8, 9, 0, 1],
    ),
    "official cifar100 symmetric": (
        lambda: official_alfs(cycle(100, 500), "cifar100", "symmetric", 0.4, 6),
        "526c0bc1d0873ac6",
        [18, 1, 2, 64, 4, 77, 17, 7, 45, 9, 10, 97],
    ),
    "official cifar100 asymmetric": (
        lambda: official_alfs(cycle(100, 500), "cifar100", "asymmetric", 0.4, 6),
        "65ba06d5ad4034fa",
        [1, 1, 2, 4, 4, 6, 7, 7, 9, 9, 10, 12],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_labels(name):
    make, sha256, first = GOLDEN[name]
    noisy = make()
    assert noisy.labels[:12].tolist() == first
    assert noisy.sha256.startswith(sha256)


def reference(labels, T, seed, counts):
    """One sample at a time, from the generator that the card names."""
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, 0x6E6F697365])))
    u, v = generator.random(len(labels)), generator.random(len(labels))
    noisy = []
    for s, i in enumerate(labels):
        if counts == "iid":
            change = u[s] < 1 - T[i, i]
        else:
            own = sorted(u[t] for t in range(len(labels)) if labels[t] == i)
            change = own.index(u[s]) < round((1 - T[i, i]) * len(own))
        total = np.cumsum([T[i, j] if j != i else 0 for j in range(len(T))])
        noisy.append(next(j for j in range(len(T)) if v[s] < total[j] / total[-1]) if change else i)
    return noisy


@PROPERTY
@given(problems())
def test_labels_against_the_reference(problem):
    labels, T, seed, counts = problem
    assert corrupt(labels, T, seed, counts).labels.tolist() == reference(labels, T, seed, counts)


def test_skewed_rows_against_the_reference():
    generator = np.random.default_rng(0)
    T = generator.dirichlet(np.full(50, 0.05), size=50)  # most of a row in one or two classes
    labels = generator.integers(50, size=2000)
    assert corrupt(labels, T, 8).labels.tolist() == reference(labels, T, 8, "iid")


def test_destinations_at_the_steps_of_the_distribution_function():
    # Weights; off the diagonal, and their sums exact.
    rows = [[0, 0, 2, 0, 1, 0], [0, 0, 0, 0, 0, 1], [1, 1, 0, 1, 4, 0], [0, 3, 0, 0, 7, 3]]
    T = np.pad(np.array(rows, dtype=float), ((0, 2), (0, 0)))
    T[4, 0] = T[5, 4] = 1
    for i, row in enumerate(T):
        cdf = np.cumsum(row) / row.sum()
        steps = np.concatenate([[0], cdf[cdf < 1]])
        v = np.concatenate([steps, np.nextafter(steps, 1), np.nextafter(np.append(steps, 1), -1)])
        v = v[v >= 0]
        expected = [next(j for j in range(6) if x < cdf[j]) for x in v]
        assert (row[expected] > 0).all()
        source = np.full(len(v), i)
        assert noise._destinations(source, T, v).tolist() == expected


@PROPERTY
@given(problems())
def test_properties_of_noisy_labels(problem):
    labels, T, seed, counts = problem
    before = labels.copy()
    noisy = corrupt(labels, T, seed, counts)
    assert noisy.labels.dtype == noisy.clean.dtype == np.int64
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(noisy.clean, labels)
    np.testing.assert_array_equal(noisy.mask, noisy.labels != labels)
    assert noisy.rate == float(Fraction(int(noisy.mask.sum()), len(labels)))
    assert (T[labels, noisy.labels] > 0).all()
    np.testing.assert_array_equal(noisy.T, T)
    assert noisy.c == clean_level(T)
    present = np.isin(np.arange(len(T)), labels)
    np.testing.assert_allclose(noisy.T_realised[present].sum(axis=1), 1, atol=1e-12)
    assert np.isnan(noisy.T_realised[~present]).all()
    packed = struct.pack(f"<{len(labels)}q", *noisy.labels.tolist())
    assert noisy.sha256 == hashlib.sha256(packed).hexdigest()
    if counts == "exact":
        for i in range(len(T)):
            wanted = (1 - Fraction(T[i, i])) * int((labels == i).sum())
            assert abs(noisy.mask[labels == i].sum() - wanted) <= Fraction(1, 2) + 1e-9
    again = corrupt(labels.tolist(), T.tolist(), seed, counts)
    assert again.sha256 == noisy.sha256


def test_exact_is_exact_where_truncated_counts_are_not():
    noisy = corrupt(cycle(100, 500), symmetric(100, 0.1), 0, "exact")
    assert noisy.rate == 0.1
    assert np.bincount(noisy.clean[noisy.mask]).tolist() == [50] * 100


def test_nominal_rates_that_include_the_true_class_are_lower():
    T = symmetric(10, 0.5, include_true=True)
    assert corrupt(cycle(10, 1000), T, 0, "exact").rate == 0.45


@pytest.mark.parametrize("counts", ["iid", "exact"])
def test_extreme_rates(counts):
    labels = cycle(5, 20)
    clean = corrupt(labels, symmetric(5, 0), 0, counts)
    assert clean.rate == 0 and clean.c == math.inf
    noisy = corrupt(labels, symmetric(5, 1), 0, counts)
    assert noisy.rate == 1 and noisy.c == 0
    np.testing.assert_array_equal(
        corrupt(labels, pairflip(5, 1), 0, counts).labels, (labels + 1) % 5
    )
    assert corrupt([0, 0], [[1]], 0, counts).labels.tolist() == [0, 0]


def test_rows_that_miss_one_within_the_tolerance():
    labels = np.ones(2_000_000, dtype=np.int64)
    # On paper two samples of two million change to nowhere, or fewer than none change.
    for row in ([0, 1 - 9e-7], [4e-7, 1 + 5e-7]):
        T = [[1, 0], row]
        assert corrupt(labels, T, 0, "exact").rate == corrupt(labels, T, 0).rate == 0


@pytest.mark.parametrize("counts", ["iid", "exact"])
def test_lower_rates_change_a_subset(counts):
    rates = (0.1, 0.2, 0.5, 0.9)
    noisy = [corrupt(cycle(10, 100), symmetric(10, eta), 3, counts) for eta in rates]
    for low, high in pairwise(noisy):
        np.testing.assert_array_equal(high.labels[low.mask], low.labels[low.mask])
        assert high.mask.sum() > low.mask.sum()


def test_labels_depend_on_the_arguments_only():
    labels, T = cycle(10, 200), symmetric(10, 0.4)
    first = corrupt(labels, T, 7)
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    others = [corrupt(labels, T, seed).sha256 for seed in (8, 9, 2**40 + 7)]
    np.random.random(100)  # noqa: NPY002
    assert corrupt(labels, T, np.int64(7)).sha256 == first.sha256
    assert len({first.sha256, *others}) == 4
    np.random.seed(0)  # noqa: NPY002
    corrupt(labels, T, 7, "exact")
    official_alfs(labels, "cifar10", "symmetric", 0.4, 7)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_kinds_of_labels():
    labels, T = cycle(10, 30), symmetric(10, 0.4)
    kinds = [labels.astype(dtype) for dtype in (np.int8, np.uint8, np.uint64, ">i4")]
    kinds += [labels.tolist(), torch.from_numpy(labels), np.repeat(labels, 2)[::2]]
    for same in kinds:
        assert corrupt(same, T, 0).sha256 == corrupt(labels, T, 0).sha256


# --- statistics ------------------------------------------------------------------------------


def p_value(noisy, T):
    """Chi-square test of the transition counts of `noisy` against T."""
    T = np.asarray(T)
    count = np.zeros(T.shape)
    np.add.at(count, (noisy.clean, noisy.labels), 1)
    if count[T == 0].any():
        return 0.0
    expected = (count.sum(axis=1, keepdims=True) * T)[T > 0]
    freedom = ((T > 0).sum(axis=1) - 1).sum()
    return stats.chi2.sf(((count[T > 0] - expected) ** 2 / expected).sum(), freedom)


def p_value_of_destinations(noisy, T):
    """The same test of the changed labels against the off-diagonal rows."""
    off = T - np.diag(np.diag(T))
    mask = noisy.mask
    changed = NoisyLabels(noisy.labels[mask], noisy.clean[mask], T, 0, "human")
    return p_value(changed, off / off.sum(axis=1, keepdims=True))


def circulant(row):
    """Doubly stochastic, so that its transpose is a transition matrix as well."""
    return np.array([np.roll(row, i) for i in range(len(row))])


DENSE = circulant([0.5, 0.25, 0.15, 0.06, 0.04])
RIGHT_AND_WRONG = {
    "transposed": (DENSE, DENSE.T),
    "true class included": (symmetric(10, 0.4), symmetric(10, 0.4, include_true=True)),
    "rate off by .02": (symmetric(10, 0.4), symmetric(10, 0.42)),
    "next class or last": (pairflip(10, 0.3), pairflip(10, 0.3).T),
    "mnist or cifar10": (asymmetric("mnist", 0.3), asymmetric("cifar10", 0.3)),
    "blocks or superclass": (
        asymmetric("cifar100", 0.3),
        asymmetric("cifar100", 0.3, "superclass"),
    ),
}


@pytest.mark.parametrize("name", RIGHT_AND_WRONG)
def test_chi_square_accepts_the_right_matrix_and_rejects_the_wrong_one(name):
    for right, wrong in (RIGHT_AND_WRONG[name], RIGHT_AND_WRONG[name][::-1]):
        noisy = corrupt(cycle(len(right), 100_000 // len(right)), right, seed=11)
        assert p_value(noisy, right) > 1e-3
        assert p_value(noisy, wrong) < 1e-6


def test_p_values_are_uniform_over_seeds():
    labels = cycle(5, 400)
    iid = [corrupt(labels, DENSE, seed) for seed in range(300)]
    exact = [corrupt(labels, DENSE, seed, "exact") for seed in range(300)]
    for p in (
        [p_value(noisy, DENSE) for noisy in iid],
        [p_value_of_destinations(noisy, DENSE) for noisy in iid],
        [p_value_of_destinations(noisy, DENSE) for noisy in exact],
    ):
        assert stats.kstest(p, "uniform").pvalue > 1e-3
    # Exact counts vary less than i.i.d. ones: the same test tells them apart.
    assert stats.kstest([p_value(noisy, DENSE) for noisy in exact], "uniform").pvalue < 1e-6


@pytest.mark.parametrize("counts", ["iid", "exact"])
def test_position_and_seed_say_nothing(counts):
    n, eta, seeds = 50, 0.4, 2000
    labels = np.arange(3 * n) % 3
    noisy = [corrupt(labels, symmetric(3, eta), seed, counts) for seed in range(seeds)]
    masks = np.array([result.mask for result in noisy])
    # How often each sample changes: chi-square over samples, for draws without replacement too.
    spread = ((masks.sum(axis=0) - seeds * eta) ** 2).sum() / (seeds * eta * (1 - eta))
    freedom = 3 * n if counts == "iid" else 3 * (n - 1)
    spread *= freedom / (3 * n)
    assert 1e-3 < stats.chi2.sf(spread, freedom) < 1 - 1e-3
    # Neighbouring seeds agree on a share eta^2 of changes.
    both = (masks[:-1] & masks[1:]).mean()
    assert both == pytest.approx(eta**2, abs=5 * eta / np.sqrt(masks.size))
    # Where a sample goes is a fair choice, and the same one in both halves of the labels.
    ups = np.array([(result.labels - labels) % 3 == 1 for result in noisy])
    up, all_ = (np.add.reduceat(x.sum(axis=0), [0, 3 * n // 2]) for x in (ups, masks))
    assert stats.chi2_contingency([up, all_ - up]).pvalue > 1e-3
    assert stats.binomtest(int(up.sum()), int(all_.sum())).pvalue > 1e-3


# --- the authors' own counting ---------------------------------------------------------------


def changed(noisy, k):
    return np.bincount(noisy.clean[noisy.mask], minlength=k).tolist()


def test_official_counts_on_cifar():
    cifar10, cifar100 = cycle(10, 5000), cycle(100, 500)
    noisy = official_alfs(cifar10, "cifar10", "symmetric", 0.6, 0)
    assert changed(noisy, 10) == [3000] * 10
    assert p_value_of_destinations(noisy, symmetric(10, 0.6)) > 1e-3
    noisy = official_alfs(cifar10, "cifar10", "asymmetric", 0.3, 0)
    assert changed(noisy, 10) == [0, 0, 1500, 1500, 1500, 1500, 0, 0, 0, 1500]
    assert noisy.rate == 0.15
    noisy = official_alfs(cifar100, "cifar100", "symmetric", 0.8, 0)
    assert changed(noisy, 100) == [400] * 100
    # They truncate: int(.29 * 50000) is 14499 in floating point, and 144 a class, not 145.
    assert changed(official_alfs(cifar100, "cifar100", "symmetric", 0.29, 0), 100) == [144] * 100
    assert changed(official_alfs(cifar10, "cifar10", "asymmetric", 0.2999, 0), 10)[2] == 1499


def test_official_counts_ignore_the_size_of_a_class():
    labels = np.arange(10).repeat([50] + [105] * 5 + [106] * 3 + [107])  # n = 1000
    noisy = official_alfs(labels, "cifar10", "symmetric", 0.4, 0)
    assert changed(noisy, 10) == [40] * 10
    assert changed(corrupt(labels, symmetric(10, 0.4), 0, "exact"), 10) == [20] + [42] * 8 + [43]
    with pytest.raises(ValueError, match=r"labels: expected 60 samples or more of class 0, got 50"):
        official_alfs(labels, "cifar10", "symmetric", 0.6, 0)
    # Class 0 is no source of asymmetric noise, so that it may be small.
    noisy = official_alfs(labels, "cifar10", "asymmetric", 0.6, 0)
    assert changed(noisy, 10) == [0, 0, 60, 60, 60, 60, 0, 0, 0, 60]


@pytest.mark.parametrize(
    "dataset, kind, T",
    [
        ("mnist", "symmetric", symmetric(10, 0.4)),
        ("mnist", "asymmetric", asymmetric("mnist", 0.4)),
        ("cifar100", "asymmetric", asymmetric("cifar100", 0.4)),
    ],
)
def test_official_iid_cases_are_iid(dataset, kind, T):
    labels = cycle(len(T), 20_000 // len(T))
    noisy = official_alfs(labels, dataset, kind, 0.4, 9)
    assert noisy.sha256 == corrupt(labels, T, 9).sha256
    assert noisy.counts == "official_alfs" and noisy.recipe == f"{dataset} {kind} 0.4"


@pytest.mark.parametrize("dataset, k", [("mnist", 10), ("cifar10", 10), ("cifar100", 100)])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_official_extreme_rates(dataset, k, kind):
    labels = cycle(k, 20)
    assert official_alfs(labels, dataset, kind, 0, 0).rate == 0
    half = kind == "asymmetric" and dataset != "cifar100"
    assert official_alfs(labels, dataset, kind, 1, 0).rate == (0.5 if half else 1)


# --- files -----------------------------------------------------------------------------------


def sample(seed=1, **options):
    return corrupt(cycle(4, 25), symmetric(4, 0.3), seed, recipe="symmetric 0.3", **options)


@pytest.mark.parametrize("name", ["labels", "labels.npz", "symmetric.0.3"])
def test_save_and_load(tmp_path, name):
    noisy = sample(counts="exact")
    path = noisy.save(str(tmp_path / name))
    stem = name.removesuffix(".npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{stem}.json", f"{stem}.npz"]
    assert path == tmp_path / f"{stem}.npz"
    for loaded in (NoisyLabels.load(path), NoisyLabels.load(tmp_path / name)):
        for field in ("labels", "clean", "T", "mask", "T_realised"):
            np.testing.assert_array_equal(getattr(loaded, field), getattr(noisy, field))
        for field in ("seed", "counts", "recipe", "rate", "c", "sha256"):
            assert getattr(loaded, field) == getattr(noisy, field)


def test_the_card_says_how_the_labels_were_made(tmp_path):
    path = sample(seed=2**65, counts="exact").save(tmp_path / "labels")
    card = json.loads(path.with_suffix(".json").read_text())
    with np.load(path) as file:
        made, T, clean, labels = card["made"], file["T"], file["clean"], file["labels"]
    assert made == {"recipe": "symmetric 0.3", "seed": 2**65, "counts": "exact"}
    tag = int(re.fullmatch(r"PCG64\(SeedSequence\(\[seed, (\d+)\]\)\)", card["generator"])[1])
    assert tag == 0x6E6F697365  # the one in `reference`
    assert reference(clean, T, made["seed"], made["counts"]) == labels.tolist()
    assert card["facts"]["rate"] == (labels != clean).mean()
    assert card["versions"]["numpy"] == np.__version__


def test_noise_free_labels_have_a_valid_card(tmp_path):
    noisy = corrupt([0, 1, 2], np.eye(3), 0)
    path = noisy.save(tmp_path / "labels")
    assert json.loads(path.with_suffix(".json").read_text())["facts"]["clean_level"] is None
    assert NoisyLabels.load(path).c == math.inf


def change_array(name, change):
    def damage(path):
        with np.load(path) as file:
            arrays = dict(file)
        arrays[name] = change(arrays[name])
        np.savez(path, **arrays)

    return damage


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def change_card(change):
    def damage(path):
        card_path = path.with_suffix(".json")
        card = json.loads(card_path.read_text())
        change(card)
        card_path.write_text(json.dumps(card))

    return damage


def first_label_changed(labels):
    labels[0] = (labels[0] + 1) % 4
    return labels


def with_a_header(path, shape):
    """Write labels whose header claims a shape that the file does not have."""
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    head = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("labels.npy", head + bytes(16))


DISAGREEMENTS = {
    "labels_sha256 .*, as labels.json says": change_array("labels", first_label_changed),
    "clean_sha256": change_array("clean", lambda x: x[::-1]),
    "T_sha256": change_array("T", lambda T: T + 1e-9 * (np.eye(4) - np.eye(4)[::-1])),
    "num_classes 4, .*got 5": change_array(
        "T", lambda T: np.pad(T, (0, 1)) + np.diag([0, 0, 0, 0, 1])
    ),
    "rate 0.2, as": change_card(lambda card: card["facts"].update(rate=0.2)),
    "clean_level 6, as": change_card(lambda card: card["facts"].update(clean_level=6)),
    "num_samples 99, .*got 100": change_card(lambda card: card["facts"].update(num_samples=99)),
    "labels_sha256 None, as": change_card(lambda card: card["facts"].pop("labels_sha256")),
    "made_sha256 .*, as": change_card(lambda card: card["made"].update(recipe="pairflip 0.3")),
    "made_sha256 '.*, as": change_card(lambda card: card["made"].update(seed=999)),
    "made_sha256 '.*', as": change_card(lambda card: card["made"].update(counts="exact")),
    "generator 'MT19937', as": change_card(lambda card: card.update(generator="MT19937")),
    "seed: expected an int of at least 0, got 'x'": change_card(
        lambda card: card["made"].update(seed="x")
    ),
    "seed: expected an int of at least 0, got -1": change_card(
        lambda card: card["made"].update(seed=-1)
    ),
    "counts: expected one of .*, got 'banana'": change_card(
        lambda card: card["made"].update(counts="banana")
    ),
    "recipe: expected a string, got 3": change_card(lambda card: card["made"].update(recipe=3)),
    "'generator'": change_card(lambda card: card.pop("generator")),
    "MemoryError|header": lambda path: with_a_header(path, "(99999999999999,)"),
    "header": lambda path: with_a_header(path, "-" * 20_000 + "1"),
    "T: expected rows": change_array("T", lambda T: T * np.nan),
    "labels: expected values in .*got 4": change_array("labels", lambda x: x + 1),
    "clean: expected 99 labels": change_array("labels", lambda x: x[1:]),
    "expected integers": change_array("labels", lambda x: x.astype(float)),
    "allow_pickle": change_array("labels", lambda x: x.astype(object)),
    "'seed'": change_card(lambda card: card["made"].pop("seed")),
    "'made'": change_card(lambda card: card.pop("made")),
    "'facts'": change_card(lambda card: card.pop("facts")),
    "JSONDecodeError": lambda path: path.with_suffix(".json").write_text('{"made": '),
    "UnicodeDecodeError": lambda path: path.with_suffix(".json").write_bytes(b"\xff\xfe\xfa"),
    "BadZipFile": lambda path: path.write_bytes(path.read_bytes()[:400]),
    "EOFError": lambda path: path.write_bytes(b""),
    "pickle": lambda path: path.write_bytes(b"not an archive"),
    "decompressing|CRC|magic": lambda path: path.write_bytes(
        path.read_bytes()[:60] + b"?????" + path.read_bytes()[65:]
    ),
    "TypeError": lambda path: path.write_bytes(npy(np.arange(3))),
    "is not a file in the archive": lambda path: np.savez(path, labels=np.arange(3)),
}


@pytest.mark.parametrize("message", DISAGREEMENTS)
def test_damaged_files_are_refused(tmp_path, message):
    path = sample().save(tmp_path / "labels")
    DISAGREEMENTS[message](path)
    with pytest.raises(ValueError, match=f"^path: expected .*({message}).*labels.npz"):
        NoisyLabels.load(path)


@pytest.mark.parametrize("change", [{"seed": 999}, {"counts": "exact"}, {"seed": 2**70}])
def test_a_card_that_draws_other_labels_is_refused(tmp_path, change):
    """Not even if every sum in the card is right."""
    noisy = replace(sample(), **change)
    with pytest.raises(ValueError, match=r"^labels: expected those that .* draws, got others"):
        noisy.save(tmp_path / "labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NoisyLabels, "_is_as_drawn", lambda self: True)
        path = noisy.save(tmp_path / "labels")
    with pytest.raises(ValueError, match=r"^path: expected the labels that .* draws, as labels"):
        NoisyLabels.load(path)


@pytest.mark.parametrize("dataset, kind", [("mnist", "symmetric"), ("cifar10", "asymmetric")])
@pytest.mark.parametrize("eta", [0.4, np.float32(0.3), Fraction(9, 10)])
def test_official_labels_are_drawn_again(tmp_path, dataset, kind, eta):
    noisy = official_alfs(cycle(10, 101), dataset, kind, eta, 3)
    path = noisy.save(tmp_path / "labels")
    assert NoisyLabels.load(path).sha256 == noisy.sha256
    with pytest.raises(ValueError, match="labels: expected those that"):
        replace(noisy, seed=4, labels=noisy.labels).save(path)


def test_labels_that_nobody_drew_are_saved_as_they_are(tmp_path):
    labels, clean = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    noisy = NoisyLabels(
        labels, clean, transition_matrix(clean=clean, noisy=labels), 0, "human", "by hand"
    )
    assert NoisyLabels.load(noisy.save(tmp_path / "labels")).recipe == "by hand"


def test_labels_that_the_matrix_excludes_are_refused():
    T = pairflip(3, 0.2)
    NoisyLabels(np.array([0, 1, 2]), np.array([0, 0, 2]), T, 0, "iid")
    with pytest.raises(ValueError, match=r"^labels: .* T gives to class 0, got 2 at index 1$"):
        NoisyLabels(np.array([0, 2, 2]), np.array([0, 0, 2]), T, 0, "iid")
    always = pairflip(2, 1.0)
    with pytest.raises(ValueError, match=r"^labels: .* T gives to class 1, got 1 at index 0$"):
        NoisyLabels(np.array([1]), np.array([1]), always, 0, "exact")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes (not on Windows)")
def test_a_pipe_does_not_hang(tmp_path):
    path = sample().save(tmp_path / "labels")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"labels\.npz: expected a regular file"):
        NoisyLabels.load(path)


@pytest.mark.parametrize("card", ["honest", "lying"])
def test_what_would_fill_the_memory_is_not_unpacked(tmp_path, monkeypatch, card):
    """50 kB that unpack to 40 MB of zeros."""
    path = sample().save(tmp_path / "labels")
    with np.load(path) as file:
        arrays = dict(file) | {"labels": np.zeros(5_000_000, np.int64)}
    np.savez_compressed(path, **arrays)
    if card == "lying":
        change_card(lambda card: card["facts"].update(num_samples=10**12))(path)
        monkeypatch.setattr(noise, "_LARGEST", 10_000_000)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"^path: .*expected at most \d+ bytes unpacked, got 4"):
        NoisyLabels.load(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_what_load_would_refuse_is_not_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(noise, "_LARGEST", 11_000)
    with pytest.raises(ValueError, match=r"^T: expected arrays of at most 11000 bytes to save"):
        sample().save(tmp_path / "labels")
    assert not list(tmp_path.iterdir())


def test_no_damage_goes_unnoticed(tmp_path):
    noisy = sample()
    path = noisy.save(tmp_path / "labels")
    data = path.read_bytes()
    damaged = [data[:n] for n in range(0, len(data), 29)]
    for n in range(0, len(data), 3):
        damaged += [data[:n] + bytes([data[n] ^ bit]) + data[n + 1 :] for bit in (1, 8, 128)]
    refused = 0
    for wrong in damaged:
        path.write_bytes(wrong)
        try:
            loaded = NoisyLabels.load(path)
        except ValueError:
            refused += 1
        else:  # bytes that carry no data, such as dates
            np.testing.assert_array_equal(loaded.labels, noisy.labels)
            np.testing.assert_array_equal(loaded.clean, noisy.clean)
            np.testing.assert_array_equal(loaded.T, noisy.T)
    assert refused > len(damaged) / 2


def test_missing_files(tmp_path):
    path = sample().save(tmp_path / "labels")
    card = path.with_suffix(".json").rename(tmp_path / "other.json")
    with pytest.raises(FileNotFoundError, match=r"labels\.json"):
        NoisyLabels.load(path)
    card.rename(path.with_suffix(".json"))
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.npz"):
        NoisyLabels.load(path)


def test_an_interrupted_save_keeps_what_was_there(tmp_path, monkeypatch):
    path = sample(seed=1).save(tmp_path / "labels")
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(noise.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        sample(seed=2).save(path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_the_card_of_other_labels_is_refused(tmp_path):
    path = sample(seed=1).save(tmp_path / "labels")
    other = sample(seed=2).save(tmp_path / "other")
    other.with_suffix(".json").replace(path.with_suffix(".json"))
    with pytest.raises(ValueError, match="says"):
        NoisyLabels.load(path)


def test_a_tensor_of_the_labels_is_a_copy_without_a_warning():
    noisy = corrupt(cycle(4, 25), symmetric(4, 0.3), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target = torch.tensor(noisy.labels)
    assert target.dtype == torch.int64 and target.tolist() == noisy.labels.tolist()
    before = noisy.labels.tolist()
    target[:] = 0
    assert noisy.labels.tolist() == before and "torch.tensor(noisy.labels)" in NoisyLabels.__doc__


def test_noisy_labels_are_frozen_and_own_their_arrays():
    labels, T = cycle(4, 25), symmetric(4, 0.3)
    noisy = corrupt(labels, T, 0)
    sha256 = noisy.sha256
    for name in ("labels", "clean", "T", "mask", "T_realised"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(noisy, name)[0] = 1
        with pytest.raises(AttributeError):
            setattr(noisy, name, 0)
    labels[:], T[:] = 0, 0.25
    assert noisy.clean.tolist() == cycle(4, 25).tolist() and noisy.T[0, 0] == 0.7
    direct = np.zeros(3, dtype=np.int64)
    NoisyLabels(direct, direct, np.eye(2), 0, "iid")
    direct[0] = 1  # the caller's own array stays writable
    text = repr(noisy)
    assert "\n" not in text and "n=100, k=4" in text and sha256[:8] in text


# --- bad arguments ---------------------------------------------------------------------------

S = symmetric(3, 0.3)
BAD = [
    (lambda: symmetric(0, 0.1), ValueError, "num_classes: expected an int of at least 1, got 0"),
    (lambda: symmetric(2.0, 0.1), TypeError, "num_classes: expected an int of at least 1, got 2.0"),
    (lambda: pairflip(True, 0), TypeError, "num_classes: expected an int .*got True"),
    (lambda: symmetric(3, 1.01), ValueError, r"eta: expected a number in \[0, 1\], got 1.01"),
    (lambda: pairflip(3, -0.1), ValueError, r"eta: .*got -0.1"),
    (lambda: symmetric(3, math.nan), ValueError, r"eta: .*got nan"),
    (lambda: asymmetric("mnist", math.inf), ValueError, r"eta: .*got inf"),
    (lambda: symmetric(3, "0.1"), TypeError, r"eta: expected a number in \[0, 1\], got '0.1'"),
    (lambda: symmetric(3, [0.1]), TypeError, r"eta: .*got \[0.1\]"),
    (lambda: symmetric(3, True), TypeError, r"eta: .*got True"),
    (lambda: asymmetric("MNIST", 0.1), ValueError, "dataset: expected one of .*'mnist'.*'MNIST'"),
    (lambda: asymmetric(["mnist"], 0.1), ValueError, "dataset: expected one of"),
    (lambda: asymmetric("cifar100", 0.1, "rings"), ValueError, "convention: .*got 'rings'"),
    (
        lambda: asymmetric("mnist", 0.1, "superclass"),
        ValueError,
        "convention: expected 'blocks' for mnist, got 'superclass'",
    ),
    (lambda: corrupt([], S, 0), ValueError, r"labels: .* n >= 1, got \(0,\)"),
    (lambda: corrupt([[0, 1]], S, 0), ValueError, r"labels: expected shape .*got \(1, 2\)"),
    (lambda: corrupt(1, S, 0), ValueError, r"labels: expected shape .*got \(\)"),
    (lambda: corrupt([0.0, 1.0], S, 0), TypeError, "labels: expected integers, got float64"),
    (lambda: corrupt([True, False], S, 0), TypeError, "labels: expected integers, got bool"),
    (lambda: corrupt(["0"], S, 0), TypeError, "labels: expected integers, got <U1"),
    (lambda: corrupt(torch.zeros(3), S, 0), TypeError, "labels: expected integers, got float32"),
    (lambda: corrupt([0, 1, 3], S, 0), ValueError, r"labels: .*\[0, 3\), got 3 at index 2"),
    (lambda: corrupt([0, -1, 2], S, 0), ValueError, r"labels: .*\[0, 3\), got -1 at index 1"),
    (lambda: corrupt([0], S[:2], 0), ValueError, r"T: expected shape \(k, k\).*got \(2, 3\)"),
    (lambda: corrupt([0], [], 0), ValueError, r"T: expected shape .*got \(0,\)"),
    (lambda: corrupt([0], np.ones((0, 0)), 0), ValueError, r"T: .*k >= 1, got \(0, 0\)"),
    (lambda: corrupt([0], "T", 0), TypeError, "T: expected a square matrix of numbers, got 'T'"),
    (lambda: corrupt([0], [[1, 0], [1]], 0), TypeError, "T: expected a square matrix"),
    (lambda: corrupt([0], S * 1.00001, 0), ValueError, r"T: .*sum 1, got T\[0\]"),
    (lambda: corrupt([0], S * 0.99999, 0), ValueError, r"T: .*sum 1, got T\[0\]"),
    (lambda: corrupt([0], [[1, 0], [1.1, -0.1]], 0), ValueError, r"T: .*got T\[1\] = \[ 1.1"),
    (lambda: clean_level([[1, 0], [math.nan, 1]]), ValueError, r"T: .*got T\[1\] = \[nan"),
    (lambda: is_clean_dominant([[math.inf, 0], [0, 1]]), ValueError, r"T: .*got T\[0\] = \[inf"),
    (lambda: class_clean_levels(S.sum(axis=1)), ValueError, "T: expected shape"),
    (lambda: corrupt([0], S, -1), ValueError, "seed: expected an int of at least 0, got -1"),
    (lambda: corrupt([0], S, 1.0), TypeError, "seed: expected an int of at least 0, got 1.0"),
    (lambda: corrupt([0], S, None), TypeError, "seed: expected an int .*got None"),
    (
        lambda: corrupt([0], S, np.random.default_rng()),
        TypeError,
        "seed: expected an int .*got Gen",
    ),
    (lambda: corrupt([0], S, 0, "exakt"), ValueError, "counts: .*'exact'.*got 'exakt'"),
    (lambda: official_alfs([0], "svhn", "symmetric", 0.1, 0), ValueError, "dataset: .*'svhn'"),
    (lambda: official_alfs([0], "mnist", "pairflip", 0.1, 0), ValueError, "kind: .*'pairflip'"),
    (lambda: official_alfs([0], "mnist", "symmetric", 2, 0), ValueError, "eta: .*got 2"),
    (lambda: official_alfs([10], "mnist", "symmetric", 0.1, 0), ValueError, "labels: .*got 10"),
    (
        lambda: transition_matrix(clean=[0, 1], noisy=[0]),
        ValueError,
        "noisy: expected 2 labels.*got 1",
    ),
    (
        lambda: transition_matrix(clean=[0, 1], noisy=[0, 2], num_classes=2),
        ValueError,
        r"noisy: .*\[0, 2\), got 2",
    ),
    (
        lambda: dominant_classes(clean=[0, -1], noisy=[0, 1]),
        ValueError,
        "clean: .*got -1 at index 1",
    ),
    (lambda: dominant_classes(clean=[], noisy=[]), ValueError, "clean: expected shape"),
    (
        lambda: dominant_classes(clean=[0], noisy=[0], num_classes=1.5),
        TypeError,
        "num_classes: expected an int .*got 1.5",
    ),
    (
        lambda: dominant_classes(clean=[0], noisy=[0], num_classes=0),
        ValueError,
        "num_classes: expected .*got 0",
    ),
    (
        lambda: NoisyLabels([0, 1], [0], np.eye(2), 0, "iid"),
        ValueError,
        "clean: expected 2 labels, as many as labels, got 1",
    ),
]


@pytest.mark.parametrize("call, error, message", BAD)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- documentation, imports, speed -----------------------------------------------------------


def test_examples_in_the_docstrings():
    result = doctest.testmod(noise)
    assert result.attempted >= 15 and result.failed == 0


def test_noise_needs_numpy_only():
    heavy = "{'torch', 'scipy', 'pandas', 'matplotlib', 'sklearn', 'torchvision'}"
    code = f"import sys, alfs_utils.noise; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_fifty_times_the_speed_of_the_loop():
    labels, T = cycle(100, 500), symmetric(100, 0.4)
    state = np.random.RandomState(0)
    start = time.perf_counter()
    for i in labels:
        np.where(state.multinomial(1, T[i], 1)[0] == 1)[0][0]
    loop = time.perf_counter() - start
    ours = []
    for seed in range(10):
        start = time.perf_counter()
        corrupt(labels, T, seed)
        ours.append(time.perf_counter() - start)
    assert loop > 50 * min(ours)


@pytest.mark.parametrize("use", [noise.clean_level, lambda T: noise.corrupt([0, 1, 2], T, seed=1)])
def test_a_matrix_of_cleanlab_is_met_with_a_hint(use):
    """Its noise_matrix[i, j] is p(given i | true j)."""
    T = np.array([[0.8, 0.2, 0.0], [0.0, 0.7, 0.3], [0.1, 0.0, 0.9]])
    with pytest.raises(ValueError, match=r"^T: .*cleanlab's matrices do: pass T\.T"):
        use(T.T)
    use(T)
    with pytest.raises(ValueError) as found:
        use(T / 2)
    assert "cleanlab" not in str(found.value)
