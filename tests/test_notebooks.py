"""What every notebook must look like; that its outputs are right is nbval's part of `make test`."""

import ast
import re
import shlex
import sys
from collections import Counter

import nbformat
import pytest
import yaml
from helpers import ROOT

from alfs_utils.__main__ import main

sys.path.insert(0, str(ROOT / "tools"))
import build

# The cells whose output is not compared, one per training: (each one's first line, why).
IGNORED = {
    "00-quickstart": (
        "scale = -AGCELoss(a=4, q=0.2).slope(1.0)",
        "scaled = people.matched(people.LOSSES, k=2)",
        "trains networks",
    ),
    "10-robustness": (
        "configs = [digits_run(loss, seed) for loss in losses for seed in seeds]",
        "trains networks",
    ),
    "11-mnist": ("with tempfile.TemporaryDirectory() as folder:", "trains networks"),
    "12b-lost-classes": (
        'seeds = range(20 if profile == "paper" else 5)',
        'words = data.load("words-4")',
        "trains networks",
    ),
    "12-cifar10": (
        "config = comparison.redo(",
        "trains networks",
    ),
    "13-cifar100": ("config = comparison.redo(", "trains networks"),
    "14-features": (
        'losses = {"GCE": GCELoss(q=0.7), "AGCE": AGCELoss(a=4, q=0.2)}',
        "fig, axes = plt.subplots(1, 3, figsize=(7, 2.7))",  # t-SNE, other on another CPU
        "trains networks",
    ),
    "guides/clean-your-labels": (
        'losses = people.matched({"GCE": GCELoss(q=0.7), "CE": CELoss()}, k=2)',
        "def batches(logits, size=100):",
        "checked = 1000",
        "contradicted = ~agreed",
        "trains networks",
    ),
    "guides/which-loss": ("losses = {", "trains networks"),
    "reference/all-losses": (
        'words = data.load("words")',
        "T = noise.symmetric(10, 0.6)",
        "trains networks",
    ),
}

PATHS = build.all_notebooks()


@pytest.fixture(params=PATHS, ids=build.name_of)
def notebook(request):
    loaded = nbformat.read(request.param, as_version=4)
    loaded.name = build.name_of(request.param)
    return loaded


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return cell.metadata.get("tags", [])


def outputs_of(cell, kind):
    return [output for output in cell.outputs if output.output_type == kind]


def test_every_notebook_is_in_the_table_of_contents():
    listed = re.findall(r"file: (notebooks/\S+)", (ROOT / "_toc.yml").read_text())
    chapters = [name for name in listed if name.count("/") == 1]
    assert chapters == sorted(chapters), "chapters out of order"
    assert sorted(listed) == sorted(f"notebooks/{build.name_of(path)}" for path in PATHS)


def test_it_was_run_from_top_to_bottom_without_errors(notebook):
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not outputs_of(cell, "error"), cell.source
        assert not [o for o in outputs_of(cell, "stream") if o.name == "stderr"], cell.source


def test_it_opens_with_title_badge_and_cost(notebook):
    first = notebook.cells[0].source
    number = re.match(r"0?(\d+b?)-", notebook.name)  # none in the folders beside the chapters
    assert first.startswith(f"# {number[1]} · " if number else "# ")
    assert "**Cost.**" in first
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    badge = url.replace("https://github.com", "https://colab.research.google.com/github")
    assert f"({badge}/blob/main/notebooks/{notebook.name}.ipynb)" in first


def test_the_bootstrap_is_the_same_everywhere(notebook):
    bootstrap, *others = [cell for cell in notebook.cells if "bootstrap" in tags(cell)]
    reference = nbformat.read(PATHS[0], as_version=4)
    assert not others and bootstrap is code_cells(notebook)[0]
    assert bootstrap.source == next(c for c in reference.cells if "bootstrap" in tags(c)).source
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert f'REPOSITORY = "{url}"' in bootstrap.source


def test_the_parameters_are_literals_and_the_profile_is_quick(notebook):
    (cell,) = [cell for cell in notebook.cells if "parameters" in tags(cell)]
    assert cell is code_cells(notebook)[1]
    values = {}
    for statement in ast.parse(cell.source).body:
        assert isinstance(statement, ast.Assign), cell.source
        values[statement.targets[0].id] = ast.literal_eval(statement.value)
    assert values["profile"] == "quick"


