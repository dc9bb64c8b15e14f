"""What the paper used, printed and claims, as data: settings, tables, claims, verdicts.

"The paper" is Zhou, Liu, Jiang, Gao and Ji, "Asymmetric Loss Functions for Learning with Noisy
Labels", ICML 2021. `settings` has the losses of its tables, `tables` the printed accuracies,
`claims` its sentences on which loss ranks where, `verdicts` our verdict on every statement and the
points at which paper and public code differ.
"""

from alfs_utils.paper.claims import CLAIMS, Claim, Outcome
from alfs_utils.paper.settings import (
    DATASETS,
    NAMES,
    PROVENANCES,
    ROWS,
    Setting,
    paper_loss,
    setting,
    value_and_pull,
)
from alfs_utils.paper.tables import CELLS, NO_TARGET, PRINTED, QUOTED, Cell, cell, cells
from alfs_utils.paper.verdicts import (
    DISAGREEMENTS,
    FINDINGS,
    KINDS,
    VERDICTS,
    Disagreement,
    Verdict,
)

__all__ = [
    "CELLS",
    "CLAIMS",
    "DATASETS",
    "DISAGREEMENTS",
    "FINDINGS",
    "KINDS",
    "NAMES",
    "NO_TARGET",
    "PRINTED",
    "PROVENANCES",
    "QUOTED",
    "ROWS",
    "VERDICTS",
    "Cell",
    "Claim",
    "Disagreement",
    "Outcome",
    "Setting",
    "Verdict",
    "cell",
    "cells",
    "paper_loss",
    "setting",
    "value_and_pull",
]
