"""Ours beside the paper's: which runs of the ledger are cells of Tables 1 and 2, and what they say.

A run belongs to a cell if and only if `protocol.differences` finds none, but for bfloat16 on MNIST
if `precision.answer` says that it counts. All other runs (fewer images or epochs, another
precision, the repository's settings, one noise draw for several initial weights) are kept apart,
with the difference in words.
"""

import math
from dataclasses import fields, replace
from functools import cache

import numpy as np
import pandas as pd

from alfs_utils import asymmetry, data, noise
from alfs_utils._arguments import option
from alfs_utils.losses import Normalized, from_paper
from alfs_utils.paper import census, precision, protocol
from alfs_utils.paper.printed import CELLS, cell
from alfs_utils.paper.sentences import CLAIMS
from alfs_utils.training import RunConfig
from alfs_utils.training.loop import load_once

__all__ = [
    "OUTCOMES",
    "basis",
    "beside",
    "certificate",
    "check_claims",
    "compare",
    "cost",
    "outcome",
    "redo",
    "split",
    "summary",
]

DATASETS = ("mnist", "cifar10", "cifar100")  # of Tables 1 and 2
# What a cell can be, see `outcome`.
OUTCOMES = ("reproduced", "close", "not reproduced", "mixture", "preliminary", "not yet run")


def basis(runs: pd.DataFrame) -> str:
    """Say in words how many runs and seeds, and which data, a statement about these rows has.

    It is "preliminary" where `outcome` says so: with fewer than three seeds, or on arrays.
    """
    if runs.empty:
        return "no run yet"
    seeds, names = runs["init_seed"].nunique(), sorted(set(runs["dataset"]))
    few = seeds < 3 or any(name != data.base_name(name) for name in names)
    words = f"{len(runs)} run(s), {seeds} seed(s), on {' and '.join(names)}"
    return words + (": preliminary" if few else "")


def outcome(ours, mean: float | None, std: float | None, preliminary: bool = False) -> str:
    """Was a cell of the paper's tables reproduced? The rule was fixed before any run.

    With n runs of ours, |difference of the means| <= max(2 sqrt(s_paper^2 / 3 + s_ours^2 / n), 0.5
    points) is "reproduced", within twice that "close", else "not reproduced".

    Parameters
    ----------
    ours : sequence of float
        Accuracies of our runs, in percent.
    mean, std : float or None
        The paper's, in percent; None if it has none in hand.
    preliminary : bool
        Whether our runs are not the paper's protocol in full: arrays instead of the official files.

    Returns
    -------
    str
        One of `OUTCOMES`, never "mixture": "not yet run" without runs, "preliminary" with fewer
        than 3, without the paper's mean and standard deviation, or if `preliminary`.
    """
    ours = np.asarray(list(ours), dtype=float)
    if not len(ours):
        return "not yet run"
    if preliminary or len(ours) < 3 or mean is None or std is None:
        return "preliminary"
    difference = abs(ours.mean() - mean)
    spread = math.sqrt(std**2 / 3 + ours.var(ddof=1) / len(ours))
    limit = max(2 * spread, 0.5)
    if not difference <= 2 * limit:
        return "not reproduced"
    return "reproduced" if difference <= limit else "close"


