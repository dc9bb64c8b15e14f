"""One figure style, and the few plots that several notebooks share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alfs_utils import noise, paper
from alfs_utils.asymmetry import certify
from alfs_utils.losses import LOG_1E_4, Loss, loss_from_string

__all__ = [
    "COLOURS",
    "curves",
    "loss_and_pull",
    "pull_table",
    "set_style",
    "settings_table",
    "table",
    "transition_heatmap",
    "verdict_table",
]

# Okabe & Ito's palette: told apart by readers with any common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
PULL_COLUMNS = ["u = 1/k", "u = 1/2", "u = 1"]


def set_style() -> None:
    """Set the book's figure style: legible at 700 px, opaque white, colour-blind safe."""
    sns.set_theme(context="notebook", style="whitegrid", palette=COLOURS)
    plt.rcParams |= {
        "figure.figsize": (7, 4),
        "figure.dpi": 110,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 2,
    }


def curves(ax: Axes, histories: dict[str, list[list[float]]]) -> None:
    """Draw one line per method, the mean over its runs, with the runs' full range shaded.

    Parameters
    ----------
    ax : Axes
    histories : dict of str to list of list of float
        For each method, one list of values per run, one value per epoch.
    """
    styles = ["-", "--", "-.", ":"]
    for number, (name, runs) in enumerate(histories.items()):
        values = np.asarray(runs)
        epochs = np.arange(1, values.shape[1] + 1)
        colour = COLOURS[number % len(COLOURS)]
        style = styles[number % len(styles)]
        ax.plot(epochs, values.mean(axis=0), style, color=colour, label=name)
        low, high = values.min(axis=0), values.max(axis=0)
        ax.fill_between(epochs, low, high, color=colour, alpha=0.2, linewidth=0)
    ax.set_xlabel("epoch")
    ax.legend()


def transition_heatmap(ax: Axes, T: np.ndarray, title: str, annotate: bool = True) -> None:
    """Draw a transition matrix: row = true class i, column = given label j, colour = T[i, j].

    Parameters
    ----------
    ax : Axes
    T : ndarray of shape (k, k)
        Row-stochastic.
    title : str
    annotate : bool
        Write each entry that is not zero into its cell.
    """
    text = [[f"{x:.2f}".lstrip("0") if x else "" for x in row] for row in T]
    sns.heatmap(
        T,
        ax=ax,
        vmin=0,
        vmax=1,
        cmap="cividis",
        square=True,
        cbar=False,
        annot=text if annotate else None,
        fmt="",
        annot_kws={"size": 7},
        xticklabels=annotate,
        yticklabels=annotate,
    )
    ax.set(title=title, xlabel="given label $j$", ylabel="true class $i$")


def table(frame: pd.DataFrame, formats: str | dict[str, str] | None = None, index=True) -> HTML:
    """Render a table whose HTML is the same on every run (a bare Styler has random identifiers).

    Parameters
    ----------
    frame : DataFrame
    formats : str or dict of str to str, optional
        A format string such as "{:.1f}" for all columns, or one per column.
    index : bool
        Show the row labels.
    """
    styler = frame.style.format(formats)
    return HTML((styler if index else styler.hide(axis="index")).set_uuid("table").to_html())


# --- the pages of the losses ----------------------------------------------------------------


