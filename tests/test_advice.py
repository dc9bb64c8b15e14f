"""The hunt for bad advice: its judging, its record, and that the record is of what it says."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from alfs_utils import noise
from alfs_utils.paper import advice

RECORD = Path(__file__).parents[1] / "results" / "advice" / "advice.json"


@pytest.fixture(scope="module")
def frame():
    return advice.read(RECORD)


def test_ahead_is_a_point_and_more_than_noise():
    base = [50.0, 60.0, 70.0, 80.0, 90.0]
    assert advice.ahead(np.add(base, [2, 2.1, 1.9, 2, 2]), base) == 1
    assert advice.ahead(base, np.add(base, [2, 2.1, 1.9, 2, 2])) == -1
    assert advice.ahead(np.add(base, 0.9), base) == 0  # no noise, but less than a point
    assert advice.ahead(np.add(base, [9, 9, -6, 9, -6]), base) == 0  # three points, but noise


def test_noise_models_dominate_and_differ():
    rng = np.random.default_rng(0)
    found = [advice.noise_model(6, rng) for _ in range(40)]
    assert {kind for kind, _ in found} == {"symmetric", "pair flip", "one rival", "uneven"}
    assert all(noise.clean_level(T) >= 1.1 for _, T in found)


def test_noisy_labels_choose_the_step_and_the_epoch():
    """The step of the best last epoch, and the epoch of best agreement, by the first four."""
    dataset = advice.vectors("words-4", 0)
    n = 16
    labels = torch.tensor([0] * 4 + [1] * 4)
    small = type(dataset)("x", *[torch.zeros(n)] * 2, torch.zeros(8), labels, 2, (0,), (1,))
    given = [torch.tensor([0] * n + [1] * 4)] * advice.SEEDS
    predicted = torch.zeros(1, advice.SEEDS, len(advice.STEPS), 3, 8, dtype=torch.int16)
    predicted[..., 2, -1, :] = torch.tensor([1, 1, 0, 0, 1, 1, 1, 0])  # half agree: the step
    predicted[..., 1, 1, :] = torch.tensor([1, 1, 1, 0, 1, 0, 0, 0])  # the epoch
    predicted[..., 0, -1, 4:] = 1  # the best for clean labels, of no account
    (found,) = advice._judged(predicted, small, given, n)
    assert found["lr"] == [advice.STEPS[2]] * advice.SEEDS
    assert found["accuracy"] == [75] * advice.SEEDS and found["stopped"] == [25] * advice.SEEDS
    assert found["lost"] == [0] * advice.SEEDS


def test_the_record_is_complete_and_of_these_settings(frame):
    record = json.loads(RECORD.read_text())
    assert record["config"]["steps"] == list(advice.STEPS)
    assert record["config"]["epochs"] == advice.EPOCHS
    for draw, (_, size) in advice.DRAWS.items():
        rows = frame[frame["draw"] == draw]
        assert sorted(rows["number"]) == list(range(size))
        assert rows["code"].str.fullmatch("[0-9a-f]{40}").all()  # of committed code
        assert rows["code"].nunique() == 1
        for number in (0, size - 1):
            expected = advice.setting(draw, number)
            (row,) = (
                row for row in record["rows"] if (row["draw"], row["number"]) == (draw, number)
            )
            assert {key: row[key] for key in expected if key not in ("dataset", "T")} == {
                key: value for key, value in expected.items() if key not in ("dataset", "T")
            }
    assert frame["cpu_seconds"].sum() < 25 * 60
    runs = [run for row in frame["runs"] for run in row.values()]
    assert all(len(run[key]) == advice.SEEDS for run in runs for key in ("lr", "accuracy"))
    assert {step for run in runs for step in run["lr"]} <= set(advice.STEPS)


def test_one_setting_repeats(frame):
    """Words with the fewest labels: the numbers of the record, to the rounding of another CPU."""
    row = frame[(frame["draw"] == 2) & (frame["number"] == 1)].iloc[0]
    again = advice.run(2, 1)["runs"]
    assert again.keys() == row["runs"].keys()
    for text, run in again.items():
        assert np.mean(run["accuracy"]) == pytest.approx(
            np.mean(row["runs"][text]["accuracy"]), abs=3
        )


def test_readings_can_fail(frame):
    part = frame[frame["draw"] == 2]
    assert [holds for _, holds in advice.readings(part)] == [True, False, True, True, True, True]
    swapped = part.rename(columns={"with NCE": "T known", "T known": "with NCE"})
    assert [holds for _, holds in advice.readings(swapped)][:3] == [False, False, True]
    worse = part.copy()
    for role in ("recommended", "with NCE", "GCE", "CE, stopped"):
        worse[role] = [[0.0] * 5 if isinstance(x, list) else x for x in worse[role]]
    assert [holds for _, holds in advice.readings(worse)][3::2] == [False, False]


def test_readings_of_draw_3_can_fail():
    """A loss below both limits, one between them, one above."""
    quick, between, slow = "CELoss()", "AGCELoss(a=0.1, q=0.5)", "MAELoss()"
    assert [advice.slow(x, 30, 1.25) for x in (quick, between, slow)] == [False, True, True]
    assert [advice.slow(x, 30, 1.6) for x in (quick, between, slow)] == [False, False, True]

    def answers(**with_nce):
        rows = [
            {
                "losses": {"T known": text},
                "k": 30,
                "T known": [50.0] * 5,
                "with NCE": [x] * 5,
            }
            for text, x in zip((quick, between, slow), with_nce.values(), strict=True)
        ]
        return [holds for _, holds in advice.readings_of_draw_3(pd.DataFrame(rows))]

    assert answers(quick=50.0, between=60.0, slow=40.0) == [True, True]
    assert answers(quick=60.0, between=50.0, slow=60.0) == [False, False]


def test_noise_is_drawn_anew_for_each_seed():
    dataset = advice.vectors("words-4", 0)
    drawn = advice._noisy(dataset, noise.symmetric(4, 0.5), len(dataset.train_labels))
    assert len({tuple(labels.tolist()) for labels in drawn}) == advice.SEEDS


def test_a_sample_is_stuck_if_its_right_label_is_not_learned(monkeypatch, tmp_path):
    """Of 16 samples four have a wrong label; of the others two are at u < 1/1000."""
    true = torch.arange(2).repeat_interleave(8)
    given, logits = torch.where(torch.arange(16) < 4, 1, true), torch.zeros(16, 2)
    logits[torch.arange(6), true[:6]] = -20.0
    dataset = SimpleNamespace(train_labels=true, test_labels=torch.arange(8) % 2)
    losses = {"CE": "CELoss()", "T known": "MAELoss()", "with NCE": "NCELoss()"}
    setting = {"data": "few", "k": 2, "losses": losses, "dataset": dataset, "T": None}

    def train(dataset, jobs, model, epochs, **settings):
        predicted = torch.zeros(len(jobs), epochs, 8, dtype=torch.int16)
        return SimpleNamespace(logits=logits.expand(len(jobs), 16, 2), predicted=predicted)

    monkeypatch.setattr(advice, "setting", lambda *_: dict(setting))
    monkeypatch.setattr(advice, "DATA", {"few": ("words_mlp", 16)})
    monkeypatch.setattr(advice, "_noisy", lambda *_: [given, given])
    monkeypatch.setattr(advice, "train", train)
    advice.write_lost(tmp_path / "lost.json")
    found = advice.lost(tmp_path / "lost.json")
    assert found["loss"].tolist() == [text for text in losses.values() for _ in range(6)]
    assert found["epochs"].tolist() == ([25] * 3 + [100] * 3) * 3
    assert np.allclose(found["stuck samples (%)"], 100 * 2 / 12, atol=0.01)
    assert (found["lost classes"] == 1).all() and (found["accuracy"] == 50).all()


def test_tables_count_every_setting_once(frame):
    table, best = advice.table(frame), advice.winners(frame)
    assert table["settings"].sum() == len(frame)
    assert best.drop(columns=["draw", "data"]).to_numpy().sum() == len(frame)


def test_a_call_goes_on_where_the_last_one_ended(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(advice, "DRAWS", {1: ((), 3)})
    monkeypatch.setattr(
        advice, "run", lambda *call: calls.append(call) or {"draw": call[0], "number": call[1]}
    )
    path = tmp_path / "advice.json"
    path.write_text(json.dumps({"rows": [{"draw": 1, "number": 1}]}))
    assert advice.write(path, 1, minutes=0) == 2
    assert advice.write(path, 1) == 0
    assert calls == [(1, 0), (1, 2)]
    assert len(json.loads(path.read_text())["rows"]) == 3
