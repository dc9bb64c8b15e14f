"""Words, news, and many runs at once."""

import itertools
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT, require

from alfs_utils import classes, data, losses
from alfs_utils.asymmetry import certify
from alfs_utils.data import words
from alfs_utils.estimation import clean_level_interval, count_matrix
from alfs_utils.paper import people, together
from alfs_utils.training import RunConfig, noisy_labels
from alfs_utils.training import train as one_run

# --- words ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw():
    with np.load(ROOT / "alfs_utils" / "data" / "words.npz") as file:
        return {name: file[name] for name in file.files}


def test_the_array_is_what_it_says(raw):
    assert {name: (x.shape, x.dtype.kind) for name, x in raw.items()} == {
        "words": ((5460,), "U"),
        "ratings": ((5460, 10), "i"),
        "vectors": ((5460, 50), "f"),
    }
    assert np.abs(raw["ratings"]).max() == 4 and np.isfinite(raw["vectors"]).all()
    assert len(set(raw["words"])) == 5454  # the lexicon lists six of them twice
    assert all(map(str.isalpha, raw["words"]))
    place = dict(zip(raw["words"], raw["ratings"].mean(1), strict=True))
    assert place["wonderful"] > 2 and place["horrible"] < -2 and 0 not in place.values()
    assert (raw["ratings"].std(1) <= 2.5).all()
    licences = (ROOT / "alfs_utils" / "data" / "words.txt").read_text()
    assert "The MIT License" in licences and "Public Domain Dedication" in licences


def test_words_are_loaded_as_vectors_in_two_and_four_classes(raw):
    every_fifth = raw["ratings"][::5].astype(int).sum(1)
    for name, limits in (("words", [0]), ("words-4", [-15, 0, 15])):
        dataset = data.load(name)
        assert dataset.num_classes == classes.NUM_CLASSES[name] == len(limits) + 1
        assert dataset.train_images.shape == (4368, 50, 1, 1)
        assert np.array_equal(dataset.test_images[:, :, 0, 0].numpy(), raw["vectors"][::5])
        expected = sum((every_fifth >= limit).astype(int) for limit in limits)
        assert dataset.test_labels.tolist() == expected.tolist()
        before = dataset.sha256
        x = data.load(name).normalise(dataset.train_images[:]).double()
        assert x.mean(0).abs().max() < 1e-3 and (x.std(0) - 1).abs().max() < 1e-3
        assert data.load(name).sha256 == before == dataset.sha256


def training_ratings(raw):
    return np.concatenate([raw["ratings"][i::5] for i in range(1, 5)]).astype(int)


def test_worst_of_ten_is_wrong_where_anybody_said_the_opposite(raw):
    given = words.given("words-worst", "words", 0)
    for rating, clean, label in zip(training_ratings(raw), given.clean, given.labels, strict=True):
        opposite = (rating < 0).any() if rating.sum() > 0 else (rating > 0).any()
        assert (clean, label) == (rating.sum() > 0, (rating.sum() > 0) != opposite)
    assert np.array_equal(given.clean, data.load("words").train_labels)
    c = clean_level_interval(count_matrix(clean=given.clean, noisy=given.labels))
    assert given.rate == pytest.approx(0.2608, abs=1e-4) and 2 < c.low < 2.26 < c.high < 2.6


def test_one_rater_is_judged_by_the_others(raw):
    ratings = training_ratings(raw)
    draws = [words.given("words-one", "words", seed) for seed in range(20)]
    assert np.array_equal(draws[0].labels, words.given("words-one", "words", 0).labels)
    # Over the ten raters, as counting says it: a score of 0 counts half.
    rest = ratings.sum(1, keepdims=True) - ratings
    truth = np.sign(np.where(rest == 0, ratings.sum(1, keepdims=True), rest))
    expected = np.where(ratings == 0, 0.5, np.sign(ratings) != truth).mean()
    assert np.mean([draw.rate for draw in draws]) == pytest.approx(expected, abs=0.002)
    four = words.given("words-one", "words-4", 0)
    assert four.T.shape == (4, 4) and 0.35 < four.rate < 0.45 and 1 < four.c < 1.6


