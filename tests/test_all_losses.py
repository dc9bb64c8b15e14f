"""The table of all losses: none is missing, and its columns agree with each other."""

import math

import numpy as np

from alfs_utils import noise
from alfs_utils.losses import LOSSES, loss_from_string
from alfs_utils.paper import all_losses

TABLE = all_losses.overview()
LEVELS = {"symmetric 0.8": 9 / 4, "asymmetric 0.4": 3 / 2}  # c


def test_every_loss_of_the_library_is_in_it():
    found = {type(part).__name__ for e in all_losses.ENTRIES for part in e.loss.modules()}
    assert found >= set(LOSSES)
    assert len({repr(e.loss) for e in all_losses.ENTRIES}) == len(all_losses.ENTRIES)


def test_the_verdicts_are_those_of_the_ratios():
    known = TABLE[TABLE["least c"].notna()]
    assert len(known) == 16
    for column, c in LEVELS.items():
        assert ((known["least c"] <= c) == (known[column] == "asymmetric")).all()
    assert (known["r*, k = 10"] == known["r"]).all()
    assert (known["one valley from c"] >= known["least c"]).all()


def test_amse_is_decided_by_its_margin():
    (row,) = TABLE[TABLE["loss"] == "AMSE"].itertuples()
    w = noise.symmetric(10, 0.8)[0]
    assert w[0] - w[1] > row[TABLE.columns.get_loc("least margin") + 1] == 1 / 30


def test_the_later_losses_start_as_the_page_says():
    start = TABLE.set_index("code")["start, k = 100"]
    certified = TABLE[TABLE["asymmetric 0.4"].str.startswith("asymmetric")]["code"]
    assert TABLE.set_index("code")["loss"][start[certified].idxmin()] in ("ANL-FL", "ANL-CE")


def test_the_published_settings_are_losses_of_the_table():
    for settings in all_losses.PUBLISHED.values():
        for code, decay in settings.values():
            assert loss_from_string(code) and decay[:3] in ("L1 ", "L2 ")
    codes = {
        repr(loss_from_string(s["CIFAR-10"][0]))
        for s in all_losses.PUBLISHED.values()
        if "CIFAR-10" in s
    }
    assert codes <= set(TABLE["code"])


def test_the_table_can_be_sorted_and_says_never():
    html = all_losses.sortable(TABLE[["loss", "least c"]]).data
    assert html.count("T_losses_row0") and "#T_losses thead" in html
    assert html.count(">never<") == np.isinf(TABLE["least c"]).sum() == 4
    assert html.count(">–<") == TABLE["least c"].isna().sum()
    assert "T_table" not in html


def test_a_click_sorts_the_rows_up_and_then_down(browser):
    page = browser.new_page()
    page.set_content(all_losses.sortable(TABLE[["loss", "least c", "symmetric 0.8"]]).data)

    def cells(column):
        return page.locator(f"tbody td:nth-child({column})").all_text_contents()

    page.get_by_text("least c").click()
    numbers = [math.inf if x == "never" else float(x) for x in cells(2) if x != "–"]
    assert numbers == sorted(numbers) and cells(2)[-1] == "–" and len(cells(2)) == len(TABLE)
    page.get_by_text("least c").click()
    assert next(x for x in cells(2) if x != "–") == "never"
    page.get_by_text("symmetric 0.8").click()
    assert cells(3) == sorted(cells(3)) and cells(3)[0].startswith("asymmetric")
    page.close()
