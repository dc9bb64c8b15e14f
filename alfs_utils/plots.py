"""One figure style, and the few plots that several notebooks share."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from alfs_utils import noise, paper
from alfs_utils.asymmetry import certify
from alfs_utils.losses import LOG_1E_4, Loss, loss_from_string

__all__ = [
    "COLOURS",
    "VERDICT_COLOURS",
    "accuracy_curves",
    "cell_states",
    "claims_table",
    "comparison_table",
    "curves",
    "ledger_table",
    "loss_and_pull",
    "other_runs_table",
    "ours_and_theirs",
    "pull_table",
    "runs_table",
    "set_style",
    "settings_table",
    "table",
    "transition_heatmap",
    "two_settings_table",
    "verdict_table",
]

# Okabe & Ito's palette: told apart by readers with any common colour vision.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
# The states of a cell, see `records.verdict`, and the sign that goes with each colour.
VERDICT_COLOURS = {
    "reproduced": "#009E73",
    "close": "#E69F00",
    "not reproduced": "#D55E00",
    "preliminary": "#56B4E9",
    "not yet run": "#BBBBBB",
}
VERDICT_SIGNS = dict(zip(VERDICT_COLOURS, "✓≈✗~·", strict=True))
LEDGER = '<p><a href="../ledger.csv">All runs of the book as one CSV file</a></p>'
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
    for number, (name, runs) in enumerate(histories.items()):
        _curve(ax, number, name, runs)
    ax.set_xlabel("epoch")
    ax.legend()


def _curve(ax, number, name, runs):
    values = np.asarray(runs)
    epochs = np.arange(1, values.shape[1] + 1)
    line = _line(number)
    ax.plot(epochs, values.mean(axis=0), **line, label=name)
    low, high = values.min(axis=0), values.max(axis=0)
    ax.fill_between(epochs, low, high, color=line["color"], alpha=0.2, linewidth=0)


def _line(number):
    """Colour and style of the line with this number: the first 28 differ."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": ("-", "--", "-.", ":")[number % 4],
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
    styler = frame.style.format(formats, na_rep="–")
    return HTML((styler if index else styler.hide(axis="index")).set_uuid("table").to_html())


def ledger_table(frame: pd.DataFrame, formats=None, index=True) -> HTML:
    """A `table` of something read from the ledger, with the link to all of it."""
    return HTML(table(frame, formats, index).data + LEDGER)


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


def two_settings_table(dataset: str) -> HTML:
    """The rows of a data set for which the tables and the public configuration differ, and why."""
    rows = []
    for name in paper.ROWS[dataset]:
        sources = ("tables", "repository")
        losses = [str(paper.paper_loss(name, dataset, source)) for source in sources]
        if losses[0] != losses[1]:
            columns = {"row": name, "tables": losses[0], "public configuration": losses[1]}
            rows.append(columns | {"why": paper.setting(name, dataset).reason})
    return table(pd.DataFrame(rows).map(_short), index=False)


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


# --- the pages of the tables ----------------------------------------------------------------
# `cells` is what `reproduction.compare` returns, `runs` the first part of `reproduction.split`.


def comparison_table(cells: pd.DataFrame, number: int) -> HTML:
    """Table 1 or 2 of the paper with ours below each cell, coloured by the verdict.

    Parameters
    ----------
    cells : DataFrame
        All cells of one data set, or at least those of the table.
    number : {1, 2}
    """
    cells = cells[cells["table"] == number]
    texts = cells.assign(text=[_cell_text(cell) for cell in cells.itertuples()])
    frame = texts.pivot(index="method", columns="setting", values="text")
    frame = frame.reindex(index=cells["method"].unique(), columns=cells["setting"].unique())
    frame = frame.rename_axis(index=None, columns=None)
    legend = " ".join(_badge(name, f"{VERDICT_SIGNS[name]} {name}") for name in VERDICT_COLOURS)
    quoted = "† quoted by a later paper. " if (cells["source"] == paper.QUOTED).any() else ""
    parts = "the paper's; ours (runs), its difference and verdict; the certificate"
    note = f"Each cell: {parts}. {quoted}{legend}"
    return HTML(f"{table(frame).data}<p>{note}</p>{LEDGER}")


