"""Hold pairs of runs against each other: the kernel of `training.fused`, and stock modules.

    python -m alfs_utils sweep --grid kernel-pairs --seeds 1 --results KERNEL
    ALFS_KERNEL=stock python -m alfs_utils sweep --grid kernel-pairs --seeds 1 --results STOCK
    python benchmarks/kernel_pairs.py KERNEL STOCK

Same protocol, other rounding: both runs of a pair have the same id, so each kind has a folder of
its own. The rule, fixed with the list of pairs in `paper.which_runs`: the 90 % interval of the mean
difference lies within +-0.25 points.

Finished runs are kept in `benchmarks/kernel-pairs`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def main():
    from alfs_utils import data, records
    from alfs_utils.paper import precision, which_runs

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernel", type=Path)
    parser.add_argument("stock", type=Path)
    options = parser.parse_args()
    differences = []
    for config in which_runs.kernel_pairs(data.find("mnist")):
        pair = [records.find(config, folder) for folder in (options.kernel, options.stock)]
        if None in pair:
            print(f"{config.loss:32} {config.precision:9} not yet run")
            continue
        kernels = [record["kernel"] for record in pair]
        if not kernels[0] or kernels[1] or any(record["mixed"] for record in pair):
            sys.exit(f"{config.loss}: expected a kernel and stock modules, got {kernels}")
        last = [record["test_accuracy"][-1] for record in pair]
        differences.append(last[0] - last[1])
        minutes = [record["cpu_seconds"] / 60 for record in pair]
        print(
            f"{config.loss:32} {config.precision:9} {last[0]:6.2f} {last[1]:6.2f} "
            f"{differences[-1]:+6.2f}  CPU minutes {minutes[0]:.1f} {minutes[1]:.1f}"
        )
    if len(differences) < 6:
        sys.exit(f"expected at least 6 pairs, got {len(differences)}")
    low, high = precision.interval(differences)
    held = -precision.BOUND < low and high < precision.BOUND
    print(f"mean difference {np.mean(differences):+.3f}, 90 % interval {low:+.3f} to {high:+.3f}")
    print(f"within +-{precision.BOUND} points: {'yes' if held else 'no'}")


if __name__ == "__main__":
    main()
