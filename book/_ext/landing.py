"""What the landing page says in numbers, its picture and its citations: made from the records.

`facts` are the words `{{ ... }}` of the landing page and of "Take home". They are computed whenever
the site is built; a sentence of the pages that the records no longer bear out stops the build.
"""

import math
import re
import sys
from collections import Counter
from html import escape
from pathlib import Path

import numpy as np
import yaml
from docutils import nodes
from docutils.parsers.rst import Directive

BASELINES = "GCE", "SCE", "NCE+RCE"
ASYMMETRIC = "AUL", "AGCE", "AEL"
PAGES = "book/preface", "book/take-home"
COLOURS = {"CE": "#0072b2", "AUL": "#e69f00", "AGCE": "#009e73", "AEL": "#56b4e9"}  # as book.css


def root_of(app):
    """The repository: the site is built from a copy of its sources, which lies below it."""
    folders = [Path(app.confdir), *Path(app.confdir).parents]
    return next(folder for folder in folders if (folder / "alfs_utils").is_dir())


def hardest_runs(root):
    """By method, the runs of `explorables.runs_of_mnist` at the highest symmetric rate."""
    import explorables

    runs = [run for run in explorables.runs_of_mnist(root) if run["noise"] == "symmetric"]
    highest = max(run["eta"] for run in runs)
    return {run["method"]: run for run in runs if run["eta"] == highest}


def facts(root):
    """The numbers of the pages as texts, by the names that these give them."""
    parts = of_the_runs(root), of_the_verdicts(), of_the_cells(root), of_the_short_runs(root)
    return {name: text for part in (*parts, of_the_losses()) for name, text in part.items()}


def fill_in(app, docname, source):
    """Put the facts into the text of a page that has some."""
    if docname in PAGES and "{{" in source[0]:
        known = facts(root_of(app))
        source[0] = re.sub(r"\{\{ (\w+) \}\}", lambda word: known[word[1]], source[0])
        app.alf_landing = True


def of_the_runs(root):
    runs = hardest_runs(root)
    if not {"CE", *ASYMMETRIC} <= {*runs}:
        raise ValueError("the landing page needs runs of CE, AUL, AGCE and AEL on MNIST")
    ce, agce = runs["CE"], runs["AGCE"]
    return {
        "rate": f"{100 * ce['eta']:.0f}",
        "epochs": str(len(ce["accuracy"])),
        "ce_repeats": f"{ce['repeated'][-1] / 10:.0f}",
        "ce_reads": f"{ce['last']:.0f}",
        "ce_best": f"{ce['best'][1]:.0f}",
        "ce_best_epoch": str(ce["best"][0][0]),
        "agce_repeats": f"{agce['repeated'][-1] / 10:.0f}",
        "agce_reads": f"{agce['last']:.0f}",
        "run_ids": ", ".join(f"{name} `{run['id']}`" for name, run in runs.items()),
    }


def of_the_verdicts():
    from alfs_utils.paper.verdicts import VERDICTS

    theirs = [verdict for verdict in VERDICTS if not verdict.ours]
    counts = Counter(verdict.verdict for verdict in theirs)
    if {v.verdict for v in theirs if v.statement.startswith("Corollary")} != {"true"}:
        raise ValueError("the landing page says that the corollaries are true")
    return {
        "statements": str(len(theirs)),
        "ours": str(len(VERDICTS) - len(theirs)),
        "hidden": str(counts["true with a hidden assumption"]),
        "holds": str(counts["true"]),
        "repaired": str(counts["repaired"]),
        "fails": str(counts["false"]),
        "empty": str(counts["vacuous"]),
    }


def of_the_cells(root):
    import pandas as pd

    from alfs_utils import records
    from alfs_utils.paper import comparison

    ledger = records.load(root / "results")
    cells = pd.concat([comparison.compare(ledger, name) for name in comparison.DATASETS])
    run = cells[cells["n"] > 0]
    gap = run["difference"].abs()
    far = run.loc[gap.idxmax()]
    return {
        "cells": str(len(cells)),
        "cells_run": str(len(run)),
        "seeds": "one seed" if run["n"].max() == 1 else f"one to {run['n'].max():.0f} seeds",
        "furthest": f"{far['method']}, {far['noise']} {far['eta']:g} on {far['dataset'].upper()}",
        "furthest_points": f"{gap.max():.1f}",
        "within_one": str((gap <= 1).sum()),
    }


