"""Ours beside the paper's: which runs of the ledger are cells of Tables 1 and 2, and what they say.

A run belongs to a cell if and only if its whole configuration is `training.paper_run`'s for some
seed. All other runs (fewer images or epochs, another precision, the repository's settings, one
noise draw for several initial weights) are kept apart, with the difference in words.
"""

import math
from dataclasses import asdict
from functools import cache

import pandas as pd

from alfs_utils import asymmetry, data, noise, paper, records, training
from alfs_utils.losses import Normalized

__all__ = [
    "beside",
    "certificate",
    "check_claims",
    "compare",
    "cost",
    "outlook",
    "redo",
    "split",
    "summary",
]

DATASETS = ("mnist", "cifar10", "cifar100")  # of Tables 1 and 2


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
        The columns of `ledger`; `runs` also has `method` and `setting` (see `paper.Cell`), `others`
        has `reason`: why the run is no cell of the tables. A cell that has runs on the official
        files has no others: runs on arrays ("-npz") then stand apart.

    Raises
    ------
    ValueError
        For an unknown `dataset`.
    """
    _check(dataset)
    ours = ledger[ledger["dataset"].map(data.base_name) == dataset]
    cells = ours["id"].map(_cells(dataset, tuple(sorted(set(ours["noise_seed"])))))
    cells = cells.where(ours["status"] == "finished")
    arrays = ours["dataset"] != dataset
    inside = cells.notna() & ~(arrays & cells.isin(set(cells[~arrays].dropna())))
    runs, others = ours[inside], ours[~inside]
    runs = runs.assign(
        method=[cell.method for cell in cells[inside]],
        setting=[cell.setting for cell in cells[inside]],
    )
    others = others.assign(reason=[_reason(row, dataset) for row in others.to_dict("records")])
    return runs.reset_index(drop=True), others.reset_index(drop=True)


def compare(ledger: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """One row per cell of Tables 1 and 2: ours, the paper's, verdict, certificate and cost.

    Parameters
    ----------
    ledger, dataset
        As in `split`.

    Returns
    -------
    DataFrame
        In the paper's order. `table`, `dataset`, `method`, `noise`, `eta`, `setting` and `source`
        as in `paper.Cell`; `n` runs of ours, `mean` and `std` (n - 1) of the last epoch's accuracy,
        means of the `best` epoch's and of that which `noisy_validation` labels choose;
        `paper_mean`, `paper_std`; `difference`, ours less the paper's; `verdict`, see
        `records.verdict`; `c_r` and `certificate`, see `certificate`; `hours` of a run, on average.
        Accuracies in percent; NaN where there is nothing.
    """
    runs, _ = split(ledger, dataset)
    groups = dict(list(runs.groupby(["method", "setting"])))
    cells = [c for c in paper.CELLS if c.dataset == dataset]
    return pd.DataFrame([_row(c, groups.get((c.method, c.setting), runs[:0])) for c in cells])


def _row(cell, runs):
    last, n = runs["last"].astype(float), len(runs)
    mean, std = _number(cell.mean), _number(cell.std)
    arrays = any(name != cell.dataset for name in runs["dataset"])
    c_r, verdict = certificate(cell.dataset, cell.method, cell.noise, cell.eta)
    return {
        "table": cell.table,
        "dataset": cell.dataset,
        "method": cell.method,
        "noise": cell.noise,
        "eta": cell.eta,
        "setting": cell.setting,
        "n": n,
        "mean": last.mean(),
        "std": last.std(ddof=1),
        "best": runs["best"].astype(float).mean(),
        "noisy_validation": runs["noisy_validation"].astype(float).mean(),
        "paper_mean": mean,
        "paper_std": std,
        "source": cell.source,
        "difference": last.mean() - mean,
        "verdict": records.verdict(last, cell.mean, cell.std, preliminary=arrays),
        "c_r": c_r,
        "certificate": verdict,
        "hours": runs["seconds"].mean() / 3600 if n else math.nan,
    }


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
    loss = paper.paper_loss(method, dataset)
    T = _matrix(dataset, noise_kind, eta)
    normalised = any(isinstance(part, Normalized) for part in loss.modules())
    try:
        found = asymmetry.certify(loss, T)
        ratio = math.nan if normalised else asymmetry.asymmetry_ratio(loss, "repaired")
    except TypeError:
        return math.nan, "n/a"
    verdict = found.verdict + ("" if found.attained else " in the limit")
    return noise.clean_level(T) * ratio, "clean labels" if eta == 0 else verdict


@cache
def _matrix(dataset, noise_kind, eta):
    if noise_kind == "asymmetric":
        return noise.asymmetric(dataset, eta)
    return noise.symmetric(paper.DATASETS[dataset], eta)


def _check(dataset):
    if dataset not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {dataset!r}")


# --- which run is which cell ----------------------------------------------------------------


@cache
def _cells(dataset, seeds):
    """The id of every run that the tables could consist of -> its cell."""
    return {
        records.run_id(training.paper_run(name, loss, _kind(cell.noise), cell.eta, seed)): cell
        for cell in paper.CELLS
        if cell.dataset == dataset
        for loss in [str(paper.paper_loss(cell.method, dataset))]
        for name in data.sources(dataset)
        for seed in seeds
    }


def _kind(noise_kind):
    return "symmetric" if noise_kind == "clean" else noise_kind


def _reason(row, dataset):
    """Why a run, as a dict of its columns, is no cell of the tables."""
    if row["status"] != "finished":
        return row["status"]
    kind = row["noise"] if row["noise"] in ("symmetric", "asymmetric") else "asymmetric"
    printed = training.paper_run(row["dataset"], row["loss"], kind, row["eta"], row["noise_seed"])
    expected = asdict(printed)
    reasons = [f"{name} = {row[name]}" for name in expected if row[name] != expected[name]]
    methods = {str(paper.paper_loss(name, dataset)) for name in paper.ROWS[dataset]}
    if row["loss"] not in methods:
        reasons.insert(0, _other_loss(row["loss"], dataset))
    if not reasons:
        double = row["dataset"] != dataset
        reasons = ["arrays; the cell has runs on the official files" if double else "no such rate"]
    return ", ".join(reasons)


def _other_loss(loss, dataset):
    sources = {"the repository's setting": "repository", "the formula's gradient": "tables"}
    for words, source in sources.items():
        compat = "official" if source == "repository" else "formula"
        for name in paper.ROWS[dataset]:
            if loss == str(paper.paper_loss(name, dataset, source, compat)):
                return f"{words} of {name}"
    return "a loss of its own"


# --- what the cells say together ------------------------------------------------------------


def summary(cells: pd.DataFrame) -> str:
    """How many cells are in which state, in a sentence; `cells` as `compare` returns them."""
    counts = cells["verdict"].value_counts()
    states = ", ".join(f"{counts[state]} {state}" for state in records.VERDICTS if state in counts)
    return f"{len(cells)} cells, {cells['n'].sum()} runs of ours: {states}."


def beside(cells: pd.DataFrame, method: str, noise_kind: str, eta: float) -> str:
    """The paper's number and the ledger's for one cell, in two lines."""
    dataset = cells["dataset"].iloc[0]
    paper_cell = paper.cell(dataset, method, "clean" if eta == 0 else noise_kind, eta)
    is_it = (cells["method"] == method) & (cells["setting"] == paper_cell.setting)
    (ours,) = cells[is_it].itertuples()
    name = f"{dataset} {method} {paper_cell.setting}"
    target = f"{ours.paper_mean:.2f} ± {ours.paper_std:.2f}, {ours.source}"
    theirs = ours.source if paper_cell.mean is None else target
    own = f"{ours.mean:.2f}, {ours.n} run(s), {ours.verdict}" if ours.n else ours.verdict
    return f"paper,  {name}: {theirs}\nledger, {name}: {own}"


def redo(
    dataset: str, method: str, noise_kind: str, eta: float, seed: int, full: bool = False
) -> training.RunConfig:
    """How a page trains one cell of its tables again, see `beside`.

    With `full`, the paper's protocol, and the official files are downloaded if they are not there.
    Otherwise what a CPU does in seconds and what says nothing about the paper: a small network, two
    epochs on 2,000 images, or, where the data set is not at hand, the embedded digits.
    """
    loss = paper.paper_loss(method, dataset)
    if full:
        data.load(dataset, download=True)
        return training.paper_run(dataset, loss, noise_kind, eta, seed)
    found = data.find(dataset)
    try:
        training.load_once(found)  # `train` takes it from there
    except FileNotFoundError:
        seeds = dict.fromkeys(training.SEEDS, seed)
        recipe = {"noise": noise_kind, "eta": eta, "epochs": 15, "augment": False}
        return training.RunConfig(loss, "digits", **recipe, **seeds)
    small = {"train_size": 2000, "epochs": 2, "counts": "iid"}
    if dataset != "mnist":
        small["model"] = "cifar_cnn_small"
    return training.paper_run(found, loss, noise_kind, eta, seed, **small)


def check_claims(cells: pd.DataFrame, dataset: str | None = None) -> pd.DataFrame:
    """The ranking sentences of Section 4.2, held against the paper's own means and against ours.

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
    printed = {c.key: c.mean for c in paper.CELLS}
    names = ("dataset", "method", "noise", "eta", "mean")
    ours = {tuple(key): mean for *key, mean in zip(*(cells[name] for name in names), strict=True)}
    rows = []
    for claim in (claim for claim in paper.CLAIMS if claim.section == "4.2"):
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


