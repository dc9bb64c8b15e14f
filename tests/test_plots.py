"""Plots for general use: that they draw the numbers that they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from alfs_utils import plots
from alfs_utils.losses import AELLoss, AGCELoss


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_a_matrix_has_its_entries_where_its_colours_are(ax):
    T = np.array([[0.9, 0.1, 0], [0, 0.4, 0.6], [0.3, 0, 0.7]])
    plots.transition_heatmap(ax, T, "T")
    places = {text.get_text(): text.get_position() for text in ax.texts}
    expected = {f"{T[i, j]:.2f}".lstrip("0"): (j, i) for i, j in np.argwhere(T)}
    assert places == expected and np.array_equal(ax.images[0].get_array(), T)
    assert ("given" in ax.get_xlabel(), "true" in ax.get_ylabel()) == (True, True)


def test_a_curve_is_the_mean_of_the_runs_and_its_band_their_range(ax):
    plots.curves(ax, {"CE": [[1, 2], [3, 8], [5, 8]], "MAE": [[7, 7]]})
    line, other = ax.get_lines()
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2], [3, 6])
    assert (line.get_label(), other.get_label()) == ("CE", "MAE")
    corners = {tuple(map(float, p)) for p in ax.collections[0].get_paths()[0].vertices}
    assert corners == {(1, 1), (2, 2), (2, 8), (1, 5)}


def test_the_first_42_lines_differ():
    assert len({tuple(plots.line_style(number).values()) for number in range(42)}) == 42


@pytest.mark.parametrize("relative", [False, True])
def test_losses_on_the_left_and_their_pulls_on_the_right(relative):
    """AGCE with q = 1 / 2 and AEL, whose losses and pulls are short formulas."""
    losses = {"AGCE": AGCELoss(a=1, q=0.5), "AEL": AELLoss(a=1)}
    left, right = plots.loss_and_pull(losses, relative=relative).axes
    u = left.get_lines()[0].get_xdata()
    values = [2 * (np.sqrt(2) - np.sqrt(1 + u)), np.exp(-u)]
    pulls = [(1 + u) ** -0.5, np.exp(-u)]
    for number, (value, pull) in enumerate(zip(values, pulls, strict=True)):
        if relative:
            value, pull = (value - value[-1]) / pull[-1], pull / pull[-1]
        drawn, pulling = left.get_lines()[number], right.get_lines()[number]
        assert np.allclose(drawn.get_ydata(), value) and np.allclose(pulling.get_ydata(), pull)
    levels = [line.get_ydata()[0] for line in right.get_lines()[2:]]
    assert levels == ([9 / 4, 3 / 2] if relative else [])
    plt.close("all")


def test_eight_losses_are_drawn_as_well():
    """There are seven colours and six kinds of lines."""
    left, _ = plots.loss_and_pull({f"a = {a}": AELLoss(a=a) for a in range(1, 9)}).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in left.get_lines()}
    assert len(left.get_lines()) == 8 and len({colour for colour, _ in looks}) == 7
    assert len(left.get_legend().get_texts()) == 8
    plt.close("all")
