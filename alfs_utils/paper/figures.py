"""The book's figure style, and the figures that several chapters share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from alfs_utils.losses.settings import ROWS
from alfs_utils.paper.pages import OUTCOME_COLOURS, OUTCOME_SIGNS, columns_of_the_tables
from alfs_utils.plots import COLOURS, curve, curves, line_style

__all__ = ["accuracy_curves", "cell_states", "ours_and_theirs", "reduced_figure", "set_style"]


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
    width = min(3, len(shown))
    rows = -(-len(shown) // width)
    figure, axes = plt.subplots(
        rows, width, figsize=(7, 2.4 * rows + 0.8), sharex=True, sharey=True, squeeze=False
    )
    for ax, column in zip(axes.flat, shown, strict=False):
        here = runs[runs["column"] == column]
        for number, method in enumerate(ROWS[dataset]):
            histories = list(here.loc[here["method"] == method, "test_accuracy"])
            if histories:
                curve(ax, number, method, histories)
        ax.set_title(column, fontsize=10)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes.flat]
    lines = {label: line for pairs in found for line, label in pairs}
    lines = {method: lines[method] for method in ROWS[dataset] if method in lines}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5, fontsize=8)
    for ax in axes.flat[max(0, len(shown) - width) : len(shown)]:
        ax.set_xlabel("epoch", fontsize=10)  # one for the figure would lie under the legend
    figure.supylabel("accuracy on clean test labels (%)", fontsize=10)
    return figure


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

    A line per method; filled marks are cells whose loss is certified as asymmetric (NCE plus an
    asymmetric loss: in the limit), hollow ones those whose loss is not; a cross has no certificate.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7, 4.4), sharey=True)
    methods = list(cells["method"].unique())
    for ax, kind in zip(axes, ("symmetric", "asymmetric"), strict=True):
        for number, method in enumerate(methods):
            line = line_style(number)
            here = cells[(cells["method"] == method) & cells["noise"].isin([kind, "clean"])]
            ax.plot(here["eta"], here["paper_mean"], **line, linewidth=1, label=method)
            for cell in here.itertuples():
                ax.plot(cell.eta, cell.paper_mean, **_mark(cell.certificate, line["color"]))
            ran = here[here["n"] > 0]
            ax.plot(ran["eta"], ran["mean"], "*", color=line["color"], mec="black", markersize=11)
        ax.set(title=f"{kind} noise", xlabel=r"noise rate $\eta$", xticks=here["eta"])
    axes[0].set_ylabel("accuracy on clean test labels (%)")
    handles, labels = axes[0].get_legend_handles_labels()
    (star,) = axes[0].plot([], [], "*", color="white", mec="black", markersize=11)
    figure.legend(
        [*handles, star], [*labels, "ours"], loc="outside lower center", ncols=5, fontsize=8
    )
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
    figure.legend(handles=patches, loc="outside lower center", ncols=5, fontsize=8)
    return figure
