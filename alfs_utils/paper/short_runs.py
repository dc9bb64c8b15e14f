"""Short runs that are watched closely: what becomes of every class in the first epochs.

A run of a table says after each epoch how many test images are right. Whether a class is lost is
decided within some hundred steps, so these runs look every 25, later every 50 steps, and stop after
the first epoch or a few. They take the steps of `training.train`, and on the same CPU get the same
numbers: a `Trial` that changes nothing is the beginning of the run of its configuration.

All runs go into one file, one line each, in the order in which they end. Several processes can work
at once: each takes the next run that is neither in the file nor taken.
"""

import contextlib
import hashlib
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from alfs_utils import records
from alfs_utils._locks import locked
from alfs_utils.losses import CELoss
from alfs_utils.training import RunConfig, transition_matrix
from alfs_utils.training.environment import device_of
from alfs_utils.training.loop import SCHEDULES, Run

__all__ = ["Trial", "in_float32", "load", "missing", "run", "watch"]

FILE = Path("lost-classes", "short-runs.jsonl")  # below the folder of the results
LOOKS = ("steps", "accuracy", "lead", "predicted", "given", "train_loss")  # see `watch`
WATCHED = 1000  # test images, the first ones, that each look is on


@dataclass(frozen=True)
class Trial:
    """A run of some epochs, and how it starts.

    Attributes
    ----------
    config : RunConfig
        The whole run, with its schedule.
    epochs : int
        How many of its epochs are trained.
    ce_steps : int
        So many steps of cross entropy before the loss takes over.
    warm_up : int
        So many steps in which the learning rate rises to its value along a straight line.
    logit_bias : float
        Added to the logit of the given label in training.
    output_bias : bool
        Whether the biases of the last layer start at the logarithms of the shares of the labels.
    balanced : bool
        Whether each label weighs one over its count, in the mean 1.
    batch_norm : bool
        False: the network has none.
    """

    config: RunConfig
    epochs: int = 1
    ce_steps: int = 0
    warm_up: int = 0
    logit_bias: float = 0.0
    output_bias: bool = False
    balanced: bool = False
    batch_norm: bool = True

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits; as in `training.run_id`, a later field changes no id."""
        changed = [records.run_id(self.config), *self._changes]
        return hashlib.sha256(" ".join(changed).encode()).hexdigest()[:12]

    @property
    def start(self) -> dict:
        """All fields but `config`."""
        return {f.name: getattr(self, f.name) for f in _START}

    @property
    def _changes(self):
        start = self.start
        return [f"{f.name}={start[f.name]}" for f in _START if start[f.name] != f.default]

    def __str__(self) -> str:
        c = self.config
        seeds = f"seeds {c.init_seed}/{c.order_seed}/{c.noise_seed}"
        return " ".join([f"{c.dataset} {c.noise} {c.eta:g} {c.loss} {seeds}", *self._changes])


_START = fields(Trial)[1:]


class _Watched(Run):
    """A run that starts as its trial says."""

    def __init__(self, trial):
        self.trial = trial
        super().__init__(trial.config, device_of("cpu"))
        if not trial.batch_norm:
            self.environment = replace(self.environment, kernel="")
        self.rate = self.config.lr

    def _build(self, compiled):
        super()._build(compiled)
        k, trial = self.dataset.num_classes, self.trial
        if not trial.batch_norm:  # the kernel is made for networks with it
            for i, module in enumerate(self.network):
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    self.network[i] = nn.Identity()
            self.tested = self.forward = self.network
        shares = torch.bincount(self.given, minlength=k) / len(self.given)
        if trial.output_bias:
            self.network[-1].bias.data.copy_(shares.log())
        if trial.balanced:
            for part in self.criterion.modules():  # of a sum, each term has the weight
                if "weight" in part._buffers:
                    part.weight = 1 / (k * shares)
        if trial.logit_bias:
            self.criterion = _Biased(self.criterion, trial.logit_bias)
        self.losses = CELoss(), self.criterion

    def step(self, index, images, weight=1.0):
        done = self.progress.epoch * self.steps + self.progress.step
        self.criterion = self.losses[done >= self.trial.ce_steps]
        warm = min(1, (done + 1) / self.trial.warm_up) if self.trial.warm_up else 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm
        super().step(index, images, weight)

    @property
    def steps(self):
        """Steps of an epoch."""
        return math.ceil(len(self.given) / self.config.batch_size)


class _Biased(nn.Module):
    def __init__(self, loss, bias):
        super().__init__()
        self.loss, self.bias = loss, bias

    def forward(self, logits, given):
        raised = torch.zeros_like(logits).scatter_(1, given[:, None], self.bias)
        return self.loss(logits + raised, given)


def watch(trial: Trial) -> records.Record:
    """Train a trial and return its record.

    Returns
    -------
    dict
        `config`, `start` (the other fields of the trial), the environment, the costs, and:

        - `steps`: the numbers of steps before each look: 0, 25, 50, 75, 100, 150, 200, ... in the
          first epoch, and the end of every epoch. The first look is with batch statistics, as
          training has them: batch norm has no others yet.
        - `accuracy`: at each look, for each class, the percentage of its images among the first
          `WATCHED` test images that are right
        - `lead`: at each look, for each class that flips to one other class, by how much its logit
          is above that of the other class, on average over these images; None for other classes
        - `predicted`, `given`: for each stretch between two looks, how often the network predicted
          each class in training, and how often the class was the given label of these samples
        - `train_loss`: for each such stretch, the mean loss
        - `test_accuracy`: for each class, the percentage of all its test images in the end
        - `overall`: the percentage of all test images (older records lack it)
        - `status`: "finished", or "the training loss is nan at step 50", where the run then ended
    """
    run = _Watched(trial)
    looks = _Looks(run)
    looks.look(0)
    for _ in range(trial.epochs):
        _epoch(run, looks)
        if looks.status != "finished":
            break
    predicted, labels, k = run.test(), run.dataset.test_labels, run.dataset.num_classes
    right = torch.bincount(labels[predicted == labels], minlength=k)
    run._charge()
    return records.seal(
        {
            "id": trial.id,
            "config": asdict(trial.config),
            "start": trial.start,
            "status": looks.status,
            **looks.found,
            "test_accuracy": _shares(right, torch.bincount(labels, minlength=k)),
            "overall": round(100 * int(right.sum()) / len(labels), 2),
            "noise_rate": run.noise_rate,
            "labels_sha256": run.labels_sha256,
            "data_sha256": run.data_sha256,
            "seconds": round(run.progress.seconds, 1),
            "cpu_seconds": round(run.progress.cpu_seconds, 1),
            **asdict(run.environment),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )


def _epoch(run, looks):
    """Train an epoch as `Run.epoch` does, with looks on the way in the first one."""
    config, now, n = run.config, run.progress, len(run.given)
    order = torch.randperm(n, generator=run.order)
    places = run._places(n, config.batch_size)
    run.rate = SCHEDULES[config.schedule](config, now.epoch)
    run.network.train()
    augmentation = run.augmentation if config.augment else None
    for index, images in run.dataset.train_batches(order, places, augmentation):
        run.step(index, images)
        looks.samples += torch.bincount(run.given[index], minlength=len(looks.samples))
        now.step += 1
        if now.epoch == 0 and _is_due(now.step) and now.step < len(places):
            looks.look(now.step)
            if looks.status != "finished":
                return
            run.network.train()
    now.epoch, now.step = now.epoch + 1, 0
    looks.look(now.epoch * len(places))


def _is_due(step):
    return step % (25 if step <= 100 else 50) == 0


class _Looks:
    """What is seen of a run at each look."""

    def __init__(self, run):
        self.run, self.status = run, "finished"
        self.samples = torch.zeros(run.dataset.num_classes, dtype=torch.int64)
        self.labels = run.dataset.test_labels[:WATCHED]
        self.other = _flips_to(run.config)
        self.found = {name: [] for name in LOOKS}

    @torch.no_grad()
    def look(self, step):
        run, found, k = self.run, self.found, len(self.samples)
        size = len(self.labels)
        places = [slice(i, min(i + 250, size)) for i in range(0, size, 250)]
        run.network.train(step == 0)
        with _kept_buffers(run.network):
            logits = torch.cat([run.tested(images) for images in run.dataset.test_batches(places)])
        right = self.labels[logits.argmax(1) == self.labels]
        sizes = torch.bincount(self.labels, minlength=k)
        found["steps"].append(step)
        found["accuracy"].append(_shares(torch.bincount(right, minlength=k), sizes))
        found["lead"].append([self._lead(logits, c) for c in range(k)])
        if step:
            total, *counts = run.totals.tolist()
            found["predicted"].append([int(count) for count in counts[2 * k :]])
            found["given"].append(self.samples.tolist())
            loss = total / sum(found["given"][-1])
            found["train_loss"].append(float(f"{loss:.5g}"))
            if not math.isfinite(loss):
                self.status = f"the training loss is {loss} at step {step}"
        for sums in (self.samples, run.totals):
            sums.zero_()

    def _lead(self, logits, c):
        other = self.other.get(c)
        if other is None:
            return None
        mine = logits[self.labels == c]
        return round((mine[:, c] - mine[:, other]).mean().item(), 3)


@contextlib.contextmanager
def _kept_buffers(network):
    """Leave the statistics of batch norm as they are, whatever the block runs."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    yield
    for name, buffer in network.named_buffers():
        buffer.copy_(before[name])


