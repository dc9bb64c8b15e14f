"""The book's figure style, and the figures that several chapters share."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib_inline.backend_inline import set_matplotlib_formats

from alfs_utils.losses.settings import ROWS
from alfs_utils.paper.pages import OUTCOME_COLOURS, OUTCOME_SIGNS, columns_of_the_tables
from alfs_utils.plots import COLOURS, curve, curves

__all__ = [
    "accuracy_curves",
    "cell_states",
    "method_look",
    "ours_and_theirs",
    "reduced_figure",
    "set_style",
]


def set_style(vector: bool = True) -> None:
    """Set the book's figure style: legible at 700 px, opaque white, colour-blind safe.

    Parameters
    ----------
    vector : bool
        Whether a notebook stores its figures as SVG; False, a finer PNG, is for clouds of points.
    """
    sns.set_theme(context="notebook", style="whitegrid", palette=COLOURS)
    plt.rcParams |= {
        "figure.figsize": (7, 4),
        "figure.dpi": 110 if vector else 180,
        "figure.constrained_layout.use": True,
        "savefig.facecolor": "white",
        "svg.hashsalt": "alf",  # the same figure is the same file
        "axes.spines.top": False,
        "axes.spines.right": False,
        "lines.linewidth": 2,
    }
    if get_ipython() is not None:
        if vector:
            set_matplotlib_formats("svg", metadata={"Date": None})
        else:
            set_matplotlib_formats("png")


def accuracy_curves(runs: pd.DataFrame, dataset: str) -> Figure | None:
    """Draw the test accuracy per epoch, a panel per column of the tables; None without runs.

    Parameters
    ----------
    runs : DataFrame
        Runs of the tables' protocol on one data set, with `method` and `column`.
    dataset : str
        Decides which method has which line, whatever runs there are.
    """
    shown = [name for name in columns_of_the_tables() if name in set(runs["column"])]
    if not shown:
        return None
    width = min(2, len(shown))
    rows = -(-len(shown) // width)
    figure, axes = plt.subplots(
        rows, width, figsize=(7, 2.6 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax, column in zip(axes.flat, shown, strict=False):
        here = runs[runs["column"] == column]
        for method in ROWS[dataset]:
            histories = list(here.loc[here["method"] == method, "test_accuracy"])
            if histories:
                curve(ax, method_look(method), method, histories)
        ax.set_title(column, fontsize=10)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    for ax in axes.flat[: len(shown)]:
        _label_lines(ax, fits=16)
    for ax in axes.flat[max(0, len(shown) - width) : len(shown)]:
        ax.set_xlabel("epoch", fontsize=10)  # one for the figure would lie under the lines' names
    figure.supylabel("accuracy on clean test labels (%)", fontsize=10)
    return figure


def method_look(method: str) -> dict[str, Any]:
    """Colour and line of a row of the tables: the paper's own losses in colour, the others grey."""
    own = {"AUL": COLOURS[4], "AGCE": COLOURS[2], "AEL": COLOURS[5]}
    family = method.removeprefix("NCE+")
    if family not in own:
        return {"color": "0.6", "linestyle": "-", "linewidth": 1, "zorder": 2}
    style = "-" if family == method else "--"
    return {"color": own[family], "linestyle": style, "linewidth": 1.8, "zorder": 3}


def _label_lines(ax: Axes, fits: int) -> None:
    """Write the name of each line beside its right end and lead to it; names keep a distance.

    Parameters
    ----------
    ax : Axes
        Its limits are final.
    fits : int
        How many names fit on top of each other.
    """
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    lines = [line for line in lines if np.isfinite(line.get_ydata()).any()]
    lines.sort(key=_end)
    low, high = ax.get_ylim()
    gap, places = (high - low) / fits, []
    for line in lines:
        places.append(max(_end(line), places[-1] + gap if places else low))
    for number in range(len(places)):
        places[-1 - number] = min(places[-1 - number], high - number * gap)
    for line, place in zip(lines, places, strict=True):
        colour = "0.4" if line.get_color() == "0.6" else line.get_color()
        ax.annotate(
            line.get_label(),
            (line.get_xdata()[-1], _end(line)),
            (1.05, place),
            textcoords=ax.get_yaxis_transform(),
            color=colour,
            fontsize=8,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkB": 0},
        )


