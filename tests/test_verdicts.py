"""The table of verdicts: words, chapters, pages; `test_checks` runs the check of every entry."""

import re
from dataclasses import replace

import nbformat
import pytest
from helpers import ROOT

from alfs_utils.paper import pages, printed
from alfs_utils.paper.checks import Check
from alfs_utils.paper.statements import STATEMENTS
from alfs_utils.paper.verdicts import DISAGREEMENTS, KINDS, VERDICTS


def test_every_verdict_is_a_word_of_the_list_and_ours_are_called_so():
    for verdict in VERDICTS:
        assert verdict.verdict in KINDS
        assert verdict.ours == verdict.statement.startswith("Ours")
        assert (ROOT / "notebooks" / f"{verdict.notebook}.ipynb").exists()
    assert set(KINDS) - {verdict.verdict for verdict in VERDICTS} == {"false"}


OUTCOMES = {
    "true": [{"printed": True}, {"printed": True, "repaired": True}],
    "true with a hidden assumption": [{"printed": False, "assumed": True}],
    "repaired": [{"printed": False, "repaired": True}],
    "false": [{"printed": False}, {"printed": False, "repaired": False}],
    "vacuous": [{"printed": True, "empty": True}],
}


@pytest.mark.parametrize("word", OUTCOMES)
def test_a_check_s_outcome_decides_the_word(word):
    for outcome in OUTCOMES[word]:
        check = Check(control=True, figures={}, **outcome)
        assert check.word == word
        for kind in KINDS:
            entry = replace(VERDICTS[0], verdict=kind)
            ours = {"proved here": word == "true", "refuted here": not check.printed}
            assert entry.agrees_with(check) == ours.get(kind, kind == word)
            assert not entry.agrees_with(replace(check, control=False))


def test_a_repair_that_fails_makes_no_statement_true():
    for found in ({"repaired": False}, {"assumed": False}):
        assert Check(True, control=True, figures={}, **found).word == "false"


def test_what_is_printed_of_a_vacuous_statement_is_not_that_it_fails():
    shown = str(Check(True, control=True, figures={}, empty=True))
    assert shown == "✓ holds as printed, but says nothing · ✓ control refused"


NUMBERED = {
    "Equation": range(1, 9),
    "Figure": range(1, 6),
    "Table": range(1, 4),
    "Definition": range(1, 4),
    "Assumption": range(1, 3),
    "Theorem": range(1, 9),
    "Corollary": range(1, 4),
}


def test_every_numbered_statement_is_on_the_list():
    places = [statement.place for statement in STATEMENTS]
    for name, numbers in NUMBERED.items():
        for n in numbers:
            assert (f"Equation ({n})" if name == "Equation" else f"{name} {n}") in places


IN_THE_TEXT = {  # claims between the numbered statements, in the order of the paper
    "Abstract": ["various types of noise", "outperform state-of-the-art"],
    "Introduction": [
        "fit random labels",
        "robust to symmetric noise",
        "unhinged",
        "every sample equally",
        "GCE encompasses",
        "SCE combines",
        "normalisation makes",
        "accurate networks",
        "gradient explosion",
        "too stringent",
        "usually underfit",
    ],
    "Section 2": [
        r"\arg\min L",
        "symmetric and asymmetric noise",
        "instance-dependent",
        "noise-tolerant",
        "degrade",
        "tolerate symmetric noise (Ghosh",
        "asymmetric noise, if",
        "RCE",
        "includes the symmetric",
        "many convex",
        "facilitate",
    ],
    "Section 3.1": ["38.5", "non-dominant cases"],
    "Section 3.2": ["conditional", "largest takes all", "Bayes-optimal"],
    "Section 3.3": ["smallest at", "active-passive", "at least comparable"],
    "After Theorem 1": ["that of Bayes"],
    "After Theorem 2": ["controlled only", "minimal error"],
    "After Theorem 3": ["R(f^*) = 0"],
    "After Theorem 4": ["exact noise rates", "data distribution", "any label noise model"],
    "After Theorem 6": [
        "completely asymmetric if",
        "1/1.5",
        "real-world clean level",
        "more noise tolerance",
        "positive weighted",
    ],
    "After equation (8)": ["r_u"],
    "After Theorem 8": ["r = r_u"],
    "After Corollary 1": ["Box–Cox", "are equal", "GCE is not asymmetric"],
    "After Corollary 2": ["unhinged", "are equal"],
    "Section 4.1": ["Theorem 1", "c = 9/4", "smaller than", "c \\cdot r", "less fitting"],
    "Section 4.2": ["robust enough"],
    "Conclusion": ["outperform", "clean labels dominate", "larger ratio", "global clean"],
}