def test_kinds_of_words_are_kinds_of_a_run():
    dataset = data.load("words")
    config = RunConfig("CELoss()", "words", "words_mlp", "words-worst", 0.0, train_size=1000)
    given = noisy_labels(config, dataset)
    assert np.array_equal(given.labels, words.given("words-worst", "words", 0).labels[:1000])
    assert (
        noisy_labels(RunConfig("CELoss()", "words", noise="symmetric", eta=0.0), dataset).rate == 0
    )
    for wrong, match in (
        ({"dataset": "words-4"}, "dataset: expected one of 'words', got 'words-4'"),
        ({"dataset": "digits"}, "dataset: expected one of 'words', got 'digits'"),
        ({"eta": 0.2}, "eta: expected 0.0"),
    ):
        with pytest.raises(ValueError, match=match):
            RunConfig(
                "CELoss()", **{"dataset": "words", "noise": "words-worst", "eta": 0.0} | wrong
            )


def test_wrong_kinds_of_words_are_named():
    with pytest.raises(ValueError, match="kind: expected one of 'words-worst', 'words-one'"):
        words.given("worst", "words", 0)
    with pytest.raises(ValueError, match="name: expected one of 'words', got 'words-4'"):
        words.given("words-worst", "words-4", 0)


def test_words_are_not_read_before_they_are_asked_for():
    code = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(str(a[0])) if e == 'open' else None)\n"
        "import alfs_utils.training\nassert not any('words.npz' in name for name in opened)\n"
        "alfs_utils.data.load('words')\nassert any('words.npz' in name for name in opened)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- many runs at once ----------------------------------------------------------------------

SETTINGS = {"epochs": 3, "batch_size": 128, "momentum": 0.9, "clip_norm": 0.7}


@pytest.fixture(scope="module")
def vectors():
    return data.load("words")


def test_all_at_once_are_the_runs_of_the_loop(vectors):
    some = [losses.CELoss(), people.matched(people.LOSSES, 2)["AGCE"], losses.NCELoss()]
    cases = list(itertools.product(some, (0.1, 0.5), (0, 3)))
    jobs, alone = [], []
    for loss, lr, seed in cases:
        config = RunConfig(
            loss, "words", "words_mlp", "words-one", 0.0, False, lr=lr, weight_decay=0.0, **SETTINGS
        ).seeded(seed)
        jobs.append(
            together.Job(loss, torch.tensor(noisy_labels(config, vectors).labels), lr, seed)
        )
        alone.append(one_run(config).test_accuracy)
    found = together.train(vectors, jobs, "words_mlp", **SETTINGS)
    # A word or two may lie on the other side of the boundary, by rounding.
    assert np.abs(found.accuracy.numpy() - alone).max() < 0.3
    assert len(set(np.round(alone, 2).ravel())) > 20
    hits = (found.predicted == vectors.test_labels).double().mean(2)
    assert torch.allclose(100 * hits, found.accuracy)


def test_runs_do_not_see_each_other(vectors):
    y = vectors.train_labels[:1000]
    jobs = [together.Job(losses.CELoss(), y, 0.1, 0), together.Job(losses.MAELoss(), 1 - y, 1.0, 1)]
    both = together.train(vectors, jobs, "words_mlp", **SETTINGS)
    (first,) = together.train(vectors, jobs[:1], "words_mlp", **SETTINGS).logits
    assert torch.allclose(both.logits[0], first, atol=1e-4)
    assert both.accuracy[0, -1] > 65 > 35 > both.accuracy[1, -1]
    assert both.logits.shape == (2, 4368, 2)


def test_bad_jobs_are_named(vectors):
    y = vectors.train_labels
    jobs = [together.Job(losses.CELoss(), y[:n], 0.1, 0) for n in (10, 20)]
    for wrong in (jobs, []):
        with pytest.raises(ValueError, match="jobs: expected equally many labels"):
            together.train(vectors, wrong, "words_mlp", **SETTINGS)
    with pytest.raises(ValueError, match="model: expected linear layers and ReLU only"):
        together.train(vectors, jobs[:1], "mnist_cnn", **SETTINGS)


