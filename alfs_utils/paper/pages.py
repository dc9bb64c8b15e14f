"""The tables of the chapters, as HTML that is the same on every run."""

from collections.abc import Iterable
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML

from alfs_utils import noise
from alfs_utils.asymmetry import Certificate, certify
from alfs_utils.classes import NUM_CLASSES
from alfs_utils.losses import LOG_1E_4, Loss, from_paper, loss_from_string, setting, value_and_pull
from alfs_utils.losses.settings import DATASETS, ROWS
from alfs_utils.paper.printed import CELLS, NO_TARGET, QUOTED, RERUN_2024
from alfs_utils.paper.statements import STATEMENTS
from alfs_utils.paper.verdicts import KINDS, VERDICTS

__all__ = [
    "OUTCOME_COLOURS",
    "VERDICT_COLOURS",
    "answers_table",
    "certificate_table",
    "claims_table",
    "comparison_table",
    "coverage_table",
    "kinds_table",
    "ledger_table",
    "not_yet_run",
    "other_runs_table",
    "pull_table",
    "reduced_table",
    "rerun_table",
    "runs_table",
    "settings_table",
    "table",
    "two_settings_table",
    "typeset",
    "verdict",
    "verdict_map",
    "verdict_table",
    "verdict_word",
]

# The states of a cell, see `comparison.outcome`, and the sign that goes with each colour.
OUTCOME_COLOURS = {
    "reproduced": "#009E73",
    "close": "#E69F00",
    "not reproduced": "#D55E00",
    "mixture": "#CC79A7",
    "preliminary": "#56B4E9",
    "not yet run": "#BBBBBB",
}
VERDICT_COLOURS = {
    "true": "#009E73",
    "true with a hidden assumption": "#56B4E9",
    "repaired": "#E69F00",
    "false": "#D55E00",
    "vacuous": "#999999",
    "proved here": "#0072B2",
    "refuted here": "#CC79A7",
}
OUTCOME_SIGNS = dict(zip(OUTCOME_COLOURS, "✓≈✗½~·", strict=True))
CERTIFICATE_MARKS = {
    "asymmetric": "●",
    "boundary": "●",
    "asymmetric in the limit": "◐",
    "not asymmetric": "○",
    "n/a": "×",
    "clean labels": "",
}
MARK_NAMES = {"●": "asymmetric", "◐": "in the limit", "○": "not asymmetric", "×": "none possible"}
LEDGER = '<p><a href="../ledger.csv">All runs of the book as one CSV file</a></p>'
PULL_COLUMNS = ["u = 1/k", "u = 1/2", "u = 1"]


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
    if index and frame.index.nlevels == frame.columns.nlevels == 1:  # its name into the corner
        frame = frame.rename_axis(index=None, columns=frame.columns.name or frame.index.name)
    styler = frame.style.format(formats, na_rep="–")
    html = (styler if index else styler.hide(axis="index")).set_uuid("table").to_html()
    return HTML(html.replace(repr(LOG_1E_4), "ln 1e-4"))


def ledger_table(frame: pd.DataFrame, formats=None, index=True) -> HTML:
    """Render a `table` of numbers from the ledger, with a link to all runs below."""
    return HTML(table(frame, formats, index).data + LEDGER)


def settings_table(*names: str) -> HTML:
    """The losses of rows of Tables 1 to 3, such as "AGCE", and how we know: `losses.setting`."""
    rows = []
    for name, dataset in _rows_of_the_tables(names):
        row = setting(name, dataset)
        columns = {"row": name, "data set": dataset, "loss": row.loss}
        rows.append(columns | {"known from": row.provenance, "why": row.reason})
    return table(_joined(rows), index=False)


def two_settings_table(dataset: str) -> HTML:
    """The rows of a data set for which the tables and the public configuration differ, and why."""
    rows = []
    for name in ROWS[dataset]:
        sources = ("tables", "repository")
        losses = [str(from_paper(name, dataset, source)) for source in sources]
        if losses[0] != losses[1]:
            columns = {"row": name, "tables": losses[0], "public configuration": losses[1]}
            rows.append(columns | {"why": setting(name, dataset).reason})
    return table(pd.DataFrame(rows), index=False)


