"""One figure style, and the few plots that several notebooks share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.axes import Axes

__all__ = ["COLOURS", "curves", "set_style", "table", "transition_heatmap"]

# Okabe & Ito's palette: told apart by readers with any common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]


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