def test_every_claim_of_the_text_is_on_the_list():
    for place, claims in IN_THE_TEXT.items():
        said = [s.says for s in STATEMENTS if place in s.place]
        for claim in claims:
            assert sum(claim in says for says in said) == 1, (place, claim)


def test_every_statement_has_an_answer_and_every_verdict_a_statement():
    checks = {verdict.check for verdict in VERDICTS}
    for statement in STATEMENTS:
        assert set(statement.checks) <= checks and bool(statement.checks) != bool(statement.note)
        assert bool(statement.words) == bool(statement.checks)
        if statement.note:
            assert statement.note.startswith(("definition", "drawn", "open"))
            assert (ROOT / "notebooks" / f"{statement.notebook}.ipynb").exists()
    answered = {check for statement in STATEMENTS for check in statement.checks}
    assert {verdict.check for verdict in VERDICTS if not verdict.ours} <= answered


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
    assert shown.count("<tr") == 1 + sum(v.notebook == notebook for v in VERDICTS)
    assert cells[place - 1].source.endswith("## Verdict")
    assert not any(re.search(r"(?m)^\|.*\bverdict\b.*\|$", c.source) for c in cells[place - 1 :])


def test_chapters_1_to_9b_and_12b_have_such_a_table_and_the_page_of_all_verdicts_has_all():
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("0[1-9]*-*.ipynb"))
    chapters += ["12b-lost-classes", "16-beyond-the-paper"]
    assert chapters == sorted({verdict.notebook for verdict in VERDICTS})
    everything = pages.verdict_table().data
    assert all(f'"{v.notebook}.html">{v.chapter}<' in everything for v in VERDICTS)
    assert everything.count("<tr") == 1 + len(VERDICTS)


def test_the_page_of_all_verdicts_shows_what_the_library_says():
    cells = nbformat.read(ROOT / "notebooks" / "17-verdict.ipynb", as_version=4).cells
    for name in ("verdict_map", "verdict_table", "coverage_table", "kinds_table"):
        (cell,) = (cell for cell in cells if cell.source == f"pages.{name}()")
        assert cell.outputs[0]["data"]["text/html"] == getattr(pages, name)().data


def test_the_picture_has_a_square_for_every_verdict():
    squares = re.findall(r'href="#verdict-(\d+)"', pages.verdict_map().data)
    assert sorted(map(int, squares)) == list(range(1, len(VERDICTS) + 1))
    assert set(pages.VERDICT_COLOURS) == set(KINDS)


def test_formulas_are_marked_and_nothing_else_is():
    texts = [text for v in VERDICTS for text in (v.claim, v.finding)]
    texts += [statement.says for statement in STATEMENTS]
    for text in texts:
        parts = text.split("$")
        assert len(parts) % 2 == 1, text
        assert not re.search(r"[ηδρκψθτℓΣ≤≥≠→∈½²^_\\]", "".join(parts[::2])), text
    assert pages.typeset("a $x < 1$ & b") == (
        r'a <span class="math notranslate nohighlight">\(x &lt; 1\)</span> &amp; b'
    )


def test_disagreements_and_cells():
    assert len({d.topic for d in DISAGREEMENTS}) == len(DISAGREEMENTS) == 18
    cells = printed.cells()
    assert len({tuple(cell.values()) for cell in cells}) == len(cells) == 9 * (10 + 13 + 10)