def loss_and_pull(
    losses: dict[str, Loss], k: int = 10, relative: bool = False, top: float = 5
) -> Figure:
    """Draw losses (left) and their pulls (right) against u, see `paper.value_and_pull`.

    Parameters
    ----------
    losses : dict of str to Loss
    k : int
        Number of classes; matters to normalised losses and NLNL only.
    relative : bool
        Divide both by the pull at u = 1, and mark the clean levels of two noise models: a convex
        loss is asymmetric iff its curve, at u = 0, is not above the line.
    top : float
        Where the left panel ends, if losses are higher.
    """
    u = np.linspace(0.002, 1, 500)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    styles = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))]
    highest = 0
    for number, (name, loss) in enumerate(losses.items()):
        value, pull = paper.value_and_pull(loss, u, k)
        if relative:
            value, pull = (value - value[-1]) / pull[-1], pull / pull[-1]
        line = {"linestyle": styles[number], "color": COLOURS[number], "label": name}
        left.plot(u, value, **line)
        right.plot(u[pull > 0], pull[pull > 0], **line)
        highest = max(highest, value.max())
    top = min(1.05 * highest, top)
    left.set(xlabel="$u$", ylabel=r"loss $\ell(u)$", ylim=(-0.03 * top, top))
    right.set(xlabel="$u$", ylabel=r"pull $-\ell'(u)$, log scale", yscale="log")
    right.set_ylim(bottom=max(right.get_ylim()[0], 1e-2))
    if relative:
        left.set_ylabel(r"$(\ell(u) - \ell(1))$ / pull at $u = 1$")
        right.set(ylabel="pull relative to $u = 1$", yscale="linear", ylim=(0, 4))
        for c, name in [(9 / 4, "symmetric 0.8"), (3 / 2, "asymmetric 0.4")]:
            right.axhline(c, color="grey", linewidth=1)
            right.text(1, c, f"$c$ of {name}", ha="right", va="bottom", fontsize=8)
    left.legend(fontsize=8)
    return figure


def settings_table(*names: str) -> HTML:
    """The losses of rows of Tables 1 to 3, such as "AGCE", and how we know; see `paper.setting`."""
    rows = []
    for name, dataset in _rows_of_the_tables(names):
        row = paper.setting(name, dataset)
        columns = {"row": name, "data set": dataset, "loss": row.loss}
        rows.append(columns | {"known from": row.provenance, "why": row.reason})
    return table(_joined(rows), index=False)


def pull_table(*losses: str | Loss) -> HTML:
    """Pulls at u = 1/k, 1/2 and 1: of rows of Tables 1 to 3, or of one loss on every data set."""
    cells = []
    for item in losses:
        if isinstance(item, str):
            cells += [(paper.setting(*row).loss, row[1]) for row in _rows_of_the_tables([item])]
        else:
            cells += [(repr(item), dataset) for dataset in paper.DATASETS]
    rows = []
    for text, dataset in cells:
        k = paper.DATASETS[dataset]
        _, pull = paper.value_and_pull(loss_from_string(text), np.array([1 / k, 1 / 2, 1]), k)
        columns = {"loss": _short(text), "data set": dataset, "k": k}
        rows.append(columns | dict(zip(PULL_COLUMNS, pull, strict=True)))
    return table(_joined(rows), dict.fromkeys(PULL_COLUMNS, "{:.3g}"), index=False)


def verdict_table(*losses: Loss) -> HTML:
    """Whether losses are asymmetric on four noise models with ten classes; see `certify`."""
    models = {
        "symmetric 0.2": noise.symmetric(10, 0.2),
        "symmetric 0.8": noise.symmetric(10, 0.8),
        "asymmetric 0.4": noise.asymmetric("cifar10", 0.4),
        "pair flip 0.45": noise.pairflip(10, 0.45),
    }
    frame = pd.DataFrame(index=[_short(repr(loss)) for loss in losses])
    for name, T in models.items():
        found = [certify(loss, T) for loss in losses]
        column = f"{name} (c = {noise.clean_level(T):.3g})"
        frame[column] = [f.verdict + ("" if f.attained else ", in the limit") for f in found]
    return table(frame)


def _rows_of_the_tables(names):
    rows = [(name, dataset) for name in names for dataset in paper.DATASETS]
    return [(name, dataset) for name, dataset in rows if name in paper.ROWS[dataset]]


def _joined(rows):
    """One row for data sets that differ in nothing else."""
    joined = {}
    for row in rows:
        dataset = row.pop("data set")
        joined.setdefault(tuple(row.items()), []).append(dataset)
    frame = pd.DataFrame([dict(row) for row in joined])
    frame.insert(1, "data set", [", ".join(datasets) for datasets in joined.values()])
    return frame


def _short(text):
    return text.replace(repr(LOG_1E_4), "ln 1e-4")