def of_the_short_runs(root):
    """How many first epochs on MNIST at asymmetric noise 0.4 lose a class, of AGCE and of CE."""
    from alfs_utils.paper import census

    losing = {n: census.losing(census.runs_of(root / "results", (n,))) for n in ("AGCE", "CE")}
    if losing["CE"].k:
        raise ValueError("the landing page says that cross entropy loses no class")
    return {
        "losing": str(losing["AGCE"].k),
        "short_runs": str(losing["AGCE"].n),
        "short_runs_ce": str(losing["CE"].n),
    }


def of_the_losses():
    """Clean levels of two kinds of noise at one rate; the limit of `recommend`; AGCE and GCE."""
    from alfs_utils import noise, recommend
    from alfs_utils.losses import GCELoss, from_paper

    u = np.linspace(0, 1, 10001)
    gap = from_paper("AGCE", "webvision").of_probability(u) - GCELoss(q=0.5).of_probability(u)
    return {
        "c_symmetric": f"{noise.clean_level(noise.symmetric(10, 0.4)):.3g}",
        "c_asymmetric": f"{noise.clean_level(noise.asymmetric('cifar10', 0.4)):.3g}",
        "slow": f"{recommend.SLOW:g}",
        "gap": f"{np.abs(np.asarray(gap)).max():.4f}",
    }


# --- the picture ------------------------------------------------------------------------------

LEFT, TOP, RIGHT, BOTTOM = 48, 44, 700, 330
PERCENTS = {"x": (0, 1, 5, 20, 50, 100), "y": (20, 40, 60, 80, 100)}


def picture(runs):
    """An SVG of test accuracy against wrong labels repeated: a line per run, its end a dot."""
    order = [name for name in (*BASELINES, "CE", *ASYMMETRIC) if name in runs]
    said = "; ".join(
        f"{name} ends with {runs[name]['repeated'][-1] / 10:.0f} % of the wrong labels repeated and"
        f" {runs[name]['last']:.0f} % of the test images right"
        for name in order
    )
    label = escape(f"One line per loss, epoch by epoch. {said}.")
    lines = "".join(trajectory(name, runs[name]) for name in order)
    return (
        f'<svg class="alf-hero" role="img" viewBox="0 0 720 378" aria-label="{label}">'
        f"{axes()}{lines}{legend()}</svg>"
    )


def place(repeated, accuracy):
    """Two percentages as a point: the first on a square-root scale, the second from 20 % on."""
    x = LEFT + (RIGHT - LEFT) * math.sqrt(repeated / 100)
    y = BOTTOM - (BOTTOM - TOP) * (accuracy - 20) / 80
    return round(x, 1), round(y, 1)


def axes():
    parts = []
    for percent in PERCENTS["y"]:
        _, y = place(0, percent)
        parts.append(f'<path class="alf-grid" d="M{LEFT} {y}H{RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{percent}</text>')
    for percent in PERCENTS["x"]:
        x, _ = place(percent, 20)
        parts.append(f'<text x="{x}" y="{BOTTOM + 18}" text-anchor="middle">{percent}</text>')
    what = "% of the wrong training labels that the network repeats (square-root scale)"
    parts.append(f'<text x="{RIGHT}" y="{BOTTOM + 40}" text-anchor="end">{what}</text>')
    parts.append('<text x="8" y="16">% of the test images right</text>')
    return "".join(parts)


