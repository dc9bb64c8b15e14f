"""The ranking of given labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alfs_utils.suspicious import margins, suspicious

RNG = np.random.default_rng(0)


def test_margins_by_hand():
    u = [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]]
    found = margins([0, 1, 0, 2, 1], probabilities=u)
    assert found.dtype == np.float64 and np.allclose(found, [0.5, -0.5, -1.0, 1.0, 0.0])
    assert suspicious([0, 1, 0, 2, 1], probabilities=u).tolist() == [2, 1, 4, 0, 3]


@settings(max_examples=50, deadline=None)
@given(
    arrays(float, (6, 4), elements=st.floats(-30, 30, width=32)),
    arrays(np.int64, 6, elements=st.integers(0, 3)),
)
def test_a_loop_says_the_same(z, y):
    u = torch.softmax(torch.tensor(z), 1).numpy()
    expected = [u[n, y[n]] - max(u[n, j] for j in range(4) if j != y[n]) for n in range(6)]
    assert np.allclose(margins(y, logits=z), expected, atol=1e-12)
    assert np.allclose(margins(y, logits=z + 1000), expected, atol=1e-12)  # no overflow
    assert np.allclose(margins(y, probabilities=u), expected, atol=1e-12)
    order = suspicious(y, logits=z)
    assert sorted(order) == [0, 1, 2, 3, 4, 5] and (np.diff(margins(y, logits=z)[order]) >= 0).all()


def test_ties_keep_their_order_and_arguments_stay_as_they_were():
    u, y = np.eye(3)[[0, 1, 2, 0, 1]], np.array([0, 1, 2, 1, 2])
    before = u.copy(), y.copy()
    assert suspicious(y, probabilities=u).tolist() == [3, 4, 0, 1, 2]
    assert np.array_equal(u, before[0]) and np.array_equal(y, before[1])


def test_torch_is_welcome_with_gradients_and_in_half_precision():
    z = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0]], requires_grad=True)
    for outputs in (z, z.bfloat16(), z.detach().numpy(), z.tolist()):
        assert suspicious(torch.tensor([0, 1, 1]), logits=outputs).tolist() == [2, 0, 1]


def test_wrong_labels_come_first_where_the_network_knows_the_truth():
    clean = RNG.integers(5, size=1000)
    labels = np.where(RNG.random(1000) < 0.3, (clean + 1) % 5, clean)
    wrong = labels != clean
    order = suspicious(labels, logits=4 * np.eye(5)[clean] + RNG.normal(size=(1000, 5)))
    assert wrong[order[: wrong.sum()]].mean() > 0.95


def test_a_network_that_has_lost_a_class_is_reported():
    labels = np.arange(4).repeat(200)
    seen = np.where(labels == 2, 0, labels)
    with pytest.warns(UserWarning, match=r"classes \[2\] have labels and are .* never predicted"):
        order = suspicious(labels, logits=np.eye(4)[seen])
    assert set(order[:200]) == set(np.flatnonzero(labels == 2))


def test_a_healthy_network_is_not(recwarn):
    suspicious(np.arange(4).repeat(200), logits=np.eye(4).repeat(200, 0))
    assert not recwarn


Z = [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]]


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        ([0, 1], {}, "logits, probabilities: expected one of them"),
        ([0, 1], {"logits": Z, "probabilities": Z}, "logits, probabilities: expected one of them"),
        (
            [0, 1],
            {"probabilities": Z},
            "probabilities: expected rows >= 0 that sum to 1, .*logits?",
        ),
        ([0], {"probabilities": [[1.5, -0.5]]}, "probabilities: expected rows >= 0"),
        ([0, 1], {"logits": [1.0, 2.0]}, r"logits: expected an \(n, k\) .*, got shape \(2,\)"),
        ([0, 0], {"logits": [[1.0], [2.0]]}, r"k >= 2, got shape \(2, 1\)"),
        ([0, 1], {"logits": [[1.0, np.nan], Z[0][:2]]}, "logits: .* got one that is not finite"),
        ([0], {"logits": [[1.0, np.inf]]}, "logits: .* got one that is not finite"),
        ([0], {"logits": "abc"}, "logits: expected an"),
        ([0], {"logits": Z}, "given: expected 2 labels, one for each row, got 1"),
        ([0, 3], {"logits": Z}, r"given: expected values in \[0, 3\), got 3 at index 1"),
        ([0, 0.5], {"logits": Z}, "given: expected integers, got float64"),
    ],
)
def test_wrong_arguments_are_named(labels, outputs, message):
    for function in (margins, suspicious):
        with pytest.raises((TypeError, ValueError), match=message):
            function(labels, **outputs)
