"""Time `corrupt` against the usual loop of one multinomial draw per sample.

Run from the repository root: python benchmarks/noise.py. Prints a table; exits 1 if i.i.d. noise,
which is what the loop draws, is less than 50 times faster in some case. One thread; the four run
in turn and the least time counts, of 3 calls for a loop and of 60 for ours.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from alfs_utils.noise import asymmetric, corrupt, symmetric

REQUIRED = 50


def loop(labels, T, seed):
    """Draw noisy labels as the code of the field does, one sample at a time."""
    state = np.random.RandomState(seed)
    noisy = labels.copy()
    for n, i in enumerate(labels):
        drawn = state.multinomial(1, T[i], 1)[0]
        noisy[n] = np.where(drawn == 1)[0][0]
    return noisy


def lean_loop(labels, T, seed):
    """Draw them with the cheapest such loop."""
    state = np.random.RandomState(seed)
    noisy = labels.copy()
    for n, i in enumerate(labels):
        noisy[n] = state.multinomial(1, T[i]).argmax()
    return noisy


def best(function, labels, T, calls=1, **options):
    """Least time of some calls, in milliseconds."""
    times = []
    for seed in range(calls):
        start = time.perf_counter()
        function(labels, T, seed, **options)
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def main():
    shuffle = np.random.default_rng(0).permutation
    mnist, cifar10, cifar100 = (
        shuffle(np.arange(k).repeat(n)) for k, n in ((10, 6000), (10, 5000), (100, 500))
    )
    cases = {
        "60k, k=10, symmetric 0.4": (mnist, symmetric(10, 0.4)),
        "60k, k=10, asymmetric 0.4": (mnist, asymmetric("mnist", 0.4)),
        "50k, k=10, symmetric 0.4": (cifar10, symmetric(10, 0.4)),
        "50k, k=100, symmetric 0.4": (cifar100, symmetric(100, 0.4)),
        "50k, k=100, symmetric 0.8": (cifar100, symmetric(100, 0.8)),
        "50k, k=100, asymmetric 0.4": (cifar100, asymmetric("cifar100", 0.4)),
    }
    print(f"{'ms (times faster than the loop)':32}loop  lean loop           iid         exact")
    worst = np.inf
    for name, (labels, T) in cases.items():
        rounds = [
            (
                best(loop, labels, T),
                best(lean_loop, labels, T),
                best(corrupt, labels, T, calls=20),
                best(corrupt, labels, T, calls=20, counts="exact"),
            )
            for _ in range(3)
        ]
        base, lean, iid, exact = np.min(rounds, axis=0)
        print(
            f"{name:31}{base:5.0f} {lean:10.0f} {iid:7.2f} ({base / iid:3.0f}) "
            f"{exact:7.2f} ({base / exact:3.0f})"
        )
        worst = min(worst, base / iid)
    print(f"i.i.d. at least {worst:.0f} times faster, required {REQUIRED}")
    return int(worst < REQUIRED)


if __name__ == "__main__":
    sys.exit(main())
