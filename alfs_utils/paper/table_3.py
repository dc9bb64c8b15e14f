"""Train a row of Table 3: ResNet-50 on WebVision "Mini", on one device or several processes."""

import os

from alfs_utils import data, records, sweep, training
from alfs_utils.data import webvision
from alfs_utils.losses import from_paper
from alfs_utils.paper import protocol
from alfs_utils.training import RunConfig
from alfs_utils.training.environment import process, processes

__all__ = ["estimate", "row", "train"]


def row(name: str, seed: int = 0, precision: str = "float32") -> RunConfig:
    """The run of a row, such as "AGCE"."""
    loss = from_paper(name, "webvision")
    return protocol.run("webvision-mini", loss, "none", 0, seed, precision=precision)


def estimate(config: RunConfig, device: str) -> tuple[float, float]:
    """Time ten steps; returns seconds of an epoch and hours of the run."""
    seconds = training.seconds_per_epoch(config, device, steps=10)
    return seconds, seconds * config.epochs / 3600


def train(
    config: RunConfig,
    device: str,
    results: str | os.PathLike = "results",
    weights: str | os.PathLike | None = None,
) -> str:
    """Train the run of a row into a ledger, or go on with it.

    Returns
    -------
    str
        What came of it, in words; empty in all of several processes but the first.

    Raises
    ------
    ValueError
        If images are missing, or if another process trains this run.
    """
    webvision.check_whole(data.load(config.dataset))
    with processes(device) as own:
        outcome, message = sweep.train_into(results, config, own, weights=weights)
        if outcome == "elsewhere":
            raise ValueError(f"{records.checkpoint_of(config, results)}: {message}")
        return "" if process()[0] else f"{outcome}: {message}"
