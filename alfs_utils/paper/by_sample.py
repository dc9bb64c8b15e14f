"""Losses under noise that depends on the sample, beside noise by class from the same matrix.

The design, fixed before the first of these runs. The data are the digits and the words with two
classes. Noise of rate `ETA` is made as the kinds "instance" and "margin" of a run are made
(`training.labels`). For each there is a control, "by class": labels drawn from the class matrix
that this noise has on average, with the same rate and the same T, but blind to the sample. The
losses, their scale at the start, and the choice of the step size by noisy held-out labels are those
of chapter 15's news (`people`). MAE, AGCE and AUL are certified for every T that occurs. The words
have no "instance": with two classes this noise does not depend on the sample.

After training, the exact noisy risk of the certified losses on the training inputs is compared with
the bound of chapter 9b: all weights P(given | x) are known, so no given label enters.

The readings, `answers`, were written without any trial run. They speak of mean accuracies after the
last epoch on clean test labels, over the seeds; p0 is the mean share of training samples whose true
label is not the likeliest given one.

The first run said that the certified losses lose classes of the digits (chapter 12b), with clean
labels, too. So a count was added to the record, `lost`: classes of which fewer than 10 % of the
test images are right after the last epoch. Nothing else was changed, and no reading.
"""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alfs_utils import data, noise
from alfs_utils.asymmetry import asymmetry_ratio, weighted_risk_minimiser
from alfs_utils.data import DataSet
from alfs_utils.losses import CELoss, Loss
from alfs_utils.paper import census, together
from alfs_utils.paper.checks.limits import fill_up
from alfs_utils.paper.people import (
    EPOCHS,
    LOSSES,
    SHARED,
    STEPS,
    TUNING_SEED,
    chosen,
    matched,
    read_news,
    runs,
    tune,
)
from alfs_utils.training import RunConfig, noisy_labels, sample_posterior

ETA = 0.3
CERTIFIED = ("MAE", "AGCE", "AUL")
DATA = {  # data set: network, worlds
    "digits": (
        "digits_mlp",
        ("clean", "instance", "instance by class", "margin", "margin by class"),
    ),
    "words": ("words_mlp", ("clean", "margin", "margin by class")),
}


@cache
def sample_noise(name: str, kind: str, seed: int) -> tuple[noise.NoisyLabels, np.ndarray]:
    """Labels and posterior, (n, k), of the kind "instance" or "margin" on a data set of `DATA`."""
    config = RunConfig(CELoss(), name, DATA[name][0], kind, ETA, noise_seed=seed)
    dataset = data.load(name)
    return noisy_labels(config, dataset), sample_posterior(config, dataset)


def labels(dataset: DataSet, world: str, seed: int) -> tuple[Tensor, np.ndarray]:
    """Training labels of a world, (n,) int64, and the weights (n, k) that they are drawn from."""
    clean = dataset.train_labels.numpy()
    if world == "clean":
        return dataset.train_labels, np.eye(dataset.num_classes)[clean]
    made, posterior = sample_noise(dataset.name, world.split()[0], seed)
    if world.endswith("by class"):
        made, posterior = noise.corrupt(clean, made.T, seed), made.T[clean]
    return torch.tensor(made.labels), posterior


def bound(loss: Loss, weights: np.ndarray, clean: np.ndarray, u: np.ndarray) -> dict[str, float]:
    """Chapter 9b's bound on the error of the predictions u (n, k) on their own inputs.

    The exact noisy excess risk, in units of l(0) - l(1), decides how many of the samples with a
    positive margin may be wrong. Returns excess, p0 (the share without a certificate), bound and
    error.
    """
    l, r = loss.of_probability, asymmetry_ratio(loss, "repaired")
    i, rival = np.arange(len(clean)), weights.copy()
    rival[i, clean] = 0
    margin = weights[i, clean] - rival.max(axis=1) / r
    least = weights[i, clean] * l(1.0) + (1 - weights[i, clean]) * l(0.0)  # where it is certified
    for j in np.flatnonzero(margin <= 0):
        least[j] = _least_risk(loss, weights[j].tobytes())
    excess = max(0.0, float(((weights * l(u)).sum(axis=1) - least).mean()))
    p0 = float((margin <= 0).mean())
    most = p0 + float(fill_up(margin, excess / (l(0.5) - l(1.0))))
    error = float((u.argmax(axis=1) != clean).mean())
    return {"excess": excess / (l(0.0) - l(1.0)), "p0": p0, "bound": most, "error": error}


