"""One run: repeatable bit for bit, crash-proof, and the recipe it claims to follow."""

import copy
import errno
import io
import math
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time
import types
import warnings
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest
import torch
from helpers import PRELOADED, ROOT
from torch import nn
from torch.nn import functional as F

from alfs_utils import _files, data, losses, models, noise, records, training
from alfs_utils.data import images
from alfs_utils.losses import AGCELoss, CELoss
from alfs_utils.paper import protocol
from alfs_utils.training import (
    SEEDS,
    History,
    RunConfig,
    Stopped,
    _allocator,
    checkpoint,
    environment,
    loop,
    rounded,
    train,
)
from alfs_utils.training.history import CURVES
from alfs_utils.training.labels import noisy_copy

SHORT = RunConfig("CELoss()", epochs=2, batch_size=256)
MNIST_FLIPS = {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def every_step(monkeypatch):
    """Write a checkpoint after every step."""
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", -1.0)


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: training sees no other."""
    clock = types.SimpleNamespace(now=0.0)
    clock.perf_counter = clock.process_time = clock.monotonic = lambda: clock.now
    monkeypatch.setattr(environment, "time", clock)
    return clock


def results(history):
    """What a run found, without what it cost."""
    found = asdict(history)
    del found["seconds"], found["cpu_seconds"]
    return found


def equal(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[k], other[k]) for k in state)


# --- repeatable -----------------------------------------------------------------------------


def test_the_same_config_gives_the_same_history_bit_for_bit():
    torch.manual_seed(1)
    first = results(train(SHORT))
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert results(train(SHORT)) == first
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"
    assert all(len(first[name]) == 2 for name in CURVES)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_seed_changes_the_run(seed):
    one = replace(SHORT, epochs=1)
    assert train(replace(one, **{seed: 7})).train_loss != train(one).train_loss


def test_each_seed_moves_one_stream_only(monkeypatch):
    """What a run starts from, and the order and draws of its steps, stream by stream."""
    draw = data.draw_augmentation

    def streams(config):
        indices, draws = [], []

        def drawn(*args):
            draws.append(draw(*args))
            return draws[-1]

        monkeypatch.setattr(images, "draw_augmentation", drawn)
        monkeypatch.setattr(loop.Run, "step", lambda self, index, *_: indices.append(index))
        run = loop.Run(config, torch.device("cpu"))
        run.epoch(None, lambda: False, 0.0)
        return {
            "noise_seed": torch.cat([run.given, run.validation]),
            "init_seed": next(run.network.parameters()).detach(),
            "order_seed": torch.cat(indices),
            "augment_seed": torch.cat(draws),
        }

    base = streams(SHORT)
    assert sorted(base["order_seed"].tolist()) == list(range(1437))
    for seed in SEEDS:
        moved = streams(replace(SHORT, **{seed: 7}))
        assert [s for s in SEEDS if not torch.equal(moved[s], base[s])] == [seed]


def test_equal_seeds_do_not_mean_equal_draws():
    def draws(*stream):
        return torch.randint(100, (8,), generator=training.stream(*stream)).tolist()

    # Golden: were they others, every record would be of another run.
    assert draws("order", 0) == [50, 89, 60, 39, 12, 33, 92, 97]
    assert draws("augmentation", 0) == [55, 24, 30, 81, 37, 3, 70, 95]
    assert draws("order", 1) != draws("order", 0)


def test_without_augmentation_its_seed_is_not_looked_at():
    still = replace(SHORT, augment=False, epochs=1)
    assert train(replace(still, augment_seed=7)).train_loss == train(still).train_loss
    assert train(replace(still, augment=True)).train_loss != train(still).train_loss


def test_deterministic_algorithms_are_on_during_the_run_only():
    seen = []

    def look():
        seen.append(torch.are_deterministic_algorithms_enabled())
        return False

    asked = train(SHORT, deterministic=True, should_stop=look)
    assert set(seen) == {True} and not torch.are_deterministic_algorithms_enabled()
    assert results(asked) == results(train(SHORT))


# --- the recipe -----------------------------------------------------------------------------

RECIPE = RunConfig(
    CELoss(), epochs=3, batch_size=200, clip_norm=1.0, lr=0.02, momentum=0.8, weight_decay=0.02
)


def reference_run(config, twist=None):
    """The recipe from its formulas: momentum SGD, clipping and the schedules written out."""
    digits = data.load(config.dataset)
    labels = torch.tensor(training.noisy_labels(config, digits).labels)
    network = models.build(config.model, 10, config.init_seed)
    order = training.stream("order", config.order_seed)
    augmentation = training.stream("augmentation", config.augment_seed)
    velocity = [torch.zeros_like(p) for p in network.parameters()]
    losses = []
    n, size = len(labels), config.batch_size
    starts = range(0, n - size if twist == "drop last" else n, size)
    for epoch in range(config.epochs):
        shuffled, total = torch.randperm(n, generator=order), 0.0
        draws = data.draw_augmentation(digits, n, augmentation)
        for step, start in enumerate(starts):
            done = epoch + step / len(starts) if twist == "cosine per step" else epoch
            cosine = (1 + math.cos(math.pi * done / config.epochs)) / 2
            lr = config.lr * (cosine if config.schedule == "cosine" else 0.97**epoch)
            index, drawn = shuffled[start : start + size], draws[start : start + size]
            pixels = data.augment(digits.train_images[index], drawn).float() / 255
            x = (pixels - digits.mean[0]) / digits.std[0]
            loss = F.cross_entropy(network(x), labels[index])
            network.zero_grad()
            (loss + config.l1 * sum(p.abs().sum() for p in network.parameters())).backward()
            gradients = [p.grad for p in network.parameters()]
            if twist == "decay before clipping":
                for g, p in zip(gradients, network.parameters(), strict=True):
                    g.add_(config.weight_decay * p.detach())
            norm = math.sqrt(sum((g**2).sum().item() for g in gradients))
            shrink = min(1.0, config.clip_norm / norm)
            decay = 0.0 if twist == "decay before clipping" else config.weight_decay
            with torch.no_grad():
                for p, v in zip(network.parameters(), velocity, strict=True):
                    step_of_p = p.grad * shrink + decay * p
                    v.mul_(config.momentum).add_(step_of_p)
                    p.sub_(lr * (step_of_p + config.momentum * v if config.nesterov else v))
            total += loss.item() * (size if twist == "batches count alike" else len(index))
        losses.append(total / (n if twist != "batches count alike" else len(starts) * size))
    return losses, network


def distances(history, path, reference):
    """How far a run is from a reference run: in its losses, and in its final weights."""
    losses, network = reference
    state = torch.load(path, weights_only=True)
    ours = torch.cat([state[name].flatten() for name, _ in network.named_parameters()])
    theirs = torch.cat([p.detach().flatten() for p in network.parameters()])
    loss = max(abs(a / b - 1) for a, b in zip(history.train_loss, losses, strict=True))
    return loss, ((ours - theirs).norm() / theirs.norm()).item()


def test_the_loop_follows_its_recipe(tmp_path):
    path = tmp_path / "weights.pt"
    history = train(RECIPE, weights=path)
    loss, weights = distances(history, path, reference_run(RECIPE))
    assert loss < 1e-4 and weights < 1e-4
    # The same comparison notices each of these.
    twists = ["drop last", "cosine per step", "decay before clipping", "batches count alike"]
    others = {twist: reference_run(RECIPE, twist) for twist in twists}
    changes = {"clip_norm": 1e9, "weight_decay": 0.0, "momentum": 0.0}
    changes |= {"nesterov": True, "schedule": "exponential", "l1": 1e-2}
    for name, value in changes.items():
        others[name] = reference_run(replace(RECIPE, **{name: value}))
    for name, other in others.items():
        loss, weights = distances(history, path, other)
        assert loss > 1e-3 or weights > 1e-2, name


def test_the_loop_follows_the_recipe_of_webvision(tmp_path):
    config = replace(RECIPE, nesterov=True, schedule="exponential")
    history = train(config, weights=tmp_path / "weights.pt")
    loss, weights = distances(history, tmp_path / "weights.pt", reference_run(config))
    assert loss < 1e-4 and weights < 1e-4


def test_the_loop_follows_the_recipe_of_anl_and_jal(tmp_path):
    """The reference adds the absolute values to the loss, where the loop adds their signs."""
    config = replace(RECIPE, l1=1e-2, weight_decay=0)
    history = train(config, weights=tmp_path / "weights.pt")
    loss, weights = distances(history, tmp_path / "weights.pt", reference_run(config))
    assert loss < 1e-4 and weights < 1e-4


# Section 4.2 of the paper and its public code.
PAPER = {"batch_size": 128, "momentum": 0.9, "clip_norm": 5.0, "augment": True}
PAPER |= {"counts": "official", "precision": "float32", "train_size": 0}
PAPER |= {"nesterov": False, "schedule": "cosine", "l1": 0.0}
PAPER_BY_DATASET = {
    "mnist": {"model": "mnist_cnn", "epochs": 50, "lr": 0.01, "weight_decay": 1e-3},
    "cifar10": {"model": "cifar_cnn", "epochs": 120, "lr": 0.01, "weight_decay": 1e-4},
    "cifar10-npz": {"model": "cifar_cnn", "epochs": 120, "lr": 0.01, "weight_decay": 1e-4},
    "cifar100": {"model": "resnet34", "epochs": 200, "lr": 0.1, "weight_decay": 1e-5},
    "cifar100-npz": {"model": "resnet34", "epochs": 200, "lr": 0.1, "weight_decay": 1e-5},
}


@pytest.mark.parametrize("dataset", list(PAPER_BY_DATASET))
def test_a_paper_run_is_the_papers_in_every_field(dataset):
    run = protocol.run(dataset, AGCELoss(a=4, q=0.2), "asymmetric", 0.4, seed=2)
    given = {"loss": "AGCELoss(a=4.0, q=0.2)", "dataset": dataset, "noise": "asymmetric"}
    given |= {"eta": 0.4} | dict.fromkeys(SEEDS, 2)
    assert asdict(run) == PAPER | PAPER_BY_DATASET[dataset] | given
    assert protocol.run(dataset, AGCELoss(a=4, q=0.2), "asymmetric", 0.4).order_seed == 0
    shorter = protocol.run(dataset, AGCELoss(a=4, q=0.2), "asymmetric", 0.4, 2, epochs=3)
    assert shorter == replace(run, epochs=3)


def test_a_webvision_run_is_that_of_the_follow_ups():
    run = protocol.run("webvision-mini", CELoss(), "none", 0.0)
    expected = {"model": "resnet50", "epochs": 250, "batch_size": 256, "lr": 0.4}
    expected |= {"momentum": 0.9, "nesterov": True, "weight_decay": 3e-5, "clip_norm": 5.0}
    assert asdict(run).items() >= expected.items() and run.schedule == "exponential"


def test_the_paper_has_no_digits():
    with pytest.raises(ValueError, match=r"^dataset: expected one of 'mnist', .* got 'digits'"):
        protocol.run("digits", CELoss(), "symmetric", 0.4)


def test_it_learns_clean_digits_and_counts_right():
    history = train(RunConfig(CELoss(), eta=0.0, epochs=5, batch_size=32))
    assert history.noise_rate == 0 and history.last > 90 and history.status == "finished"
    assert len(history.train_loss) == len(history.test_accuracy) == 5 and history.seconds > 0
    assert history.memorised == [] and history.half_agreement == history.half_accuracy
    assert math.isnan(history.repeated)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_lower_precision_is_another_run_that_learns_the_same(precision):
    try:
        with torch.autocast("cpu", getattr(torch, precision)):
            F.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    except RuntimeError as error:
        pytest.skip(f"this CPU or torch does not convolve in {precision}: {error}")
    config = replace(SHORT, eta=0.2)
    low, high = train(replace(config, precision=precision)), train(config)
    assert low.train_loss != high.train_loss
    assert low.train_loss == pytest.approx(high.train_loss, rel=0.02)


def test_bfloat16_by_rounding_computes_what_torch_does(monkeypatch):
    digits = data.load("digits")
    images, given = next(digits.test_batches([slice(128)])), digits.test_labels[:128]

    def logits_and_gradients(dtype, slow):
        monkeypatch.setattr(rounded, "_is_slow", lambda device: slow)
        network = models.build("digits_cnn", 10, 0)
        with rounded.autocast(torch.device("cpu"), dtype):
            logits = network(images)
        F.cross_entropy(logits.float(), given).backward()
        return logits, torch.cat([p.grad.flatten() for p in network.parameters()])

    native, rounding, whole = (
        logits_and_gradients(*how)
        for how in ((torch.bfloat16, False), (torch.bfloat16, True), (torch.float32, True))
    )
    assert native[0].dtype == rounding[0].dtype == torch.bfloat16
    for theirs, ours, float32 in zip(native, rounding, whole, strict=True):
        off, control = (theirs - ours).float().norm(), (theirs - float32).float().norm()
        assert off < control / 4, (off, control)  # the order of the sums alone differs


# --- noise ----------------------------------------------------------------------------------


def balanced(n=1000):
    """A data set whose labels count through the ten classes."""
    digits = data.load("digits")
    y = torch.arange(n) % 10
    return replace(digits, train_labels=y, train_images=digits.train_images[:n])


@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "cifar10-npz"])
@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_official_counts_are_the_papers_codes(dataset, kind):
    config = protocol.run(dataset, CELoss(), kind, 0.4, seed=3)
    y = balanced()
    noisy = training.noisy_labels(config, y)
    name = dataset.removesuffix("-npz")
    expected = noise.official_alfs(y.train_labels.numpy(), name, kind, 0.4, 3)
    assert noisy.counts == expected.counts == "official_alfs"
    assert np.array_equal(noisy.labels, expected.labels)
    if name == "cifar10":
        flips = np.bincount(noisy.clean[noisy.mask], minlength=10)
        sources = range(10) if kind == "symmetric" else (2, 3, 4, 5, 9)
        assert flips.tolist() == [40 * (i in sources) for i in range(10)]


@pytest.mark.parametrize("counts", ["iid", "exact"])
def test_other_counts_are_those_of_corrupt(counts):
    config = RunConfig(CELoss(), noise="pairflip", eta=0.4, counts=counts, noise_seed=3)
    y = balanced()
    expected = noise.corrupt(y.train_labels.numpy(), noise.pairflip(10, 0.4), 3, counts)
    assert training.noisy_labels(config, y).sha256 == expected.sha256


def test_asymmetric_digits_flip_as_mnists_do():
    config = RunConfig(CELoss(), noise="asymmetric", eta=0.4)
    assert np.array_equal(training.transition_matrix(config), noise.asymmetric("mnist", 0.4))
    noisy = training.noisy_labels(config, data.load("digits"))
    flips = np.unique(np.stack([noisy.clean, noisy.labels], 1)[noisy.mask], axis=0)
    assert dict(flips.tolist()) == MNIST_FLIPS and len(flips) == 5


def test_each_kind_of_noise_is_its_matrix():
    def matrix(**changes):
        return training.transition_matrix(RunConfig(CELoss(), eta=0.3, **changes))

    assert np.array_equal(matrix(), noise.symmetric(10, 0.3))
    assert np.array_equal(
        matrix(dataset="cifar100-npz", noise="pairflip"), noise.pairflip(100, 0.3)
    )
    superclass = matrix(dataset="cifar100", noise="asymmetric-superclass")
    assert np.array_equal(superclass, noise.asymmetric("cifar100", 0.3, "superclass"))
    blocks = matrix(dataset="cifar100", noise="asymmetric")
    assert np.array_equal(blocks, noise.asymmetric("cifar100", 0.3))


def test_train_size_takes_the_first_images(monkeypatch):
    config = replace(SHORT, epochs=1, train_size=300)
    digits = data.load("digits")
    first = replace(
        digits, train_images=digits.train_images[:300], train_labels=digits.train_labels[:300]
    )
    found = results(train(config))
    monkeypatch.setattr(loop, "load_once", lambda name: first)
    expected = results(train(replace(config, train_size=0)))
    for name in ("config", "data_sha256"):
        assert found.pop(name) != expected.pop(name)
    assert found == expected
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"^train_size: expected at most 1437 .* got 1438"):
        train(replace(config, train_size=1438))


def test_nlnl_as_the_authors_have_it_weights_classes_by_their_counts():
    given = torch.tensor([0] * 6 + [1] * 3 + [2] * 2)

    def weight(compat):
        config = RunConfig(losses.NLNLLoss(seed=5, compat=compat))
        criterion = losses.loss_from_string(config.loss).for_labels(given, 4)
        assert (criterion.seed, criterion.compat) == (5, compat)
        return criterion.weight

    assert weight("official").tolist() == [1.0, 2.0, 3.0, 6.0]
    assert weight("formula") is None
    run = loop.Run(RunConfig(losses.NLNLLoss(compat="official"), eta=0.0), torch.device("cpu"))
    counts = np.bincount(data.load("digits").train_labels)
    np.testing.assert_allclose(run.criterion.weight, counts.max() / counts, rtol=1e-6)


# --- what is measured -----------------------------------------------------------------------


def test_accuracy_against_a_count():
    digits = data.load("digits")
    network = models.build("digits_cnn", 10, seed=0).eval()
    with torch.no_grad():
        predicted = network(digits.normalise(digits.test_images)).argmax(1)
    right = sum(int(p == y) for p, y in zip(predicted, digits.test_labels, strict=True))
    network.train()  # accuracy() must switch batch norm itself
    assert training.accuracy(network, digits, batch_size=100) == 100 * right / 360


def test_training_curves_against_direct_counts(monkeypatch):
    config = RunConfig(CELoss(), epochs=2, batch_size=20, train_size=50)
    digits = data.load("digits")
    noisy = training.noisy_labels(config, digits)
    rows, step = [], loop.Run.step

    def watched(self, index, images, *rest):
        network = copy.deepcopy(self.network).train()
        with torch.no_grad():
            logits = network(images)
        for i, z in zip(index.tolist(), logits, strict=True):
            loss = z.logsumexp(0) - z[noisy.labels[i]]
            rows.append((self.progress.epoch, i, loss.item(), z.argmax().item() == noisy.labels[i]))
        step(self, index, images, *rest)

    monkeypatch.setattr(loop.Run, "step", watched)
    history = train(config)
    for epoch in (0, 1):
        mine = [row for row in rows if row[0] == epoch]
        assert sorted(i for _, i, _, _ in mine) == list(range(50))
        hits = {i for _, i, _, hit in mine if hit}
        wrong = {i for i in range(50) if noisy.labels[i] != digits.train_labels[i]}
        assert history.train_loss[epoch] == pytest.approx(sum(r[2] for r in mine) / 50, rel=1e-5)
        assert history.fitted[epoch] == pytest.approx(100 * len(hits) / 50)
        assert history.memorised[epoch] == pytest.approx(100 * len(hits & wrong) / len(wrong))
    assert history.noise_rate == len(wrong) / 50 and history.labels_sha256 == noisy.sha256


def test_test_curves_against_direct_counts(tmp_path):
    config = replace(SHORT, noise="asymmetric", eta=0.4, epochs=3)
    history = train(config, weights=tmp_path / "weights.pt")
    digits = data.load("digits")
    network = models.build("digits_cnn", 10, seed=1)
    network.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    predicted = training.predict(network, digits, digits.test_images, batch_size=77).tolist()
    clean = digits.test_labels.tolist()
    T = noise.asymmetric("mnist", 0.4)
    seen = noise.corrupt(clean, T, config.noise_seed + 2**31).labels
    right = [p == y for p, y in zip(predicted, clean, strict=True)]
    agrees = [p == y for p, y in zip(predicted, seen, strict=True)]
    assert history.last == history.test_accuracy[-1] == pytest.approx(100 * sum(right) / 360)
    assert training.accuracy(network, digits) == history.last
    for curve, hits in ((history.half_accuracy, right), (history.half_agreement, agrees)):
        assert curve[-1] == pytest.approx([100 * sum(hits[h::2]) / 180 for h in (0, 1)])


def as_it_comes(**changes):
    """A configuration whose labels are noisy as they come."""
    return RunConfig(CELoss(), dataset="webvision-mini", noise="none", eta=0.0, **changes)


def test_the_noisy_validation_epoch_is_chosen_on_the_other_half():
    history = History(
        SHORT,
        train_loss=[0.0] * 3,
        test_accuracy=[15.0, 40.0, 30.0],
        noise_rate=0.6,
        seconds=0.0,
        half_agreement=[[50.0, 60.0], [70.0, 40.0], [60.0, 50.0]],
        half_accuracy=[[10.0, 20.0], [30.0, 50.0], [33.0, 27.0]],
    )
    # The even half prefers epoch 2, where the odd half has 50; the odd half epoch 1: 10.
    assert history.noisy_validation == (50 + 10) / 2
    assert (history.last, history.best) == (30, 40)
    tied = replace(history, half_agreement=[[50.0, 60.0], [70.0, 40.0], [70.0, 50.0]])
    assert tied.noisy_validation == (50 + 10) / 2  # of equal epochs the first
    people = RunConfig(CELoss(), dataset="cifar10", noise="cifar10n-worst", eta=0.0)
    for config in (as_it_comes(), people):
        assert math.isnan(replace(history, config=config).noisy_validation)
    none = History(SHORT, [], [], 0.6, 0.0, status="the training loss of epoch 1 is nan")
    assert all(math.isnan(x) for x in (none.last, none.best, none.noisy_validation))


def test_validation_labels_share_no_draw_with_training_labels():
    digits = data.load("digits")
    same = replace(digits, test_images=digits.train_images, test_labels=digits.train_labels)
    labels = torch.tensor(training.noisy_labels(SHORT, same).labels)
    copies = noisy_copy(SHORT, same)
    flipped, flipped_too = labels != same.train_labels, copies != same.train_labels
    n, both = len(labels), 0.6 * 0.6
    four_sd = 4 * math.sqrt(both * (1 - both) / n)
    assert abs((flipped & flipped_too).double().mean().item() - both) < four_sd
    assert (labels == copies)[flipped & flipped_too].double().mean() < 0.2  # 1/9, not 1
    assert torch.equal(noisy_copy(replace(SHORT, init_seed=9), same), copies)
    assert not torch.equal(noisy_copy(replace(SHORT, noise_seed=9), same), copies)


def test_an_epochs_time_is_estimated():
    assert 0 < training.seconds_per_epoch(SHORT, steps=2) < 60


def test_an_epochs_time_is_that_of_all_its_steps_and_all_test_images(monkeypatch):
    """A step takes 3 s, a tenth of the test images 5 s: by a clock that only they move."""
    now = [0.0]

    def step(run, index, images):
        now[0] += 3

    def built(run, compiled, build=loop.Run._build):
        build(run, compiled)
        run.tested = lambda images: now.__setitem__(0, now[0] + 5)

    monkeypatch.setattr(loop.Run, "step", step)
    monkeypatch.setattr(loop.Run, "_build", built)
    monkeypatch.setattr(data.DataSet, "test_batch", 36)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    expected = 3 * 1437 / SHORT.batch_size + 10 * 5
    assert training.seconds_per_epoch(SHORT, steps=4) == pytest.approx(expected)


# --- a loss that is not finite --------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_run():
    with pytest.warns(RuntimeWarning, match=r"CELoss\(\): the training loss of epoch 1 is nan"):
        history = train(replace(SHORT, lr=1e30))
    assert history.status == "the training loss of epoch 1 is nan"
    assert history.test_accuracy == history.train_loss == [] and math.isnan(history.last)


def test_the_epochs_before_are_kept_and_a_resumed_run_stays_ended(tmp_path, monkeypatch):
    config, step = replace(SHORT, epochs=4), loop.Run.step

    def breaks(self, *args):
        step(self, *args)
        if self.progress.epoch == 2:
            self.totals[0] = math.inf

    whole = train(config)
    monkeypatch.setattr(loop.Run, "step", breaks)
    path = tmp_path / "run.ckpt"
    with pytest.warns(RuntimeWarning, match="epoch 3"):
        history = train(config, checkpoint=path)
    assert history.status == "the training loss of epoch 3 is inf" and math.isnan(history.last)
    for name in CURVES:
        assert getattr(history, name) == getattr(whole, name)[:2]
    monkeypatch.setattr(loop.Run, "step", None)
    assert results(train(config, checkpoint=path)) == results(history)


# --- checkpoints ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "NLNLLoss(seed=3, compat='official')"},
        {"precision": "float16"},
        {"augment": False, "momentum": 0.0},
    ],
    ids=["CE", "NLNL", "float16", "no momentum"],
)
def test_a_run_stopped_after_every_step_ends_bit_identical(tmp_path, changes):
    config = replace(SHORT, train_size=250, batch_size=40, lr=0.1, **changes)  # 7 steps, one short
    whole = train(config, weights=tmp_path / "whole.pt")
    stops = 0
    while True:
        try:
            history = train(
                config,
                checkpoint=tmp_path / "run.ckpt",
                weights=tmp_path / "weights.pt",
                should_stop=lambda: True,
            )
            break
        except Stopped as stopped:
            assert str(stopped) == f"stopped in epoch {stops // 7 + 1} of 2"
            assert not (tmp_path / "weights.pt").exists()
            stops += 1
    assert stops == 14
    assert results(history) == results(whole)
    one, other = (
        torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "weights.pt")
    )
    assert equal(one, other) and "1.running_mean" in one and one["1.num_batches_tracked"] == 14
    assert sorted(os.listdir(tmp_path)) == ["run.ckpt", "weights.pt", "whole.pt"]


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    history = train(SHORT, checkpoint=path)
    monkeypatch.setattr(loop.Run, "step", None)
    again = train(SHORT, checkpoint=path, weights=tmp_path / "weights.pt")
    assert results(again) == results(history) and (tmp_path / "weights.pt").exists()


def test_a_checkpoint_is_never_much_older_than_its_interval(tmp_path, monkeypatch, clock):
    """Also where epochs are shorter than the interval."""
    saved, write = [], loop.write_checkpoint
    monkeypatch.setattr(
        loop, "write_checkpoint", lambda *args: (saved.append(clock.now), write(*args))
    )

    def second():
        clock.now += 1
        return False

    config = replace(SHORT, train_size=30, batch_size=10, epochs=25)  # three steps each
    history = train(config, checkpoint=tmp_path / "run.ckpt", should_stop=second)
    assert saved == [21, 42, 63, 75]
    assert history.seconds == history.cpu_seconds == 75


def test_interruptions_are_not_counted_as_time(tmp_path, clock):
    path = tmp_path / "run.ckpt"

    def later(stop):
        def ask():
            clock.now += 1
            return stop

        return ask

    with pytest.raises(Stopped):
        train(SHORT, checkpoint=path, should_stop=later(True))
    clock.now += 1000
    assert train(SHORT, checkpoint=path, should_stop=later(False)).seconds == 12


def content_of(path):
    """What a checkpoint holds, less its checksum."""
    return torch.load(io.BytesIO(path.read_bytes().partition(b"\n")[2]), weights_only=True)


def position(path):
    progress = content_of(path)["progress"]
    return progress["epoch"], progress["step"]


def stopped_checkpoint(path, config=SHORT):
    with pytest.raises(Stopped):
        train(config, checkpoint=path, should_stop=lambda: True)
    return path.read_bytes()


def edited(**changes):
    """A whole file with a right checksum, whose content is another."""

    def edit(good):
        state = torch.load(io.BytesIO(good.partition(b"\n")[2]), weights_only=True)
        for path, change in changes.items():
            *folders, last = path.split("__")
            part = state
            for name in folders:
                part = part[int(name) if name.isdigit() else name]
            part[last] = change(part[last])
        return checkpoint.packed(state)

    return edit


BAD = {
    "empty": lambda good: b"",
    "truncated": lambda good: good[: len(good) // 2],
    "another": lambda good: b"no checkpoint",
    "one bit": lambda good: good[:9999] + bytes([good[9999] ^ 8]) + good[10000:],
    "no checksum": lambda good: good.partition(b"\n")[2],
    "no dictionary": lambda good: checkpoint.packed([1]),
    "foreign": edited(config=lambda config: config | {"init_seed": 9}),
    "no part": lambda good: checkpoint.packed({"config": asdict(SHORT)}),
    "older": edited(progress=lambda p: {k: v for k, v in p.items() if k != "memorised"}),
    "any attribute": edited(progress=lambda p: p | {"rank": 1}),
    "layers": edited(tensors__network=lambda n: {k + "x": v for k, v in n.items()}),
    "shape": edited(
        tensors__optimizer__state=lambda s: s | {0: {"momentum_buffer": torch.ones(2)}}
    ),
    "no momentum": edited(tensors__optimizer__state=lambda s: {}),
    "other rate": edited(
        tensors__optimizer__param_groups=lambda groups: [groups[0] | {"weight_decay": 9.0}]
    ),
    "totals": edited(tensors__totals=lambda t: t.tolist()),
    "generators": edited(generators=lambda g: None),
    "generator": edited(generators=lambda g: (g[0], g[1][:9])),
    "environment": edited(environment=lambda e: None),
    "step": edited(progress__step=lambda n: 10**6),
    "epoch": edited(progress__epoch=lambda n: 99),
    "curve": edited(progress__test_accuracy=lambda curve: [99.9]),
    "accuracy": edited(
        progress=lambda p: p | {"epoch": 1, "step": 0} | {name: ["99.9"] for name in CURVES}
    ),
    "status": edited(progress__status=lambda s: [1]),
    "seconds": edited(progress__seconds=lambda s: math.nan),
}


@pytest.mark.parametrize("case", BAD)
def test_a_checkpoint_that_cannot_be_used_is_set_aside_and_named(tmp_path, monkeypatch, case):
    path = tmp_path / "run.ckpt"
    content = BAD[case](stopped_checkpoint(path))
    path.write_bytes(content)
    (tmp_path / "run.ckpt.bad").write_text("an earlier one")
    message = re.escape(f"{path}: this checkpoint cannot be used (") + ".*renamed to run.ckpt.bad-2"
    run = loop.Run(SHORT, torch.device("cpu"))
    before = copy.deepcopy(run.state())
    with pytest.warns(RuntimeWarning, match=f"(?s){message}"):
        run.resume(path)
    assert (tmp_path / "run.ckpt.bad-2").read_bytes() == content
    assert (tmp_path / "run.ckpt.bad").read_text() == "an earlier one"
    assert checkpoint.packed(run.state()) == checkpoint.packed(before), "it starts anew"


def test_a_checkpoint_from_before_a_field_of_the_configuration_is_resumed(tmp_path):
    path = tmp_path / "run.ckpt"
    good = stopped_checkpoint(path)
    old = edited(config=lambda config: {k: v for k, v in config.items() if k != "l1"})(good)
    assert old != good
    for config, same in ((SHORT, True), (replace(SHORT, l1=1e-6), False)):
        path.write_bytes(old)
        run = loop.Run(config, torch.device("cpu"))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            run.resume(path)
        assert bool(said) is not same and bool(run.progress.step or run.progress.epoch) is same


def test_a_run_starts_anew_where_its_checkpoint_was_set_aside(tmp_path):
    path = tmp_path / "run.ckpt"
    path.write_bytes(BAD["one bit"](stopped_checkpoint(path)))
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        history = train(SHORT, checkpoint=path)
    assert results(history) == results(train(SHORT))


def flips_seen(path, times, seed=0):
    """How many single bit flips of a checkpoint are set aside, and how many changed nothing."""
    good, choice = stopped_checkpoint(path), random.Random(seed)
    run = loop.Run(SHORT, torch.device("cpu"))
    run.resume(path)
    expected = checkpoint.packed(run.state())
    seen = 0
    for _ in range(times):
        bad, bit = bytearray(good), choice.randrange(8 * len(good))
        bad[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bad)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            run.resume(path)
        assert checkpoint.packed(run.state()) == expected
        seen += any("cannot be used" in str(warning.message) for warning in said)
        for aside in path.parent.glob("*.bad*"):
            aside.unlink()
    return seen


def test_no_flipped_bit_of_a_checkpoint_is_resumed(tmp_path):
    assert flips_seen(tmp_path / "run.ckpt", 20) == 20


@pytest.mark.long
def test_none_of_500_flipped_bits_of_a_checkpoint_is_resumed(tmp_path):
    seen = flips_seen(tmp_path / "run.ckpt", 500, seed=1)
    print(f"\n500 flips of a checkpoint: {seen} set aside, {500 - seen} accepted")
    assert seen == 500


def no_space(*args, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("fails", ["fsync", "replace", "disk"])
def test_a_full_disk_costs_a_warning_not_the_run(tmp_path, monkeypatch, every_step, fails):
    folder = tmp_path / "checkpoints"
    path = folder / "run.ckpt"
    before = stopped_checkpoint(path)
    if fails == "disk":
        if not os.path.exists("/dev/full"):
            pytest.skip("needs /dev/full, a device without space")

        def onto_the_full_device(path, mode):
            return open("/dev/full", "wb")  # it exists, and mode may be "xb"

        monkeypatch.setattr(_files, "open", onto_the_full_device, raising=False)
    else:
        monkeypatch.setattr(os, fails, no_space)
    message = re.escape(f"{path}: no checkpoint written (") + ".*No space left on device"
    with pytest.warns(RuntimeWarning, match=message):
        history = train(SHORT, checkpoint=path)
    monkeypatch.undo()
    assert results(history) == results(train(SHORT))
    assert os.listdir(folder) == ["run.ckpt"] and path.read_bytes() == before


def test_a_link_in_the_way_of_a_checkpoint_leads_to_no_write(tmp_path):
    path, theirs = tmp_path / "run.ckpt", tmp_path / "theirs"
    theirs.write_text("not ours")
    (tmp_path / ".run.ckpt.part").symlink_to(theirs)
    checkpoint.write_checkpoint(path, {"a": 1})
    assert content_of(path) == {"a": 1} and not path.is_symlink()
    assert theirs.read_text() == "not ours"
    assert sorted(os.listdir(tmp_path)) == ["run.ckpt", "theirs"]


def trained_elsewhere(config, path):
    torch.set_num_threads(1)
    loop.CHECKPOINT_SECONDS = -1.0  # after every step
    train(config, checkpoint=path)


def killed_repeatedly(tmp_path, kills, seed):
    """Kill a run again and again at random moments, then finish it here."""
    loss = "NLNLLoss(seed=3, compat='official')"
    config = RunConfig(loss, train_size=200, batch_size=20, epochs=6 + 8 * kills)
    path, moments = tmp_path / "run.ckpt", random.Random(seed)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)

    def age():
        return path.stat().st_mtime_ns if path.exists() else 0

    positions = [(0, 0)]
    for _ in range(kills):
        before, limit = age(), time.monotonic() + 120
        child = processes.Process(target=trained_elsewhere, args=(config, path))
        child.start()
        try:
            while age() == before:
                assert child.is_alive() and time.monotonic() < limit
                time.sleep(0.002)
            time.sleep(moments.uniform(0, 0.2))
        finally:
            child.kill()
            child.join()
        assert child.exitcode == -9, "it ended before it was killed"
        positions.append(position(path))
    assert positions == sorted(set(positions)), "a later life did not go on from the earlier one"
    history = train(config, checkpoint=path, weights=tmp_path / "weights.pt")
    whole = train(config, weights=tmp_path / "whole.pt")
    assert results(history) == results(whole)
    one, other = (
        torch.load(tmp_path / name, weights_only=True) for name in ("whole.pt", "weights.pt")
    )
    assert equal(one, other)


def test_a_run_killed_twice_ends_bit_identical(tmp_path):
    killed_repeatedly(tmp_path, kills=2, seed=random.randrange(1000))


@pytest.mark.long
def test_a_run_killed_twenty_times_ends_bit_identical(tmp_path):
    killed_repeatedly(tmp_path, kills=20, seed=random.randrange(1000))


def test_a_run_that_went_on_in_another_way_says_so(tmp_path, every_step):
    def interrupted(**how):
        calls = iter([False] * 3 + [True])
        with pytest.raises(Stopped):
            train(SHORT, checkpoint=tmp_path / "a", should_stop=lambda: next(calls), **how)

    interrupted()
    history = train(SHORT, checkpoint=tmp_path / "a")
    record = records.make(history)
    assert (history.mixed, record["mixed"], record["deterministic"]) == (False, False, True)
    for name in ("device_name", "torch.__version__"):
        (tmp_path / "a").unlink(missing_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            other = "2.0" if "version" in name else lambda device: "CPU of another kind"
            patch.setattr(f"alfs_utils.training.environment.{name}", other)
            interrupted()
        assert train(SHORT, checkpoint=tmp_path / "a").mixed, name
    (tmp_path / "a").unlink()
    interrupted()
    torch.set_num_threads(2)
    history = train(SHORT, checkpoint=tmp_path / "a")
    record = records.make(history)
    assert (history.mixed, record["mixed"], record["deterministic"]) == (True, True, False)


def test_momentum_starts_at_zero_even_if_the_first_step_overflows():
    """Torch's fused SGD would leave the buffers as they lay in memory."""
    run = loop.Run(replace(SHORT, dataset="digits"), torch.device("cpu"))
    buffers = [state["momentum_buffer"] for state in run.optimizer.state.values()]
    assert len(buffers) == len(list(run.network.parameters()))
    assert not any(buffer.any() for buffer in buffers)


def test_weights_that_cannot_be_written_are_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "Run", None)
    with pytest.raises(ValueError, match=r"^weights: expected a file that can be written, got "):
        train(SHORT, weights=tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: train("CELoss()"), r"config: expected a RunConfig, got 'CELoss\(\)'"),
        (lambda: train(SHORT, "zz"), "device: expected 'cpu' or 'cuda', got 'zz'"),
        (lambda: train(SHORT, "meta"), "device: expected 'cpu' or 'cuda', got 'meta'"),
        (lambda: training.seconds_per_epoch(SHORT, steps=0), "steps: expected an int of at least"),
        (lambda: models.build("digits_cnn", 0, 0), "num_classes: expected an int of at least 1, "),
        (lambda: models.build("digits_cnn", 10, -1), "seed: expected an int of at least 0, got -1"),
        (
            lambda: replace(SHORT, epochs=10**400),
            "epochs: expected an int of at most 4294967295, got 1",
        ),
        (lambda: replace(SHORT, lr=10**400), "lr: expected a positive number, got 1"),
        (lambda: replace(SHORT, loss="-" * 5000), "loss: expected one of .*: text: expected "),
        (
            lambda: replace(SHORT, init_seed=2**64),
            "init_seed: expected an int of at most 4294967295, got 1",
        ),
        (lambda: replace(SHORT, loss=[]), "loss: expected one of alfs_utils.losses .* got \\[\\]"),
    ],
)
def test_wrong_arguments_are_named(wrong, message):
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        wrong()


