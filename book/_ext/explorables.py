"""Pictures to touch: script, style and data for pages that have a `div.alf-explorable`.

Pages are opened from the disk, so the data is a classic script, too, which assigns one global. It
is written whenever the site is built, from the ledger and the library; nothing is kept by hand.
The library is imported late: `write_files` first finds the repository that it lies in.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
from landing import root_of

MARK = "alf-explorable"
DATA = "explorables-data.js"
SCRIPT = "explorables.js"
# Names beside the dots tell them apart, too.
COLOURS = {
    "CE": "#0072b2",
    "FL": "#8a8a8a",
    "GCE": "#d55e00",
    "NLNL": "#9a6a4f",
    "SCE": "#cc79a7",
    "NCE": "#8f8f2a",
    "NCE+RCE": "#7c6fc4",
    "AUL": "#e69f00",
    "AGCE": "#009e73",
    "AEL": "#3fa7e0",
}


def runs_of_mnist(root: Path) -> list[dict]:
    """The curves of the paper's protocol on MNIST: for each method and noise, the first seed.

    The hardest noise comes first.
    """
    from alfs_utils import records
    from alfs_utils.losses.settings import ROWS
    from alfs_utils.paper import comparison

    runs, _ = comparison.split(records.load(root / "results"), "mnist")
    runs = runs[runs["eta"] > 0].drop_duplicates(["method", "noise", "eta"])  # the first seed
    methods = list(ROWS["mnist"])
    rows = sorted(
        runs.itertuples(),
        key=lambda row: (row.noise != "symmetric", -row.eta, methods.index(row.method)),
    )
    return [_run(row) for row in rows]


def _run(row):
    """Curves in tenths of a percent; epochs count from 1."""
    return {
        "id": row.id,
        "method": row.method,
        "noise": row.noise,
        "eta": row.eta,
        "accuracy": np.rint(np.multiply(row.test_accuracy, 10)).astype(int).tolist(),
        "repeated": np.rint(np.multiply(row.memorised, 10)).astype(int).tolist(),
        "best": [[int(np.argmax(row.test_accuracy)) + 1], round(row.best, 2)],
        # One epoch per half of the test images, see `training.History.noisy_validation`.
        "chosen": [
            (np.argmax(row.half_agreement, axis=0) + 1).tolist(),
            round(row.noisy_validation, 2),
        ],
        "last": round(row.last, 2),
    }


def count_tables(root: Path) -> dict:
    """Counts (class x given label) with the names of the classes, to start from."""
    import pandas as pd

    found = {}
    for name in ("worst", "random1"):
        path = root / "results" / "human" / f"cifar10n-{name}.csv"
        frame = pd.read_csv(path, comment="#", index_col=0)
        found[f"CIFAR-10N {name}"] = {
            "names": list(frame.columns),
            "counts": frame.to_numpy().tolist(),
        }
    found["tumours"] = {"names": ["malignant", "benign"], "counts": tumours().tolist()}
    return found


def tumours() -> np.ndarray:
    """The 150 checked rows of the guide "Which loss for my data?", section 5."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import train_test_split

    from alfs_utils import noise

    y = load_breast_cancer().target
    y, _ = train_test_split(y, random_state=0, stratify=y)
    noisy = noise.corrupt(y, [[0.3, 0.7], [0.05, 0.95]], seed=0)
    chosen = np.random.default_rng(0).choice(len(y), 150, replace=False)
    return noise.count_matrix(clean=noisy.clean[chosen], noisy=noisy.labels[chosen])


def rows_of_noise(tables: dict) -> dict:
    """Of each noise, the class that binds: its own label and its two strongest rivals."""
    from alfs_utils import noise

    worst = np.array(tables["CIFAR-10N worst"]["counts"], float)
    models = {
        "symmetric, rate 0.8": noise.symmetric(10, 0.8),
        "asymmetric, rate 0.4": noise.asymmetric("cifar10", 0.4),
        "CIFAR-10N worst": worst / worst.sum(axis=1, keepdims=True),
    }
    return {name: _binding_row(T) for name, T in models.items()}


def _binding_row(T):
    from alfs_utils import noise

    i = int(noise.class_clean_levels(T).argmin())
    rivals = np.sort(np.delete(T[i], i))[::-1][:2]
    row = np.r_[T[i, i], rivals]
    return (row / row.sum()).tolist()


def destinations() -> dict:
    """Where the labels go that change, of noise models with one destination per class."""
    from alfs_utils import noise

    names = {"asymmetric, MNIST": "mnist", "asymmetric, CIFAR-10": "cifar10"}
    return {
        title: noise.asymmetric(name, 1.0).argmax(axis=1).tolist() for title, name in names.items()
    }


def data(root: Path) -> dict:
    """Everything that the pictures show and do not compute."""
    tables = count_tables(root)
    return {
        "runs": runs_of_mnist(root),
        "tables": tables,
        "rows": rows_of_noise(tables),
        "colours": COLOURS,
        "destinations": destinations(),
    }


def script() -> str:
    """The script as pages get it."""
    return shortened(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))


def shortened(source: str) -> str:
    """Without comments, which have lines of their own, and without blanks that mean nothing.

    Text in quotes stays as it is; so do blanks beside + and -, which may be two operators. Every
    statement ends in a semicolon or a brace, hence lines can be joined.
    """
    code = re.sub(r"^\s*//.*\n|^\s+", "", source, flags=re.MULTILINE)
    parts = re.split(r'("[^"\n]*"|`[^`]*`)', code)
    parts[::2] = [re.sub(r"\s?([=>,{}()?:*;<|&!])\s?", r"\1", part) for part in parts[::2]]
    return "".join(parts)


def write(root: Path, folder: Path) -> None:
    """Write script and data into a folder, which must be there."""
    text = json.dumps(data(root), separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    (folder / DATA).write_text(f"window.ALF_DATA={text};\n", encoding="utf-8")
    (folder / SCRIPT).write_text(script(), encoding="utf-8")


def add_files(app, pagename, templatename, context, doctree):
    """Load them on this page only if it has a picture to touch."""
    if MARK in context.get("body", ""):
        app.alf_explorables = True
        app.add_css_file("explorables.css")
        for name in (DATA, SCRIPT):
            app.add_js_file(name, loading_method="defer")


def write_files(app, exception):
    """Also where no such page was written again: the ledger may have grown."""
    folder = Path(app.outdir) / "_static"
    if exception is None and (hasattr(app, "alf_explorables") or (folder / DATA).exists()):
        root = root_of(app)
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        write(root, folder)


def setup(app):
    app.connect("html-page-context", add_files)
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
