"""Every cell of Tables 1, 2 and 3: mean and standard deviation in percent, as printed.

Tables 1 and 2 report three runs; Table 3 has no standard deviation. The copy of the paper that we
read breaks off in Table 1, before CIFAR-100. Five of those ten rows are known because later papers
quote them (NLNL: the epsilon-softmax paper; the others: a study of robust losses as curricula); the
other five have no target. The bold print of each column's top three is lost, and not guessed here.
"""

from dataclasses import dataclass

from alfs_utils.losses.settings import ROWS

__all__ = ["CELLS", "NO_TARGET", "PRINTED", "QUOTED", "RERUN_2024", "Cell", "cell", "cells"]

PRINTED = "printed"
QUOTED = "quoted by a later paper"
NO_TARGET = "no target in hand"

# Clean, then symmetric noise: 0.2, 0.4, 0.6, 0.8. The rows stand in the paper's order.
_TABLE_1 = {
    "mnist": """
        CE         99.15±0.05  91.62±0.39  73.98±0.27  49.36±0.43  22.66±0.61
        FL         99.13±0.09  91.68±0.14  74.54±0.06  50.39±0.28  22.65±0.26
        GCE        99.27±0.05  98.86±0.07  97.16±0.03  81.53±0.58  33.95±0.82
        NLNL       98.61±0.13  98.02±0.14  97.17±0.09  95.42±0.30  86.34±1.43
        SCE        99.23±0.10  98.92±0.12  97.38±0.15  88.83±0.55  48.75±1.54
        NCE        98.60±0.06  98.57±0.01  98.29±0.05  97.65±0.08  93.78±0.41
        NCE+RCE    99.36±0.05  99.14±0.03  98.51±0.06  95.60±0.21  74.00±1.68
        AUL        99.14±0.05  99.05±0.09  98.90±0.09  98.67±0.04  96.73±0.20
        AGCE       99.05±0.11  98.96±0.10  98.83±0.06  98.57±0.12  96.59±0.12
        AEL        99.03±0.05  98.93±0.06  98.78±0.13  98.51±0.06  96.40±0.11
    """,
    "cifar10": """
        CE         90.48±0.11  74.68±0.25  58.26±0.21  38.70±0.53  19.55±0.49
        FL         89.82±0.20  73.72±0.08  57.90±0.45  38.86±0.07  19.13±0.28
        GCE        89.59±0.26  87.03±0.35  82.66±0.17  67.70±0.45  26.67±0.59
        SCE        91.61±0.19  87.10±0.25  79.67±0.37  61.35±0.56  28.66±0.27
        NLNL       90.73±0.20  73.70±0.05  63.90±0.44  50.68±0.47  29.53±1.55
        NCE        75.65±0.26  72.89±0.25  69.49±0.39  62.64±0.18  41.49±0.66
        NCE+RCE    90.87±0.37  89.25±0.42  85.81±0.08  79.72±0.20  55.74±0.95
        AUL        91.27±0.12  89.21±0.09  85.64±0.19  78.86±0.66  52.92±1.20
        AGCE       88.95±0.22  86.98±0.12  83.39±0.17  76.49±0.53  44.42±0.74
        AEL        86.38±0.19  84.27±0.12  81.12±0.20  74.86±0.22  51.41±0.32
        NCE+AUL    91.10±0.13  89.31±0.20  86.23±0.18  79.70±0.08  59.44±1.14
        NCE+AGCE   90.94±0.12  89.21±0.08  86.19±0.15  80.13±0.18  50.82±1.46
        NCE+AEL    90.71±0.04  88.57±0.14  85.01±0.38  77.33±0.18  47.90±1.21
    """,
    "cifar100": """
        CE         71.33±0.43  56.51±0.39  39.92±0.10  21.39±1.17   7.59±0.20
        FL                  -           -           -           -           -
        GCE        63.09±1.39  61.57±1.06  56.11±1.35  45.28±0.61  17.42±0.06
        SCE                 -           -           -           -           -
        NLNL       68.72±0.60  46.99±0.91  30.29±1.64  16.60±0.90  11.01±2.48
        NCE        29.96±0.73  25.27±0.32  19.54±0.52  13.51±0.65   8.55±0.37
        NCE+RCE             -           -           -           -           -
        NCE+AUL    68.96±0.16  65.36±0.20  59.25±0.23  46.34±0.21  23.03±0.64
        NCE+AGCE            -           -           -           -           -
        NCE+AEL             -           -           -           -           -
    """,
}

