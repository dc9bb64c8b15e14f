"""Does a robust loss find the wrong labels? The design, fixed before a test label was looked at.

A network is trained on noisy labels, and its outputs rank them. Average precision (AP) says how
well the wrong ones come first; a random order has the share of wrong labels.

**What is compared.** Five losses (`people.LOSSES`), scaled to CE's gradient at the start, each with
the step size after which the network agrees most with given labels that are held out
(`people.tune`: no clean label decides). The network that trained on the label itself ("seen") and
one that did not ("unseen": five folds). And three scores: `SCORES`.

**What chose, and what judges.** Loss, score and mode were chosen by the mean AP over `SETTINGS`
but for "words, worst of ten", with seeds 100 to 104 of the noise, the weights and the order. What is
reported has seeds 0 to 9, and "worst of ten", of which there is one draw, was looked at only then.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alfs_utils import data, noise
from alfs_utils._files import replacing
from alfs_utils.data import DataSet, words
from alfs_utils.losses import Loss
from alfs_utils.paper import people
from alfs_utils.paper.together import Job, train
from alfs_utils.suspicious import margins
from alfs_utils.training.environment import Clock, Environment

SETTINGS = {  # data set, noise, rate
    "words, worst of ten": ("words", "words-worst", 0.0),
    "words, one rater": ("words", "words-one", 0.0),
    "words in 4 classes, one rater": ("words-4", "words-one", 0.0),
    "digits, symmetric 0.4": ("digits", "symmetric", 0.4),
    "digits, asymmetric 0.4": ("digits", "asymmetric", 0.4),
}
CHOOSING, JUDGING = range(100, 105), range(10)
FOLDS = 5
MODES = ("seen", "unseen")


def _softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def _gap(u, y):
    rivals = u.copy()
    rivals[np.arange(len(u)), y] = -np.inf
    return u[np.arange(len(u)), y] - rivals.max(1)


SCORES = {  # small is suspicious
    "probability": lambda z, y: _softmax(z)[np.arange(len(z)), y],
    "difference of probabilities": lambda z, y: _gap(_softmax(z), y),
    "margin": lambda z, y: margins(y, logits=z),
}


def vectors(name: str) -> tuple[DataSet, str]:
    """A data set of `SETTINGS` as vectors, and the network for it."""
    dataset = data.load(name)
    if name != "digits":
        return dataset, "words_mlp"
    images = [
        torch.nn.functional.pad(dataset.normalise(x).flatten(1), (0, 36))[..., None, None]
        for x in (dataset.train_images, dataset.test_images)
    ]
    constants = {"mean": (0.0,) * 100, "std": (1 / 255,) * 100}
    return replace(dataset, train_images=images[0], test_images=images[1], **constants), "news_mlp"


def labels(setting: str, dataset: DataSet, seed: int) -> noise.NoisyLabels:
    """Given labels of the training samples; those of "worst of ten" are the same for all seeds."""
    name, kind, eta = SETTINGS[setting]
    if kind in words.NOISE:
        return words.given(kind, name, seed)
    return noise.corrupt(dataset.train_labels.numpy(), noise.matrix(kind, name, eta), seed)


def unseen(dataset: DataSet, jobs: list[Job], model: str, **settings) -> Tensor:
    """Logits (runs, n, k) of all training samples, each by a network that did not train on it.

    `FOLDS` networks for each job, with the same initial weights.
    """
    n = len(dataset.train_labels)
    order = torch.from_numpy(np.random.default_rng(0).permutation(n))
    found = torch.empty(len(jobs), n, dataset.num_classes)
    for held_out in order.chunk(FOLDS):
        kept = order[~torch.isin(order, held_out)]
        turned = torch.cat([kept, held_out])
        part = replace(
            dataset,
            train_images=dataset.train_images[turned],
            train_labels=dataset.train_labels[turned],
        )
        some = [job._replace(labels=job.labels[kept]) for job in jobs]
        found[:, held_out] = train(part, some, model, **settings).logits[:, len(kept) :]
    return found


def outputs(
    setting: str, losses: Mapping[str, Loss], steps: Mapping[str, float], seeds: range
) -> dict[str, np.ndarray]:
    """Logits of each mode, (losses, seeds, n, k)."""
    dataset, model = vectors(SETTINGS[setting][0])
    jobs = [
        Job(losses[name], torch.tensor(labels(setting, dataset, seed).labels), steps[name], seed)
        for name in losses
        for seed in seeds
    ]
    fixed = {"epochs": people.EPOCHS, **people.SHARED}
    pairs = zip(
        MODES,
        (train(dataset, jobs, model, **fixed).logits, unseen(dataset, jobs, model, **fixed)),
        strict=True,
    )
    return {mode: z.unflatten(0, (len(losses), len(seeds))).numpy() for mode, z in pairs}


def average_precision(scores: np.ndarray, wrong: np.ndarray) -> float:
    """Percent; the samples of smallest score count as found first."""
    from sklearn.metrics import average_precision_score

    return 100 * float(average_precision_score(wrong, -scores))


def trial(setting: str, seeds: range) -> list[dict]:
    """Tune, train and rank: a row for each loss, mode, score and seed of a setting."""
    dataset, model = vectors(SETTINGS[setting][0])
    losses = people.matched(people.LOSSES, dataset.num_classes)
    held = torch.tensor(labels(setting, dataset, people.TUNING_SEED).labels)
    steps = people.chosen(people.tune(dataset, held, losses, model))
    rows = []
    for mode, logits in outputs(setting, losses, steps, seeds).items():
        for name, of_loss in zip(losses, logits, strict=True):
            for seed, z in zip(seeds, of_loss.astype(float), strict=True):
                given = labels(setting, dataset, seed)
                row = {"setting": setting, "loss": name, "step": steps[name], "mode": mode}
                row |= {"seed": seed, "wrong": 100 * float(given.mask.mean())}
                for score, rule in SCORES.items():
                    found = average_precision(rule(z, given.labels), given.mask)
                    rows.append(row | {"score": score, "ap": round(found, 3)})
    return rows
