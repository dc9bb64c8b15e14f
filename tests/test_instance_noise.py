"""Noise that depends on the sample: independent formulas, statistics, bad input, kinds of a run."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import ROOT
from scipy import optimize, stats

from alfs_utils import data, noise
from alfs_utils.instance_noise import (
    class_matrix,
    from_posterior,
    margin_dependent,
    part_dependent,
    sample_clean_levels,
    softmax_regression,
)
from alfs_utils.losses import CELoss, MAELoss
from alfs_utils.paper import by_sample
from alfs_utils.training import RunConfig, noisy_labels, sample_posterior, transition_matrix

RNG = np.random.default_rng(0)
CLEAN = np.arange(3000) % 4
X = RNG.normal(size=(3000, 6))
P = RNG.dirichlet(np.ones(4), size=3000)
# Often right, sometimes wrong, and more or less sure.
SURE = (w := RNG.uniform(0, 0.9, (3000, 1))) * np.eye(4)[CLEAN] + (1 - w) * P


def wrong_part(clean, posterior):
    return np.where(np.eye(posterior.shape[1], dtype=bool)[clean], np.nan, posterior)


# --- part-dependent -------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 0.1, 0.4])
def test_rates_are_a_truncated_normal_and_do_not_depend_on_x(eta):
    _, posterior = part_dependent(CLEAN, X, eta, seed=3, norm=2.0)
    assert np.allclose(posterior.sum(1), 1, atol=1e-12) and (posterior >= 0).all()
    q = 1 - posterior[np.arange(3000), CLEAN]
    law = stats.truncnorm(-eta / 0.1, (1 - eta) / 0.1, eta, 0.1)
    assert stats.kstest(q, law.cdf).pvalue > 0.01
    assert stats.kstest(q, stats.norm(eta + 0.03, 0.1).cdf).pvalue < 1e-6
    longer = part_dependent(CLEAN, X[:, ::-1], eta, seed=3, norm=9.0)[1]
    assert np.allclose(q, 1 - longer[np.arange(3000), CLEAN])


def test_destinations_are_a_softmax_of_a_linear_map_of_each_class():
    x = X.copy()
    for y in range(4):
        x[y + 8 :: 12] = x[y::12] + x[y + 4 :: 12]  # three of one class
    wrong = np.log(wrong_part(CLEAN, part_dependent(CLEAN, x, 0.3, seed=1, norm=None)[1]))
    for y in range(4):
        j, l = (j for j in range(4) if j != y and j != (y + 1) % 4)
        odds = (wrong[:, j] - wrong[:, l])[CLEAN == y]
        assert np.allclose(odds[0::3] + odds[1::3], odds[2::3], atol=1e-6)
    maps = [  # of the odds of 2 against 3, in the classes 0 and 1
        np.linalg.lstsq(x[CLEAN == y], (wrong[:, 2] - wrong[:, 3])[CLEAN == y], rcond=None)[0]
        for y in (0, 1)
    ]
    assert np.abs(maps[0] - maps[1]).max() > 0.1


@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_logits_are_as_wide_as_the_inputs_are_long(norm):
    clean, x = np.zeros(40, int), 7 * np.eye(40)  # equally long, and independent of each other
    found = []
    for seed in range(40):
        posterior = part_dependent(clean, x, 0.3, seed, norm=norm, num_classes=4)[1]
        found.append(np.log(posterior[:, 1] / posterior[:, 2]))
        same = part_dependent(clean, norm / 7 * x, 0.3, seed, norm=None, num_classes=4)[1]
        assert np.allclose(posterior, same)
    assert np.std(found) == pytest.approx(norm * np.sqrt(2), rel=0.05)
    assert abs(np.mean(found)) < 0.15 * norm


def test_labels_are_drawn_from_the_posterior():
    noisy, posterior = part_dependent(CLEAN, X, 0.4, seed=5, norm=2.0)
    assert noisy.counts == "sample" and noisy.recipe == "part-dependent 0.4, spread 0.1, norm 2.0"
    draws = [from_posterior(CLEAN, posterior, seed).labels for seed in range(400)]
    for i in range(0, 3000, 100):
        counts = np.bincount([labels[i] for labels in draws], minlength=4)
        kept = posterior[i] * 400 > 3
        if kept.sum() > 1:
            expected = np.append(posterior[i][kept], posterior[i][~kept].sum()) * 400
            got = np.append(counts[kept], counts[~kept].sum())
            use = expected > 0.5
            score = ((got[use] - expected[use]) ** 2 / expected[use]).sum()
            assert stats.chi2.sf(score, use.sum() - 1) > 1e-4, i
    assert np.array_equal(draws[5], noisy.labels)


# --- from the margin ------------------------------------------------------------------------

BY_HAND = {
    "I": lambda d: 0.5 - 0.5 * d * d,
    "II": lambda d: 1 - d * d * d,
    "III": lambda d: 1 - d / 3 - d * d / 3 - d * d * d / 3,
}


@pytest.mark.parametrize("kind", BY_HAND)
@pytest.mark.parametrize("eta", [0.0, 0.1, 0.4, 0.7])  # the last cuts some off
def test_the_margin_decides_and_the_rate_is_met(kind, eta):
    _, posterior = margin_dependent(CLEAN, SURE, eta, 0, kind)
    t, moves = [], []
    for y, p in zip(CLEAN, SURE, strict=True):
        s, u = np.argsort(p)[-2:]
        t.append(BY_HAND[kind](p[u] - p[s]) if u == y else 0.0)
        moves.append((u, s))
    t = np.array(t)
    assert 0 < (t == 0).sum() < 900  # the model errs, too
    f = optimize.brentq(lambda f: np.minimum(1, f * t).mean() - eta, 0, 1e4)
    expected = np.eye(4)[CLEAN]
    for i, (u, s) in enumerate(moves):
        if t[i]:
            expected[i, u], expected[i, s] = 1 - min(1, f * t[i]), min(1, f * t[i])
    assert np.allclose(posterior, expected, atol=1e-6)
    assert 1 - posterior[np.arange(3000), CLEAN].mean() == pytest.approx(eta, abs=1e-9)


def test_as_many_as_can_change_and_no_more():
    most = (SURE.argmax(1) == CLEAN).mean()
    _, posterior = margin_dependent(CLEAN, SURE, most, 0)
    assert np.isin(posterior, (0, 1)).all()
    with pytest.raises(ValueError, match=r"^eta: expected at most 0\.\d+, the share that can"):
        margin_dependent(CLEAN, SURE, most + 1e-6, 0)


# --- drawing and measuring ------------------------------------------------------------------


def test_a_draw_keeps_to_what_is_possible_and_is_nested():
    at_most, p = None, np.eye(4)[CLEAN]
    wrong = np.roll(np.eye(4), 1, axis=1)[CLEAN]
    for rate in (0.0, 0.2, 0.7, 1.0):
        noisy = from_posterior(CLEAN, (1 - rate) * p + rate * wrong, seed=4)
        assert set(noisy.labels[noisy.mask] - CLEAN[noisy.mask]) <= {1, -3}
        assert noisy.rate == pytest.approx(rate, abs=0.03)
        assert at_most is None or (noisy.mask | ~at_most).all()
        at_most = noisy.mask
    assert not np.array_equal(
        from_posterior(CLEAN, P, 1).labels, from_posterior(CLEAN, P, 2).labels
    )
    assert np.array_equal(from_posterior(CLEAN, P, 1).labels, from_posterior(CLEAN, P, 1).labels)


def test_clean_levels_and_matrix_are_those_of_a_loop():
    levels = sample_clean_levels(CLEAN, P)
    for y, p, c in zip(CLEAN, P, levels, strict=True):
        assert c == p[y] / max(p[j] for j in range(4) if j != y)
    T = class_matrix(CLEAN, P)
    for y in range(4):
        assert np.allclose(T[y], np.mean([p for c, p in zip(CLEAN, P, strict=True) if c == y], 0))
    assert np.array_equal(class_matrix([1, 1], [[0, 1, 0], [1, 0, 0]])[[0, 2]], np.eye(3)[[0, 2]])
    noisy = from_posterior(CLEAN, P, 0)
    assert np.array_equal(noisy.T, T) and np.abs(noisy.T - noisy.T_realised).max() < 0.06


def test_labels_by_sample_go_to_disk_and_back(tmp_path):
    noisy = from_posterior(CLEAN, P, 0, "by hand")
    back = noise.NoisyLabels.load(noisy.save(tmp_path / "x"))
    assert back.sha256 == noisy.sha256 and (back.counts, back.recipe) == ("sample", "by hand")


def test_the_regression_is_that_of_autograd():
    labels = (X[:, 0] + 0.3 * X[:, 1] > 0.2).astype(int) + (X[:, 2] > 1)
    x = torch.tensor((X - X.mean(0)) / X.std(0))
    W, b = (torch.zeros(size, dtype=torch.float64, requires_grad=True) for size in ((6, 3), 3))
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(x @ W + b, torch.tensor(labels))
        for parameter, slope in zip((W, b), torch.autograd.grad(loss, (W, b)), strict=True):
            parameter.data -= 0.2 * slope
    found = softmax_regression(10 * X - 3, labels, steps=30, step=0.2)
    assert np.allclose(found, (x @ W + b).softmax(1).detach().numpy(), atol=1e-6)


WRONG = {
    "labels: expected values in": lambda: from_posterior([0, 4], P[:2], 0),
    "labels: expected two classes or more": lambda: part_dependent([0], X[:1], 0.1, 0, norm=None),
    "features: expected shape (3000, ...)": lambda: part_dependent(CLEAN, X[1:], 0.1, 0, norm=None),
    "features: expected finite": lambda: part_dependent([0, 1], [[1], [np.nan]], 0.1, 0, norm=None),
    "features: expected some that are not 0": lambda: part_dependent(
        [0, 1], np.zeros((2, 3)), 0.1, 0, norm=1.0
    ),
    "norm: expected a positive": lambda: part_dependent(CLEAN, X, 0.1, 0, norm=0),
    "spread: expected a number in [0, 1]": lambda: part_dependent(
        CLEAN, X, 0.1, 0, norm=None, spread=-1
    ),
    "eta: expected a number in [0, 1]": lambda: margin_dependent(CLEAN, P, 1.5, 0),
    "kind: expected one of 'I', 'II', 'III'": lambda: margin_dependent(CLEAN, P, 0.1, 0, "IV"),
    "probabilities: expected rows": lambda: margin_dependent(CLEAN, 2 * P, 0.1, 0),
    "probabilities: expected 3000 rows": lambda: margin_dependent(CLEAN, P[:9], 0.1, 0),
    "posterior: expected shape (n, k)": lambda: class_matrix(CLEAN, CLEAN),
    "posterior: expected 3 rows": lambda: sample_clean_levels([0, 1, 2], P[:2]),
    "seed: expected an int of at least 0": lambda: from_posterior(CLEAN, P, -1),
    "steps: expected an int of at least 0": lambda: softmax_regression(X, CLEAN, steps=-1),
}


@pytest.mark.parametrize("message", WRONG)
def test_bad_input_is_named(message):
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        WRONG[message]()


# --- kinds of a run -------------------------------------------------------------------------

CONFIG = RunConfig(CELoss(), "digits", noise="instance", eta=0.3)


def test_kinds_of_a_run_are_the_generators_on_what_the_network_sees():
    digits = data.load("digits")
    x, y = digits.normalise(digits.train_images).numpy(), digits.train_labels.numpy()
    alone, posterior = part_dependent(y, x, 0.3, 7, norm=None)
    config = replace(CONFIG, noise_seed=7)
    assert noisy_labels(config, digits).sha256 == alone.sha256
    assert np.array_equal(sample_posterior(config, digits), posterior)
    words = data.load("words")
    x, y = words.train_images.numpy()[:500], words.train_labels.numpy()[:500]
    config = RunConfig(CELoss(), "words", "words_mlp", "margin", 0.3, train_size=500)
    found, p = noisy_labels(config, words), sample_posterior(config, words)
    expected = margin_dependent(y, softmax_regression(x, y), 0.3, 0)[1]
    assert len(found.labels) == 500 and np.abs(p - expected).max() < 1e-3
    assert found.rate == pytest.approx(0.3, abs=0.05)


def test_a_run_without_such_noise_says_so():
    with pytest.raises(ValueError, match="noise: expected 'instance' or 'margin', got 'symmetric'"):
        sample_posterior(replace(CONFIG, noise="symmetric"), data.load("digits"))
    with pytest.raises(ValueError, match="noise: expected a kind drawn from a matrix"):
        transition_matrix(CONFIG)
    with pytest.raises(ValueError, match="dataset: expected one of 'digits', 'words'"):
        replace(CONFIG, dataset="cifar10")
    with pytest.raises(ValueError, match="counts: expected 'iid' for noise='instance', got 'exact"):
        replace(CONFIG, counts="exact")


# --- the experiment of chapter 16 -----------------------------------------------------------

RECORD = ROOT / "results" / "by-sample" / "runs.json"


def test_the_control_has_the_same_matrix():
    digits, y = data.load("digits"), data.load("digits").train_labels.numpy()
    by, weights = by_sample.labels(digits, "margin", 1)
    control, same = by_sample.labels(digits, "margin by class", 1)
    T = class_matrix(y, weights)
    assert np.allclose(T[y], same) and not torch.equal(by, control)
    for given in (by, control):
        found = noise.transition_matrix(clean=y, noisy=given.numpy(), num_classes=10)
        assert np.abs(found - T).max() < 0.15
    assert torch.equal(by_sample.labels(digits, "clean", 1)[0], digits.train_labels)
    for world, drawn in (("margin", by), ("margin by class", control)):
        assert not torch.equal(by_sample.labels(digits, world, 2)[0], drawn), world


def test_the_bound_by_hand():
    """MAE, two classes: margin 0.6, 0.2 and -0.2; the second is undecided and costs 0.1."""
    weights, clean = np.array([[0.8, 0.2], [0.6, 0.4], [0.4, 0.6]]), np.zeros(3, int)
    u = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    found = by_sample.bound(MAELoss(), weights, clean, u)
    assert found["excess"] == pytest.approx(0.1 / 3) and found["p0"] == pytest.approx(1 / 3)
    assert found["bound"] == pytest.approx(2 / 3) and found["error"] == pytest.approx(1 / 3)


def test_the_record_is_whole():
    record, frame = by_sample.read(RECORD)
    expected = {
        (name, world, loss, seed)
        for name, (_, worlds) in by_sample.DATA.items()
        for world, loss, seed in itertools.product(worlds, by_sample.LOSSES, range(10))
    }
    keys = ["data", "world", "loss", "seed"]
    assert set(frame[keys].itertuples(index=False, name=None)) == expected
    assert len(frame) == len(expected) and len(record["environment"]["code"]) == 40
    assert record["losses"] == {name: repr(loss) for name, loss in by_sample.LOSSES.items()}
    assert record["data_sha256"] == {name: data.load(name).sha256 for name in by_sample.DATA}
    assert frame["accuracy"].map(len).eq(by_sample.EPOCHS).all()
    assert set(frame["lr"]) <= set(by_sample.STEPS)
    noisy = frame[frame["world"] != "clean"]
    assert (noisy["rate"] - 0.3).abs().max() < 0.04
    bounded = noisy[noisy["loss"].isin(by_sample.CERTIFIED)]
    assert (bounded["error"] <= bounded["bound"]).all() and bounded["bound"].notna().all()
    assert (bounded.loc[bounded["world"].str.endswith("class"), "p0"] == 0).all()


def test_a_run_of_the_record_repeats():
    _, frame = by_sample.read(RECORD)
    row = frame[(frame.data == "digits") & (frame.world == "margin") & (frame.loss == "GCE")].iloc[
        3
    ]
    digits = data.load("digits")
    loss = {"GCE": by_sample.matched(by_sample.LOSSES, 10)["GCE"]}
    curves = by_sample.runs(
        digits,
        lambda seed: by_sample.labels(digits, "margin", seed)[0],
        loss,
        {"GCE": row.lr},
        range(row.seed, row.seed + 1),
        "digits_mlp",
    )["GCE"]
    assert np.abs(curves.accuracy[0].numpy() - row.accuracy).max() < 1.5


def test_readings_can_fail():
    _, frame = by_sample.read(RECORD)
    same = frame.assign(last=90.0)
    answers = dict(by_sample.answers(same))
    assert len(answers) == 11 and sum(answers.values()) == 5
    worse = frame.assign(last=np.where(frame["world"] == "margin", 70.0, 90.0))
    assert sum(dict(by_sample.answers(worse)).values()) == 11