# Asymmetric noise: 0.1, 0.2, 0.3, 0.4.
_TABLE_2 = {
    "mnist": """
        CE         97.57±0.22  94.56±0.22  88.81±0.10  82.27±0.40
        FL         97.58±0.09  94.25±0.15  89.09±0.25  82.13±0.49
        GCE        99.01±0.04  96.69±0.12  89.12±0.24  81.51±0.19
        NLNL       98.63±0.06  98.35±0.01  97.51±0.15  95.84±0.26
        SCE        99.14±0.04  98.03±0.05  93.68±0.43  85.36±0.17
        NCE        98.49±0.06  98.18±0.12  96.99±0.17  94.16±0.19
        NCE+RCE    99.35±0.03  98.99±0.22  97.23±0.20  90.49±4.04
        AUL        99.15±0.09  99.15±0.02  98.98±0.05  98.62±0.09
        AGCE       99.10±0.02  99.07±0.09  98.95±0.03  98.44±0.11
        AEL        98.99±0.05  99.06±0.07  98.90±0.15  98.34±0.08
    """,
    "cifar10": """
        CE         87.55±0.14  83.32±0.12  79.32±0.59  74.67±0.38
        FL         86.43±0.30  83.37±0.07  79.33±0.08  74.28±0.44
        GCE        88.33±0.05  85.93±0.23  80.88±0.38  74.29±0.43
        SCE        89.77±0.11  86.20±0.37  81.38±0.35  75.16±0.39
        NLNL       88.54±0.25  84.74±0.08  81.26±0.43  76.97±0.52
        NCE        74.06±0.27  72.46±0.32  69.86±0.51  65.66±0.42
        NCE+RCE    90.06±0.13  88.45±0.16  85.42±0.09  79.33±0.15
        AUL        90.19±0.16  88.17±0.11  84.87±0.04  56.33±0.07
        AGCE       88.08±0.06  86.67±0.14  83.59±0.15  60.91±0.20
        AEL        85.22±0.15  83.82±0.15  82.43±0.16  58.81±3.62
        NCE+AUL    90.05±0.20  88.72±0.26  85.48±0.18  79.26±0.05
        NCE+AGCE   90.35±0.15  88.48±0.16  85.96±0.24  80.00±0.44
        NCE+AEL    89.95±0.04  87.93±0.06  84.81±0.26  77.27±0.11
    """,
    "cifar100": """
        CE         64.85±0.37  58.11±0.32  50.68±0.55  40.17±1.31
        FL         64.78±0.50  58.05±0.42  51.15±0.84  41.18±0.68
        GCE        63.01±1.01  59.35±1.10  53.83±0.64  40.91±0.57
        SCE        61.63±0.84  53.81±0.42  45.63±0.07  36.43±0.20
        NLNL       59.55±1.22  50.19±0.56  42.81±1.13  35.10±0.20
        NCE        27.59±0.54  25.75±0.50  24.28±0.80  20.64±0.40
        NCE+RCE    66.38±0.16  62.97±0.24  55.38±0.49  41.68±0.56
        NCE+AUL    66.62±0.09  63.86±0.18  50.38±0.32  38.59±0.48
        NCE+AGCE   67.22±0.12  63.69±0.19  55.93±0.38  43.76±0.70
        NCE+AEL    66.92±0.22  62.50±0.23  52.42±0.98  39.99±0.12
    """,
}

# Top-1 accuracy on the validation set of WebVision "mini".
_TABLE_3 = {
    "webvision": """
        CE       66.96
        GCE      61.76
        SCE      66.92
        NCE+RCE  66.32
        NCE+AGCE 67.12
        AGCE     69.40
    """,
}

# CIFAR-100 as partly the same authors ran it again for a later paper, at the same protocol (Wang et
# al., NeurIPS 2024, Table 2), in the columns of Table 1 and of Table 2. It has no row NCE; its
# row NLNL is the paper's. These are no targets: no run is compared with them.
_RERUN_2024 = {
    1: """
        CE        70.79±0.58 56.21±2.04 39.31±0.74 22.38±0.74  7.33±0.10
        FL        70.58±0.34 56.32±1.43 40.83±0.52 22.44±0.54  7.68±0.37
        GCE       70.57±0.25 64.55±0.36 56.60±1.61 45.19±0.92 19.85±0.88
        SCE       70.41±0.20 55.23±0.76 40.23±0.29 21.44±0.52  7.63±0.24
        NCE+RCE   67.89±0.47 64.60±0.92 58.64±0.19 45.25±0.50 24.87±0.52
        NCE+AUL   69.55±0.40 65.12±0.36 55.86±0.20 37.88±0.32 12.69±0.14
        NCE+AGCE  68.78±0.24 65.30±0.46 59.95±0.15 47.63±0.94 24.13±0.06
        NCE+AEL   64.47±0.19 48.07±0.16 32.29±0.71 19.78±1.03 10.50±0.51
    """,
    2: """
        CE        65.10±0.74 58.26±0.31 49.99±0.54 41.15±1.04
        FL        65.00±0.46 58.12±0.44 51.16±1.32 41.46±0.38
        GCE       63.94±2.08 60.89±0.06 53.36±1.58 40.82±0.85
        SCE       64.54±0.30 57.62±0.70 50.17±0.19 41.01±0.74
        NCE+RCE   66.20±0.28 63.18±0.37 55.05±0.32 41.21±0.66
        NCE+AUL   67.06±0.23 58.16±0.17 48.06±0.16 38.30±0.12
        NCE+AGCE  67.15±0.40 64.21±0.17 56.18±0.24 44.15±0.08
        NCE+AEL   58.20±0.37 50.19±0.61 43.82±0.32 35.13±0.23
    """,
}

