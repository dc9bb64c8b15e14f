"""Every loss of the library in one table: what is proven of it, and what it costs."""

import math
from typing import NamedTuple

import pandas as pd
from IPython.display import HTML

from alfs_utils import losses as L
from alfs_utils import noise
from alfs_utils.asymmetry import asymmetry_ratio, asymmetry_ratio_exact, certify
from alfs_utils.paper import pages
from alfs_utils.recommend import time_to_start

__all__ = ["ENTRIES", "PUBLISHED", "Entry", "overview", "published_table", "sortable"]


class Entry(NamedTuple):
    """One loss with parameters that a paper uses, and what its parameters may be."""

    name: str
    loss: L.Loss
    legal: str
    used: str


_A30, _ANL = L.AMSELoss(a=30), L.NNCELoss()
ENTRIES = (
    Entry("CE", L.CELoss(), "none", "everywhere"),
    Entry("FL", L.FocalLoss(0.5), "gamma >= 0", "all tables"),
    Entry("GCE", L.GCELoss(0.7), "q > 0", "all tables"),
    Entry("MAE", L.MAELoss(), "none", "in sums"),
    Entry("unhinged", L.UnhingedLoss(), "none", "half of MAE"),
    Entry("RCE", L.RCELoss(), "A < 0", "in sums"),
    Entry("SCE", L.SCELoss(0.1, 1), "alpha, beta >= 0; A < 0", "CIFAR-10"),
    Entry("AGCE", L.AGCELoss(4, 0.2), "a >= 0 (> 0 if q <= 0), any q", "MNIST"),
    Entry("AGCE", L.AGCELoss(0.6, 0.6), "", "CIFAR-10"),
    Entry("AGCE", L.AGCELoss(6, 1.5), "", "CIFAR-10, with NCE"),
    Entry("AUL", L.AULLoss(3, 0.1), "a >= 1 (> 1 if p <= 0), any p", "MNIST"),
    Entry("AUL", L.AULLoss(5.5, 3), "", "CIFAR-10"),
    Entry("AUL", L.AULLoss(6.3, 1.5), "", "CIFAR-10, with NCE"),
    Entry("AEL", L.AELLoss(3.5), "a > 0", "MNIST"),
    Entry("AEL", L.AELLoss(1.5), "", "CIFAR-100, with NCE"),
    Entry("biased MAE", L.BiasedMAELoss(0.4), "eps >= 0", "ours: ln(9/4) / 2, rounded down"),
    Entry("NCE", L.NCELoss(), "none", "all tables"),
    Entry("NFL", L.NormalizedFocalLoss(0.5), "gamma >= 0", "in ANL-FL"),
    Entry("NGCE", L.NormalizedGCELoss(0.7), "q > 0", "none"),
    Entry("normalised AEL", L.Normalized(L.AELLoss(2.5)), "those of the loss", "none"),
    Entry("NNCE", _ANL, "0 < p_min < 1/2", "in ANL-CE"),
    Entry("NNFL", L.NNFLLoss(0.5), "gamma >= 0; 0 < p_min < 1/2", "in ANL-FL"),
    Entry("AMSE", _A30, "a >= 1", "CIFAR-10"),
    Entry("NLNL", L.NLNLLoss(), "none", "all tables"),
    Entry("NCE+AGCE", L.from_paper("NCE+AGCE", "cifar10"), "those of the terms", "CIFAR-10"),
    Entry("JAL-CE", L.NCELoss() + _A30, "those of the terms", "CIFAR-10"),
    Entry("ANL-CE", 5 * L.NCELoss() + 5 * _ANL, "those of the terms", "CIFAR-10"),
    Entry(
        "ANL-FL",
        5 * L.NormalizedFocalLoss(0.5) + 5 * L.NNFLLoss(0.5),
        "those of the terms",
        "CIFAR-10",
    ),
)
# Settings of the public configurations that accompany the papers.
PUBLISHED = {
    "ANL-CE": {
        "MNIST": ("NCELoss() + NNCELoss()", "L1 1e-6"),
        "CIFAR-10": ("5 * NCELoss() + 5 * NNCELoss()", "L1 5e-5"),
        "CIFAR-100": ("10 * NCELoss() + NNCELoss()", "L1 5e-7"),
    },
    "ANL-FL": {
        "MNIST": ("NormalizedFocalLoss(gamma=0.5) + NNFLLoss(gamma=0.5)", "L1 1e-6"),
    },
    "JAL-CE": {
        "CIFAR-10": ("NCELoss() + AMSELoss(a=30)", "L1 5e-5"),
        "CIFAR-100": ("5 * NCELoss() + AMSELoss(a=20)", "L1 5e-6"),
        "WebVision": ("50 * NCELoss() + AMSELoss(a=30)", "L2 3e-5"),
    },
}


