"""Embeddings: numbers against independent formulas, files, and that both belong to the run."""

import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold

from alfs_utils import data, models, records, training
from alfs_utils.__main__ import main
from alfs_utils.paper import features
from alfs_utils.training import RunConfig

CONFIG = RunConfig("AGCELoss(a=4, q=0.2)", epochs=2, eta=0.4, augment=False)
RUN = records.run_id(CONFIG)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A ledger with one short run, and its weights."""
    folder = tmp_path_factory.mktemp("ledger")
    history = training.train(CONFIG, weights=folder / f"{RUN}.pt", progress=False)
    records.write(records.make(history), folder)
    return folder


@pytest.fixture(scope="module")
def made(trained):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "TRAIN_IMAGES", 300)
        return features.make(RUN, trained / f"{RUN}.pt", trained)


@pytest.fixture
def ledger(trained, tmp_path):
    """A copy that a test may spoil, where t-SNE costs nothing."""
    shutil.copytree(trained, tmp_path / "ledger")
    shutil.rmtree(tmp_path / "ledger" / "embeddings", ignore_errors=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "TRAIN_IMAGES", 200)
        patch.setattr(features, "picture", lambda features: np.clip(features[:, :2], 0, 1))
        yield tmp_path / "ledger"


# --- the numbers ----------------------------------------------------------------------------


def blobs(n=40, distance=20.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], n)
    return rng.normal(size=(3 * n, 5)) + distance * np.eye(3, 5)[labels], labels


def test_separated_blobs_are_perfect_and_shuffled_labels_are_chance():
    points, labels = blobs()
    found = features.metrics(points, labels)
    assert found["silhouette"] > 0.7 and found["knn"] == found["linear"] == 100
    shuffled = features.metrics(points, np.random.default_rng(1).permutation(labels))
    assert abs(shuffled["silhouette"]) < 0.1
    assert 15 < shuffled["knn"] < 52 and 15 < shuffled["linear"] < 52


def test_four_blobs_crosswise_are_near_each_other_but_not_linear():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 2, size=(200, 2))
    points = 10 * corners + rng.normal(size=(200, 2))
    found = features.metrics(points, corners.sum(axis=1) % 2)
    assert found["knn"] == 100 and found["linear"] < 80
    # Half of the own class is 14 away, half at hand, all of the other class 10: (10 - 8) / 10.
    assert 0.15 < found["silhouette"] < 0.3


def test_metrics_against_brute_force():
    """Silhouette, vote of the 10 neighbours and the probe, each written out."""
    points, labels = blobs(60, distance=1.0)
    found = features.metrics(points, labels)
    far = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    scores = []
    for i, label in enumerate(labels):
        own = (labels == label) & (np.arange(len(labels)) != i)
        a = far[i, own].mean()
        b = min(far[i, labels == other].mean() for other in {0, 1, 2} - {label})
        scores.append((b - a) / max(a, b))
    assert found["silhouette"] == pytest.approx(np.mean(scores), rel=1e-9)

    hits, probed = [], []
    folds = StratifiedKFold(5, shuffle=True, random_state=123)
    for train, test in folds.split(points, labels):
        nearest = train[np.argsort(far[np.ix_(test, train)], axis=1)[:, :10]]
        votes = [np.bincount(labels[row], minlength=3).argmax() for row in nearest]
        hits.append(np.mean(votes == labels[test]))
        probed.append(softmax_regression(points, labels, train, test))
    assert found["knn"] == pytest.approx(100 * np.mean(hits), abs=1e-9)
    assert found["linear"] == pytest.approx(100 * np.mean(probed), abs=1e-9)
    assert 40 < found["linear"] < 95 and 40 < found["knn"] < 95  # else the comparison says nothing


def softmax_regression(points, labels, train, test):
    """Sum of the cross entropy + |W|^2 / 2, minimised with torch; accuracy on the fold's rest."""
    x = torch.tensor(points - points[train].mean(axis=0)) / torch.tensor(points[train].std(axis=0))
    y = torch.tensor(labels)
    W = torch.zeros(points.shape[1], 3, dtype=torch.float64, requires_grad=True)
    b = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([W, b], max_iter=500, tolerance_grad=1e-9)

    def closure():
        optimizer.zero_grad()
        logits = x[train] @ W + b
        loss = torch.nn.functional.cross_entropy(logits, y[train], reduction="sum")
        (loss + W.square().sum() / 2).backward()
        return loss + W.square().sum() / 2

    optimizer.step(closure)
    return ((x[test] @ W + b).argmax(1) == y[test]).double().mean().item()


def test_the_probe_is_blind_to_scale_and_bears_dead_features():
    points, labels = blobs(25, distance=1.5)
    scaled = np.hstack([points * [1e-3, 1, 1e3, 10, 1], np.zeros((75, 2))])
    linear = features.metrics(points, labels)["linear"]
    assert features.metrics(scaled, labels)["linear"] == pytest.approx(linear)