# Of each table: its text, and noise and eta of each column.
_TABLES = {
    1: (_TABLE_1, (("clean", 0.0), *(("symmetric", eta) for eta in (0.2, 0.4, 0.6, 0.8)))),
    2: (_TABLE_2, tuple(("asymmetric", eta) for eta in (0.1, 0.2, 0.3, 0.4))),
    3: (_TABLE_3, (("real-world", None),)),
}


@dataclass(frozen=True)
class Cell:
    """One accuracy of the paper.

    Attributes
    ----------
    table : {1, 2, 3}
    dataset, method : str
        A key of `ROWS` and one of its rows.
    noise : {"clean", "symmetric", "asymmetric", "real-world"}
    eta : float or None
        Noise rate; 0.0 for clean labels, None for real-world noise.
    mean, std : float or None
        In percent. None where no target is in hand; Table 3 prints no `std`.
    source : str
        `PRINTED`, `QUOTED` or `NO_TARGET`.
    """

    table: int
    dataset: str
    method: str
    noise: str
    eta: float | None
    mean: float | None
    std: float | None
    source: str

    @property
    def key(self) -> tuple:
        """(dataset, method, noise, eta), the arguments of `cell`."""
        return self.dataset, self.method, self.noise, self.eta

    @property
    def column(self) -> str:
        """Noise and rate in short, such as "clean", "sym .2", "asym .1" or "real-world"."""
        if not self.eta:
            return self.noise
        return f"{self.noise.removesuffix('metric')} {self.eta:.1f}".replace(" 0.", " .")


def _read(table):
    """The cells of one table, row by row as its text has them."""
    text, columns = _TABLES[table]
    for dataset, rows in text.items():
        in_hand = QUOTED if (table, dataset) == (1, "cifar100") else PRINTED
        for row in rows.strip().splitlines():
            method, *values = row.split()
            for (noise, eta), value in zip(columns, values, strict=True):
                mean, std = _number(value)
                source = NO_TARGET if mean is None else in_hand
                yield Cell(table, dataset, method, noise, eta, mean, std, source)


def _number(value):
    """Mean and standard deviation: "99.15±0.05", or "66.96" (Table 3), or "-" (no target)."""
    if value == "-":
        return None, None
    mean, _, std = value.partition("±")
    return float(mean), float(std) if std else None


# By data set, then by row in the order of `ROWS`, then by column: Table 1, Table 2.
CELLS = tuple(
    sorted(
        (c for table in _TABLES for c in _read(table)),
        key=lambda c: (list(ROWS).index(c.dataset), ROWS[c.dataset].index(c.method)),
    )
)


def _read_rerun():
    for table, text in _RERUN_2024.items():
        for row in text.strip().splitlines():
            method, *values = row.split()
            for column, value in zip(_TABLES[table][1], values, strict=True):
                yield ("cifar100", method, *column), _number(value)


# Mean and standard deviation by `Cell.key`.
RERUN_2024 = dict(_read_rerun())


def cell(dataset, method, noise, eta) -> Cell:
    """One cell, as in ``cell("mnist", "AGCE", "symmetric", 0.8).mean``; see `Cell`.

    Raises
    ------
    ValueError
        If there is no such cell; the message names the argument and what it may be.
    """
    found, given = CELLS, "the tables"
    for name, value in {"dataset": dataset, "method": method, "noise": noise, "eta": eta}.items():
        known = list(dict.fromkeys(getattr(c, name) for c in found))
        if value not in known:
            expected = ", ".join(map(str, known))
            raise ValueError(f"{name}: expected one of {expected} for {given}, got {value!r}")
        found = [c for c in found if getattr(c, name) == value]
        given = str(value) if name == "dataset" else f"{given}, {value}"
    return found[0]


def cells(tables=(1, 2)) -> list[dict]:
    """The cells of some tables as rows of a DataFrame: the attributes of `Cell` and its column."""
    return [vars(c) | {"column": c.column} for c in CELLS if c.table in tables]