# --- what is done with them -----------------------------------------------------------------


def test_matched_losses_start_alike():
    for k in (2, 4):
        for loss in people.matched(people.NEWS_LOSSES, k).values():
            z = torch.zeros(1, k, requires_grad=True)
            loss(z, torch.tensor([0])).backward()
            assert z.grad[0, 0].item() == pytest.approx(-(1 - 1 / k), rel=1e-4)


def test_step_sizes_are_tuned_without_the_held_out_or_clean_labels(vectors, monkeypatch):
    seen = {}

    def spy(dataset, jobs, model, **settings):
        seen["jobs"] = jobs
        logits = torch.zeros(len(jobs), len(dataset.train_labels), 2)
        best = 2  # the third step agrees with the given labels that were held out, alone
        logits[best, :, 0] = 2 * (given == 0) - 1.0
        return together.Curves(torch.zeros(len(jobs), 1), logits, torch.zeros(0))

    given = torch.tensor(words.given("words-worst", "words", 0).labels)
    monkeypatch.setattr(people, "train", spy)
    found = people.tune(vectors, given, {"CE": losses.CELoss()}, "words_mlp")
    assert people.chosen(found) == {"CE": people.STEPS[2]}
    assert found["agreement"][2] == 100 and found["step"].tolist() == list(people.STEPS)
    assert all(torch.equal(job.labels, given[:3276]) for job in seen["jobs"])


def test_readings_of_the_words_can_fail():
    good = {"CE": 70, "GCE": 75, "MAE": 80, "AGCE": 80, "AUL": 80}
    assert all(answer for _, answer in people.words_answers(good, good, 81))
    assert not any(
        answer
        for _, answer in people.words_answers(dict.fromkeys(good, 70), good | {"AUL": 75}, 73)
    )


def test_certified_losses_are_those_that_the_readings_name():
    T = words.given("words-worst", "words", 0).T
    certified = {name for name, loss in people.LOSSES.items() if certify(loss, T).asymmetric}
    assert certified == {"MAE", "AGCE", "AUL"}


# --- news -----------------------------------------------------------------------------------


def test_missing_or_other_news_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ALFS_DATA_DIR", str(tmp_path))
    path = tmp_path / people.NEWS
    with pytest.raises(FileNotFoundError, match=f"{path}: not found. tools/news.py"):
        people.news()
    arrays = {
        name: np.zeros(3, np.uint8) for name in ("train_y", "train_given", "test_x", "test_y")
    }
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"no arrays \['train_x'\]"):
        people.news()
    np.savez(path, **arrays, train_x=np.zeros((10_000, 99), np.float16))
    with pytest.raises(ValueError, match=rf"{path}: train_x: expected \(10000, 100\)"):
        people.news()


@pytest.fixture(scope="module")
def news():
    require((data.folder() / people.NEWS).exists(), people.NEWS)
    return people.news()


def test_drawn_news_have_the_matrix_of_the_people(news):
    dataset, given = news
    count = [
        count_matrix(
            clean=dataset.train_labels.numpy(),
            noisy=people.news_labels(dataset, given, w, 1).numpy(),
        )
        for w in people.WORLDS
    ]
    assert np.trace(count[0]) == 10_000
    assert np.abs(count[1] - count[2]).max() < 5 * np.sqrt(10_000 / 4 / 4)
    T = count[1] / count[1].sum(1, keepdims=True)
    certified = {name for name, loss in people.NEWS_LOSSES.items() if certify(loss, T).asymmetric}
    assert certified == {"MAE", "AGCE", "AUL", "NCE+AGCE"}