def test_a_record_names_the_code_that_its_run_started_with(monkeypatch):
    """Whatever is committed in the hour that it takes."""
    monkeypatch.setattr(environment, "revision", lambda: "before")

    def commit():
        monkeypatch.setattr(environment, "revision", lambda: "after")
        return False

    history = train(replace(SHORT, epochs=1), should_stop=commit)
    assert records.make(history)["code"] == "before"


# --- the configuration ----------------------------------------------------------------------

WRONG = {
    "loss": [
        None,
        "CELoss(reduction='sum')",
        "AGCELos(a=4, q=0.2)",
        "AGCELoss(a=-1, q=0.2)",
        "__import__('os')",
    ],
    "dataset": ["mnits", None],
    "model": ["resnet"],
    "noise": ["symetric", "asymmetric-superclass", "none", "cifar10n", None],
    "eta": [1.5, -0.1, math.nan, "0.4", None, True],
    "augment": [1, "no"],
    "epochs": [0, 2.0, True, "3"],
    "batch_size": [0, 128.0],
    "lr": [0.0, -1.0, math.nan, math.inf, "fast"],
    "momentum": [-0.1, math.nan, math.inf, None],
    "weight_decay": [-1e-3, math.nan, math.inf],
    "clip_norm": [0.0, -5.0, math.nan],
    "counts": ["exactly", "official"],
    "precision": ["fp16"],
    "train_size": [-1, 0.5],
    "nesterov": [1, None],
    "schedule": ["step", None],
    "l1": [-1e-9, math.nan, None],
    **{seed: [-1, 0.5, True] for seed in SEEDS},
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n in WRONG for v in WRONG[n]])
def test_a_wrong_field_is_named_with_its_value(name, value):
    message = rf"^{name}: expected .*got {re.escape(repr(value))}"
    with pytest.raises((TypeError, ValueError), match=message):
        replace(SHORT, **{name: value})


