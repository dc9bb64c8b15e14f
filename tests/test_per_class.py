"""The per-class part of a history, against counts one by one."""

import json

import numpy as np
import pytest
import torch

from alfs_utils import data, noise, records, training
from alfs_utils.losses import CELoss
from alfs_utils.training import RunConfig, loop, per_class, train


@pytest.mark.parametrize(
    ("epochs", "kept"),
    [
        (1, [1]),
        (3, [1, 2, 3]),
        (10, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (50, [1, 6, 11, 16, 21, 26, 31, 36, 41, 46, 50]),
        (120, [1, 13, 25, 37, 49, 61, 73, 85, 97, 109, 120]),
    ],
)
def test_ten_epochs_and_the_last(epochs, kept):
    assert per_class.kept(epochs) == kept


def percent(hits):
    return None if not hits else pytest.approx(round(100 * sum(hits) / len(hits), 1), abs=1e-9)


def test_each_class_against_direct_counts(monkeypatch, tmp_path):
    """Asymmetric noise leaves classes without a wrong label."""
    config = RunConfig(
        CELoss(), noise="asymmetric", eta=0.4, epochs=12, batch_size=50, train_size=180
    )
    digits = data.load("digits")
    noisy = training.noisy_labels(config, digits)
    seen, forward, predicted = {}, loop.Run.step, loop.Run.test
    tests = {}

    def watched(self, index, images, *rest):
        step = self.forward

        def noted(x):
            logits = step(x)
            for i, guess in zip(index.tolist(), logits.argmax(1).tolist(), strict=True):
                seen[self.progress.epoch + 1, i] = guess
            return logits

        self.forward = noted
        forward(self, index, images, *rest)
        self.forward = step

    def watched_test(self):
        tests[self.progress.epoch] = predicted(self)
        return tests[self.progress.epoch]

    monkeypatch.setattr(loop.Run, "step", watched)
    monkeypatch.setattr(loop.Run, "test", watched_test)
    history = train(config)
    assert [entry["epoch"] for entry in history.per_class] == per_class.kept(12)
    clean, given = digits.train_labels[:180].tolist(), noisy.labels.tolist()
    for entry in history.per_class:
        epoch = entry["epoch"]
        for c in range(10):
            mine = [i for i in range(180) if clean[i] == c]
            right = [seen[epoch, i] == given[i] for i in mine if given[i] == c]
            wrong = [seen[epoch, i] == given[i] for i in mine if given[i] != c]
            test = [p == c for p in tests[epoch][digits.test_labels == c].tolist()]
            assert entry["repeated_right"][c] == percent(right)
            assert entry["repeated_wrong"][c] == percent(wrong)
            assert entry["test_accuracy"][c] == percent(test)
    last = history.per_class[-1]
    assert last["repeated_wrong"][0] is None and last["repeated_wrong"][7] is not None
    assert np.mean(last["test_accuracy"]) == pytest.approx(history.last, abs=2)


def test_classes_survive_an_interruption_and_are_in_the_record(tmp_path):
    config = RunConfig(CELoss(), epochs=3, batch_size=200, train_size=600)
    calls = iter([False] * 4 + [True])
    path = tmp_path / "run.ckpt"
    with pytest.raises(training.Stopped):
        train(config, checkpoint=path, should_stop=lambda: next(calls))
    history = train(config, checkpoint=path)
    assert history.per_class == train(config).per_class and len(history.per_class) == 3
    record = records.make(history)
    assert records.read(records.write(record, tmp_path)) == json.loads(json.dumps(record))
    assert record["per_class"] == history.per_class
    (row,) = records.load(tmp_path).to_dict("records")
    assert row["per_class"] == history.per_class
    # A record from before there were any.
    del record["per_class"], record["kernel"]
    assert "per_class" not in records.read(records.write(records.seal(record), tmp_path))
    (row,) = records.load(tmp_path).to_dict("records")
    assert row["last"] == pytest.approx(history.last)


def test_a_hundred_classes_cost_at_most_20_kilobytes():
    """As on CIFAR-100 with random hits: 100 test images a class, most shares with a decimal."""
    rng = np.random.default_rng(0)
    clean = np.arange(50_000) % 100
    wrong = noise.corrupt(clean, noise.symmetric(100, 0.4), seed=0).mask
    repeated = per_class.Repeated(torch.tensor(clean), torch.tensor(wrong), 100)
    labels = torch.arange(10_000) % 100
    entries = []
    for epoch in per_class.kept(200):
        hits = torch.tensor(rng.random(50_000) < rng.uniform(0.1, 0.9))
        guess = torch.where(torch.tensor(rng.random(10_000) < 0.7), labels, -1)
        counts = repeated.count(torch.arange(50_000), hits).tolist()
        entries.append(repeated.shares(epoch, counts, guess, labels))
    assert 10_000 < len(json.dumps(entries)) <= 20_000