def _flips_to(config):
    """For each class that flips to one other class alone, that class."""
    T = torch.tensor(transition_matrix(config))
    away = T - T.diag().diag()
    return {c: int(row.argmax()) for c, row in enumerate(away) if (row > 0).sum() == 1}


def _shares(parts, wholes: Tensor):
    shares = (100 * parts / wholes.clamp(min=1)).tolist()
    return [int(x) if x.is_integer() else round(x, 2) for x in shares]


# --- many of them -------------------------------------------------------------------------------


def run(trials: Iterable[Trial], results: str | os.PathLike = "results") -> Iterator[str]:
    """Train the trials that the file lacks, in their order; yield a line on each as it ends.

    A process that is killed loses the trial that it is at, no more.
    """
    work = Path(results) / ".work"
    work.mkdir(parents=True, exist_ok=True)
    done = _done(results)
    for trial in trials:
        if trial.id in done:
            continue
        with locked(work / f"{trial.id}.lock", 0) as mine:
            done = _done(results)  # another process may have come first
            if not mine or trial.id in done:
                continue
            record = watch(trial)
            records.pack(record, Path(results) / FILE)
        worst = min(record["test_accuracy"])
        yield f"{trial}: worst class {worst:.1f} %, {record['seconds']:.0f} s, {record['status']}"