@cache  # the posterior of "margin" is the same for all seeds
def _least_risk(loss, weights):
    return weighted_risk_minimiser(loss, np.frombuffer(weights)).lower_bound


def write(path: str | os.PathLike, seeds: range = range(10), names=tuple(DATA)) -> Path:
    """Train all losses in all worlds, and write one record of all these runs."""
    settings = {"eta": ETA, "epochs": EPOCHS, "steps": STEPS, "tuning_seed": TUNING_SEED}
    record = together.recorded(
        lambda: [
            row
            for name in names
            for world in DATA[name][1]
            for row in _runs_in(data.load(name), world, seeds)
        ],
        settings | {"weight_decay": 0.0, **SHARED},
        losses={name: repr(loss) for name, loss in LOSSES.items()},
        data_sha256={name: data.load(name).sha256 for name in names},
    )
    return together.write(record, path)


def _runs_in(dataset: DataSet, world: str, seeds: range) -> list[dict[str, Any]]:
    model, k = DATA[dataset.name][0], dataset.num_classes
    clean, losses = dataset.train_labels.numpy(), matched(LOSSES, k)
    steps = chosen(tune(dataset, labels(dataset, world, TUNING_SEED)[0], losses, model))
    trained = runs(
        dataset, lambda seed: labels(dataset, world, seed)[0], losses, steps, seeds, model
    )
    rows = []
    for name, curves in trained.items():
        parts = zip(
            seeds, curves.accuracy.tolist(), curves.logits, curves.predicted[:, -1], strict=True
        )
        for seed, curve, logits, predicted in parts:
            given, weights = labels(dataset, world, seed)
            row = {"data": dataset.name, "world": world, "loss": name, "lr": steps[name]}
            row |= {"seed": seed, "rate": round((given.numpy() != clean).mean(), 4)}
            row["accuracy"] = np.round(curve, 2).tolist()
            row["lost"] = len(census.lost(together.by_class(predicted, dataset)))
            row["agreement"] = round(100 * (logits.argmax(1) == given).double().mean().item(), 2)
            if name in CERTIFIED and world != "clean":
                found = bound(LOSSES[name], weights, clean, logits.double().softmax(1).numpy())
                row |= {key: round(value, 5) for key, value in found.items()}
            rows.append(row)
    return rows


def read(path: str | os.PathLike) -> tuple[dict[str, Any], pd.DataFrame]:
    """The record of `write`, and its runs, one row each, with `last`."""
    return read_news(path)


def answers(frame: pd.DataFrame) -> list[tuple[str, bool]]:
    """Readings of both data sets, one after the other."""
    return [
        (f"{name}: {reading}", answer)
        for name in DATA
        for reading, answer in _answers(frame[frame["data"] == name])
    ]


def _answers(frame):
    means: Mapping[str, Any] = frame.groupby(["world", "loss"])["last"].mean()
    clean, by_sample, by_class = (means[x] for x in ("clean", "margin", "margin by class"))
    sure = list(CERTIFIED)
    p0 = 100 * frame[(frame["world"] == "margin") & (frame["loss"] == "MAE")]["p0"].mean()
    error = 100 - by_sample["MAE"]
    found = [
        (
            "margin, by class: the certified losses each end within 3 points of their clean run",
            bool((clean - by_class)[sure].max() <= 3),
        ),
        (
            "margin, by sample: every loss ends more than 3 points below its clean run",
            bool((clean - by_sample).min() > 3),
        ),
        (
            "margin: the certified losses each end over 2 points lower by sample than by class",
            bool((by_class - by_sample)[sure].min() > 2),
        ),
        (
            "margin, by sample: the error of MAE lies between p0/2 and p0 plus its clean error",
            bool(p0 / 2 <= error <= p0 + 100 - clean["MAE"]),
        ),
        (
            "margin, by sample: the best and the worst of the five losses lie within 3 points",
            bool(by_sample.max() - by_sample.min() <= 3),
        ),
    ]
    if "instance" in means:
        gap = (means["instance by class"] - means["instance"])[sure]
        found.append(
            (
                "instance: the certified losses each end within 2 points of the control by class",
                bool(gap.abs().max() <= 2),
            )
        )
    return found