def pull_table(*losses: str | Loss) -> HTML:
    """Pulls at u = 1/k, 1/2 and 1: of rows of Tables 1 to 3, or of one loss on every data set."""
    cells = []
    for item in losses:
        if isinstance(item, str):
            cells += [(setting(*row).loss, row[1]) for row in _rows_of_the_tables([item])]
        else:
            cells += [(repr(item), dataset) for dataset in DATASETS]
    rows = []
    for text, dataset in cells:
        k = NUM_CLASSES[dataset]
        _, pull = value_and_pull(loss_from_string(text), np.array([1 / k, 1 / 2, 1]), k)
        columns = {"loss": text, "data set": dataset, "k": k}
        rows.append(columns | dict(zip(PULL_COLUMNS, pull, strict=True)))
    return table(_joined(rows), dict.fromkeys(PULL_COLUMNS, "{:.3g}"), index=False)


def certificate_table(*losses: Loss) -> HTML:
    """Whether losses are asymmetric on four noise models with ten classes; see `certify`."""
    models = {
        "symmetric 0.2": noise.symmetric(10, 0.2),
        "symmetric 0.8": noise.symmetric(10, 0.8),
        "asymmetric 0.4": noise.asymmetric("cifar10", 0.4),
        "pair flip 0.45": noise.pairflip(10, 0.45),
    }
    frame = pd.DataFrame(index=[repr(loss) for loss in losses])
    for name, T in models.items():
        found = [certify(loss, T) for loss in losses]
        column = f"{name} (c = {noise.clean_level(T):.3g})"
        frame[column] = [verdict(f) for f in found]
    return table(frame)


def verdict(found: Certificate) -> str:
    """The verdict of a certificate, and what it is short of."""
    limit = "" if found.attained else ", in the limit"
    return found.verdict + limit + (f", up to {found.corner:g}" if found.corner else "")


