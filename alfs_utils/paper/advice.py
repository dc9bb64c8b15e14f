"""Is the advice of `recommend` good? Random noise models, small networks, other losses beside it.

The design, fixed before the first of these runs. A setting is a data set of `DATA` (in turn), a
random noise model (`noise_model`) and trusted labels, some hundred or thousand (`TRUSTED`) drawn
anew from the same noise; draw and number of the setting seed all of them. `recommend` gets the
counts of the trusted labels. Beside its choice are trained: CE, GCE (q = 0.7), the choice for the
true T, that for the counted shares as if they were T, and the sum with NCE that `recommend` lists.
"CE, stopped" is CE at the epoch where noisy validation labels agree most.

Each loss is scaled to a largest step of 1, that of CE. For every seed it is trained with each step
size of `STEPS`; the one after which the network agrees most with the noisy validation labels
counts. No clean label decides anything. One loss is *ahead* of another in a setting if the mean
difference over the seeds is more than a point and more than chance explains (`ahead`).

Draw 1 is for finding rules, draw 2 for judging those that were fixed before it ran. Draw 1 said:
with 100 classes the choice falls behind CE, because it loses whole classes. Their samples fall far
below u = 1/k before they are learned, and there a bounded pull moves them no more; four times the
epochs bring back few of the classes, and no step size all (`write_lost`). With 4 to 10 classes
nothing of the kind was seen. So the rule to be judged by `readings` (fixed with SLOW = 1.6 before
draw 2, whose data have one more set, of 30 classes): a choice is slow if its time to start exceeds
SLOW times that of CE. Then take the sum with NCE. Where nothing is certified, take GCE unless it
is slow, else CE, stopped.

Draw 2 bore the rule out, but not that SLOW is in the right place: with 30 classes, choices of 1.26
to 1.6 times CE's time lost classes, too. Draw 3, of 21 settings with 20, 30 and 100 classes, judges
a second rule, SLOW = 1.25, by `readings_of_draw_3`; both were fixed before it ran, and they hold.
`recommend` has that rule now; GCE, where nothing is certified, kept the limit of 1.6.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from alfs_utils import data, noise
from alfs_utils.data import DataSet
from alfs_utils.losses import CELoss, GCELoss, loss_from_string
from alfs_utils.paper import together
from alfs_utils.paper.together import Job, train
from alfs_utils.recommend import Recommendation, largest_step, recommend, time_to_start
from alfs_utils.training.environment import Clock, revision

SEEDS = 5  # of each loss
STEPS = (0.0125, 0.05, 0.2, 0.8)
EPOCHS = 25
SHARED = {"batch_size": 64, "momentum": 0.9, "clip_norm": 5.0}
TRUSTED = (300, 1000, 3000, 10000)
DATA = {  # name: network, training samples
    "digits": ("news_mlp", 1000),
    "words-4": ("words_mlp", 1000),
    "8 classes": ("words_mlp", 1000),
    "100 blobs": ("words_mlp", 2000),
    "30 classes": ("words_mlp", 1500),
    "20 classes": ("words_mlp", 1000),
}
DRAWS = {  # the data of each, and the number of settings
    1: (("digits", "words-4", "8 classes", "100 blobs"), 50),
    2: (("digits", "words-4", "8 classes", "100 blobs", "30 classes"), 50),
    3: (("20 classes", "30 classes", "100 blobs"), 21),
}
SLOW, SLOW_3 = 1.6, 1.25
ROLES = ("CE", "CE, stopped", "GCE", "recommended", "with NCE")
GROUPS = {"4 to 10 classes": (2, 10), "20 and 30 classes": (20, 30), "100 classes": (100, 100)}
POINTS, QUANTILE = 1.0, 2.776  # of Student's t with SEEDS - 1 degrees of freedom, 95 %


def vectors(name: str, seed: int) -> DataSet:
    """A data set of `DATA`, standardised and split anew by the seed.

    A quarter of the number of training samples comes first among the test samples: they are the
    ones that validate.
    """
    from sklearn import datasets

    x: Any
    y: Any
    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
    elif name == "words-4":
        words = data.load(name)
        x = torch.cat([words.train_images, words.test_images]).flatten(1).numpy()
        y = torch.cat([words.train_labels, words.test_labels]).numpy()
    elif name.endswith("classes"):
        k = int(name.split()[0])
        x, y = datasets.make_classification(
            2500 if k == 8 else 3000, 50, n_informative=20, n_redundant=0, n_classes=k,
            n_clusters_per_class=1, class_sep=2.0, flip_y=0, random_state=0,
        )  # fmt: skip
    else:
        x, y = datasets.make_blobs(3500, 50, centers=100, cluster_std=4.0, random_state=0)[:2]
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    model, n = DATA[name]
    inputs = {"news_mlp": 100, "words_mlp": 50}[model]
    x = np.pad(x, [(0, 0), (0, inputs - x.shape[1])])
    order = np.random.default_rng(seed).permutation(len(y))[: n + n // 4 + 1000]
    images = torch.tensor(x[order], dtype=torch.float32)[..., None, None]
    labels = torch.tensor(y[order].astype(np.int64))
    parts = images[:n], labels[:n], images[n:], labels[n:]
    return DataSet(name, *parts, int(y.max()) + 1, (0.0,) * inputs, (1 / 255,) * inputs)


def noise_model(k: int, rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """A kind of noise and a transition matrix with c >= 1.1, drawn again until it has that."""
    while True:
        kind = str(rng.choice(["symmetric", "pair flip", "one rival", "uneven"]))
        if kind == "symmetric":
            T = noise.symmetric(k, rng.uniform(0.1, 0.8))
        elif kind == "pair flip":
            T = noise.pairflip(k, rng.uniform(0.1, 0.45))
        else:
            eta = rng.uniform(0, 0.47 if kind == "one rival" else 0.7, k)
            T = np.zeros((k, k))
            for i in range(k):
                others = np.delete(np.arange(k), i)
                if kind == "one rival":
                    T[i, rng.choice(others)] = eta[i]
                else:
                    T[i, others] = eta[i] * rng.dirichlet(np.full(k - 1, 0.5))
                T[i, i] = 1 - eta[i]
        if noise.clean_level(T) >= 1.1:
            return kind, T


def setting(draw: int, number: int) -> dict:
    """Everything of a setting but its runs: names, c, and the losses, as text, by their role."""
    rng = np.random.default_rng([draw, number])
    names, _ = DRAWS[draw]
    name = names[number % len(names)]
    dataset = vectors(name, number)
    kind, T = noise_model(dataset.num_classes, rng)
    n = int(rng.choice(TRUSTED))
    counts = rng.multinomial(n, T.ravel() / len(T)).reshape(T.shape)
    found, known = recommend(counts=counts), recommend(T=T)
    losses = {"CE": repr(CELoss()), "GCE": repr(GCELoss(q=0.7)), "T known": _before(known)}
    if found.choice:
        losses["recommended"] = _before(found)
    if found.c.estimate > 1:
        shares = counts / counts.sum(axis=1, keepdims=True)
        counted = recommend(T=shares)
        losses["as counted"] = _before(counted)
    losses["with NCE"] = (found.options or known.options)[-1].loss
    return {
        "draw": draw, "number": number, "data": name, "k": len(T), "noise": kind,
        "rate": round(float(1 - np.trace(T) / len(T)), 4), "c": round(noise.clean_level(T), 4),
        "trusted": n, "c low": _number(found.c.low), "c counted": _number(found.c.estimate),
        "losses": losses, "dataset": dataset, "T": T,
    }  # fmt: skip


def _before(found: Recommendation) -> str:
    """What was recommended before the rule: the certified loss that starts best."""
    certified = [option for option in found.options if option.verdict == "asymmetric"]
    return max(certified, key=lambda option: option.start).loss


def _number(x: Any) -> float | str:
    return round(x, 4) if math.isfinite(x) else str(x)


def run(draw: int, number: int) -> dict:
    """Train all losses of a setting: its row of the record."""
    clock, row = Clock(), setting(draw, number)
    dataset, T, k = row.pop("dataset"), row.pop("T"), row["k"]
    model, n = DATA[row["data"]]
    given = _noisy(dataset, T, n)
    losses = {text: _scaled(text, k) for text in dict.fromkeys(row["losses"].values())}
    jobs = [
        Job(loss, given[seed][:n], step, seed)
        for loss in losses.values()
        for seed in range(SEEDS)
        for step in STEPS
    ]
    curves = train(dataset, jobs, model, epochs=EPOCHS, **SHARED)
    grid = (len(losses), SEEDS, len(STEPS), EPOCHS, -1)
    found = _judged(curves.predicted.reshape(grid), dataset, given, n)
    times = {text: round(time_to_start(loss_from_string(text), k), 2) for text in losses}
    row["runs"] = {text: {"time": times[text], **judged}
                   for text, judged in zip(losses, found, strict=True)}  # fmt: skip
    return row | {"code": revision(), "cpu_seconds": round(clock.cpu_seconds, 1)}


def _scaled(text, k):
    """The loss with a largest step of 1."""
    loss = loss_from_string(text)
    return 1 / largest_step(loss, k) * loss


def _noisy(dataset, T, n):
    """Of each seed, noisy labels of the training samples and of those that validate."""
    clean = torch.cat([dataset.train_labels, dataset.test_labels[: n // 4]]).numpy()
    return [torch.tensor(noise.corrupt(clean, T, seed).labels) for seed in range(SEEDS)]


def _judged(predicted: Tensor, dataset: DataSet, given: list[Tensor], n: int) -> list[dict]:
    """Of each loss: step and accuracy of each seed, after the last epoch and at the best one."""
    clean, rows = dataset.test_labels[n // 4 :], []
    for of_loss in predicted:
        row = {"lr": [], "accuracy": [], "stopped": [], "lost": []}  # classes never predicted
        for seed, of_seed in enumerate(of_loss):
            agree = (of_seed[..., : n // 4] == given[seed][n:]).double().mean(-1)
            right = 100 * (of_seed[..., n // 4 :] == clean).double().mean(-1)
            last = int(agree[:, -1].argmax())
            row["lr"].append(STEPS[last])
            row["accuracy"].append(round(float(right[last, -1]), 2))
            said = of_seed[last, -1, n // 4 :].unique()
            row["lost"].append(dataset.num_classes - len(said))
            row["stopped"].append(round(float(right.flatten()[agree.argmax()]), 2))
        rows.append(row)
    return rows


def write(path: str | os.PathLike, draw: int, minutes: float = 3.5) -> int:
    """Run settings of a draw that the record at `path` lacks, for some minutes; what is left.

    The record is written after each of them, so an interrupted call loses one setting at most.
    """
    path, end = Path(path), time.monotonic() + 60 * minutes
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    done = {(row["draw"], row["number"]) for row in rows}
    left = [number for number in range(DRAWS[draw][1]) if (draw, number) not in done]
    while left and time.monotonic() < end:
        rows.append(run(draw, left.pop(0)))
        config = {"epochs": EPOCHS, "steps": STEPS, "seeds": SEEDS, "data": DATA, **SHARED}
        record = {"config": config, "environment": together.environment(), "rows": rows}
        together.write(record, path, "rows")
    return len(left)


def write_lost(path: str | os.PathLike, draw: int = 1, number: int = 15) -> None:
    """Train a setting of 100 classes once more, for 25 and 100 epochs: which classes get lost?

    Its record has, for three losses and three step sizes, of two seeds: the classes that are never
    predicted, the accuracy, and the share of rightly labelled training samples with u < 1/1000.
    """
    clock, row = Clock(), setting(draw, number)
    dataset, T, k, rows = row.pop("dataset"), row.pop("T"), row["k"], []
    model, n = DATA[row["data"]]
    given, texts = _noisy(dataset, T, n), [row["losses"][x] for x in ("CE", "T known", "with NCE")]
    grid = [(text, step, seed) for text in texts for step in STEPS[1:] for seed in (0, 1)]
    scaled = {text: _scaled(text, k) for text in texts}
    jobs = [Job(scaled[text], given[seed][:n], step, seed) for text, step, seed in grid]
    clean = dataset.test_labels[n // 4 :]
    for epochs in (EPOCHS, 4 * EPOCHS):
        curves = train(dataset, jobs, model, epochs=epochs, **SHARED)
        for run, (text, step, seed) in enumerate(grid):
            said = curves.predicted[run, -1, n // 4 :]
            right = given[seed][:n] == dataset.train_labels
            u = curves.logits[run].softmax(1)[torch.arange(n), dataset.train_labels][right]
            found = {"loss": text, "lr": step, "seed": seed, "epochs": epochs}
            found |= {
                "lost": k - len(said.unique()),
                "stuck": round(float((u < 1e-3).double().mean()), 4),
            }
            rows.append(
                found | {"accuracy": round(100 * float((said == clean).double().mean()), 2)}
            )
    record = {"setting": row, "environment": together.environment(), "rows": rows}
    record["cpu_seconds"] = round(clock.cpu_seconds, 1)
    together.write(record, path, "rows")


def read(path: str | os.PathLike) -> pd.DataFrame:
    """The rows of the record; each role of a loss has a column with the accuracies of the seeds."""
    rows = json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
    for row in rows:
        for role, text in row["losses"].items():
            row[role] = row["runs"][text]["accuracy"]
        row["CE, stopped"] = row["runs"]["CELoss()"]["stopped"]
    return pd.DataFrame(rows)


def slow(text: str, k: int, limit: float = SLOW) -> bool:
    """Whether the time to start of a loss exceeds `limit` times that of CE."""
    loss = loss_from_string(text)
    return time_to_start(loss, k) > limit * time_to_start(CELoss(), k)


def advised(row: Mapping[str, Any], limit: float = SLOW) -> str:
    """The role that the rule takes in a setting, a row of the record."""
    if "recommended" in row["losses"]:
        return "with NCE" if slow(row["losses"]["recommended"], row["k"], limit) else "recommended"
    return "CE, stopped" if slow(row["losses"]["GCE"], row["k"]) else "GCE"


def ahead(ours: list[float], others: list[float]) -> int:
    """1 if `ours` is ahead by more than a point and more than noise, -1 if behind, else 0.

    Paired over the seeds: the mean difference against Student's t at 95 %.
    """
    difference = np.subtract(ours, others)
    error = QUANTILE * difference.std(ddof=1) / math.sqrt(len(difference))
    mean = difference.mean()
    return int(np.sign(mean)) if abs(mean) > max(POINTS, error) else 0


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]


def score(frame: pd.DataFrame, ours: str, other: str, limit: float = SLOW) -> tuple[int, int]:
    """In how many settings one role is ahead of another, and behind; absent roles do not count.

    "advised" is the role that the rule takes with this limit.
    """
    found = []
    for row in _rows(frame):
        mine, theirs = (row[advised(row, limit) if x == "advised" else x] for x in (ours, other))
        if isinstance(mine, list) and isinstance(theirs, list):
            found.append(ahead(mine, theirs))
    return found.count(1), found.count(-1)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """By draw and number of classes: in how many settings a role is ahead of others, and behind.

    "recommended" is what was recommended before these trials, "advised" what is now.
    """
    rows = []
    for draw, part, name in _groups(frame):
        row = {"draw": draw, "data": name, "settings": len(part)}
        row["certified"] = sum("recommended" in losses for losses in part["losses"])
        for ours in ("recommended", "advised"):
            for other in ("CE", "CE, stopped", "GCE"):
                won, lost = score(part, ours, other, SLOW_3)
                row[f"{ours} / {other}"] = f"{won} : {lost}"
        rows.append(row)
    return pd.DataFrame(rows)


def winners(frame: pd.DataFrame) -> pd.DataFrame:
    """By draw and number of classes: how often a role is ahead of each other one, or none is."""
    rows = []
    for draw, part, name in _groups(frame):
        row = {"draw": draw, "data": name} | dict.fromkeys([*ROLES, "none of them"], 0)
        for found in _rows(part):
            there = [role for role in ROLES if isinstance(found[role], list)]
            best = [
                role
                for role in there
                if all(ahead(found[role], found[x]) > 0 for x in there if x != role)
            ]
            row[best[0] if best else "none of them"] += 1
        rows.append(row)
    return pd.DataFrame(rows)


def _groups(frame: pd.DataFrame) -> Iterator[tuple[Any, Any, str]]:
    for draw, of_draw in frame.groupby("draw"):
        for name, ends in GROUPS.items():
            part = of_draw[of_draw["k"].between(*ends)]
            if len(part):
                yield draw, part, name


def lost(path: str | os.PathLike) -> pd.DataFrame:
    """The record of `write_lost`, as means over the seeds."""
    frame: Any = pd.DataFrame(json.loads(Path(path).read_text(encoding="utf-8"))["rows"])
    frame["stuck"] *= 100
    names = {"lr": "step size", "lost": "lost classes", "stuck": "stuck samples (%)"}
    keys = ["loss", "epochs", "lr"]
    found = frame.groupby(keys, sort=False)[["lost", "stuck", "accuracy"]].mean().reset_index()
    order = list(dict.fromkeys(found["loss"]))
    found = found.sort_values("loss", kind="stable", key=lambda texts: texts.map(order.index))
    return found.rename(columns=names)


def readings(frame: pd.DataFrame) -> list[tuple[str, bool]]:
    """What draw 1 had suggested of a draw; fixed before draw 2."""
    is_slow = np.array([slow(row["losses"]["T known"], row["k"]) for row in _rows(frame)])
    refused = np.array(["recommended" not in losses for losses in frame["losses"]])

    def more(part, ours, other):
        won, lost = score(part, ours, other)
        return won > lost

    return [
        (
            "where the choice for the true T is slow, the sum with NCE is ahead of it more often "
            "than behind",
            more(frame[is_slow], "with NCE", "T known"),
        ),
        (
            "where it is not slow, the sum with NCE is behind it more often than ahead",
            more(frame[~is_slow], "T known", "with NCE"),
        ),
        (
            "where it is slow, CE stopped by noisy labels is ahead of the sum with NCE more often "
            "than behind",
            more(frame[is_slow], "CE, stopped", "with NCE"),
        ),
        ("the advised loss is ahead of CE more often than behind", more(frame, "advised", "CE")),
        (
            "the advised loss is behind GCE no more often than ahead",
            not more(frame, "GCE", "advised"),
        ),
        (
            "where nothing is certified, what is advised is ahead of CE more often than behind",
            more(frame[refused], "advised", "CE"),
        ),
    ]


def readings_of_draw_3(frame: pd.DataFrame) -> list[tuple[str, bool]]:
    """What draw 2 had suggested of the limit; fixed before draw 3."""
    limits = (SLOW_3, SLOW)
    first, second = (
        np.array([slow(row["losses"]["T known"], row["k"], x) for row in _rows(frame)])
        for x in limits
    )
    between: Any = frame[first & ~second]
    below: Any = frame[~first]
    won, lost = score(between, "with NCE", "T known")
    ahead_below = score(below, "with NCE", "T known")[0]
    return [
        (
            "where the choice for the true T takes 1.25 to 1.6 times the time of CE, the sum with "
            "NCE is ahead of it more often than behind",
            won > lost,
        ),
        (
            "where it takes less, the sum with NCE is ahead of it in at most half of the settings",
            2 * ahead_below <= len(below) and len(below) > 0,
        ),
    ]