def published_table(*names: str) -> HTML:
    """The published settings of later losses, as code; L1 means no L2."""
    rows = [
        {"loss": name, "data set": dataset, "code": code, "decay": decay}
        for name in names
        for dataset, (code, decay) in PUBLISHED[name].items()
    ]
    return pages.table(pd.DataFrame(rows), index=False)


def overview() -> pd.DataFrame:
    """The table of all `ENTRIES`, one row each, in numbers and words.

    Returns
    -------
    DataFrame
        loss, code : str. r : float, the (repaired) asymmetry ratio; NaN for a loss that is no
        function of one probability. least c, least margin : float; the loss is asymmetric iff
        w_t/w_n, or (w_t - w_n)/W, is at least this. one valley from c : float, 1 over the printed
        ratio. r*, k = 10 : float, the exact ratio of ten classes. start, k = 10 and start, k = 100
        : float, of `recommend.time_to_start`. symmetric 0.8, asymmetric 0.4 : str, what `certify`
        says for ten classes. legal, setting of : str.
    """
    return pd.DataFrame([_row(entry) for entry in ENTRIES])


def _row(entry):
    loss, row = entry.loss, {"loss": entry.name, "code": repr(entry.loss)}
    one = loss._is_pointwise()
    ratios = [asymmetry_ratio(loss, "repaired"), asymmetry_ratio(loss)] if one else [math.nan] * 2
    row["r"] = ratios[0]
    row["least c"], valley = (1 / r if r else math.inf for r in ratios)
    row["least margin"] = 1 / loss.a if isinstance(loss, L.AMSELoss) else math.nan
    row["one valley from c"] = 1.0 if isinstance(loss, L.AMSELoss) else valley
    row["r*, k = 10"] = asymmetry_ratio_exact(loss, 10) if one else math.nan
    for k in (10, 100):
        row[f"start, k = {k}"] = time_to_start(loss, k)
    models = {
        "symmetric 0.8": noise.symmetric(10, 0.8),
        "asymmetric 0.4": noise.asymmetric("cifar10", 0.4),
    }
    for name, T in models.items():
        drawn = isinstance(loss, L.NLNLLoss)
        row[name] = "no certificate" if drawn else pages.verdict(certify(loss, T))
    return row | {"legal": entry.legal, "setting of": entry.used}


def sortable(frame: pd.DataFrame) -> HTML:
    """A `pages.table` whose rows a click on a column's head sorts; once more turns them round."""
    shown = frame.copy()
    for name in frame.select_dtypes("number"):
        shown[name] = [_number(x) for x in frame[name]]
    return HTML(pages.table(shown, index=False).data.replace("T_table", "T_losses") + _SORT)


def _number(x):
    return "–" if math.isnan(x) else "never" if math.isinf(x) else f"{x:.3g}"


_SORT = """<script>
for (const head of document.querySelectorAll("#T_losses thead th")) {
  head.style.cursor = "pointer";
  head.onclick = () => {
    const body = head.closest("table").tBodies[0];
    const text = row => row.cells[head.cellIndex].textContent;
    const up = head.dataset.up = head.dataset.up === "1" ? "-1" : "1";
    const key = row => text(row) === "–" ? NaN : text(row) === "never" ? Infinity : +text(row);
    const order = (a, b) => isNaN(key(a)) || isNaN(key(b))
      ? isNaN(key(a)) - isNaN(key(b)) || text(a).localeCompare(text(b)) : key(a) - key(b);
    [...body.rows].sort((a, b) => up * order(a, b)).forEach(row => body.append(row));
  };
}
</script>"""
