"""The checks of what the paper says of earlier losses, and wrong formulas that they must see."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import outcome
from test_checks import expected

from alfs_utils.losses import AELLoss, AGCELoss, GCELoss
from alfs_utils.paper.checks import earlier
from alfs_utils.paper.printed import CELLS


def cells(method, change):
    return [replace(c, mean=change(c)) if c.method == method and c.mean else c for c in CELLS]


MUTANTS = [
    ("gce_and_agce", {"gce": lambda q: GCELoss(q=q / 2)}),
    ("gce_and_agce", {"gce": lambda q: GCELoss(q=max(q, 1e-3))}),
    ("gce_and_agce", {"agce": lambda q: AGCELoss(a=1e-3, q=q)}),
    ("mae_weights", {"loss": AELLoss(a=2.5)}),
    ("nce_alone", {"cells": cells("NCE", lambda c: c.mean + 0.1)}),
    ("nce_gradient", {"bound": lambda k: 0.995 * earlier.gradient_bound(k)}),
    ("nce_gradient", {"bound": lambda k: 1 / (k * k * np.log(k))}),
    ("nce_gradient", {"bound": lambda k: 1 / np.log(k)}),
    ("noisy_labels_degrade", {"cells": cells("CE", lambda c: 50 - c.mean)}),
    ("noisy_labels_degrade", {"method": "AGCE"}),
    ("only_convex", {"flip": lambda l: l}),
    ("only_convex", {"flip": lambda l: -l}),
    ("only_convex", {"flip": lambda l: l[::-1] ** 2}),
    ("sce_and_rce", {"rce": lambda u, A: -A * (1 - u) / 2}),
    ("sce_and_rce", {"rce": lambda u, A: -A * (1 - u**2)}),
]


@pytest.mark.parametrize(("name", "wrong"), MUTANTS)
def test_a_wrong_formula_is_found(name, wrong):
    check = getattr(earlier, name)
    assert outcome(check(**wrong)) != expected(check)