def test_every_field_has_a_wrong_value():
    assert set(WRONG) == set(asdict(SHORT))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "dataset: expected 'cifar10' for noise='cifar10n-worst', got 'digits'"),
        ({"dataset": "cifar100"}, "expected 'cifar10' for noise='cifar10n-worst', got 'cifar100'"),
        (
            {"dataset": "cifar100-npz", "noise": "cifar100n"},
            "eta: expected 0.0, and counts 'iid', for noise='cifar100n', got 0.6 and 'iid'",
        ),
        (
            {"dataset": "cifar10", "eta": 0, "counts": "official"},
            "counts 'iid', for noise='cifar10n-worst', got 0.0 and 'official'",
        ),
    ],
)
def test_human_labels_go_with_their_images_and_no_rate(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        RunConfig(CELoss(), **({"noise": "cifar10n-worst"} | changes))


def test_a_config_is_frozen_and_its_loss_canonical():
    assert RunConfig(AGCELoss(a=4, q=0.2)) == RunConfig("AGCELoss(a=4.0, q=0.2)")
    assert RunConfig(CELoss(), lr=1, eta=np.float64(0.5)) == RunConfig(CELoss(), lr=1.0, eta=0.5)
    with pytest.raises(ValueError, match=r"^loss: expected .* got CrossEntropyLoss\(\)"):
        RunConfig(nn.CrossEntropyLoss())
    with pytest.raises(FrozenInstanceError):
        SHORT.eta = 0.1
    with pytest.raises(ValueError, match=r"^counts: .*'official' with 'mnist', 'pairflip'"):
        protocol.run("mnist", CELoss(), "pairflip", 0.4, counts="official")
    with pytest.raises(ValueError, match=r"^momentum: expected .* with nesterov, got 0\.0"):
        replace(SHORT, nesterov=True, momentum=0)
    with pytest.raises(ValueError, match=r"^noise: expected 'none' .*, got 'pair"):
        replace(as_it_comes(), noise="pairflip")


@pytest.mark.parametrize("size", [1, 2, 359])
def test_a_last_batch_of_one_image_is_refused_before_training(monkeypatch, size):
    monkeypatch.setattr(loop.Run, "step", None)
    with pytest.raises(ValueError, match=f"^batch_size: expected .* got {size} for 1437 images"):
        train(replace(SHORT, batch_size=size))


# --- what it shows, and how it is fast ------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_is_silent_unless_someone_looks(capsys, monkeypatch):
    history = train(SHORT)
    train(SHORT, progress=False)
    assert capsys.readouterr() == ("", "")
    train(SHORT, progress=True)
    shown = capsys.readouterr().err
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    train(SHORT)
    for text in (shown, terminal.getvalue()):
        assert "CELoss()" in text and "2/2" in text and "epoch" in text
        assert f"loss={history.train_loss[-1]:.4f}" in text
        assert f"test={history.last:.2f}" in text
    quiet = Terminal()
    monkeypatch.setattr(sys, "stderr", quiet)
    train(SHORT, progress=False)
    assert quiet.getvalue() == ""


WAITS = ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loss": "AGCELoss(a=4.0, q=0.2)"},
        {"loss": "NCELoss() + RCELoss()"},
        {"loss": "GCELoss(q=0.7)"},
        {"loss": "NLNLLoss(compat='official')"},
        {"precision": "float16"},
    ],
    ids=str,
)
def test_a_step_does_not_wait_for_the_device(monkeypatch, changes):
    run = loop.Run(replace(SHORT, **changes), torch.device("cpu"))
    places = [slice(0, 64), slice(64, 128)]
    batches = run.dataset.train_batches(torch.arange(128), places, run.augmentation)
    run.network.train()
    run.step(*next(batches))  # constants are made once

    def waits(*args, **options):
        raise AssertionError("the host waits for the device")

    for name in WAITS:
        monkeypatch.setattr(torch.Tensor, name, waits)
    with pytest.raises(AssertionError, match="waits"):
        bool(run.totals[0] > 0)
    run.step(*next(batches))
    with pytest.raises(StopIteration):
        next(batches)


