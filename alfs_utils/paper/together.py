"""Many small runs at once: one batched matrix product for all seeds, losses and step sizes.

The same runs as `training.train`'s, to rounding: the same initial weights, order of samples,
schedule, momentum and clipping. For networks of linear layers and ReLU; a run then costs a tenth.
"""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor, nn

from alfs_utils import models
from alfs_utils._files import replacing
from alfs_utils.data import DataSet
from alfs_utils.losses import Loss
from alfs_utils.training import _allocator, stream
from alfs_utils.training.environment import Clock, Environment

__all__ = ["Curves", "Job", "by_class", "read", "recorded", "train", "write"]


class Job(NamedTuple):
    """One run: the loss, the labels (n,) int64 of the first n training samples, step and seed.

    The seed is that of the initial weights and, without `order_seed`, of the order, too.
    """

    loss: Loss
    labels: Tensor
    lr: float
    seed: int
    order_seed: int | None = None


class Curves(NamedTuple):
    """What the runs leave behind.

    accuracy : (runs, epochs) float64, percent of the test labels after each epoch
    logits : (runs, N, k), of all training samples after the last epoch
    predicted : (runs, epochs, n_test) int16, classes of the test samples after each epoch
    """

    accuracy: Tensor
    logits: Tensor
    predicted: Tensor


def train(
    dataset: DataSet,
    jobs: Sequence[Job],
    model: str,
    *,
    epochs: int,
    batch_size: int,
    momentum: float,
    clip_norm: float,
) -> Curves:
    """Train all jobs, which share everything else; no weight decay, no augmentation.

    The jobs must have equally many labels; those of one loss are best neighbours. ValueError for
    none, for labels of unequal number, and for a `model` of other layers.
    """
    sizes = {len(job.labels) for job in jobs}
    if len(sizes) != 1:
        raise ValueError(f"jobs: expected equally many labels in each, got {sorted(sizes)}")
    (n,) = sizes
    _allocator.keep_pages()
    layers = _stacked(model, dataset.num_classes, [job.seed for job in jobs])
    velocity = [torch.zeros_like(layer) for layer in layers]
    step = torch.tensor([job.lr for job in jobs]).view(-1, 1, 1)
    given = torch.stack([job.labels for job in jobs])
    orders = [
        stream("order", job.seed if job.order_seed is None else job.order_seed) for job in jobs
    ]
    images, tests = (
        dataset.normalise(x).flatten(1).contiguous()
        for x in (dataset.train_images, dataset.test_images)
    )
    runs, curves = torch.arange(len(jobs)).view(-1, 1), []
    predicted = torch.empty(len(jobs), epochs, len(tests), dtype=torch.int16)
    for epoch in range(epochs):
        order = torch.stack([torch.randperm(n, generator=stream_) for stream_ in orders])
        size = step * (1 + math.cos(math.pi * epoch / epochs)) / 2
        for index in order.split(batch_size, dim=1):
            gradients = _gradients(layers, images[index], given[runs, index], jobs)
            _clip(gradients, clip_norm)
            for layer, speed, gradient in zip(layers, velocity, gradients, strict=True):
                speed.mul_(momentum).add_(gradient)
                layer.data.sub_(size * speed)
        predicted[:, epoch] = _forward(layers, tests).argmax(2)
        curves.append(100 * (predicted[:, epoch] == dataset.test_labels).double().mean(1))
    return Curves(torch.stack(curves, 1), _forward(layers, images), predicted)


def _clip(gradients, clip_norm):
    """In place, each run by its own norm."""
    norm = sum(g.square().sum((1, 2), keepdim=True) for g in gradients).sqrt()
    scale = (clip_norm / (norm + 1e-6)).clamp(max=1)
    for gradient in gradients:
        gradient.mul_(scale)


def _stacked(model, k, seeds):
    """Weights (runs, inputs, outputs) and biases (runs, 1, outputs) of all layers, in turn."""
    networks = [models.build(model, k, seed) for seed in seeds]
    kinds = {type(module) for network in networks for module in network}
    if not kinds <= {nn.Flatten, nn.Linear, nn.ReLU}:
        raise ValueError(f"model: expected linear layers and ReLU only, got {model!r}")
    layers = []
    for parts in zip(*networks, strict=True):
        if isinstance(parts[0], nn.Linear):
            layers.append(torch.stack([part.weight.detach().T for part in parts]))
            layers.append(torch.stack([part.bias.detach() for part in parts]).unsqueeze(1))
    return [layer.contiguous().requires_grad_() for layer in layers]


@torch.no_grad()
def _forward(layers, images):
    return _logits(layers, images.expand(len(layers[0]), *images.shape))


def _logits(layers, x):
    for i in range(0, len(layers), 2):
        x = torch.baddbmm(layers[i + 1], x if i == 0 else x.relu_(), layers[i])
    return x


def _gradients(layers, images, given, jobs):
    """Of the mean loss of each run; the runs do not see each other, so of the sum of all."""
    logits, total, start = _logits(layers, images), 0.0, 0
    while start < len(jobs):
        loss, end = jobs[start].loss, start + 1
        while end < len(jobs) and jobs[end].loss is loss:
            end += 1
        part = slice(start, end)
        total += (end - start) * loss(logits[part].flatten(0, 1), given[part].flatten())
        start = end
    return torch.autograd.grad(total, layers)


# --- one record of many runs --------------------------------------------------------------------


def by_class(predicted: Tensor, dataset: DataSet) -> list[float]:
    """Percent of the test samples of each class that are right; `predicted` is (n_test,)."""
    hits, labels = (predicted == dataset.test_labels).double(), dataset.test_labels
    return [100 * hits[labels == c].mean().item() for c in range(dataset.num_classes)]


def environment() -> dict[str, Any]:
    """The environment of runs on this CPU, as their record has it."""
    return asdict(Environment.here(torch.device("cpu"), False, False))


def cost(clock: Clock) -> dict[str, float]:
    """The time since a clock was started, as a record has it."""
    return {"seconds": round(clock.seconds, 1), "cpu_seconds": round(clock.cpu_seconds, 1)}


def recorded(
    make: Callable[[], Sequence[Mapping[str, Any]]], config: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """Make runs, a row each, and return their record: config, `more`, environment, cost, runs."""
    here, clock = environment(), Clock()
    rows = make()
    return {"config": config, **more, "environment": here, **cost(clock), "runs": rows}


def write(record: Mapping[str, Any], path: str | os.PathLike, rows: str = "runs") -> Path:
    """Write a record, with a line for each of its rows."""
    path, text = Path(path), json.dumps(record)
    if record.get(rows):
        start = "{" + json.dumps(next(iter(record[rows][0]))) + ":"
        text = text.replace(start, "\n" + start)
    with replacing(path) as file:
        file.write(text.encode() + b"\n")
    return path


def read(path: str | os.PathLike) -> tuple[dict[str, Any], pd.DataFrame]:
    """What `write` wrote: the record without its runs, and these, one row each."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    return record, pd.DataFrame(record.pop("runs"))
