"""Plots for general use: losses and their pull, noise, curves of several runs."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alfs_utils.losses import Loss, value_and_pull

__all__ = ["COLOURS", "curves", "line_style", "loss_and_pull", "transition_heatmap"]

# Okabe & Ito's palette: told apart by readers with any common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


def curves(ax: Axes, histories: dict[str, list[list[float]]]) -> None:
    """Draw one line per method, the mean over its runs, with the runs' full range shaded.

    Parameters
    ----------
    ax : Axes
    histories : dict of str to list of list of float
        For each method, one list of values per run, one value per epoch.
    """
    for number, (name, runs) in enumerate(histories.items()):
        curve(ax, line_style(number), name, runs)
    ax.set_xlabel("epoch")
    ax.legend()


def curve(ax: Axes, line: dict[str, Any], name: str, runs: list[list[float]]) -> None:
    values = np.asarray(runs)
    epochs = np.arange(1, values.shape[1] + 1)
    ax.plot(epochs, values.mean(axis=0), **line, label=name)
    low, high = values.min(axis=0), values.max(axis=0)
    ax.fill_between(epochs, low, high, color=line["color"], alpha=0.2, linewidth=0)


def line_style(number: int) -> dict[str, Any]:
    """Return colour and style of the line with this number; the first 42 differ."""
    styles = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1))]
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": styles[number % len(styles)],
    }


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
    ax.imshow(T, vmin=0, vmax=1, cmap="cividis")
    ax.grid(False)
    if annotate:
        for i, j in zip(*np.nonzero(T), strict=True):
            colour = "black" if T[i, j] > 0.5 else "white"
            text = f"{T[i, j]:.2f}".lstrip("0")
            ax.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
    ticks = range(len(T)) if annotate else []
    ax.set(xticks=ticks, yticks=ticks)
    ax.set(title=title, xlabel="given label $j$", ylabel="true class $i$")


def loss_and_pull(
    losses: dict[str, Loss], k: int = 10, relative: bool = False, top: float = 5
) -> Figure:
    """Draw losses (left) and their pulls (right) against u, see `value_and_pull`.

    Parameters
    ----------
    losses : dict of str to Loss
    k : int
        Number of classes; matters to normalised losses and NLNL only.
    relative : bool
        Divide both by the pull at u = 1, and mark the clean levels of two noise models: a convex
        loss is asymmetric iff its curve, at u = 0, is not above the line.
    top : float
        Upper end of the left panel, if losses are higher.
    """
    u = np.linspace(0.002, 1, 500)
    figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.2))
    highest = 0.0
    for number, (name, loss) in enumerate(losses.items()):
        value, pull = value_and_pull(loss, u, k)
        if relative:
            value, pull = (value - value[-1]) / pull[-1], pull / pull[-1]
        line = {"label": name, **line_style(number)}
        left.plot(u, value, **line)
        right.plot(u[pull > 0], pull[pull > 0], **line)
        highest = max(highest, float(value.max()))
    top = min(1.05 * highest, top)
    left.set(xlabel="$u$", ylabel=r"loss $\ell(u)$", ylim=(-0.03 * top, top))
    right.set(xlabel="$u$", ylabel=r"pull $-\ell'(u)$, log scale", yscale="log")
    right.set_ylim(bottom=max(right.get_ylim()[0], 1e-2))
    if relative:
        left.set_ylabel(r"$(\ell(u) - \ell(1))$ / pull at $u = 1$")
        right.set(ylabel="pull relative to $u = 1$", yscale="linear", ylim=(0, 4))
        for c, name in [(9 / 4, "symmetric 0.8"), (3 / 2, "asymmetric 0.4")]:
            right.axhline(c, color="grey", linewidth=1)
            axes = right.get_yaxis_transform()  # beside the panel, where no curve crosses it
            right.text(1.02, c, f"$c$ of\n{name}", transform=axes, va="center", fontsize=8)
    left.legend(fontsize=8)
    return figure