def split(ledger: pd.DataFrame, dataset: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tell the runs of the tables from all others on the same data.

    Parameters
    ----------
    ledger : DataFrame
        As `records.load` returns it; any number of runs.
    dataset : {"mnist", "cifar10", "cifar100"}

    Returns
    -------
    runs, others : DataFrame
        The columns of `ledger`; `runs` also has `method` and `column` (see `Cell`), `others`
        has `reason`: why the run is no cell of the tables. A cell that has runs on the official
        files has no others: runs on arrays ("-npz") then stand apart.

    Raises
    ------
    ValueError
        For an unknown `dataset`.
    """
    option("dataset", dataset, DATASETS)
    ours = ledger[ledger["dataset"].map(data.base_name) == dataset]
    names = [field.name for field in fields(RunConfig)]
    configs = [RunConfig(**row) for row in ours[names].to_dict("records")]
    reasons = [_reason(c, s) for c, s in zip(configs, ours["status"], strict=True)]
    cells = [protocol.cell_of(config) for config in configs]
    if dataset == "mnist" and precision.answer(precision.pairs(ledger)).counts:
        reasons = _with_bfloat16(configs, reasons)
    official = {
        found
        for found, reason, name in zip(cells, reasons, ours["dataset"], strict=True)
        if not reason and name == dataset
    }
    for i, (found, name) in enumerate(zip(cells, ours["dataset"], strict=True)):
        if not reasons[i] and name != dataset and found in official:
            reasons[i] = "arrays; the cell has runs on the official files"
    frame = ours.assign(
        method=[found and found.method for found in cells],
        column=[found and found.column for found in cells],
        reason=reasons,
    )
    inside = frame["reason"] == ""
    runs, others = frame[inside], frame[~inside]
    return (
        runs.drop(columns="reason").reset_index(drop=True),
        others.drop(columns=["method", "column"]).reset_index(drop=True),
    )


def _with_bfloat16(configs, reasons):
    """The reasons, but none for a bfloat16 run of which there is no float32 twin."""
    whole = {config for config, reason in zip(configs, reasons, strict=True) if not reason}

    def left(config, reason):
        twin = replace(config, precision="float32")
        alone = reason == "precision = bfloat16" and twin not in whole
        return "" if alone else reason

    return [left(*pair) for pair in zip(configs, reasons, strict=True)]


def _reason(config, status):
    """Why a run is no cell of the tables, in words; empty if it is one."""
    if status != "finished":
        return status
    words = {"loss": "{}", "eta": "no such rate"}
    found = protocol.differences(config)
    return ", ".join(words.get(name, f"{name} = {{}}").format(x) for name, x in found.items())


def compare(ledger: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row per cell of Tables 1 and 2: ours, the paper's, outcome, certificate and cost.

    Parameters
    ----------
    ledger, dataset
        As in `split`.

    Returns
    -------
    DataFrame
        In the paper's order. `table`, `dataset`, `method`, `noise`, `eta`, `column` and `source`
        as in `Cell`; `n` runs of ours, `mean` and `std` (n - 1) of the last epoch's accuracy,
        means of the `best` epoch's and of that which `noisy_validation` labels choose;
        `paper_mean`, `paper_std`; `difference`, ours less the paper's; `outcome`, see
        the function; `c_r` and `certificate`, see `certificate`; `hours` of a run, on average.
        `precision` of the runs. `mixture`: empty, or how many seeds keep all classes where others
        lose one. Then `mean` is that of the seeds that keep all, `std` is NaN and `outcome`
        "mixture": see `paper.census`.
        Accuracies in percent; NaN where there is nothing.
    """
    runs, _ = split(ledger, dataset)
    groups = dict(list(runs.groupby(["method", "column"])))
    cells = [c for c in CELLS if c.dataset == dataset]
    return pd.DataFrame([_row(c, groups.get((c.method, c.column), runs[:0])) for c in cells])


def _row(cell, runs):
    last, n = runs["last"].astype(float), len(runs)
    mean, std = _number(cell.mean), _number(cell.std)
    arrays = any(name != cell.dataset for name in runs["dataset"])
    c_r, certified = certificate(cell.dataset, cell.method, cell.noise, cell.eta)
    found = outcome(last, cell.mean, cell.std, preliminary=arrays)
    ours, spread, mixture = last.mean(), last.std(ddof=1), _mixture(runs)
    words = ""
    if mixture.mixed:
        ours, spread, found = mixture.mean, math.nan, "mixture"
        words = f"{mixture} (all: {', '.join(f'{x:.2f}' for x in last)})"
    return {
        "table": cell.table,
        "dataset": cell.dataset,
        "method": cell.method,
        "noise": cell.noise,
        "eta": cell.eta,
        "column": cell.column,
        "n": n,
        "mean": ours,
        "std": spread,
        "best": runs["best"].astype(float).mean(),
        "noisy_validation": runs["noisy_validation"].astype(float).mean(),
        "paper_mean": mean,
        "paper_std": std,
        "source": cell.source,
        "difference": ours - mean,
        "outcome": found,
        "mixture": words,
        "c_r": c_r,
        "certificate": certified,
        "precision": ", ".join(sorted(set(runs["precision"]))),
        "hours": runs["seconds"].mean() / 3600 if n else math.nan,
    }


def _mixture(runs):
    """`census.mixture` of the runs whose records tell accuracies by class."""
    pairs = zip(runs["last"], runs.get("per_class", ()), strict=False)
    known = [(last, x[-1]["test_accuracy"]) for last, x in pairs if isinstance(x, list) and x]
    return census.mixture([last for last, _ in known], [shares for _, shares in known])


def _number(x):
    return math.nan if x is None else x


@cache
def certificate(dataset: str, method: str, noise_kind: str, eta: float) -> tuple[float, str]:
    """c r of a cell, and whether its loss is certified as asymmetric on its noise.

    Returns
    -------
    c_r : float
        Clean level times repaired asymmetry ratio; infinite on clean labels for r > 0. NaN where
        the loss is no function of the label's probability alone, or c is infinite and r is 0.
    verdict : str
        `asymmetry.certify`'s, "clean labels", or "n/a" for a loss that it cannot take. NCE plus an
        asymmetric loss is "asymmetric in the limit": see `asymmetry.Certificate`.
    """
    loss = from_paper(method, dataset)
    kind = "asymmetric" if noise_kind == "asymmetric" else "symmetric"
    T = noise.matrix(kind, dataset, eta)
    normalised = any(isinstance(part, Normalized) for part in loss.modules())
    try:
        found = asymmetry.certify(loss, T)
        ratio = math.nan if normalised else asymmetry.asymmetry_ratio(loss, "repaired")
    except TypeError:
        return math.nan, "n/a"
    verdict = found.verdict + ("" if found.attained else " in the limit")
    return noise.clean_level(T) * ratio, "clean labels" if eta == 0 else verdict


# --- what the cells say together ------------------------------------------------------------


def summary(cells: pd.DataFrame) -> str:
    """Say how many cells have which outcome; `cells` as `compare` returns them."""
    counts = cells["outcome"].value_counts()
    states = ", ".join(f"{counts[state]} {state}" for state in OUTCOMES if state in counts)
    return f"{len(cells)} cells, {cells['n'].sum()} runs of ours: {states}."


def beside(
    cells: pd.DataFrame,
    method: str,
    noise_kind: str,
    eta: float,
    own: pd.DataFrame | None = None,
) -> str:
    """Say in two lines what the paper and the ledger have for one cell.

    A third line has the reader's own runs of it, as `sweep.own_runs` returns them.
    """
    dataset = cells["dataset"].iloc[0]
    paper_cell = cell(dataset, method, "clean" if eta == 0 else noise_kind, eta)
    is_it = (cells["method"] == method) & (cells["column"] == paper_cell.column)
    (ours,) = cells[is_it].itertuples()
    name = f"{dataset} {method} {paper_cell.column}"
    target = f"{ours.paper_mean:.2f} ± {ours.paper_std:.2f}, {ours.source}"
    theirs = ours.source if paper_cell.mean is None else target
    here = f"{ours.mean:.2f}, {ours.n} run(s), {ours.outcome}" if ours.n else ours.outcome
    here = ours.mixture or here
    lines = [f"paper,  {name}: {theirs}", f"ledger, {name}: {here}"]
    if own is not None:
        scores = ", ".join(f"{run.last:.2f} (seed {run.init_seed})" for run in own.itertuples())
        lines.append(f"yours,  {name}: {scores or 'not yet run'}")
    return "\n".join(lines)


def redo(
    dataset: str, method: str, noise_kind: str, eta: float, seed: int, full: bool = False
) -> RunConfig:
    """The configuration with which a page trains one cell of its tables again, see `beside`.

    With `full` it is the paper's, and the official files are downloaded if they are missing.
    Otherwise it takes a CPU seconds and says nothing about the paper: a small network, two epochs
    and 2,000 images, or the embedded digits where the data set is not at hand.
    """
    loss = from_paper(method, dataset)
    if full:
        data.load(dataset, download=True)
        return protocol.run(dataset, loss, noise_kind, eta, seed)
    found = data.find(dataset)
    try:
        load_once(found)  # `train` takes it from there
    except FileNotFoundError:
        recipe = {"noise": noise_kind, "eta": eta, "epochs": 15, "augment": False}
        return RunConfig(loss, "digits", **recipe).seeded(seed)
    small = {"train_size": 2000, "epochs": 2, "counts": "iid"}
    if dataset != "mnist":
        small["model"] = "cifar_cnn_small"
    return protocol.run(found, loss, noise_kind, eta, seed, **small)


def check_claims(cells: pd.DataFrame, dataset: str | None = None) -> pd.DataFrame:
    """Hold the ranking sentences of Section 4.2 against the paper's own means and against ours.

    Parameters
    ----------
    cells : DataFrame
        Of `compare`, of one data set or of several together. A cell counts with one run, too.
    dataset : str, optional
        Only the claims that have cells of this data set, with these cells alone counted. Whether a
        sentence holds is always about all of its cells.

    Returns
    -------
    DataFrame
        `quotation`, `reading`; `paper` and `ours`: "holds", "fails" or "open"; `paper_cells` and
        `our_cells`: how many cells speak for and against it, and are missing.
    """
    printed = {c.key: c.mean for c in CELLS}
    names = ("dataset", "method", "noise", "eta", "mean")
    ours = {tuple(key): mean for *key, mean in zip(*(cells[name] for name in names), strict=True)}
    rows = []
    for claim in (claim for claim in CLAIMS if claim.section == "4.2"):
        theirs, own = claim.outcome(printed), claim.outcome(ours)
        if dataset and not any(_sides(theirs, dataset)):
            continue
        rows.append(
            {
                "quotation": claim.quotation,
                "reading": claim.reading,
                "paper": _word(theirs),
                "paper_cells": _counts(theirs, dataset),
                "ours": _word(own),
                "our_cells": _counts(own, dataset),
            }
        )
    return pd.DataFrame(rows)


def _word(found):
    return {True: "holds", False: "fails", None: "open"}[found.holds]


def _sides(found, dataset):
    sides = (found.supporting, found.contradicting, found.undecided)
    return [sum(dataset in (None, key[0]) for key in side) for side in sides]


def _counts(found, dataset):
    counts = zip(_sides(found, dataset), ("for", "against", "missing"), strict=True)
    return ", ".join(f"{number} {side}" for number, side in counts if number)


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """The cost of runs, one row per data set, number of epochs, device and threads.

    Parameters
    ----------
    runs : DataFrame
        Rows of the ledger.

    Returns
    -------
    DataFrame
        `runs`, `minutes` of a run (mean wall time), `cpu_minutes` (mean time of the process on all
        its threads) and `hours` of all of them together. Empty without runs.
    """
    by = ["dataset", "epochs", "precision", "device", "threads"]
    columns = [*by, "runs", "minutes", "cpu_minutes", "hours"]
    if not len(runs):
        return pd.DataFrame(columns=columns)
    groups = runs.groupby(by)
    frame = pd.DataFrame(
        {
            "runs": groups.size(),
            "minutes": groups["seconds"].mean() / 60,
            "cpu_minutes": groups["cpu_seconds"].mean() / 60,
            "hours": groups["seconds"].sum() / 3600,
        }
    )
    return frame.reset_index()[columns]
