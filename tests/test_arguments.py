"""Arguments far out of range: each is named, at once; what people have at hand is welcome."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from alfs_utils import asymmetry, estimation, models, noise
from alfs_utils import losses as L
from alfs_utils import recommend as advice
from alfs_utils._arguments import array, integer, real, shown
from alfs_utils._piecewise import worst_vertex
from alfs_utils.training import RunConfig

BIG = 10**400
COUNTS = [[60, 20], [0, 80]]


REFUSED = {
    "eta: expected a number in": lambda: noise.symmetric(3, BIG),
    "num_classes: expected an int of at most 32768, got 1": lambda: noise.pairflip(10**9, 0),
    "num_classes: expected an int of at most 32768, got 10": lambda: noise.symmetric(BIG, 0),
    "T: expected a square matrix of numbers, got": lambda: noise.clean_level([[BIG, 0], [0, 1]]),
    "clean: expected values in .* got 9223372036854775808 at index 0": lambda: noise.count_matrix(
        clean=np.array([2**63], np.uint64), noisy=np.array([0], np.uint64)
    ),
    "noisy: expected values in .0, 32768., got 1000000000000": lambda: noise.count_matrix(
        clean=[0], noisy=[10**12]
    ),
    "clean: expected integers, got timedelta64": lambda: noise.count_matrix(
        clean=np.array([1, 2], "m8[s]"), noisy=[0, 1]
    ),
    "clean: expected .n,. integers, got": lambda: noise.count_matrix(
        clean=[[1], [1, 2]], noisy=[0]
    ),
    "include_true: expected True or False, got 3": lambda: noise.symmetric(3, 0.1, 3),
    "weights: expected an array of numbers, got": lambda: asymmetry.is_asymmetric(
        L.CELoss(), [BIG, 1]
    ),
    "T: expected an array of numbers": lambda: asymmetry.certify(L.CELoss(), [BIG, 1]),
    "weights: expected an array": lambda: asymmetry.weighted_risk_minimiser(L.CELoss(), [BIG, 1]),
    "weights: expected finite numbers": lambda: asymmetry.is_asymmetric(
        L.CELoss(), [Fraction(2), math.nan]
    ),
    "q: expected a finite number, got": lambda: asymmetry.admissible(L.AGCELoss, [2, 1], q=BIG),
    "k: expected an int of at most 32768": lambda: asymmetry.asymmetry_ratio_exact(
        lambda u: 1 - u**2, 10**9
    ),
    "definition: expected one of": lambda: asymmetry.asymmetry_ratio(L.CELoss(), np.eye(2)),
    "counts: expected a sum of at most 10000000000, got 1.8": lambda: (
        estimation.clean_level_interval(np.array([[2**63, 2**63], [1, 1]], np.uint64))
    ),
    "counts: expected a sum of at most 10000000000, got 2e": lambda: (
        estimation.clean_level_interval([[10**15, 10**15], [1, 1]])
    ),
    "counts: expected .k, k. integers": lambda: estimation.clean_level_interval([[1, 2], [3]]),
    "loss: expected a Loss or nn.CrossEntropyLoss, got 'x'": lambda: advice.start_of("x", 3),
    "k: expected an int of at least 2, got 0": lambda: advice.start_of(L.CELoss(), 0),
    "k: expected an int of at least 2, got 1": lambda: advice.time_to_start(L.CELoss(), 1),
    "k: expected an int of at least 2, got 2.5": lambda: advice.largest_step(L.CELoss(), 2.5),
    "k: expected an int of at most 9007199254740992": lambda: advice.start_of(L.CELoss(), BIG),
    "u: expected probabilities in .0, 1., got 2.0": lambda: L.value_and_pull(L.CELoss(), 2, 3),
    "u: expected a dense tensor": lambda: L.CELoss().slope(torch.eye(2).to_sparse()),
    "text: expected fewer terms or signs": lambda: L.loss_from_string("-" * 5000 + "1"),
    "text: expected fewer terms or signs, got '-": lambda: L.loss_from_string("-" * 200_000),
    "text: expected fewer terms or signs, got 'C": lambda: L.loss_from_string(
        "+".join(["CELoss()"] * 2000)
    ),
    "a: expected a number > 0, got 9999": lambda: L.loss_from_string(f"AELLoss(a={'9' * 400})"),
    "a: expected a number > 0, got Fraction": lambda: L.AELLoss(Fraction(1, BIG)),
    "seed: expected an int of at most": lambda: L.NLNLLoss(seed=2**64),
    "ignore_index: expected an int64": lambda: L.CELoss(ignore_index=2**63),
    "terms: expected pairs": lambda: L.LossSum([L.CELoss()]),
    "weight: expected C numbers": lambda: L.negative_learning(
        torch.zeros(2, 3), torch.tensor([0, 1]), weight="heavy"
    ),
    "ignore_index: expected an int, got None": lambda: L.negative_learning(
        torch.zeros(2, 3), torch.tensor([0, 1]), ignore_index=None
    ),
    "target: expected a dense tensor, got torch.sparse_coo": lambda: L.MAELoss()(
        torch.zeros(2, 2), torch.eye(2).to_sparse()
    ),
    "loss: expected one with a gradient, got 0.0": lambda: advice.start_of(0.0 * L.CELoss(), 2),
    "loss: expected one of alfs_utils.losses or its repr, got 3": lambda: RunConfig(3),
    "seed: expected an int of at most 1844674": lambda: models.build("digits_cnn", 10, 2**64),
    "num_classes: expected an int of at most 32768, got 2": lambda: models.build(
        "mnist_cnn", 2**31, 0
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_it_is_named(message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        REFUSED[message]()


def test_torch_tensors_are_welcome_where_arrays_are():
    counts = torch.tensor(COUNTS)
    expected = estimation.clean_level_interval(COUNTS)
    assert estimation.clean_level_interval(counts) == expected
    assert estimation.clean_level_interval(np.array(COUNTS, np.uint8)) == expected
    matrix = nn.Parameter(torch.tensor([[0.75, 0.25], [0.0, 1.0]]))
    assert noise.clean_level(matrix) == noise.clean_level(matrix.bfloat16()) == 3
    certificate = asymmetry.certify(L.AGCELoss(1, 0.5), matrix)
    assert certificate == asymmetry.certify(L.AGCELoss(1, 0.5), matrix.detach().numpy())
    assert advice.recommend(T=matrix).c.estimate == 3
    labels = torch.tensor([0, 0, 1, 1] * 50)
    assert (
        advice.recommend(clean=labels, noisy=labels).choice
        == advice.recommend(clean=labels.tolist(), noisy=labels.tolist()).choice
    )
    value, pull = L.value_and_pull(nn.CrossEntropyLoss(), torch.tensor([0.5, 1.0]), np.int64(3))
    assert value.tolist() == [math.log(2), 0] and pull.tolist() == [2, 1]


def test_more_classes_than_can_be_used_change_nothing():
    """Of k - 1 classes beside t, only so many can get a mass of a knot, or of a cell, each."""
    bent = asymmetry.PiecewiseLinear([0, Fraction(1, 3), Fraction(1, 2), 1], [4, 3, 1, 0])
    for k in (2, 3, 4, 5, 6, 7, 12):
        exact = worst_vertex(bent, [Fraction(1)] * (k - 1))[0]
        assert asymmetry.asymmetry_ratio_exact(bent, k) == min(exact, 1)
    ratios = [asymmetry.asymmetry_ratio_exact(lambda u: 2 - u - u**3, k) for k in (61, 30_000)]
    assert ratios[0] == ratios[1]


def test_numbers():
    assert real("x", Fraction(1, 3)) == 1 / 3 and type(real("x", np.float32(2))) is float
    assert integer("n", np.uint8(3), 0, 3) == 3
    with pytest.raises(ValueError, match=r"^n: expected an int of at most 3, got 4$"):
        integer("n", 4, 0, 3)
    for bad in (None, "ab", [None, 1.0], [[1], [1, 2]], torch.empty(2, device="meta")):
        with pytest.raises(TypeError, match=r"^x: expected an array of numbers, got"):
            array("x", bad, dtype=float)


def test_what_is_shown_is_short():
    class Silent:
        def __repr__(self):
            raise RuntimeError

    assert shown("a") == "'a'" and shown(Silent()) == "Silent without a repr"
    assert shown(10**5000) == "int without a repr"
    assert len(shown(list(range(10**5)))) == 303