def test_only_listed_cells_go_uncompared(notebook):
    markers = ("NBVAL_IGNORE_OUTPUT", "NBVAL_SKIP", "NBVAL_RAISES_EXCEPTION")
    skipping = {"nbval-skip", "nbval-raises-exception", "raises-exception"}
    ignored = [cell for cell in code_cells(notebook) if "nbval-ignore-output" in tags(cell)]
    for cell in code_cells(notebook):
        assert not skipping & set(tags(cell)) and not any(m in cell.source for m in markers)
    first_lines = [cell.source.splitlines()[0] for cell in ignored]
    expected = IGNORED.get(notebook.name)
    assert first_lines == list(expected[:-1] if expected else [])


def test_every_checking_cell_shows_something_that_is_compared(notebook):
    for cell in code_cells(notebook):
        asserts = any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))
        if asserts:
            shown = outputs_of(cell, "stream") + outputs_of(cell, "execute_result")
            shown += [o for o in outputs_of(cell, "display_data") if "text/html" in o.data]
            assert shown and "nbval-ignore-output" not in tags(cell), cell.source


def test_no_cell_is_a_magic_or_a_shell_command(notebook):
    """When one fails, nbval sees no error."""
    for cell in code_cells(notebook):
        assert not re.search(r"(?m)^\s*[%!]", cell.source), cell.source


def test_roles_that_colab_shows_literally_stay_in_the_sources_cell(notebook):
    *body, last = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert last is notebook.cells[-1] and last.source.startswith("## Sources")
    for cell in body:
        assert not re.search(r"\{(cite|eq|numref|ref|prf:ref|doc)(:\w)?\}", cell.source), (
            cell.source
        )


def test_no_empty_line_tears_a_table_apart(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"\|\n\n+\|", cell.source), cell.source


