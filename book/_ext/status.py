"""The page on the state of this edition: what was run, when and with what, and what was checked.

It is made whenever the site is built, from the notebooks that the site shows, the records under
`results/`, the verdicts and the tests. A notebook says which run its outputs are of: `executed` in
its metadata, which `tools/build.py` writes.
"""

import ast
import json
import re
from collections import Counter
from pathlib import Path

from landing import of_the_cells, root_of

PAGE = "book/status"
HYPHEN = "\N{NON-BREAKING HYPHEN}"  # a date stays on one line
COLUMNS = {"date": "executed", "seconds": "seconds", "python": "Python", "torch": "torch"}


def fill_in(app, docname, source):
    if docname == PAGE:
        root, known = root_of(app), {}
        for part in (of_notebooks(Path(app.srcdir)), of_runs(root), of_verdicts(), of_tests(root)):
            known |= part
        source[0] = re.sub(r"\{\{ (\w+) \}\}", lambda word: known[word[1]], source[0])


def of_notebooks(folder):
    """When the notebooks of the table of contents were executed, and how many cells they have."""
    names = re.findall(r"(?m)file: (notebooks/\S+)", (folder / "_toc.yml").read_text())
    rows, cells, compared = [], 0, 0
    for name in names:
        notebook = json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))
        run = notebook["metadata"].get("executed")
        if run:
            values = [str(run[key]).replace("-", HYPHEN) for key in COLUMNS]
            rows.append([f"[](../{name}.ipynb)", *values])
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        cells += len(code)
        compared += sum("nbval-ignore-output" not in c["metadata"].get("tags", []) for c in code)
    said = [markdown(["page", *COLUMNS.values()], rows)] if rows else []
    if len(rows) < len(names):
        many = len(names) - len(rows)
        said.append(f"For {many} of the {len(names)} pages this is not yet recorded.")
    counts = {"notebooks": len(names), "code_cells": cells, "compared": compared}
    return {"executed": "\n\n".join(said)} | {
        name: f"{number:,}" for name, number in counts.items()
    }


def of_runs(root):
    """The records, by data set and precision."""
    from alfs_utils import records

    ledger, rows = records.load(root / "results"), []
    for (dataset, precision), runs in ledger.groupby(["dataset", "precision"]):
        devices = ", ".join(f"{n} on {kind}" for kind, n in Counter(runs["device"]).items())
        hours = f"{runs['seconds'].sum() / 3600:.1f}"
        versions = ", ".join(sorted({text.split("+")[0] for text in runs["torch"]}))
        rows.append([f"`{dataset}`", precision, str(len(runs)), hours, versions, devices])
    head = ["data set", "precision", "runs", "hours", "torch", "device"]
    short = root / "results" / "lost-classes" / "short-runs.jsonl"
    return {
        "runs": markdown(head, rows),
        "run_count": str(len(ledger)),
        "short_runs": f"{len(short.read_text(encoding='utf-8').splitlines()):,}",
        **{name: of_the_cells(root)[name] for name in ("cells", "cells_run")},
    }


def of_verdicts():
    from alfs_utils.paper.verdicts import KINDS, VERDICTS

    counts = Counter((v.verdict, v.ours) for v in VERDICTS)
    rows = [[word, str(counts[word, False]), str(counts[word, True])] for word in KINDS]
    totals = [str(sum(v.ours is ours for v in VERDICTS)) for ours in (False, True)]
    return {
        "verdicts": markdown(
            ["verdict", "of the paper", "of our own"], [*rows, ["**together**", *totals]]
        ),
        "checks": str(len({v.check for v in VERDICTS})),
    }


def of_tests(root):
    """The test functions under tests/; most of them run on several cases."""
    files = sorted((root / "tests").glob("test_*.py"))
    functions = [
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    return {"tests": f"{len(functions):,}", "test_files": str(len(files))}


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def setup(app):
    app.connect("env-get-outdated", lambda app, *_: [PAGE])
    app.connect("source-read", fill_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