@pytest.fixture
def fresh_allocator():
    _allocator.keep_pages.cache_clear()
    yield
    _allocator.keep_pages.cache_clear()


def test_the_allocator_is_left_alone_where_it_is_another(monkeypatch, fresh_allocator):
    libraries = []

    def musl(name):
        libraries.append(name)
        return types.SimpleNamespace(mallopt=lambda *_: pytest.fail("musl has no such setting"))

    monkeypatch.setattr(_allocator.ctypes, "CDLL", musl)
    for platform in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", platform)
        assert _allocator.keep_pages() is False
        _allocator.keep_pages.cache_clear()
    assert not libraries
    monkeypatch.setattr(sys, "platform", "linux")
    assert _allocator.keep_pages() is False and libraries == [None]


FAULTS = """
import ctypes, resource, runpy
# Alone: its package would import torch.
keep_pages = runpy.run_path("alfs_utils/training/_allocator.py")["keep_pages"]
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        block = libc.malloc(64 << 20)
        libc.memset(block, 1, 64 << 20)
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
applied = keep_pages()
faults()
print(applied, before, faults())
"""


def test_freed_pages_stay_in_the_process():
    command = [sys.executable, "-c", FAULTS]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    applied, before, after = run.stdout.split()
    if applied == "False":
        pytest.skip("this C library is not glibc: its allocator is left alone")
    assert int(before) >= 5 * 32 and int(after) <= int(before) / 20


