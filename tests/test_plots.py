"""Plots for general use: that they draw the numbers that they were given."""

import matplotlib.pyplot as plt

from alfs_utils import plots
from alfs_utils.losses import AELLoss


def test_eight_losses_are_drawn_as_well():
    """There are seven colours and six kinds of lines."""
    left, _ = plots.loss_and_pull({f"a = {a}": AELLoss(a=a) for a in range(1, 9)}).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in left.get_lines()}
    assert len(left.get_lines()) == 8 and len({colour for colour, _ in looks}) == 7
    assert len(left.get_legend().get_texts()) == 8
    plt.close("all")
