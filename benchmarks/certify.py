"""Time `certify` on ten classes: closed forms, piecewise linear losses, enclosures, callables.

    python benchmarks/certify.py [--rounds 5]

Three noise models: symmetric 0.8 (ten rows that are alike), asymmetric 0.4 on CIFAR-10, and a
matrix with ten different rows close to the boundary. A cell is the fastest round in CPU seconds,
the first call included, with the verdict; beside it the ratio to the closed form of AGCE, whose
budget is 50 ms. That of the enclosures is 2 s.
"""

import argparse
import random
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from alfs_utils import noise
from alfs_utils.asymmetry import PiecewiseLinear, certify
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss, NCELoss, Normalized


def different_rows(k=10):
    T = 0.1 * np.random.default_rng(7).random((k, k)) + 0.13 * np.eye(k)
    return T / T.sum(axis=1, keepdims=True)


def knots():
    values = [2 * (12 - j) + Fraction((j * j) % 5, 4) for j in range(13)]
    return PiecewiseLinear([Fraction(j, 12) for j in range(13)], values)


MODELS = {
    "symmetric 0.8": noise.symmetric(10, 0.8),
    "asymmetric 0.4": noise.asymmetric("cifar10", 0.4),
    "ten rows": different_rows(),
}
CASES = {  # made anew in every round: an enclosure remembers what it knows of l
    "AGCE": lambda: AGCELoss(0.2, 0.5),
    "normalised AEL": lambda: Normalized(AELLoss(2.0)),
    "NCE + AGCE": lambda: NCELoss() + 4.0 * AGCELoss(6.0, 1.5),
    "13 knots": knots,
    "AGCE + AGCE, convex + concave": lambda: AGCELoss(0.1, 0.5) + AGCELoss(0, 2),
    "AEL + AUL, convex + concave": lambda: AELLoss(0.3) + 0.3 * AULLoss(1.2, 0.3),
    "normalised AUL + AGCE": lambda: Normalized(AULLoss(1.1, 3) + AGCELoss(0, 1.2)),
    "callable": lambda: lambda u: (4 - u) ** 2,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    jobs = [(name, model) for name in CASES for model in MODELS]
    best, verdicts = dict.fromkeys(jobs, float("inf")), {}
    order = list(jobs)
    for _ in range(options.rounds):
        random.Random(0).shuffle(order)
        for name, model in order:
            loss = CASES[name]()
            start = time.process_time()
            verdicts[name, model] = certify(loss, MODELS[model]).verdict
            best[name, model] = min(best[name, model], time.process_time() - start)
    print(f"{'':<30}" + "".join(f"{model:>36}" for model in MODELS))
    for name in CASES:
        cells = (
            f"{verdicts[name, model]} {best[name, model]:8.4f} s "
            f"({best[name, model] / best['AGCE', model]:6.1f})"
            for model in MODELS
        )
        print(f"{name:<30}" + "".join(f"{cell:>36}" for cell in cells))


if __name__ == "__main__":
    main()