def test_training_on_the_cpu_asks_for_it(monkeypatch):
    asked = []
    monkeypatch.setattr(_allocator, "keep_pages", lambda: asked.append(True))
    loop.Run(SHORT, torch.device("cpu"))
    assert asked == [True]


# --- on a GPU -------------------------------------------------------------------------------

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@on_a_gpu
def test_a_gpu_repeats_bit_for_bit_on_request(tmp_path, monkeypatch):
    """Also across an interruption."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    first = train(SHORT, "cuda", deterministic=True)
    calls = iter([False] * 7 + [True])
    path = tmp_path / "a"
    with pytest.raises(Stopped):
        train(SHORT, "cuda", deterministic=True, checkpoint=path, should_stop=lambda: next(calls))
    again = train(SHORT, "cuda", deterministic=True, checkpoint=path)
    assert results(again) == results(first) and not again.mixed


@on_a_gpu
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "graphs"])
def test_a_gpu_agrees_with_the_cpu(compiled):
    """The short last batch of 157 images has a graph of its own."""
    one = train(SHORT, "cpu")
    other = train(SHORT, "cuda", compiled=compiled)
    assert other.train_loss == pytest.approx(one.train_loss, rel=0.01)
    assert other.test_accuracy == pytest.approx(one.test_accuracy, abs=3)