def verdict_table(notebook: str | None = None) -> HTML:
    """The verdicts of one chapter's notebook, or all of them with their chapters and checks.

    On the site each row is an anchor, `#verdict-1` and so on in the order of `VERDICTS`, and leads
    to its statement: `#claim-MODULE-FUNCTION`, after the name of the check.
    """
    chosen = [
        (number, entry)
        for number, entry in enumerate(VERDICTS, start=1)
        if notebook in (None, entry.notebook)
    ]
    rows = "".join(
        _verdict_row(number, entry, everything=notebook is None) for number, entry in chosen
    )
    columns = [*["chapter"] * (notebook is None), "statement", "claim", "verdict", "what we found"]
    head = "".join(f"<th>{name}</th>" for name in columns)
    return HTML(
        f'<table class="alf-verdicts"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _verdict_row(number, entry, everything):
    place = f"#claim-{entry.check.replace('.', '-')}"
    word = verdict_word(entry.verdict)
    cells = {
        "statement": f'<a href="{place}">{escape(entry.statement)}</a>',
        "claim": typeset(entry.claim),
        "verdict": f'<a href="17-verdict.html#verdict-{number}">{word}</a>',
        "what we found": typeset(entry.finding),
    }
    if everything:
        chapter = f"{entry.notebook}.html"
        source = f"../book/api/checks.html#alfs_utils.paper.checks.{entry.check}"
        cells["statement"] = f'<a href="{chapter}{place}">{escape(entry.statement)}</a>'
        cells["verdict"] = f'{word}<br><a href="{source}">its check</a>'
        cells = {"chapter": f'<a href="{chapter}">{entry.chapter}</a>', **cells}
    row = f' id="verdict-{number}" data-verdict="{entry.verdict}" data-chapter="{entry.chapter}"'
    body = "".join(f'<td data-label="{name}">{text}</td>' for name, text in cells.items())
    return f"<tr{row if everything else ''}>{body}</tr>"


def verdict_word(verdict: str) -> str:
    """A verdict in bold behind a square of its colour."""
    return f'<span style="color:{VERDICT_COLOURS[verdict]}">■</span>&nbsp;<b>{verdict}</b>'


def verdict_map() -> HTML:
    """All verdicts as a picture: per word a row of squares, one for each statement."""
    rows = []
    for verdict, colour in VERDICT_COLOURS.items():
        tiles = [
            f'<a href="#verdict-{number}" title="{escape(entry.statement)}" '
            f'aria-label="{escape(entry.statement)}: {verdict}" style="background:{colour}">'
            "&nbsp;</a> "
            for number, entry in enumerate(VERDICTS, start=1)
            if entry.verdict == verdict
        ]
        rows.append(f"<tr><th>{verdict}</th><td>{len(tiles)}</td><td>{''.join(tiles)}</td></tr>")
    return HTML(f'<table class="alf-verdict-map">{"".join(rows)}</table>')


def typeset(text: str) -> str:
    """HTML of a text with formulas between dollar signs, which MathJax draws."""
    parts = escape(text, quote=False).split("$")
    parts[1::2] = [
        rf'<span class="math notranslate nohighlight">\({f}\)</span>' for f in parts[1::2]
    ]
    return "".join(parts)


def kinds_table() -> HTML:
    """The words of the verdicts and what each means."""
    rows = [{"verdict": verdict_word(word), "meaning": text} for word, text in KINDS.items()]
    return table(pd.DataFrame(rows), index=False)


def coverage_table() -> HTML:
    """Every statement of the paper in its order, and the verdicts on it, or why there is none."""
    chapters = {verdict.check: verdict.notebook for verdict in VERDICTS}
    rows = []
    for statement in STATEMENTS:
        places = [(chapters[c], f"#claim-{c.replace('.', '-')}") for c in statement.checks]
        links = (
            f'<a href="{name}.html{place}">{name.split("-")[0].lstrip("0")}</a>'
            for name, place in dict(places or [(statement.notebook, "")]).items()
        )
        rows.append(
            {
                "place": statement.place,
                "the paper says": typeset(statement.says),
                "answer": "; ".join(map(verdict_word, statement.words)) or statement.note,
                "chapter": ", ".join(links),
            }
        )
    return table(pd.DataFrame(rows), index=False)


def _rows_of_the_tables(names):
    rows = [(name, dataset) for name in names for dataset in DATASETS]
    return [(name, dataset) for name, dataset in rows if name in ROWS[dataset]]


def _joined(rows):
    """Join rows that differ in nothing but the data set."""
    joined = {}
    for row in rows:
        dataset = row.pop("data set")
        joined.setdefault(tuple(row.items()), []).append(dataset)
    frame = pd.DataFrame([dict(row) for row in joined])
    frame.insert(1, "data set", [", ".join(datasets) for datasets in joined.values()])
    return frame


def comparison_table(cells: pd.DataFrame, number: int) -> HTML:
    """Table 1 or 2 of the paper, shaded by its accuracies, with ours below where there are runs.

    Parameters
    ----------
    cells : DataFrame
        All cells of one data set, or at least those of the table.
    number : {1, 2}
    """
    low, high = cells["paper_mean"].min(), cells["paper_mean"].max()
    cells = cells[cells["table"] == number]
    shades = (cells["paper_mean"] - low) / (high - low)
    pairs = zip(cells.itertuples(), shades, strict=True)
    texts = cells.assign(text=[_cell_text(*pair) for pair in pairs])
    frame = texts.pivot(index="method", columns="column", values="text")
    frame = frame.reindex(index=cells["method"].unique(), columns=cells["column"].unique())
    frame = frame.rename_axis(index=None, columns=None)
    return HTML(f"{table(frame).data}<p>{_legend(cells)}</p>{LEDGER}")


def rerun_table() -> HTML:
    """CIFAR-100: the paper's means, below each that of a later rerun, `RERUN_2024`, and the gap."""
    rows = {}
    for cell in CELLS:
        if cell.key in RERUN_2024:
            mean, _ = RERUN_2024[cell.key]
            paper = "–" if cell.mean is None else f"{cell.mean:.2f}"
            gap = "" if cell.mean is None else f"<br>{_small(f'{mean - cell.mean:+.2f}')}"
            text = f"{paper}<br>{mean:.2f}{gap}"
            rows.setdefault(cell.method, {})[_tied(cell.column)] = text
    return table(pd.DataFrame(rows).T)


def _legend(cells):
    """What the signs in a `comparison_table` mean, those that are in it."""
    parts = ["The paper's accuracies: the bluer, the higher."]
    marks = {CERTIFICATE_MARKS[certificate] for certificate in cells["certificate"]}
    names = [f"{mark} {name}" for mark, name in MARK_NAMES.items() if mark in marks]
    if names:
        pointing = '<span class="alf-mouse"> (point at a cell for its c r)</span>'
        parts.append(f"Certificate: {', '.join(names)}{pointing}.")
    outcomes = [
        state for state in OUTCOME_COLOURS if state in set(cells["outcome"][cells["n"] > 0])
    ]
    if outcomes:
        badges = " ".join(map(_badge, outcomes))
        parts.append(f"Below it ours, the runs in brackets, and the difference: {badges}.")
    if (cells["source"] == NO_TARGET).any():
        parts.append(f"–: {NO_TARGET}.")
    if (cells["source"] == QUOTED).any():
        parts.append("†: quoted by a later paper.")
    return " ".join(parts)


def _cell_text(cell, shade):
    mark = "†" if cell.source == QUOTED else ""
    paper = "–" if np.isnan(cell.paper_mean) else f"{cell.paper_mean:.2f}{mark}"
    about = escape(f"{_printed(cell)}; {_certificate_text(cell)}")
    colour = f"rgba(0,114,178,{0 if np.isnan(shade) else 0.05 + 0.45 * shade:.2f})"
    style = f"background:{colour};padding:0 .3em;white-space:nowrap"
    shown = f"{paper} {CERTIFICATE_MARKS[cell.certificate]}"
    text = f'<span title="{about}" style="{style}">{shown}</span>'
    if cell.n:
        low = "" if cell.precision == "float32" else f", {cell.precision}"
        ours = f"{_plus_minus(cell.mean, cell.std)} ({cell.n}{low})"
        text += "<br>" + _badge(cell.outcome, cell.mixture or ours)
        text += f"<br>{_small(_difference(cell))}"
    return text


def _small(text):
    """Text smaller than the tables have it; the theme's <small> is larger."""
    return f'<span style="font-size:.85em">{text}</span>'


def _difference(cell):
    return "–" if np.isnan(cell.difference) else f"{cell.difference:+.2f}"


def _printed(cell):
    if cell.source == NO_TARGET:
        return cell.source
    return _plus_minus(cell.paper_mean, cell.paper_std)


def _certificate_text(cell):
    if np.isfinite(cell.c_r):
        return f"c r = {cell.c_r:.2f}" + (", boundary" if cell.certificate == "boundary" else "")
    return cell.certificate


def not_yet_run(
    done: pd.DataFrame, needed: int, what: str, command: str, estimate: str = "--estimate"
) -> HTML:
    """Say once for a page how many runs are missing, what makes them, and what they may cost.

    Parameters
    ----------
    done : DataFrame
        The runs that there are, rows of the ledger; a missing one is taken to cost as much.
    needed : int
        How many there should be.
    what : str
        What the runs are for.
    command : str
        What makes those that are missing.
    estimate : str
        What to add to it, or to say instead, to have some steps timed.

    Returns
    -------
    HTML
        Empty if no run is missing.
    """
    missing = needed - len(done)
    if missing <= 0:
        return HTML("")
    cost = "No such run is on record to estimate the cost from: "
    if len(done):
        minutes = done["seconds"] / 60
        took = f"The one that is done took {minutes.mean():.0f} minutes"
        if len(done) > 1:
            span = f"{minutes.min():.0f} to {minutes.max():.0f}"
            took = f"The {len(done)} that are done took {span} minutes each"
        cost = (
            f"{took}, so the rest is some {missing * minutes.mean() / 60:.0f} hours, one after "
            "the other. On your machine: "
        )
    return HTML(
        '<div class="admonition note"><p class="admonition-title">Not yet run: '
        f"{missing} of {needed} runs</p><p>{what} <code>{command}</code> makes them, and goes on "
        f"where it was stopped. {cost}<code>{estimate}</code> times some steps.</p></div>"
    )


def answers_table(answers: Iterable[tuple[str, bool | None]]) -> HTML:
    """Readings that were fixed before the runs, and whether they are true; None: not yet run."""
    words = {True: "<b>true</b>", False: "<b>not true</b>", None: "not yet run"}
    rows = [{"reading": reading, "answer": words[answer]} for reading, answer in answers]
    return table(pd.DataFrame(rows), index=False)


def _badge(outcome, text=""):
    """Sign and text on a see-through colour, which can be read on a light and on a dark page."""
    style = f"background:{OUTCOME_COLOURS[outcome]}55;padding:0 .3em"
    wrap = "" if outcome == "mixture" else ";white-space:nowrap"
    return f'<span style="{style}{wrap}">{OUTCOME_SIGNS[outcome]} {text or outcome}</span>'


def _plus_minus(mean, std):
    return f"{mean:.2f}" if np.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def runs_table(cells: pd.DataFrame, *first: str) -> HTML:
    """The cells that have runs: last, best and noisily chosen epoch, the outcome and the cost.

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
            "column": _tied(cell.column),
            "runs": cell.n,
            "paper": _tied(_printed(cell)),
            "last epoch": cell.mixture or _tied(_plus_minus(cell.mean, cell.std)),
            "ours − paper": _difference(cell),
            "outcome": _badge(cell.outcome),
            "best epoch": f"{cell.best:.2f}",
            "epoch chosen by noisy labels": f"{cell.noisy_validation:.2f}",
            "minutes": f"{60 * cell.hours:.1f}",
        }
        for cell in cells[cells["n"] > 0].itertuples()
    ]
    return _table_or("No cell has a run yet.", rows)


def _tied(text):
    """The text, which stays on one line however narrow its column is."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def other_runs_table(others: pd.DataFrame) -> HTML:
    """The runs that are no cells of the tables, see `comparison.split`, and why."""
    rows = [
        {
            "loss": run.loss,
            "noise": f"{run.noise} {run.eta:g}",
            "seed": run.noise_seed,
            "differs from the tables by": run.reason,
            "last epoch": "–" if np.isnan(run.last) else f"{run.last:.2f}",
        }
        for run in others.itertuples()
    ]
    return _table_or("There are no such runs yet.", rows)


def claims_table(claims: pd.DataFrame) -> HTML:
    """The ranking sentences of the paper, as `comparison.check_claims` returns them.

    What our runs say of them stands beside once one of them says anything.
    """
    rows = [
        {
            "the paper says": f"“{claim.quotation}”",
            "read as": claim.reading,
            "its own tables": f"<b>{claim.paper}</b>: {claim.paper_cells}",
            "our runs": f"<b>{claim.ours}</b>: {claim.our_cells}",
        }
        for claim in claims.itertuples()
    ]
    if not claims["our_cells"].str.contains("for|against").any():
        for row in rows:
            del row["our runs"]
    return _table_or("No sentence is about these cells.", rows)


def _table_or(nothing, rows):
    if not rows:
        return HTML(f"<p>{nothing}</p>{LEDGER}")
    return ledger_table(pd.DataFrame(rows), index=False)


def reduced_table(runs: pd.DataFrame) -> HTML:
    """Scores and cost of reduced runs, see `which_runs.reduced_runs`, one row per method."""
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


def columns_of_the_tables():
    """ "clean", "sym .2", ...: the columns of Tables 1 and 2, in their order."""
    return list(dict.fromkeys(cell.column for cell in CELLS if cell.table < 3))