def trajectory(name, run):
    points = [
        place(repeated / 10, accuracy / 10)
        for repeated, accuracy in zip(run["repeated"], run["accuracy"], strict=True)
    ]
    x, y = points[-1]
    path = "M" + "L".join(f"{px} {py}" for px, py in points)
    side = f'x="{x + 9}"' if x < RIGHT - 60 else f'x="{x}" text-anchor="end"'
    text = "" if name in ASYMMETRIC else f'<text {side} y="{y - 9}">{name}</text>'
    kind = "other" if name in BASELINES else name
    return f'<g class="alf-{kind}"><path d="{path}"/><circle cx="{x}" cy="{y}" r="5"/>{text}</g>'


def legend():
    """The asymmetric losses end in one place, so their names stand in a row above it."""
    return "".join(
        f'<g class="alf-{name}"><circle cx="{150 + 80 * at}" cy="30" r="5"/>'
        f'<text x="{160 + 80 * at}" y="35">{name}</text></g>'
        for at, name in enumerate(ASYMMETRIC)
    )


def write_preview(app, exception):
    """The same picture as a PNG of the size that previews of links have."""
    if exception is not None or not hasattr(app, "alf_landing"):
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.3), dpi=100)
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.08, 0.13, 0.86, 0.62))
    for name, run in hardest_runs(root_of(app)).items():
        colour = COLOURS.get(name, "#9a9a9a")
        percents = [[value / 10 for value in run[key]] for key in ("repeated", "accuracy")]
        ax.plot(*percents, color=colour, linewidth=3)
        ax.plot(*(values[-1] for values in percents), "o", color=colour, markersize=11)
    ax.set_xscale("function", functions=(np.sqrt, np.square))
    ax.set_xticks(PERCENTS["x"])
    ax.set(xlim=(0, 102), ylim=(18, 102))
    ax.set_xlabel("% of the wrong labels repeated", fontsize=17)
    ax.set_ylabel("% of the test images right", fontsize=17)
    ax.tick_params(labelsize=15)
    ax.spines[["top", "right"]].set_visible(False)
    figure.text(0.08, 0.88, app.config.html_title or app.config.project, fontsize=34)
    figure.text(0.08, 0.81, "Which loss functions survive wrong labels?", fontsize=22, color="#555")
    figure.savefig(Path(app.outdir) / "_static" / "preview.png")


class Hero(Directive):
    """The picture of the landing page as a figure; the content is its caption."""

    has_content = True

    def run(self):
        root = root_of(self.state.document.settings.env.app)
        figure = nodes.figure("", nodes.raw("", picture(hardest_runs(root)), format="html"))
        figure["ids"] = ["fig-hero"]
        words, _ = self.state.inline_text(" ".join(self.content), self.lineno)
        figure += nodes.caption("", "", *words)
        return [figure]


# --- citing -----------------------------------------------------------------------------------


class CiteThis(Directive):
    """The book and the paper as BibTeX, from CITATION.cff."""

    def run(self):
        root = root_of(self.state.document.settings.env.app)
        text = bibtex(yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8")))
        block = nodes.literal_block(text, text, language="bibtex")
        return [block]


def bibtex(citation):
    """Two entries: the work that a CITATION.cff describes, and the first that it refers to."""
    paper = citation["references"][0]
    people = " and ".join(f"{a['family-names']}, {a['given-names']}" for a in paper["authors"])
    book = {
        "author": "{" + citation["authors"][0]["name"] + "}",
        "title": citation["title"],
        "note": f"Version {citation['version']}",
    }
    if "/OWNER/" not in citation["repository-code"]:
        book["url"] = citation["repository-code"]
    there = {
        "author": people,
        "title": paper["title"],
        "booktitle": paper["collection-title"],
        "year": str(paper["year"]),
    }
    return f"{entry('software', 'alfbook', book)}\n\n{entry('inproceedings', 'zhou2021', there)}"


def entry(kind, key, fields):
    lines = ",\n".join(f"  {name:<9} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}\n}}"


def setup(app):
    root = root_of(app)
    for folder in (root, Path(__file__).parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    app.add_directive("hero", Hero)
    app.add_directive("cite-this", CiteThis)
    app.connect("env-get-outdated", lambda app, *_: PAGES)  # the records may be new
    app.connect("source-read", fill_in)
    app.connect("build-finished", write_preview)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