def in_float32(trial: Trial) -> Trial:
    """The same trial in float32."""
    return replace(trial, config=replace(trial.config, precision="float32"))


def missing(trials: Iterable[Trial], results: str | os.PathLike) -> list[Trial]:
    """The trials that have no run, not even in float32."""
    found = _found(results)
    return [trial for trial in trials if not _record(found, trial)]


def _record(found, trial):
    return found.get(trial.id) or found.get(in_float32(trial).id)


def _done(results):
    """Ids in the file; damaged lines have none, so their trials are run again."""
    return _found(results).keys()


def _found(results):
    """The records in the file, by id; it is read again only if it has changed."""
    path = Path(results, FILE).absolute()
    try:
        stat = path.stat()
    except FileNotFoundError:
        return {}
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1)
def _read(path, *_):
    found = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            record = json.loads(line)
            if records.seal(record) != record:
                raise ValueError("expected the checksum of the other entries")
            found[record["id"]] = record
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            warnings.warn(f"{path}, line {number}: left out: {error}", RuntimeWarning, 2)
    return found


def load(results: str | os.PathLike, trials: Sequence[Trial]) -> pd.DataFrame:
    """The runs of these trials that the file has, in the order of the trials.

    Where a trial has no run in its own precision, the one in float32 stands for it.

    Returns
    -------
    DataFrame
        The entries of `watch`, with those of `config` and `start` as columns of their own.
    """
    found = _found(results)
    rows = [_record(found, trial) for trial in trials]
    flat = [{**row["config"], **row["start"], **row} for row in rows if row]
    columns = [f.name for f in (*fields(RunConfig), *_START)]
    columns += ["id", "status", *LOOKS, "test_accuracy", "overall", "seconds", "device"]
    return pd.DataFrame(flat, columns=None if flat else columns)
