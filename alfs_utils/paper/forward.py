"""Correct the loss with T, or take a certified loss? Both on the same noisy labels.

Forward correction (Patrini et al., CVPR 2017) needs the transition matrix T: it compares T's noisy
version of the network's probabilities with the noisy label. If T is right, the best prediction is
P(y|x). A certified loss needs c > 1 alone; its best prediction is certain, of the likeliest noisy
label.

Fixed before the first run. `SETTINGS` of noise, drawn by T, a draw for each of five seeds. Losses:
CE; the loss that `recommend` names for T; forward correction with T, and with the noise rates of T
(all but its diagonal) 20 % too small and too large. Networks, epochs and step sizes are those of
`people`: the step after which the network agrees most with given labels that are held out. On the
clean test labels: accuracy, and the Brier score, which is smallest in the mean for P(y|x). Readings
are `answers`, of means over the seeds.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from alfs_utils import noise
from alfs_utils.losses import CELoss, loss_from_string
from alfs_utils.paper import people, together
from alfs_utils.paper.cleaning import vectors
from alfs_utils.paper.together import Job, train
from alfs_utils.recommend import largest_step, recommend

SETTINGS = {
    "words, both classes 0.3": ("words", noise.symmetric(2, 0.3)),
    "words, 0.4 and 0.2": ("words", np.array([[0.6, 0.4], [0.2, 0.8]])),
    "digits, symmetric 0.4": ("digits", noise.symmetric(10, 0.4)),
    "digits, asymmetric 0.4": ("digits", noise.asymmetric("mnist", 0.4)),
}
WRONG = {"T": 1.0, "T, 20 % too small": 0.8, "T, 20 % too large": 1.2}
SEEDS = range(5)


class Forward(nn.Module):
    """Cross entropy of T's noisy version of the probabilities: logits (n, k), labels (n,)."""

    def __init__(self, T: np.ndarray):
        super().__init__()
        self.register_buffer("T", torch.as_tensor(T, dtype=torch.float32))

    def forward(self, logits: Tensor, given: Tensor) -> Tensor:
        noisy = torch.softmax(logits, 1) @ self.T
        return nn.functional.nll_loss(noisy.clamp_min(1e-12).log(), given)


def scaled(T: np.ndarray, factor: float) -> np.ndarray:
    """T with all noise rates times `factor`."""
    T = np.where(np.eye(len(T), dtype=bool), 0, T * factor)
    return T + np.diag(1 - T.sum(1))


def of_T_wrong(p: np.ndarray, T: np.ndarray, believed: np.ndarray) -> np.ndarray:
    """What forward correction with `believed` finds where P(y = 1|x) = p, two classes, at best."""
    noisy = (1 - p) * T[0, 1] + p * T[1, 1]
    return np.clip((noisy - believed[0, 1]) / (believed[1, 1] - believed[0, 1]), 0, 1)


def answers(runs: pd.DataFrame) -> list[tuple[str, bool]]:
    """Readings of the runs of `write`."""
    mean = runs.groupby(["setting", "loss"])[["accuracy", "brier"]].mean()
    acc, brier = (mean[name].unstack() for name in ("accuracy", "brier"))
    even, uneven = [*SETTINGS][::2], [*SETTINGS][1::2]
    wrong = [*WRONG][1:]
    return [
        (
            "the Brier score of T is below that of CE and of the certified loss everywhere",
            bool((brier["T"] < brier[["CE", "certified"]].min(axis=1)).all()),
        ),
        (
            "with even noise the certified loss is within a point of T, or above",
            bool((acc["certified"] > acc["T"] - 1)[even].all()),
        ),
        (
            "with uneven noise T is more than a point above the certified loss",
            bool((acc["T"] > acc["certified"] + 1)[uneven].all()),
        ),
        (
            "T wrong by 20 %, either way, costs less than two points everywhere",
            bool((acc[wrong].min(axis=1) > acc["T"] - 2).all()),
        ),
        (
            "T wrong by 20 %, either way, is above the certified loss with uneven noise",
            bool((acc[wrong].min(axis=1) > acc["certified"])[uneven].all()),
        ),
    ]


def losses(T: np.ndarray) -> dict[str, nn.Module]:
    """All losses of a setting."""
    k, choice = len(T), recommend(T=T).choice
    certified = loss_from_string(choice.loss)
    certified = float(1 / largest_step(certified, k)) * certified
    forward = {name: Forward(scaled(T, factor)) for name, factor in WRONG.items()}
    return {"CE": CELoss(), "certified": certified, **forward}


def trial(setting: str) -> list[dict]:
    """A row for each loss and seed: accuracy (percent) and Brier score on the clean test labels."""
    name, T = SETTINGS[setting]
    dataset, model = vectors(name)
    every, n = losses(T), len(dataset.train_labels)
    clean = dataset.train_labels.numpy()

    def drawn(seed):
        return torch.tensor(noise.corrupt(clean, T, seed).labels)

    steps = people.chosen(people.tune(dataset, drawn(people.TUNING_SEED), every, model))
    jobs = [Job(loss, drawn(seed), steps[x], seed) for x, loss in every.items() for seed in SEEDS]
    # The trainer keeps the logits of all training images; only those with labels are trained on.
    both = replace(dataset, train_images=torch.cat([dataset.train_images, dataset.test_images]))
    logits = train(both, jobs, model, epochs=people.EPOCHS, **people.SHARED).logits[:, n:]
    u, truth, rows = logits.double().softmax(2), dataset.test_labels, []
    sure = nn.functional.one_hot(truth, len(T))
    for i, x in enumerate(every):
        for j, seed in enumerate(SEEDS):
            out = u[i * len(SEEDS) + j]
            row = {"setting": setting, "loss": x, "step": steps[x], "seed": seed}
            row |= {"accuracy": round(100 * (out.argmax(1) == truth).double().mean().item(), 3)}
            rows.append(row | {"brier": round((out - sure).square().sum(1).mean().item(), 5)})
    return rows


def write(path: str | os.PathLike) -> Path:
    """Train everything, and write one record."""
    config = {"settings": {name: [x, T.tolist()] for name, (x, T) in SETTINGS.items()}}
    config["losses"] = {
        name: [repr(losses(T)[x]) for x in ("CE", "certified")] for name, (_, T) in SETTINGS.items()
    }
    config |= {"epochs": people.EPOCHS, **people.SHARED}
    record = together.recorded(lambda: [r for name in SETTINGS for r in trial(name)], config)
    return together.write(record, path)


def read(path: str | os.PathLike) -> pd.DataFrame:
    """The runs of `write`, one row each."""
    return together.read(path)[1]