def _word(outcome):
    return {True: "holds", False: "fails", None: "open"}[outcome.holds]


def _sides(outcome, dataset):
    sides = (outcome.supporting, outcome.contradicting, outcome.undecided)
    return [sum(dataset in (None, key[0]) for key in side) for side in sides]


def _counts(outcome, dataset):
    counts = zip(_sides(outcome, dataset), ("for", "against", "missing"), strict=True)
    return ", ".join(f"{number} {side}" for number, side in counts if number)


def cost(runs: pd.DataFrame) -> pd.DataFrame:
    """What runs have cost, one row per data set, number of epochs, device and threads.

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


def outlook(runs: pd.DataFrame, cells: pd.DataFrame) -> str:
    """How many of the runs that `cells` need are done, and the hours of all at the price of those.

    Parameters
    ----------
    runs, cells : DataFrame
        The first part of `split`, and `compare`.
    """
    needed = 3 * len(cells)
    lines = [f"{len(cells)} cells, three runs each: {needed} runs, of which {len(runs)} are done."]
    for row in cost(runs).itertuples():
        hours, cpu_hours = needed * row.minutes / 60, needed * row.cpu_minutes / 60
        where = f"{row.runs} on {row.device}, {row.threads} thread(s)"
        lines += [
            f"{where}: {row.minutes:.1f} min each by the clock,",
            f"{row.cpu_minutes:.1f} of CPU time; for all {needed} one after the other",
            f"{hours:.0f} hours by the clock, {cpu_hours:.0f} of CPU time",
        ]
    return "\n".join(lines)
