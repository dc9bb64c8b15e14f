"""Do bfloat16 runs count as runs of a data set's cells? A rule that was fixed before the runs.

Twelve pairs of whole runs on MNIST, equal but for precision, were listed (`which_runs.PAIRS`)
before any bfloat16 partner was run here or looked at. They count if the 90 % interval of the mean
paired difference lies within +-0.25 points and no pair differs by more than 1.5 points or four
times the paper's standard deviation of its cell, whichever is larger. If the interval is too wide
after twelve pairs, seed 1 of the same cells is added, once; then the answer is final. Where a seed
has both precisions, float32 is the run of the cell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from alfs_utils import records
from alfs_utils.paper import protocol, which_runs

__all__ = ["Answer", "answer", "interval", "pairs"]

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


def answer(found: pd.DataFrame) -> Answer:
    """The rule, applied to `pairs`."""
    differences, n = found["difference"].astype(float), len(found)
    outside = int((differences.abs() > found["limit"]).sum())
    if n < 2:
        return Answer(None, n, math.nan, math.nan, math.nan, outside)
    mean, (low, high) = float(differences.mean()), interval(differences)
    narrow = -BOUND <= low and high <= BOUND
    counts = None if n < FIRST else not outside if narrow else None if n < MOST else False
    if n >= FIRST and outside:
        counts = False
    return Answer(counts, n, mean, low, high, outside)