def test_wrong_arguments_are_named():
    points, labels = blobs()
    broken = points.copy()
    broken[3, 2] = np.nan
    for bad, message in [
        ((points[0], labels), r"features: .* \(5,\)"),
        ((broken, labels), "features: expected finite"),
        ((points, labels[:7]), r"labels: expected shape \(120,\), got \(7,\)"),
        ((points, labels * 0), "labels: expected two classes"),
        ((points, np.arange(120)), "labels: expected two classes or more of at least 5"),
    ]:
        with pytest.raises(ValueError, match=message):
            features.metrics(*bad)


def test_the_picture_fills_the_unit_square_and_keeps_neighbours():
    points, labels = blobs(20)
    xy = features.picture(points, perplexity=10)
    assert xy.shape == (60, 2) and xy.min() == 0 and xy.max() == 1
    assert features.metrics(xy, labels)["knn"] == 100
    assert np.array_equal(xy, features.picture(points, perplexity=10)), "the seed is fixed"


def test_features_are_what_the_last_layer_sees():
    digits = data.load("digits")
    network = models.build("digits_cnn", 10, 0)
    found = features.features(network, digits, digits.test_images)
    assert found.shape == (360, 128) and found.min() == 0  # after a ReLU
    with torch.no_grad():
        logits = network[-1](torch.tensor(found))
    assert torch.equal(logits.argmax(1), training.predict(network, digits, digits.test_images))


def test_the_subset_keeps_the_share_of_wrong_labels():
    wrong = np.random.default_rng(0).random(3000) < 0.37
    some = features._subset(wrong, 500)
    assert len(some) == len(set(some.tolist())) == 500 and (np.diff(some) > 0).all()
    assert abs(wrong[some].mean() - wrong.mean()) <= 1 / 500
    assert np.array_equal(some, features._subset(wrong, 500))
    assert np.array_equal(features._subset(wrong, 3000), np.arange(3000))
    assert len(features._subset(wrong & False, 500)) == 500  # clean labels


# --- the files ------------------------------------------------------------------------------


def test_what_is_stored_belongs_to_the_run(made, trained):
    digits = data.load("digits")
    noisy = training.noisy_labels(CONFIG, digits)
    assert np.array_equal(made.label, digits.test_labels.numpy())
    recorded = records.load(trained).iloc[0]["last"]
    assert 100 * np.mean(made.prediction == made.label) == pytest.approx(recorded, abs=1e-6)
    assert made.xy.shape == (360, 2) and made.train_xy.shape == (300, 2)
    for xy in (made.xy, made.train_xy):
        assert xy.min() == 0 and xy.max() == 1
    some = features._subset(noisy.mask, 300)
    assert np.array_equal(made.train_label, noisy.clean[some])
    assert np.array_equal(made.train_given, noisy.labels[some])
    assert made.about["wrong_share"] == pytest.approx(noisy.rate, abs=1 / 300)
    assert made.about["sizes"] == {"test": 360, "train": 300, "features": 128}


def test_the_stored_numbers_are_those_of_the_features(made, trained):
    digits = data.load("digits")
    network = models.build("digits_cnn", 10, CONFIG.init_seed)
    untrained = features.features(network, digits, digits.test_images)
    network.load_state_dict(torch.load(trained / f"{RUN}.pt", weights_only=True))
    some = features._subset(training.noisy_labels(CONFIG, digits).mask, 300)
    test = features.features(network, digits, digits.test_images)
    train = features.features(network, digits, digits.train_images[some])
    prediction = training.predict(network, digits, digits.train_images[some]).numpy()
    assert np.array_equal(made.train_prediction, prediction)
    expected = {
        "test": (test, made.label),
        "untrained": (untrained, made.label),
        "train_clean": (train, made.train_label),
        "train_given": (train, made.train_given),
        "picture": (made.xy, made.label),
    }
    assert set(made.about["metrics"]) == set(expected)
    for part, arguments in expected.items():
        # A stored picture is rounded to 1/65535.
        rel = 1e-2 if part == "picture" else 1e-4
        assert made.about["metrics"][part] == pytest.approx(features.metrics(*arguments), rel=rel)


def test_a_round_trip_and_its_size(made, trained):
    again = features.load(RUN, trained)
    for name in ("xy", "label", "prediction", "train_xy", "train_given"):
        assert np.array_equal(getattr(made, name), getattr(again, name))
    path = trained / "embeddings" / f"{RUN}.npz"
    assert path.stat().st_size < features.MOST_BYTES
    # 10,000 + 5,000 points of noise, which nothing compresses, still fit.
    rng = np.random.default_rng(0)
    xy = [rng.integers(2**16, size=(n, 2)).astype("uint16") for n in (10_000, 5_000)]
    labels = [
        rng.integers(10, size=n).astype("uint8") for n in (10_000, 10_000, 5_000, 5_000, 5_000)
    ]
    np.savez_compressed(trained / "largest.npz", *xy, *labels)
    assert (trained / "largest.npz").stat().st_size < features.MOST_BYTES


