"""Hold pairs of runs against each other: the kernel of `training.fused`, and stock modules.

    python -m alfs_utils sweep --grid kernel-pairs --seeds 1 --results KERNEL
    ALFS_KERNEL=stock python -m alfs_utils sweep --grid kernel-pairs --seeds 1 --results STOCK
    python benchmarks/kernel_pairs.py KERNEL STOCK

The rule is in `alfs_utils.paper.precision`. Finished runs are kept in `benchmarks/kernel-pairs`;
chapter 11 shows them.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def main():
    from alfs_utils.paper import precision

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernel", type=Path)
    parser.add_argument("stock", type=Path)
    options = parser.parse_args()
    found = precision.kernel_pairs(options.kernel, options.stock)
    print(found.drop(columns=["device", "stock device"]).round(2).to_string(index=False))
    print(precision.kernel_answer(found))


if __name__ == "__main__":
    main()
