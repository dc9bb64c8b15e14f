"""Forward correction beside a certified loss."""

import numpy as np
import pytest
import torch
from helpers import ROOT

from alfs_utils.paper import forward

UNEVEN = forward.SETTINGS["words, 0.4 and 0.2"][1]
RUNS = forward.read(ROOT / "results" / "forward" / "runs.json")


def test_without_noise_it_is_cross_entropy():
    z, y = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    expected = torch.nn.functional.cross_entropy(z, y)
    assert torch.allclose(forward.Forward(np.eye(3))(z, y), expected)


def test_rows_of_T_are_true_classes():
    """A sample that is surely of class 0 gets label 1 with probability 0.4."""
    sure = torch.tensor([[50.0, 0.0]])
    loss = forward.Forward(UNEVEN)(sure, torch.tensor([1]))
    assert loss.item() == pytest.approx(-np.log(0.4), abs=1e-5)


@pytest.mark.parametrize("factor", forward.WRONG.values())
def test_the_best_prediction_is_the_formula(factor):
    believed, grid = forward.scaled(UNEVEN, factor), np.linspace(0, 1, 2001)
    for p in (0.1, 0.5, 0.8):
        label = np.array([1 - p, p]) @ UNEVEN
        risk = -np.log(np.c_[1 - grid, grid] @ believed) @ label
        found = forward.of_T_wrong(np.array(p), UNEVEN, believed)
        assert found == pytest.approx(grid[risk.argmin()], abs=1e-3)
    if factor == 1:
        assert np.allclose(forward.of_T_wrong(grid, UNEVEN, believed), grid)


def test_wrong_by_20_percent_is_in_the_noise_rates():
    for _, T in forward.SETTINGS.values():
        for factor in forward.WRONG.values():
            found, rates = forward.scaled(T, factor), ~np.eye(len(T), dtype=bool)
            assert np.allclose(found.sum(1), 1) and np.allclose(found[rates], factor * T[rates])


def test_all_runs_are_there_and_the_readings_can_fail():
    assert (RUNS.groupby(["setting", "loss"]).size() == len(forward.SEEDS)).all()
    assert len(RUNS) == len(forward.SETTINGS) * 5 * len(forward.SEEDS)
    ideal = RUNS.assign(accuracy=70.0, brier=0.5)
    corrected = ~ideal["loss"].isin(["CE", "certified"])
    uneven = ideal["setting"].isin([*forward.SETTINGS][1::2])
    ideal.loc[corrected, "brier"] = 0.1
    ideal.loc[corrected & uneven, "accuracy"] = 80.0
    assert all(answer for _, answer in forward.answers(ideal))
    corrected = ideal.assign(accuracy=-ideal["accuracy"], brier=-ideal["brier"])
    assert [answer for _, answer in forward.answers(corrected)] == [False, True, False, True, False]