def _cell_text(cell):
    mark = "†" if cell.source == paper.QUOTED else ""
    ours = f"{_plus_minus(cell.mean, cell.std)} ({cell.n})" if cell.n else cell.verdict
    ours = _badge(cell.verdict, f"{VERDICT_SIGNS[cell.verdict]} {ours}")
    if cell.n:
        ours += "<br>" + _small(_tied(f"{_difference(cell)} {cell.verdict}"))
    return f"{_printed(cell)}{mark}<br>{ours}<br>{_small(_certificate_text(cell))}"


def _small(text):
    """The theme's <small> is larger than its tables."""
    return f'<span style="font-size:.85em">{text}</span>'


def _difference(cell):
    return "–" if np.isnan(cell.difference) else f"{cell.difference:+.2f}"


def _printed(cell):
    if cell.source == paper.NO_TARGET:
        return cell.source
    return _plus_minus(cell.paper_mean, cell.paper_std)


def _certificate_text(cell):
    if np.isfinite(cell.c_r):
        return f"c r = {cell.c_r:.2f}" + (", boundary" if cell.certificate == "boundary" else "")
    return cell.certificate


def _badge(verdict, text):
    """Text on a see-through colour, which keeps it readable on a light and on a dark page."""
    style = f"background:{VERDICT_COLOURS[verdict]}55;padding:0 .3em;white-space:nowrap"
    return f'<span style="{style}">{text}</span>'


def _plus_minus(mean, std):
    return f"{mean:.2f}" if np.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def runs_table(cells: pd.DataFrame, *first: str) -> HTML:
    """The cells that have runs: last, best and noisily chosen epoch, the verdict and the cost.

    Parameters
    ----------
    cells : DataFrame
    *first : str
        Columns to put in front, such as "dataset" where there are several.
    """
    rows = [
        {name: getattr(cell, name) for name in first}
        | {
            "method": cell.method,
            "setting": _tied(cell.setting),
            "runs": cell.n,
            "paper": _tied(_printed(cell)),
            "last epoch": _tied(_plus_minus(cell.mean, cell.std)),
            "ours − paper": _difference(cell),
            "verdict": _badge(cell.verdict, f"{VERDICT_SIGNS[cell.verdict]} {cell.verdict}"),
            "best epoch": f"{cell.best:.2f}",
            "epoch chosen by noisy labels": f"{cell.noisy_validation:.2f}",
            "minutes a run": f"{60 * cell.hours:.1f}",
        }
        for cell in cells[cells["n"] > 0].itertuples()
    ]
    return _table_or("No cell has a run yet.", rows)


