"""The labels that a run trains on: all kinds of label noise, with their checks and draws.

`KINDS` is the one registry. To add a kind that is drawn from a transition matrix, add it to
`noise.KINDS`; any other kind is a class here with the same three methods.

"instance" is `instance_noise.part_dependent` on the inputs as the network sees them, normalised;
"margin" is `instance_noise.margin_dependent`, kind II, with the probabilities of a
`softmax_regression` on them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from alfs_utils import instance_noise, noise
from alfs_utils._arguments import option
from alfs_utils.data import DataSet, base_name, human, words

if TYPE_CHECKING:
    from alfs_utils.training.config import RunConfig

OFFICIAL = ("symmetric", "asymmetric")  # what `noise.official_alfs` draws
_UNLABELLED = ("webvision-mini",)  # data sets without clean training labels
_SMALL = ("digits", *words.CUTS)  # whose inputs one array holds in float64
# Far from the seeds in use, so that test and training labels share no draw.
_TEST_SEED = 2**31


class _Drawn:
    """Labels that flip by a transition matrix."""

    def __init__(self, kind):
        self.kind = kind

    def check(self, config):
        if config.dataset in _UNLABELLED:
            raise ValueError(
                f"noise: expected 'none' for {config.dataset!r}, whose labels are noisy already, "
                f"got {self.kind!r}"
            )
        if self.kind == "asymmetric-superclass" and base_name(config.dataset) != "cifar100":
            raise ValueError(
                f"noise: expected a kind without CIFAR-100's superclasses for {config.dataset!r}, "
                f"got {self.kind!r}"
            )
        official = config.dataset != "digits" and self.kind in OFFICIAL
        if config.counts == "official" and not official:
            raise ValueError(
                "counts: expected 'iid' or 'exact' for the digits and for noise that the paper's "
                f"code does not have, got 'official' with {config.dataset!r}, {self.kind!r}"
            )

    def matrix(self, config):
        return noise.matrix(self.kind, base_name(config.dataset), config.eta)

    def draw(self, config, labels, dataset):
        if config.counts == "official":
            name = base_name(config.dataset)
            return noise.official_alfs(labels, name, self.kind, config.eta, config.noise_seed)
        return noise.corrupt(labels, self.matrix(config), config.noise_seed, config.counts)


class _Fixed:
    """Labels that nobody draws: no rate, no counts, no transition matrix."""

    def check(self, config):
        if config.eta or config.counts != "iid":
            raise ValueError(
                f"eta: expected 0.0, and counts 'iid', for noise={config.noise!r}, "
                f"got {config.eta} and {config.counts!r}"
            )

    def matrix(self, config):
        raise ValueError(f"noise: expected a kind drawn from a matrix, got {config.noise!r}")


class _Human(_Fixed):
    """Labels that people gave to the images of CIFAR-10 or CIFAR-100."""

    def __init__(self, name):
        self.name = name

    def check(self, config):
        if human.DATASETS[self.name] != base_name(config.dataset):
            raise ValueError(
                f"dataset: expected {human.DATASETS[self.name]!r} for noise={self.name!r}, "
                f"got {config.dataset!r}"
            )
        super().check(config)

    def draw(self, config, labels, dataset):
        given = human.load(self.name, dataset.train_labels.cpu().numpy())
        n, seed = len(labels), config.noise_seed
        return noise.NoisyLabels(given.labels[:n], labels, given.T, seed, "human", self.name)


class _Words(_Human):
    """What people said of words."""

    def check(self, config):
        option("dataset", config.dataset, words.NOISE[self.name])
        _Fixed.check(self, config)

    def draw(self, config, labels, dataset):
        given, n = words.given(self.name, config.dataset, config.noise_seed), len(labels)
        return replace(given, labels=given.labels[:n], clean=given.clean[:n])


class _BySample:
    """Labels whose noise depends on the sample; `both` also says how, as a posterior."""

    def check(self, config):
        option("dataset", config.dataset, _SMALL)
        if config.counts != "iid":
            raise ValueError(
                f"counts: expected 'iid' for noise={config.noise!r}, got {config.counts!r}"
            )

    matrix = _Fixed.matrix

    def draw(self, config, labels, dataset):
        return self.both(config, labels, dataset)[0]


class _Instance(_BySample):
    def both(self, config, labels, dataset):
        x, k = _inputs(dataset, len(labels)), dataset.num_classes
        return instance_noise.part_dependent(
            labels, x, config.eta, config.noise_seed, norm=None, num_classes=k
        )


class _Margin(_BySample):
    def both(self, config, labels, dataset):
        x, k = _inputs(dataset, len(labels)), dataset.num_classes
        p = instance_noise.softmax_regression(x, labels, num_classes=k)
        return instance_noise.margin_dependent(labels, p, config.eta, config.noise_seed)


def _inputs(dataset, n):
    return dataset.normalise(dataset.train_images[:n]).cpu()


class _AsTheyCome(_Fixed):
    """The labels of a data set that has no others."""

    def check(self, config):
        if config.dataset not in _UNLABELLED:
            raise ValueError(
                f"noise: expected another kind than 'none' for {config.dataset!r}, got 'none'"
            )
        super().check(config)

    def draw(self, config, labels, dataset):
        return noise.corrupt(labels, np.eye(int(labels.max()) + 1), config.noise_seed)


KINDS = {
    **{kind: _Drawn(kind) for kind in noise.KINDS},
    **{name: _Human(name) for name in human.NAMES},
    **{kind: _Words(kind) for kind in words.NOISE},
    "instance": _Instance(),
    "margin": _Margin(),
    "none": _AsTheyCome(),
}


def transition_matrix(config: RunConfig) -> np.ndarray:
    """Return the (k, k) matrix of a run's label noise; raise ValueError if it has none."""
    return KINDS[config.noise].matrix(config)


def noisy_labels(config: RunConfig, dataset: DataSet) -> noise.NoisyLabels:
    """Return the labels that a run trains on; they depend on its data and noise settings alone."""
    return KINDS[config.noise].draw(config, _clean(config, dataset), dataset)


def sample_posterior(config: RunConfig, dataset: DataSet) -> np.ndarray:
    """Return P(given | x) of each label of `noisy_labels`, (n, k) float64.

    ValueError if the noise of the run does not depend on the sample.
    """
    kind = KINDS[config.noise]
    if not isinstance(kind, _BySample):
        raise ValueError(f"noise: expected 'instance' or 'margin', got {config.noise!r}")
    return kind.both(config, _clean(config, dataset), dataset)[1]


def _clean(config, dataset):
    clean = dataset.train_labels.cpu().numpy()
    if config.train_size > len(clean):
        raise ValueError(
            f"train_size: expected at most {len(clean)} for {config.dataset!r}, "
            f"got {config.train_size}"
        )
    return clean[: config.train_size or None]


def noisy_copy(config: RunConfig, dataset: DataSet) -> torch.Tensor:
    """Draw noisy test labels, with which one can choose an epoch without clean labels.

    Return the clean labels where noise cannot be drawn: `History.noisy_validation` ignores them.
    """
    if config.noise not in noise.KINDS:
        return dataset.test_labels
    clean = dataset.test_labels.cpu().numpy()
    noisy = noise.corrupt(clean, transition_matrix(config), config.noise_seed + _TEST_SEED)
    return torch.tensor(noisy.labels, device=dataset.test_labels.device)
