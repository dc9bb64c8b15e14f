"""The table of verdicts: words, chapters, pages; `test_checks` runs the check of every entry."""

import re
from dataclasses import replace

import nbformat
import pytest
from conftest import ROOT

from alfs_utils.paper import pages, printed
from alfs_utils.paper.checks import Check
from alfs_utils.paper.verdicts import DISAGREEMENTS, KINDS, VERDICTS


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda v: f"{v.statement}-{v.check}")
def test_the_verdict_is_one_that_such_an_outcome_allows(verdict):
    assert (verdict.printed, verdict.repaired) in KINDS[verdict.verdict]
    assert (ROOT / "notebooks" / f"{verdict.notebook}.ipynb").exists()


def test_an_entry_disagrees_with_every_other_outcome():
    entry = VERDICTS[0]
    right = Check(entry.printed, control=True, figures={}, repaired=entry.repaired)
    assert entry.agrees_with(right)
    for wrong in (
        replace(right, printed=not right.printed),
        replace(right, repaired=not right.repaired),
        replace(right, control=False),
    ):
        assert not entry.agrees_with(wrong)


def test_every_numbered_statement_has_a_verdict():
    statements = " ".join(verdict.statement for verdict in VERDICTS)
    numbered = [f"Theorem {n}" for n in range(1, 9)] + [f"Corollary {n}" for n in (1, 2, 3)]
    numbered += [f"Definition {n}" for n in (1, 2, 3)] + ["Assumption 1", "Assumption 2"]
    for name in [*numbered, "Equation (8)", "Figure 1", "Figure 2", "Conclusion"]:
        assert name in statements


def test_the_chapter_shows_the_check_behind_each_verdict():
    for verdict in VERDICTS:
        text = (ROOT / "notebooks" / f"{verdict.notebook}.ipynb").read_text()
        assert verdict.check.split(".")[1] in text, verdict.check


@pytest.mark.parametrize("notebook", sorted({verdict.notebook for verdict in VERDICTS}))
def test_the_last_table_of_a_chapter_is_its_entries(notebook):
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    (place,) = (i for i, cell in enumerate(cells) if "verdict_table(" in cell.source)
    assert cells[place].source == f'pages.verdict_table("{notebook}")'
    shown = cells[place].outputs[0]["data"]["text/html"]
    assert shown == pages.verdict_table(notebook).data
    assert shown.count("<tr>") == 1 + sum(v.notebook == notebook for v in VERDICTS)
    assert cells[place - 1].source.endswith("## Verdict")
    assert not any(re.search(r"(?m)^\|.*\bverdict\b.*\|$", c.source) for c in cells[place - 1 :])


def test_chapters_1_to_9b_have_such_a_table_and_the_page_of_all_verdicts_has_all():
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("0[1-9]*-*.ipynb"))
    assert chapters == sorted({verdict.notebook for verdict in VERDICTS})
    everything = pages.verdict_table().data
    assert all(f'"{v.notebook}.html">{v.chapter}<' in everything for v in VERDICTS)
    assert everything.count("<tr>") == 1 + len(VERDICTS)


def test_disagreements_and_cells():
    assert len({d.topic for d in DISAGREEMENTS}) == len(DISAGREEMENTS) == 18
    cells = printed.cells()
    assert len({tuple(cell.values()) for cell in cells}) == len(cells) == 9 * (10 + 13 + 10)
