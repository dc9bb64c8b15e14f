"""Do other roundings change a run? Rules on bfloat16 and on the kernel, fixed before the runs.

*bfloat16.* Twelve pairs of whole runs on MNIST, equal but for precision, were listed
(`which_runs.PAIRS`) before any bfloat16 partner was run here or looked at. They count if the 90 %
interval of the mean paired difference lies within +-0.25 points and no pair differs by more than
1.5 points or four times the paper's standard deviation of its cell, whichever is larger. If the
interval is too wide after twelve pairs, seed 1 of the same cells is added, once; then the answer is
final. Where a seed has both precisions, float32 is the run of the cell.

*The kernel* of `training.fused`. Eight pairs of runs of 20 epochs, with the kernel and with torch's
own modules, were listed (`which_runs.KERNEL_PAIRS`) before any of them was run. It changes no more
than rounding if the 90 % interval of the mean paired difference lies within +-0.25 points.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from alfs_utils import records
from alfs_utils.paper import protocol, which_runs

__all__ = ["Answer", "answer", "interval", "kernel_answer", "kernel_pairs", "pairs"]

BOUND = 0.25  # points, for the interval of the mean difference
LEVEL = 0.9
FIRST, MOST = 12, 24  # pairs


@dataclass(frozen=True)
class Answer:
    """What the rule says of the pairs that there are.

    Attributes
    ----------
    counts : bool or None
        None: more pairs are needed.
    pairs : int
    mean, low, high : float
        Mean of bfloat16 less float32 in points, and its 90 % interval; NaN where there are too few.
    outside : int
        Pairs that differ by more than their limit.
    """

    counts: bool | None
    pairs: int
    mean: float
    low: float
    high: float
    outside: int

    def __str__(self) -> str:
        words = {
            True: "bfloat16 runs count",
            False: "bfloat16 runs do not count",
            None: f"open: {FIRST if self.pairs < FIRST else MOST} pairs are needed",
        }[self.counts]
        if self.pairs < 2:
            return f"{words}; {self.pairs} so far"
        return (
            f"{words}. {self.pairs} pairs: mean difference {self.mean:+.3f} points, 90 % interval "
            f"{self.low:+.3f} to {self.high:+.3f}; {self.outside} outside their limit."
        )


def pairs(ledger: pd.DataFrame) -> pd.DataFrame:
    """The pairs of `which_runs.PAIRS` that the ledger has, seeds 0 and 1.

    Parameters
    ----------
    ledger : DataFrame
        As `records.load` returns it.

    Returns
    -------
    DataFrame
        `method`, `eta`, `seed`; last-epoch accuracies `float32` and `bfloat16` in percent, their
        `difference` (bfloat16 less float32) and the `limit` of its size; `device` of either run.
    """
    done = ledger[ledger["status"] == "finished"].set_index("id")
    rows = []
    for half in which_runs.precision_pairs(seeds=(0, 1)):
        ids = [records.run_id(c) for c in (replace(half, precision="float32"), half)]
        if not set(ids) <= set(done.index):
            continue
        whole, low = (done.loc[i] for i in ids)
        cell = protocol.cell_of(half)
        rows.append(
            {
                "method": cell.method,
                "eta": half.eta,
                "seed": half.init_seed,
                "float32": whole["last"],
                "bfloat16": low["last"],
                "difference": low["last"] - whole["last"],
                "limit": max(1.5, 4 * cell.std),
                "float32 device": whole["device"],
                "bfloat16 device": low["device"],
            }
        )
    columns = ["method", "eta", "seed", "float32", "bfloat16", "difference", "limit"]
    return pd.DataFrame(rows, columns=None if rows else columns)


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """Student's 90 % interval of the mean of two or more differences."""
    d, n = np.asarray(differences, dtype=float), len(differences)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * d.std(ddof=1) / math.sqrt(n)
    return float(d.mean() - half), float(d.mean() + half)


def _within(low, high):
    return -BOUND <= low and high <= BOUND


def answer(found: pd.DataFrame) -> Answer:
    """The rule, applied to `pairs`."""
    differences, n = found["difference"].astype(float), len(found)
    outside = int((differences.abs() > found["limit"]).sum())
    if n < 2:
        return Answer(None, n, math.nan, math.nan, math.nan, outside)
    mean, (low, high) = float(differences.mean()), interval(differences)
    narrow = _within(low, high)
    counts = None if n < FIRST else not outside if narrow else None if n < MOST else False
    if n >= FIRST and outside:
        counts = False
    return Answer(counts, n, mean, low, high, outside)


def kernel_pairs(kernel: str | os.PathLike, stock: str | os.PathLike) -> pd.DataFrame:
    """The pairs of `which_runs.KERNEL_PAIRS` that two ledgers have, one with each kind of run.

    Both runs of a pair have the same id, so each kind has a folder of its own.

    Returns
    -------
    DataFrame
        `method`, `precision`; last-epoch accuracies `kernel` and `stock` in percent and their
        `difference`; `minutes` and `stock minutes` of CPU; `device` and `stock device`.

    Raises
    ------
    ValueError
        If a run of the first folder had no kernel or changed it, or one of the second had one.
    """
    rows = []
    for config in which_runs.kernel_pairs():
        pair = [records.find(config, folder) for folder in (kernel, stock)]
        if None in pair:
            continue
        first, second = pair
        if not first["kernel"] or second["kernel"] or first["mixed"] or second["mixed"]:
            seen = [record["kernel"] for record in pair]
            raise ValueError(f"{config}: expected a run with a kernel and one without, got {seen}")
        row = {"method": protocol.row_of(config), "precision": config.precision}
        for name, prefix, record in (("kernel", "", first), ("stock", "stock ", second)):
            row[name] = record["test_accuracy"][-1]
            row[f"{prefix}minutes"] = record["cpu_seconds"] / 60
            row[f"{prefix}device"] = record["device"]
        rows.append(row | {"difference": row["kernel"] - row["stock"]})
    columns = ["method", "precision", "kernel", "stock", "difference", "minutes", "stock minutes"]
    return pd.DataFrame(rows, columns=[*columns, "device", "stock device"])


def kernel_answer(found: pd.DataFrame) -> str:
    """The rule, applied to `kernel_pairs`, in a sentence; six pairs at least."""
    n = len(found)
    if n < 6:
        return f"Open: expected at least 6 pairs, got {n}."
    pairs = f"{n} of {len(which_runs.KERNEL_PAIRS)} pairs"
    low, high = interval(found["difference"].to_list())
    held = _within(low, high)
    return (
        f"The kernel changes {'no more' if held else 'more'} than rounding. {pairs}: mean "
        f"difference {found['difference'].mean():+.3f} points, 90 % interval {low:+.3f} to "
        f"{high:+.3f}."
    )
