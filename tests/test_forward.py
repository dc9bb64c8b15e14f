"""Forward correction beside a certified loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT

from alfs_utils import data, noise
from alfs_utils.paper import forward, people

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


def test_a_trial_tunes_on_a_draw_of_its_own_and_judges_test_samples(monkeypatch):
    """With a network that is right, and sure, for as many test samples as loss and seed say."""
    dataset, T = data.load("words"), forward.SETTINGS["words, 0.4 and 0.2"][1]
    n, numbers, tuned = len(dataset.train_labels), {"a": 1, "b": 2, "c": 3}, []

    def spelled(both, jobs, model, **settings):
        z = torch.full((len(jobs), len(both.train_images), 2), 50.0)
        for out, job in zip(z, jobs, strict=True):
            assert torch.equal(job.labels, drawn(job.seed)) and job.lr == job.loss / 8
            right = torch.arange(len(dataset.test_labels)) < 100 * job.loss + job.seed
            out[torch.arange(n, len(out)), torch.where(right, 1, 0) ^ dataset.test_labels] = -50
        return SimpleNamespace(logits=z)

    def drawn(seed):
        return torch.tensor(noise.corrupt(dataset.train_labels.numpy(), T, seed).labels)

    monkeypatch.setattr(forward, "losses", lambda T: numbers)
    monkeypatch.setattr(people, "tune", lambda dataset, labels, *_: tuned.append(labels))
    monkeypatch.setattr(people, "chosen", lambda _: {x: i / 8 for x, i in numbers.items()})
    monkeypatch.setattr(forward, "train", spelled)
    rows = forward.trial("words, 0.4 and 0.2")
    assert torch.equal(tuned[0], drawn(people.TUNING_SEED))
    assert [(row["loss"], row["seed"]) for row in rows] == [
        (name, seed) for name in "abc" for seed in range(5)
    ]
    for row in rows:
        right = (100 * numbers[row["loss"]] + row["seed"]) / len(dataset.test_labels)
        assert row["accuracy"] == pytest.approx(100 * right, abs=1e-3)
        assert row["brier"] == pytest.approx(2 * (1 - right), abs=1e-5)


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