def test_code_in_the_text_can_be_pasted_and_read(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for code in re.findall(r"```.*?```", cell.source, re.DOTALL):
                assert not re.search("[“”‘’]", code), code
                assert all(len(line) <= WIDTH for line in code.splitlines()), code


def test_every_sweep_that_it_shows_is_one(notebook, tmp_path, capsys):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    text = re.sub(r"\\\n *", "", text)
    for line in re.findall(r"^python -m alfs_utils sweep (.*)", text, re.MULTILINE):
        words = shlex.split(line)
        twice = [word for word, n in Counter(words).items() if word.startswith("--") and n > 1]
        assert not twice, f"only the last counts: {line}"
        assert main(["sweep", *words, "--results", str(tmp_path), "--list"]) == 0, line
        assert " to do" in capsys.readouterr().out


# --- the form of a page -------------------------------------------------------------------------

WIDTH = 76  # what a page shows without breaking a line or scrolling sideways
IMAGES = {"image/png", "image/svg+xml"}
TAKE_HOME = re.compile(r":::\{admonition\} Take home\n:class: tip\n\n.+\n:::$", re.DOTALL)


def has_figure(cell):
    return any(IMAGES & set(output.get("data", {})) for output in cell.outputs)


def too_wide(cells):
    """Lines that a page would break or hide: shown code, and printed text without an HTML form."""
    for cell in cells:
        if "remove-cell" in tags(cell):
            continue
        texts = [cell.source, *(output.text for output in outputs_of(cell, "stream"))]
        texts += [
            output.data["text/plain"]
            for output in cell.outputs
            if set(output.get("data", {})) == {"text/plain"}
        ]
        yield from (line for text in texts for line in text.splitlines() if len(line) > WIDTH)


def test_no_line_is_wider_than_the_page(notebook):
    assert list(too_wide(code_cells(notebook))) == []


def test_wide_lines_are_seen():
    wide = "x" * (WIDTH + 1)
    printed = nbformat.v4.new_output("stream", text=f"ok\n{wide}")
    shown = nbformat.v4.new_output("execute_result", {"text/plain": wide})
    table = nbformat.v4.new_output("execute_result", {"text/plain": wide, "text/html": "x"})
    cells = [
        nbformat.v4.new_code_cell("x", outputs=[printed, shown, table]),
        nbformat.v4.new_code_cell(wide),
        nbformat.v4.new_code_cell(wide, metadata={"tags": ["remove-cell"]}),
    ]
    assert list(too_wide(cells)) == [wide] * 3


def test_ideas_come_before_plumbing(notebook):
    bootstrap, parameters, imports, *others = code_cells(notebook)
    assert "remove-cell" in tags(bootstrap) and "remove-cell" in tags(parameters)
    assert "hide-input" in tags(imports)
    for cell in others:
        assert not has_figure(cell) or "hide-input" in tags(cell), cell.source


def test_a_chapter_has_one_take_home_box_and_it_comes_first(notebook):
    boxes = [cell for cell in notebook.cells if "{admonition} Take home" in cell.source]
    if notebook.name.startswith("reference/"):
        assert not boxes
        return
    assert boxes == [notebook.cells[1]] and TAKE_HOME.match(boxes[0].source)
    assert len(boxes[0].source.split()) < 150
    for cell in notebook.cells:
        assert not re.search(r"\*\*For (practice|somebody)", cell.source), cell.source


def test_what_has_not_been_run_is_said_once(notebook):
    said = [o for cell in code_cells(notebook) for o in cell.outputs if "Not yet run:" in str(o)]
    assert len(said) <= 1


def test_figures_have_captions_and_alt_texts(notebook):
    names = []
    for cell in code_cells(notebook):
        if has_figure(cell):
            about = cell.metadata.get("mystnb", {})
            assert len(about.get("image", {}).get("alt", "")) > 20, cell.source
            assert len(about.get("figure", {}).get("caption", "")) > 20, cell.source
            names.append(about["figure"]["name"])
            shown = [o for o in cell.outputs if o.output_type != "stream"]
            assert len(shown) == 1, f"the caption would be repeated: {cell.source}"
    assert len(set(names)) == len(names) and all(name.startswith("fig-") for name in names)


def test_captioned_tables_are_counted_as_tables(notebook):
    for cell in code_cells(notebook):
        about = cell.metadata.get("mystnb", {}).get("figure", {})
        assert (about.get("classes") == "table") == about.get("name", "").startswith("tab-")
        if about.get("classes") == "table":
            (shown,) = [o for o in cell.outputs if o.output_type != "stream"]
            assert "<table" in shown.data["text/html"]


# --- the exercises ------------------------------------------------------------------------------

WITHOUT_EXERCISES = ("00-", "17-", "guides/", "reference/")
PROMPTS = {"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}


def can_fail(source):
    """Whether an assertion in it is about something that is computed."""
    asserts = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert))
    return any(isinstance(x, ast.Name) for node in asserts for x in ast.walk(node.test))


def test_a_chapter_ends_with_exercises_whose_folded_solutions_can_fail(notebook):
    cells = {cell.id: cell for cell in notebook.cells}
    found = [name for name in cells if re.match("exercise|solution", name)]
    if notebook.name.startswith(WITHOUT_EXERCISES):
        assert not found
        return
    numbers = range(1, 1 + sum(name.startswith("exercise-") for name in found))
    pairs = [(f"exercise-{n}", f"solution-{n}") for n in numbers]
    assert len(pairs) in (2, 3)
    assert found == [*cells][-1 - len(found) : -1] == ["exercises", *sum(pairs, ())]
    assert cells["exercises"].source == "## Exercises"
    for n, (exercise, solution) in zip(numbers, pairs, strict=True):
        assert cells[exercise].source.startswith(f"**Exercise {n}** (")
        cell = cells[solution]
        assert cell.cell_type == "code" and tags(cell) == ["hide-cell"]
        assert cell.metadata["mystnb"] == PROMPTS and cell.metadata["cellView"] == "form"
        assert can_fail(cell.source), cell.source


def test_an_assertion_of_nothing_is_seen():
    assert can_fail("assert 1 < x") and can_fail("for x in y:\n    assert x")
    assert not can_fail("assert True") and not can_fail("x = 1\nprint(x)")