def _end(line):
    values = np.asarray(line.get_ydata(), dtype=float)
    return values[np.isfinite(values)][-1]


def reduced_figure(runs: pd.DataFrame) -> Figure | None:
    """Draw the accuracy of `which_runs.reduced_runs`, and the wrong labels that they repeat."""
    if not len(runs):
        return None
    shown = {
        "test_accuracy": "accuracy on clean\ntest labels (%)",
        "memorised": "wrong training labels\nrepeated (%)",
    }
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.2))
    for ax, (column, label) in zip(axes, shown.items(), strict=True):
        by_method = runs.groupby("method", sort=False)[column]
        curves(ax, {name: list(values) for name, values in by_method})
        ax.set_ylabel(label, fontsize=10)
    lines = axes[0].get_legend_handles_labels()
    for ax in axes:
        ax.get_legend().remove()
    figure.legend(*lines, loc="outside lower center", ncols=5, fontsize=9)
    run = runs.iloc[0]
    size, epochs = f"{run.train_size:,} images", f"{run.epochs} epochs"
    figure.suptitle(f"REDUCED: {run.dataset}, {size}, {epochs}, {run.model}", fontsize=10)
    return figure


def ours_and_theirs(cells: pd.DataFrame) -> Figure:
    """Draw the paper's accuracies against the noise rate, by certificate, and ours on top.

    A line per method, those of the paper's own losses in colour. Filled marks are cells whose loss
    is certified as asymmetric (NCE plus an asymmetric loss: in the limit), hollow ones those whose
    loss is not; a cross has no certificate.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7, 4.4), sharey=True)
    for ax, kind in zip(axes, ("symmetric", "asymmetric"), strict=True):
        for method in cells["method"].unique():
            line = method_look(method)
            here = cells[(cells["method"] == method) & cells["noise"].isin([kind, "clean"])]
            ax.plot(here["eta"], here["paper_mean"], **line, label=method)
            for cell in here.itertuples():
                mark = _mark(cell.certificate, line["color"])
                ax.plot(cell.eta, cell.paper_mean, **mark, zorder=line["zorder"])
            ran = here[here["n"] > 0]
            star = {"color": line["color"], "mec": "black", "markersize": 11, "zorder": 4}
            ax.plot(ran["eta"], ran["mean"], "*", **star)
        ax.set(title=f"{kind} noise", xlabel=r"noise rate $\eta$", xticks=here["eta"])
    axes[0].set_ylabel("accuracy on clean test labels (%)")
    for ax in axes:
        _label_lines(ax, fits=28)
    return figure


def _mark(certificate, colour):
    if certificate == "n/a":
        return {"marker": "x", "color": colour}
    filled = certificate.startswith("asymmetric") or certificate == "clean labels"
    return {"marker": "o", "color": colour, "mfc": colour if filled else "white", "markersize": 5}


def cell_states(cells: pd.DataFrame) -> Figure:
    """Draw every cell in the colour of its outcome; `cells` may be of several data sets."""
    names = list(cells["dataset"].unique())
    figure, axes = plt.subplots(1, len(names), figsize=(7, 4.4))
    states = list(OUTCOME_COLOURS)
    for ax, name in zip(axes, names, strict=True):
        here = cells[cells["dataset"] == name]
        grid = here.assign(state=here["outcome"].map(states.index)).pivot(
            index="method", columns="column", values="state"
        )
        grid = grid.reindex(index=here["method"].unique(), columns=here["column"].unique())
        ax.pcolormesh(
            grid,
            cmap=ListedColormap(list(OUTCOME_COLOURS.values())),
            vmin=-0.5,
            vmax=len(states) - 0.5,
            edgecolors="white",
        )
        ax.set_xticks(np.arange(grid.shape[1]) + 0.5, grid.columns, rotation=90, fontsize=8)
        ax.set_yticks(np.arange(grid.shape[0]) + 0.5, grid.index, fontsize=8)
        for (row, column), state in np.ndenumerate(grid.to_numpy()):
            sign = OUTCOME_SIGNS[states[state]]
            ax.text(column + 0.5, row + 0.5, sign, ha="center", va="center", fontsize=8)
        ax.invert_yaxis()
        ax.set_title(name)
        ax.grid(visible=False)
    patches = [Patch(color=OUTCOME_COLOURS[s], label=f"{OUTCOME_SIGNS[s]} {s}") for s in states]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, fontsize=8)
    return figure
