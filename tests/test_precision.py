"""The rule on bfloat16 runs says what it was fixed to say, whatever the runs say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers import ROOT
from scipy import stats

from alfs_utils import records
from alfs_utils.paper import precision, which_runs


def found(differences, limit=1.5):
    return pd.DataFrame({"difference": differences, "limit": limit})


@pytest.mark.parametrize(
    ("differences", "counts"),
    [
        ([0.1, -0.1] * 6, True),
        ([0.1, -0.1] * 5 + [0.1], None),  # eleven pairs
        ([0.3] * 12, None),  # beyond the bound: twelve more decide
        ([0.3] * 24, False),
        ([0.3, -0.3] * 6, True),
        ([1.0, -1.0] * 6, None),  # too wide an interval
        ([1.0, -1.0] * 12, False),
        ([0.0] * 11 + [1.6], False),  # one pair beyond its limit
        ([0.0] * 23 + [-1.6], False),
        ([], None),
    ],
)
def test_the_rule(differences, counts):
    assert precision.answer(found(differences)).counts is counts


def test_a_wider_limit_of_a_noisy_cell_is_respected():
    differences = [0.01, -0.01] * 5 + [0.0, 0.4]
    assert precision.answer(found(differences, [0.3] * 12)).counts is False
    assert precision.answer(found(differences, [0.5] * 12)).counts is True


def test_the_interval_is_student_s():
    differences = np.random.default_rng(0).normal(0, 0.1, 12)
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    seen = precision.answer(found(differences))
    assert (seen.low, seen.high) == pytest.approx((expected.low, expected.high))


def test_pairs_are_equal_but_for_precision_and_the_first_twelve_are_of_seed_0():
    listed = which_runs.precision_pairs(seeds=(0, 1))
    assert len(listed) == len({records.run_id(c) for c in listed}) == precision.MOST
    assert {c.init_seed for c in listed[: precision.FIRST]} == {0}
    for config in listed:
        whole = replace(config, precision="float32")
        assert whole.precision == "float32" and config.precision == "bfloat16"
        assert str(whole) == str(config)


def test_pairs_of_a_ledger(monkeypatch):
    half = which_runs.precision_pairs()[0]  # CE at 0.8
    rows = [
        {"id": records.run_id(c), "status": "finished", "last": last, "device": device}
        for c, last, device in (
            (replace(half, precision="float32"), 22.0, "A"),
            (half, 22.5, "B"),
            (which_runs.precision_pairs()[1], 70.0, "B"),  # without a partner
        )
    ]
    ended = replace(which_runs.precision_pairs()[1], precision="float32")
    status = "the training loss of epoch 3 is nan"
    rows.append(rows[0] | {"id": records.run_id(ended), "status": status})  # nor is this one
    (row,) = precision.pairs(pd.DataFrame(rows)).to_dict("records")
    assert (row["method"], row["eta"], row["seed"]) == ("CE", 0.8, 0)
    assert row["difference"] == 0.5 and row["limit"] == pytest.approx(4 * 0.61)
    assert (row["float32 device"], row["bfloat16 device"]) == ("A", "B")


PAIRS = ROOT / "benchmarks" / "kernel-pairs"


def test_the_pairs_of_the_kernel():
    found = precision.kernel_pairs(PAIRS / "kernel", PAIRS / "stock")
    assert 6 <= len(found) <= 8 and found["difference"].abs().max() < 0.25
    assert (found["minutes"] < found["stock minutes"]).all()
    assert np.allclose(found["kernel"] - found["stock"], found["difference"])
    with pytest.raises(ValueError, match="expected a run with a kernel and one without, got"):
        precision.kernel_pairs(PAIRS / "stock", PAIRS / "kernel")


@pytest.mark.parametrize(
    ("differences", "answer"),
    [
        ([0.1, -0.1] * 3, "no more than rounding. 6 of 8 pairs: mean difference +0.000"),
        ([0.3] * 8, "The kernel changes more than rounding"),
        ([-0.3] * 8, "The kernel changes more than rounding"),
        ([0.0] * 5, "Open: expected at least 6 pairs, got 5"),
    ],
)
def test_the_rule_on_the_kernel(differences, answer):
    assert answer in precision.kernel_answer(found(differences))
