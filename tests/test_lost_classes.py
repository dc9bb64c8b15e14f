"""The alarm for lost classes: when it must sound, when it must not, and that training sounds it."""

import numpy as np
import pytest
from scipy import stats

from alfs_utils import records, training
from alfs_utils.losses import AGCELoss
from alfs_utils.lost_classes import LEVEL, lost_classes, lost_from_counts
from alfs_utils.training import RunConfig, loop

LABELS = np.arange(10).repeat(100)


def test_a_class_that_is_never_predicted():
    assert lost_classes(np.where(LABELS == 7, 1, LABELS), LABELS) == [7]
    assert lost_classes(np.where(LABELS > 7, 1, LABELS), LABELS) == [8, 9]
    assert lost_classes(LABELS, LABELS) == []


def test_a_class_without_labels_is_not_lost():
    assert lost_classes(LABELS % 5, LABELS % 5, num_classes=10) == []


@pytest.mark.parametrize(("k", "n", "right"), [(10, 6000, 0.1), (10, 300, 0.5), (3, 90, 0.4)])
def test_the_exact_binomial_tail_at_the_threshold(k, n, right):
    """An alarm has at most the level, and the first m without one is not far above it."""
    given = np.full(k, n)
    rings = [m for m in range(n) if lost_from_counts(np.r_[m, given[1:]], given, right)]
    assert rings == list(range(len(rings)))
    tail = stats.binom.cdf([2 * rings[-1], 2 * rings[-1] + 2], n, right)
    assert tail[0] <= LEVEL / k < 100 * tail[1]


@pytest.mark.parametrize(("right", "least"), [(0.1, 66), (0.5, 10), (1.0, 1)])
def test_how_many_labels_an_alarm_needs(right, least):
    def alarm(n):
        return lost_from_counts([0] + [1000] * 9, [n] + [1000] * 9, right)

    assert (alarm(least), alarm(least - 1)) == ([0], [])


def test_a_share_for_each_class():
    n, m = np.full(4, 50), np.array([0, 0, 50, 50])
    assert lost_from_counts(m, n, [0.9, 0.01, 0.5, 0.5]) == [0]


def test_right_labels_that_a_healthy_network_repeats_are_no_alarm():
    """Symmetric noise 0.8: nine of ten labels of a class may be wrong, and it is not lost."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        clean = rng.integers(10, size=3000)
        given = np.where(rng.random(3000) < 0.8, rng.integers(10, size=3000), clean)
        predicted = np.where(rng.random(3000) < 0.4, (clean + 1) % 10, clean)
        assert lost_classes(predicted, given, 10) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [0]), "given: expected 2 labels, as many as predicted, got 1"),
        (([0.5], [0]), "predicted: expected integers, got float64"),
        (([[0]], [0]), r"predicted: expected shape \(n,\)"),
        (([0], [-1]), r"given: expected values in \[0, 32768\), got -1"),
        (([0], [5], 5), r"given: expected values in \[0, 5\), got 5"),
        (([0], [1], 2, 0.0), "right: expected a share"),
        (([0], [1], 2, float("nan")), "right: expected a share"),
        (([0], [1], 2, [0.1, 0.2, 0.3]), "right: expected a share"),
        (([0], [1], 2, "most"), "right: expected shares"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        lost_classes(*arguments)


def test_wrong_counts_are_named():
    with pytest.raises(ValueError, match="expected a count >= 0 for each class"):
        lost_from_counts([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="expected a count >= 0 for each class"):
        lost_from_counts([1, -2], [1, 2])


# --- in training ---


@pytest.fixture
def blind(monkeypatch):
    """A network that cannot say 7."""
    build = loop.models.build

    def without_7(*arguments):
        network = build(*arguments)
        network[-1].bias.data[7] = -1e4
        return network

    monkeypatch.setattr(loop.models, "build", without_7)


CONFIG = RunConfig(AGCELoss(4, 0.2), noise="asymmetric", eta=0.4, epochs=4)


def test_the_trainer_warns_once_and_keeps_what_it_saw(blind, tmp_path):
    with pytest.warns(RuntimeWarning, match="class 7 .*never predicted by epoch 2") as caught:
        history = training.train(CONFIG)
    assert len([w for w in caught if "never predicted" in str(w.message)]) == 1
    assert all(7 in classes for classes in history.lost)
    path = records.write(records.make(history), tmp_path)
    assert records.read(path)["lost"] == history.lost
    assert records.load(tmp_path)["lost"][0] == history.lost


def test_a_healthy_run_loses_nothing(recwarn):
    history = training.train(RunConfig("CELoss()", eta=0.2, epochs=4))
    assert history.lost[1:] == [[], [], []]
    assert not [w for w in recwarn if "never predicted" in str(w.message)]


def test_records_without_the_entry_and_with_a_wrong_one(blind, tmp_path):
    with pytest.warns(RuntimeWarning):
        record = records.make(training.train(CONFIG))
    old = {name: value for name, value in record.items() if name != "lost"}
    records.write(records.seal(old), tmp_path)
    for wrong in ([], [[7]] * 3, [[7, 7]] * 4, [[-1]] * 4, [["7"]] * 4):
        with pytest.raises(ValueError, match="lost: expected"):
            records.write(records.seal(record | {"lost": wrong}), tmp_path)
