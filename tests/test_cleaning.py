"""The trials of the guide "Clean your labels"."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT

from alfs_utils import data
from alfs_utils.losses import CELoss
from alfs_utils.paper import cleaning, people
from alfs_utils.paper.together import Job

FOLDER = ROOT / "results" / "suspicious"
RUNS = cleaning.read(FOLDER / "runs.json")
SHORT = {"epochs": 1, **people.SHARED}


def test_cleanlab_ranks_the_same_outputs_as_well_as_these_scores():
    """The margin is its normalized_margin, u of the label its self_confidence.

    Its margin is (ours + 1) / 2, in which rounding makes a few more ties: up to 0.027 of AP.
    """
    record = json.loads((FOLDER / "cleanlab.json").read_text())
    assert len(record["rows"]) == 2 * 5 * 5
    ours = RUNS.set_index(["setting", "loss", "mode", "seed"])
    for row in record["rows"]:
        found = ours.loc[(row["setting"], *row["outputs"].split(", "), row["seed"])]
        assert found["margin"] == pytest.approx(row["normalized_margin"], abs=0.05)
        assert found["probability"] == pytest.approx(row["self_confidence"], abs=0.002)


def test_every_trial_is_there_once():
    keys = RUNS.groupby(["setting", "loss", "mode"]).size()
    assert (keys == len(cleaning.JUDGING)).all() and len(keys) == 5 * 5 * 2
    assert not set(RUNS["seed"]) & set(cleaning.CHOOSING)
    assert set(RUNS["step"]) <= set(people.STEPS)


def test_average_precision_by_hand():
    wrong = np.array([True, False, True, False])
    assert cleaning.average_precision(np.array([0.1, 0.2, 0.3, 0.4]), wrong) == pytest.approx(
        100 * (1 + 2 / 3) / 2, abs=1e-3
    )
    assert cleaning.average_precision(np.array([1, 4, 2, 3]), wrong) == 100


def test_scores_by_hand():
    z, y = np.log([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1]]), np.array([0, 1])
    found = {name: rule(z, y) for name, rule in cleaning.SCORES.items()}
    assert np.allclose(found["margin"], [0.5, -0.3])
    assert np.allclose(found["probability"], [0.7, 0.3])
    assert np.allclose(found["difference of logits"], [np.log(3.5), -np.log(2)])


def test_an_unseen_label_has_no_part_in_its_own_outputs():
    dataset = cleaning.only(data.load("words"), np.arange(4368) < 200)
    labels = dataset.train_labels.clone()
    jobs = [Job(CELoss(), labels, 0.1, 0)]
    before = cleaning.unseen(dataset, jobs, "words_mlp", **SHORT)[0]
    labels = labels.clone()
    labels[7] = 1 - labels[7]
    after = cleaning.unseen(dataset, [Job(CELoss(), labels, 0.1, 0)], "words_mlp", **SHORT)[0]
    same = (before == after).all(1)
    assert before.shape == (200, 2) and same[7] and same.sum() == 200 // cleaning.FOLDS


def test_a_trial_tunes_on_another_draw_and_ranks_each_runs_own_outputs(monkeypatch):
    """One network alone knows the truth; all others have learned their labels by heart."""
    setting, seeds = "digits, symmetric 0.4", range(2)
    dataset, _ = cleaning.vectors("digits")
    given = {seed: cleaning.labels(setting, dataset, seed) for seed in (*seeds, people.TUNING_SEED)}
    assert not np.array_equal(given[0].labels, given[1].labels)
    tuned = []

    def network(mode):
        def train(dataset, jobs, model, **settings):
            z = [torch.nn.functional.one_hot(job.labels, 10).double() for job in jobs]
            for out, job in zip(z, jobs, strict=True):
                assert np.array_equal(job.labels, given[job.seed].labels)
                if (mode, job.lr, job.seed) == ("unseen", 3, 1):
                    out[:] = torch.nn.functional.one_hot(dataset.train_labels, 10)
            z = torch.stack(z)
            return z if mode == "unseen" else SimpleNamespace(logits=z)

        return train

    monkeypatch.setattr(people, "tune", lambda dataset, labels, *_: tuned.append(labels))
    numbered = {name: number for number, name in enumerate(people.LOSSES)}
    monkeypatch.setattr(people, "chosen", lambda _: numbered)
    monkeypatch.setattr(cleaning, "train", network("seen"))
    monkeypatch.setattr(cleaning, "unseen", network("unseen"))
    rows, _ = cleaning.trial(setting, seeds)
    assert np.array_equal(tuned[0], given[people.TUNING_SEED].labels)
    known = [(r["mode"], r["loss"], r["seed"]) for r in rows if r["margin"] == 100]
    assert known == [("unseen", [*people.LOSSES][3], 1)] and len(rows) == 2 * 5 * 2
    for row in rows:
        wrong = round(100 * given[row["seed"]].rate, 3)
        assert row["wrong"] == wrong and row["step"] == numbered[row["loss"]]
        assert row["margin"] == pytest.approx(wrong if row["margin"] < 100 else 100, abs=1e-2)


def test_digits_as_vectors_keep_their_pixels():
    dataset, model = cleaning.vectors("digits")
    x, pixels = dataset.normalise(dataset.train_images), data.load("digits")
    expected = pixels.normalise(pixels.train_images).flatten(1)
    assert model == "news_mlp" and x.shape == (1437, 100, 1, 1)
    assert torch.allclose(x.flatten(1)[:, :64], expected, atol=1e-5) and not x[:, 64:].any()
