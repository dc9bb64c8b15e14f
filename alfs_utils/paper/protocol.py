"""The paper's recipe, and which run is which cell of its tables."""

from dataclasses import asdict
from functools import cache
from typing import Any

from torch import nn

from alfs_utils import data
from alfs_utils._arguments import option
from alfs_utils.losses.settings import ROWS, from_paper
from alfs_utils.paper.printed import CELLS, Cell
from alfs_utils.training import SEEDS, RunConfig
from alfs_utils.training.labels import OFFICIAL

# The paper's recipe per data set; what is not named here is a default of `RunConfig`.
PROTOCOLS = {
    "mnist": {"model": "mnist_cnn", "epochs": 50, "lr": 0.01, "weight_decay": 1e-3},
    "cifar10": {"model": "cifar_cnn", "epochs": 120, "lr": 0.01, "weight_decay": 1e-4},
    "cifar100": {"model": "resnet34", "epochs": 200, "lr": 0.1, "weight_decay": 1e-5},
    "webvision": {
        "model": "resnet50",
        "epochs": 250,
        "batch_size": 256,
        "lr": 0.4,
        "weight_decay": 3e-5,
        "nesterov": True,
        "schedule": "exponential",
    },
}


def run(
    dataset: str, loss: str | nn.Module, noise: str, eta: float, seed: int = 0, **changes
) -> RunConfig:
    """The configuration of one run of Tables 1 to 3: the paper's recipe with all seeds equal.

    Parameters
    ----------
    dataset : str
        "mnist", "cifar10" or "cifar100", or the "-npz" name of the latter two; "webvision-mini".
    loss, noise, eta
        See `RunConfig`. Clean labels: "symmetric", 0. "webvision-mini": "none", 0. Human labels:
        their name, 0; they are not in the paper, the rest of the recipe is, and so with
        "asymmetric-superclass".
    seed : int
        Noise, initial weights, order and augmentation all start from it.
    **changes
        Other fields of `RunConfig`; a run with changes is not the paper's.
    """
    base = data.base_name(dataset)
    option("dataset", base, PROTOCOLS)
    counts = "official" if noise in OFFICIAL else "iid"
    recipe = {"dataset": dataset, "noise": noise, "eta": eta, "counts": counts}
    return RunConfig(loss, **(recipe | PROTOCOLS[base] | dict.fromkeys(SEEDS, seed) | changes))


def kind_of(cell: Cell) -> str:
    """The kind of noise of a cell's runs: clean labels are symmetric noise of rate 0."""
    return {"clean": "symmetric", "real-world": "none"}.get(cell.noise, cell.noise)


def differences(config: RunConfig) -> dict[str, Any]:
    """In which fields a run differs from the runs of the tables; none for a run of a cell.

    Returns
    -------
    dict
        From a field of `RunConfig` to its value in `config`, where the nearest run of the paper
        has another one. That run has `noise_seed` for all seeds. "loss" leads to words that say
        how the loss differs. "eta" is there, too, if the tables have no such rate.
    """
    base = data.base_name(config.dataset)
    if base not in PROTOCOLS:
        return {"dataset": config.dataset}
    kind = config.noise if base == "webvision" or config.noise in OFFICIAL else "asymmetric"
    printed = run(config.dataset, config.loss, kind, config.eta, config.noise_seed)
    ours, theirs = asdict(config), asdict(printed)
    found = {name: ours[name] for name in ours if ours[name] != theirs[name]}
    if config.loss not in _rows(base):
        found = {"loss": _other_loss(config.loss, base)} | found
    if not found and cell_of(config) is None:
        found["eta"] = config.eta
    return found


def cell_of(config: RunConfig) -> Cell | None:
    """The cell of Tables 1 to 3 that a run belongs to, by its loss and noise alone."""
    base = data.base_name(config.dataset)
    return _cells(base).get((_rows(base).get(config.loss), config.noise, config.eta))


def row_of(config: RunConfig) -> str | None:
    """The row of the tables that has a run's loss, such as "AGCE".

    "SCE (repository)" has the loss of the authors' public configuration, "FL (formula)" the
    gradient of the formula, where these differ from the tables'.
    """
    base = rows_like(config.dataset)
    if config.loss in _rows(base):
        return _rows(base)[config.loss]
    for mark, (source, compat) in _OTHER.items():
        for name in ROWS.get(base, ()) if base != "webvision" else ():
            if config.loss == str(from_paper(name, base, source, compat)):
                return f"{name} ({mark})"
    return None


def rows_like(dataset: str) -> str:
    """The data set of the tables whose rows a data set has; the digits have MNIST's."""
    return "mnist" if dataset == "digits" else data.base_name(dataset)


# Settings beside the tables': source and compat of `from_paper`.
_OTHER = {"repository": ("repository", "official"), "formula": ("tables", "formula")}


@cache
def _rows(base):
    """Loss -> row of the tables."""
    return {str(from_paper(name, base)): name for name in ROWS.get(base, ())}


@cache
def _cells(base):
    found = (cell for cell in CELLS if cell.dataset == base)
    return {(cell.method, kind_of(cell), cell.eta or 0.0): cell for cell in found}


def _other_loss(loss, base):
    words = {"repository": "the repository's setting", "formula": "the formula's gradient"}
    name = row_of(RunConfig(loss, base)) if base != "webvision" else None
    if name is None:
        return "a loss of its own"
    row, _, mark = name.partition(" (")
    return f"{words[mark.rstrip(')')]} of {row}"