def _tied(text):
    """The text in one line, however narrow the column."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def other_runs_table(others: pd.DataFrame) -> HTML:
    """The runs that are no cells of the tables, see `reproduction.split`, and why."""
    rows = [
        {
            "loss": _short(run.loss),
            "noise": f"{run.noise} {run.eta:g}",
            "seed": run.noise_seed,
            "differs from the tables by": run.reason,
            "last epoch": "–" if np.isnan(run.last) else f"{run.last:.2f}",
        }
        for run in others.itertuples()
    ]
    return _table_or("There are no such runs yet.", rows)


def claims_table(claims: pd.DataFrame) -> HTML:
    """The ranking sentences of the paper, as `reproduction.check_claims` returns them."""
    rows = [
        {
            "the paper says": f"“{claim.quotation}”",
            "read as": claim.reading,
            "its own tables": f"<b>{claim.paper}</b>: {claim.paper_cells}",
            "our runs": f"<b>{claim.ours}</b>: {claim.our_cells}",
        }
        for claim in claims.itertuples()
    ]
    return _table_or("No sentence is about these cells.", rows)


def _table_or(nothing, rows):
    if not rows:
        return HTML(f"<p>{nothing}</p>{LEDGER}")
    return ledger_table(pd.DataFrame(rows), index=False)


def accuracy_curves(runs: pd.DataFrame, dataset: str) -> Figure | None:
    """Test accuracy per epoch: a panel per noise setting, a line per method; None without runs.

    Parameters
    ----------
    runs : DataFrame
        Runs of the tables' protocol on one data set, with `method` and `setting`.
    dataset : str
        Decides which method has which line, whatever runs there are.
    """
    settings = [s for s in _settings() if s in set(runs["setting"])]
    if not settings:
        return None
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(7, 2.4 * rows + 0.8), sharex=True, sharey=True, squeeze=False
    )
    for ax, setting in zip(axes.flat, settings, strict=False):
        here = runs[runs["setting"] == setting]
        for number, method in enumerate(paper.ROWS[dataset]):
            histories = list(here.loc[here["method"] == method, "test_accuracy"])
            if histories:
                _curve(ax, number, method, histories)
        ax.set_title(setting, fontsize=10)
    for ax in axes.flat[len(settings) :]:
        ax.axis("off")
    found = [zip(*ax.get_legend_handles_labels(), strict=True) for ax in axes.flat]
    lines = {label: line for pairs in found for line, label in pairs}
    lines = {method: lines[method] for method in paper.ROWS[dataset] if method in lines}
    figure.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=5, fontsize=8)
    for ax in axes.flat[max(0, len(settings) - columns) : len(settings)]:
        ax.set_xlabel("epoch", fontsize=10)  # one for the figure would lie under the legend
    figure.supylabel("accuracy on clean test labels (%)", fontsize=10)
    return figure


def reduced_figure(runs: pd.DataFrame) -> Figure | None:
    """Curves of reduced runs, see `grids.reduced_runs`: accuracy, and wrong labels repeated."""
    if not len(runs):
        return None
    shown = {
        "test_accuracy": "accuracy on clean\ntest labels (%)",
        "memorised": "wrong training labels\nrepeated (%)",
    }
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.2))
    for ax, (curve, label) in zip(axes, shown.items(), strict=True):
        by_method = runs.groupby("method", sort=False)[curve]
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


def reduced_table(runs: pd.DataFrame) -> HTML:
    """Scores and cost of reduced runs, see `grids.reduced_runs`, one row per method."""
    rows = [
        {
            "method": method,
            "runs": len(group),
            "last epoch": f"{group['last'].mean():.2f}",
            "best epoch": f"{group['best'].mean():.2f}",
            "wrong labels repeated, %": f"{group['repeated'].mean():.1f}",
            "CPU minutes a run": f"{group['cpu_seconds'].mean() / 60:.1f}",
        }
        for method, group in runs.groupby("method", sort=False)
    ]
    return _table_or("There are no such runs yet.", rows)


def _settings():
    return list(dict.fromkeys(cell.setting for cell in paper.CELLS if cell.table < 3))


def ours_and_theirs(cells: pd.DataFrame) -> Figure:
    """The paper's accuracies against the noise rate, by certificate, and ours on top.

    A line per method; filled marks are cells whose loss is certified as asymmetric (NCE plus an
    asymmetric loss: in the limit), hollow ones those whose loss is not; a cross has no certificate.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7, 4.4), sharey=True)
    methods = list(cells["method"].unique())
    for ax, kind in zip(axes, ("symmetric", "asymmetric"), strict=True):
        for number, method in enumerate(methods):
            line = _line(number)
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
    """Every cell of Tables 1 and 2 coloured by its verdict; `cells` of several data sets."""
    names = list(cells["dataset"].unique())
    figure, axes = plt.subplots(1, len(names), figsize=(7, 4.4))
    states = list(VERDICT_COLOURS)
    for ax, name in zip(axes, names, strict=True):
        here = cells[cells["dataset"] == name]
        grid = here.assign(state=here["verdict"].map(states.index)).pivot(
            index="method", columns="setting", values="state"
        )
        grid = grid.reindex(index=here["method"].unique(), columns=here["setting"].unique())
        ax.pcolormesh(
            grid,
            cmap=ListedColormap(list(VERDICT_COLOURS.values())),
            vmin=-0.5,
            vmax=len(states) - 0.5,
            edgecolors="white",
        )
        ax.set_xticks(np.arange(grid.shape[1]) + 0.5, grid.columns, rotation=90, fontsize=8)
        ax.set_yticks(np.arange(grid.shape[0]) + 0.5, grid.index, fontsize=8)
        for (row, column), state in np.ndenumerate(grid.to_numpy()):
            sign = VERDICT_SIGNS[states[state]]
            ax.text(column + 0.5, row + 0.5, sign, ha="center", va="center", fontsize=8)
        ax.invert_yaxis()
        ax.set_title(name)
        ax.grid(visible=False)
    patches = [Patch(color=VERDICT_COLOURS[s], label=f"{VERDICT_SIGNS[s]} {s}") for s in states]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, fontsize=8)
    return figure