def test_the_ledger_does_not_take_it_for_a_record(made, trained, recwarn):
    assert len(records.load(trained)) == 1 and not recwarn.list


def test_nothing_stored_is_none_and_a_damaged_file_is_named(made, trained, tmp_path):
    assert features.load("0123456789ab", trained) is None
    shutil.copytree(trained / "embeddings", tmp_path / "embeddings")
    path = tmp_path / "embeddings" / f"{RUN}.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=f"{RUN}.npz .*not a whole embedding"):
        features.load(RUN, tmp_path)
    path.write_bytes(whole)
    text = path.with_name(f"{RUN}.metrics.json")
    text.write_text(json.dumps(json.loads(text.read_text()) | {"id": "0123456789ab"}))
    with pytest.raises(ValueError, match="belongs to run 0123456789ab"):
        features.load(RUN, tmp_path)
    path.unlink()
    assert features.load(RUN, tmp_path) is None


def test_a_picture_too_large_leaves_nothing(ledger, monkeypatch):
    monkeypatch.setattr(features, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="at most 1000 bytes, got"):
        features.make(RUN, ledger / f"{RUN}.pt", ledger)
    assert not list((ledger / "embeddings").iterdir())


# --- what does not belong together ----------------------------------------------------------


def test_weights_of_another_run_are_refused(ledger):
    weights = torch.load(ledger / f"{RUN}.pt", weights_only=True)
    torch.save(models.build("digits_cnn", 10, 5).state_dict(), ledger / "other.pt")
    with pytest.raises(ValueError, match=f"other.pt: these weights are not those of run {RUN}"):
        features.make(RUN, ledger / "other.pt", ledger)
    torch.save(models.build("mnist_cnn", 10, 0).state_dict(), ledger / "mnist.pt")
    with pytest.raises(ValueError, match=r"mnist.pt: not the weights of a digits_cnn"):
        features.make(RUN, ledger / "mnist.pt", ledger)
    (ledger / "cut.pt").write_bytes((ledger / f"{RUN}.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cut.pt: not the weights"):
        features.make(RUN, ledger / "cut.pt", ledger)
    with pytest.raises(FileNotFoundError, match=r"absent\.pt"):
        features.make(RUN, ledger / "absent.pt", ledger)
    weights[list(weights)[-1]][0] += 50  # the bias of class 0
    torch.save(weights, ledger / "bent.pt")
    with pytest.raises(ValueError, match=r"bent\.pt: these weights"):
        features.make(RUN, ledger / "bent.pt", ledger)
    assert not (ledger / "embeddings").exists()


def test_the_accuracy_may_differ_by_one_image_and_no_more():
    hits = np.arange(360) % 3 > 0  # 120 of each half
    record = {"id": RUN, "half_accuracy": [[0.0, 0.0], [100 * 120 / 180, 100 * 120 / 180]]}
    features._check_accuracy(hits, record, "w.pt")
    right = np.flatnonzero(hits)
    for wrong, fine in ((right[:1], True), (right[right % 2 == 0][:2], False)):
        other = hits.copy()
        other[wrong] = False
        if fine:
            features._check_accuracy(other, record, "w.pt")
        else:
            with pytest.raises(ValueError, match="test images 0, 2"):
                features._check_accuracy(other, record, "w.pt")


@pytest.mark.parametrize("name", ["data_sha256", "labels_sha256"])
def test_a_record_of_other_data_or_labels_is_refused(ledger, name):
    path = records.path_of(CONFIG, ledger)
    record = json.loads(path.read_text())
    records.write(records.seal(record | {name: "0" * 64}), ledger)
    with pytest.raises(ValueError, match=f"{RUN}: {name} is 0000"):
        features.make(RUN, ledger / f"{RUN}.pt", ledger)


def test_an_unfinished_or_unknown_run_is_refused(ledger):
    record = json.loads(records.path_of(CONFIG, ledger).read_text())
    record |= {name: record[name][:1] for name in (*records.CURVES, "per_class", "lost")}
    record["status"] = "the training loss of epoch 2 is nan"
    records.write(records.seal(record), ledger)
    with pytest.raises(ValueError, match="expected a finished run, got 'the training loss"):
        features.make(RUN, ledger / f"{RUN}.pt", ledger)
    with pytest.raises(FileNotFoundError, match="run '0123456789ab': no such record"):
        features.make("0123456789ab", ledger / f"{RUN}.pt", ledger)


def test_the_command(ledger, capsys):
    words = ["--weights", str(ledger), "--results", str(ledger)]
    assert main(["features", "--run", RUN, *words]) == 0
    assert capsys.readouterr().out.startswith(f"{RUN}: silhouette ")
    assert features.load(RUN, ledger).about["id"] == RUN
    assert main(["features", "--run", "0123456789ab", *words]) == 2
    assert "error: run '0123456789ab'" in capsys.readouterr().err
