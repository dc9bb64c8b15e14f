"""Does a robust loss find the wrong labels? The design, fixed before a test label was looked at.

A network is trained on noisy labels, and its outputs rank them. Average precision (AP) says how
well the wrong ones come first; a random order has the share of wrong labels.

**What is compared.** Five losses (`people.LOSSES`), scaled to CE's gradient at the start, each with
the step size after which the network agrees most with given labels that are held out
(`people.tune`: no clean label decides). The network that trained on the label itself ("seen") and
one that did not ("unseen": five folds). And three scores: `SCORES`.

**What chose, and what judges.** Loss, score and mode were chosen by the mean AP over `SETTINGS`
but for "words, worst of ten", with seeds 100 to 104 of the noise, the weights and the order. GCE,
seen, by the margin of `suspicious` came first, at 65.9 (GCE unseen 65.3, CE seen 64.7; AGCE seen
61.5; by the difference of the logits 65.7, by u_y 65.3). What is reported has seeds 0 to 4; "worst
of ten", of which there is one draw, was looked at only then.

**cleanlab** (2.9.0, Apache-2.0) was given the same outputs once, in an environment of its own:
`tools/rank_with_cleanlab.py`. Its code is not used here.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import softmax
from torch import Tensor

from alfs_utils import data, noise
from alfs_utils.data import DataSet, words
from alfs_utils.losses import Loss
from alfs_utils.lost_classes import lost_classes
from alfs_utils.paper import people, together
from alfs_utils.paper.together import Job, train
from alfs_utils.suspicious import margins

SETTINGS = {  # data set, noise, rate
    "words, worst of ten": ("words", "words-worst", 0.0),
    "words, one rater": ("words", "words-one", 0.0),
    "words in 4 classes, one rater": ("words-4", "words-one", 0.0),
    "digits, symmetric 0.4": ("digits", "symmetric", 0.4),
    "digits, asymmetric 0.4": ("digits", "asymmetric", 0.4),
}
CHOOSING, JUDGING = range(100, 105), range(5)
FOLDS = 5
MODES = ("seen", "unseen")
KEPT = (("seen", "GCE"), ("unseen", "CE"))  # ours, and what cleanlab is usually given


SCORES = {  # small is suspicious
    "margin": lambda z, y: margins(y, logits=z),
    "probability": lambda z, y: softmax(z, 1)[np.arange(len(z)), y],
    "difference of logits": lambda z, y: _lead(z, y),
}


def _lead(z, y):
    own = np.arange(z.shape[1]) == y[:, None]
    return z[own] - np.where(own, -np.inf, z).max(1)


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

    return round(100 * float(average_precision_score(wrong, -scores)), 3)


def trial(setting: str, seeds: range) -> tuple[list[dict], dict]:
    """Tune, train and rank.

    Returns a row for each mode, loss and seed, and the outputs, see `outputs`.
    """
    dataset, model = vectors(SETTINGS[setting][0])
    losses = people.matched(people.LOSSES, dataset.num_classes)
    held = torch.tensor(labels(setting, dataset, people.TUNING_SEED).labels)
    steps = people.chosen(people.tune(dataset, held, losses, model))
    given = {seed: labels(setting, dataset, seed) for seed in seeds}
    rows, logits = [], outputs(setting, losses, steps, seeds)
    for mode in MODES:
        for name, of_loss in zip(losses, logits[mode].astype(float), strict=True):
            for seed, z in zip(seeds, of_loss, strict=True):
                y, wrong = given[seed].labels, given[seed].mask
                row = {"setting": setting, "loss": name, "step": steps[name], "mode": mode}
                row |= {"seed": seed, "wrong": round(100 * float(wrong.mean()), 3)}
                row |= {"lost": lost_classes(z.argmax(1), y, z.shape[1])}
                rows.append(row | {n: average_precision(f(z, y), wrong) for n, f in SCORES.items()})
    return rows, logits


def write(path: str | os.PathLike, logits_path: str | os.PathLike | None = None) -> Path:
    """Run all settings with the seeds that judge, and write one record.

    `logits_path` keeps what GCE and CE said and the labels, for `tools/rank_with_cleanlab.py`.
    """
    kept = {}

    def judged():
        rows = []
        for setting in SETTINGS:
            found, logits = trial(setting, JUDGING)
            rows += found
            kept.update(_for_cleanlab(setting, logits))
        return rows

    settings = {"settings": SETTINGS, "folds": FOLDS, "epochs": people.EPOCHS, **people.SHARED}
    losses = {name: repr(loss) for name, loss in people.LOSSES.items()}
    record = together.recorded(judged, settings | {"losses": losses})
    if logits_path is not None:
        np.savez_compressed(logits_path, **kept)
    return together.write(record, path)


def _for_cleanlab(setting, logits):
    dataset, _ = vectors(SETTINGS[setting][0])
    given = [labels(setting, dataset, seed) for seed in JUDGING]
    kept = {"labels": np.array([x.labels for x in given])}
    kept["wrong"] = np.array([x.mask for x in given])
    kept |= {f"{name}, {mode}": logits[mode][[*people.LOSSES].index(name)] for mode, name in KEPT}
    return {f"{setting}/{name}": x for name, x in kept.items()}


def read(path: str | os.PathLike) -> pd.DataFrame:
    """The runs of `write`, one row each."""
    return together.read(path)[1]


def only(dataset: DataSet, kept: np.ndarray) -> DataSet:
    """The data set with some of its training samples, (n,) bool."""
    mask = torch.from_numpy(kept)
    parts = ("train_images", "train_labels")
    return replace(dataset, **{part: getattr(dataset, part)[mask] for part in parts})