def test_labels_are_drawn_anew_for_each_seed():
    clean, given = torch.arange(4).repeat(100), torch.arange(4).repeat(100)
    given[::3] = 0
    dataset = SimpleNamespace(train_labels=clean)
    first, again, second = (people.news_labels(dataset, given, "drawn", s) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_the_news_are_tuned_on_a_draw_of_their_own(monkeypatch):
    dataset, tuned = SimpleNamespace(train_labels=torch.arange(4).repeat(100)), []
    given = dataset.train_labels.clone()
    given[::3] = 0
    monkeypatch.setattr(people, "tune", lambda dataset, labels, *_: tuned.append(labels))
    monkeypatch.setattr(people, "chosen", lambda _: {})
    monkeypatch.setattr(people, "runs", lambda *_: {})
    people._runs_in("drawn", dataset, given, {}, range(2))
    drawn = [people.news_labels(dataset, given, "drawn", s) for s in (people.TUNING_SEED, 0, 1)]
    assert [torch.equal(tuned[0], labels) for labels in drawn] == [True, False, False]


RECORD = ROOT / "results" / "people" / "news.json"


def test_the_record_of_the_news_is_whole():
    record, frame = people.read_news(RECORD)
    keys = ["world", "loss", "seed"]
    expected = set(itertools.product(people.WORLDS, people.NEWS_LOSSES, range(5)))
    assert len(frame) == 90 and set(frame[keys].itertuples(index=False, name=None)) == expected
    scaled = people.matched(people.NEWS_LOSSES, 4)
    assert record["config"]["losses"] == {name: repr(loss) for name, loss in scaled.items()}
    assert record["config"]["steps"] == list(people.STEPS)
    assert set(frame["lr"]) <= set(people.STEPS)
    assert frame["accuracy"].map(len).eq(people.EPOCHS).all()
    # The test texts are 1,900 of each class.
    assert (frame["by_class"].map(np.mean) - frame["last"]).abs().max() < 0.02
    assert len(record["environment"]["code"]) == 40, "not of a commit"


def test_readings_of_the_news_can_fail():
    _, frame = people.read_news(RECORD)
    same = frame.assign(last=80.0, by_class=[[0.0, 90, 90, 90]] * len(frame))
    answers = [answer for _, answer in people.news_answers(same)]
    assert answers == [True, False, False, False, False]
    worse = same.assign(last=np.where(same["world"] == "drawn", 77, 80))
    assert [answer for _, answer in people.news_answers(worse)] == [
        False,
        False,
        False,
        True,
        False,
    ]


def test_a_run_of_the_record_repeats(news):
    dataset, given = news
    record, frame = people.read_news(RECORD)
    assert record["data_sha256"] == dataset.sha256
    row = frame[(frame.world == "drawn") & (frame.loss == "AGCE") & (frame.seed == 2)].iloc[0]
    found = people.runs(
        dataset,
        lambda seed: people.news_labels(dataset, given, "drawn", seed),
        {"AGCE": people.matched(people.NEWS_LOSSES, 4)["AGCE"]},
        {"AGCE": row.lr},
        range(2, 3),
        "news_mlp",
    )["AGCE"].accuracy[0]
    assert np.abs(found.numpy() - row.accuracy).max() < 0.3


@pytest.mark.parametrize("name", ["by-sample/runs", "forward/runs", "people/news", "spread/words"])
def test_a_record_is_written_as_it_was(name, tmp_path):
    path = ROOT / "results" / f"{name}.json"
    copy = together.write(json.loads(path.read_text()), tmp_path / "copy.json")
    assert copy.read_bytes() == path.read_bytes()


def test_runs_are_recorded_once_and_read_again(tmp_path):
    rows = [{"seed": 0, "last": 1.5}, {"seed": 1, "last": 2.5}]
    record = together.recorded(lambda: rows, {"epochs": 1}, data_sha256="0")
    text = together.write(record, tmp_path / "runs.json").read_text()
    found, frame = together.read(tmp_path / "runs.json")
    assert frame.to_dict("records") == rows and "runs" not in found
    assert list(found) == ["config", "data_sha256", "environment", "seconds", "cpu_seconds"]
    assert text.count("\n") == len(rows) + 1


def test_right_samples_by_class():
    dataset = data.load("words-4")
    predicted = torch.where(dataset.test_labels == 2, 1, dataset.test_labels)
    assert together.by_class(predicted, dataset) == [100, 100, 0, 100]
