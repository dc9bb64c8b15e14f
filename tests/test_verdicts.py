"""The verdict table: every check is run, and must find what its entry says."""

from dataclasses import replace
from functools import lru_cache

import pytest
from conftest import ROOT

from alfs_utils import paper
from alfs_utils.checks import Check
from alfs_utils.paper import DISAGREEMENTS, FINDINGS, KINDS, VERDICTS

ENTRIES = (*VERDICTS, *FINDINGS)
BY_CHECK = {verdict.check: verdict for verdict in ENTRIES}


@lru_cache
def outcome(check):
    return BY_CHECK[check].run()


@pytest.mark.parametrize("verdict", ENTRIES, ids=lambda v: f"{v.statement}-{v.check}")
def test_the_check_finds_what_the_entry_says(verdict):
    found = outcome(verdict.check)
    assert verdict.agrees_with(found), f"{verdict}\n{found}"
    assert len(found.line) > 20 and any(character.isdigit() for character in found.line)


@pytest.mark.parametrize("verdict", ENTRIES, ids=lambda v: f"{v.statement}-{v.check}")
def test_the_verdict_is_one_that_such_an_outcome_allows(verdict):
    assert (verdict.printed, verdict.repaired) in KINDS[verdict.verdict]
    assert (ROOT / "notebooks" / f"{verdict.notebook}.ipynb").exists()


def test_an_entry_disagrees_with_every_other_outcome():
    entry = VERDICTS[0]
    right = Check(entry.printed, control=True, line="", repaired=entry.repaired)
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
    for verdict in ENTRIES:
        text = (ROOT / "notebooks" / f"{verdict.notebook}.ipynb").read_text()
        assert verdict.check.split(".")[1] in text, verdict.check


def test_what_is_ours_says_so():
    assert all(entry.statement.startswith("Ours: ") for entry in FINDINGS)
    assert not any(entry.statement.startswith("Ours") for entry in VERDICTS)
    assert {entry.chapter for entry in FINDINGS} == {"9b"}


def test_disagreements_and_cells():
    assert len({d.topic for d in DISAGREEMENTS}) == len(DISAGREEMENTS) == 18
    cells = paper.cells()
    assert len({tuple(cell.values()) for cell in cells}) == len(cells) == 9 * (10 + 13 + 10)
