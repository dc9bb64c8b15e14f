"""The tools behind `make`: executing, caching, staging, and the repository's address."""

import shutil
import subprocess
import sys

import nbformat
import pytest
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

sys.path.insert(0, str(ROOT / "tools"))
import build
import repository


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two notebooks that the tools take for the real one."""
    monkeypatch.setattr(build, "ROOT", tmp_path)
    for name in ("BUILD", "EXECUTED", "STAGE"):
        monkeypatch.setattr(build, name, tmp_path / getattr(build, name).relative_to(ROOT))
    (tmp_path / "alfs_utils").mkdir()
    (tmp_path / "alfs_utils" / "room.py").write_text("x = 1\n")
    write(tmp_path, "00-first", "profile = 'quick'", "print(profile)")
    write(tmp_path, "01-second", "from pathlib import Path\nprint(Path.cwd().name)")
    return tmp_path


def write(project, name, *sources):
    cells = [new_markdown_cell(f"# {name}"), *map(new_code_cell, sources)]
    cells[1].metadata["tags"] = ["parameters"]
    path = project / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    language = {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    nbformat.write(new_notebook(cells=cells, metadata=language), path)
    return path


def outcomes(capsys):
    lines = capsys.readouterr().out.splitlines()
    return [line.split(" s  ")[1].split()[0] for line in lines if line.startswith("[")]


def notebooks(project):
    return build.all_notebooks()


def printed(path):
    return "".join(
        o.text for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs
    )


def test_only_what_changed_is_executed_again(project, capsys):
    before = [path.read_bytes() for path in notebooks(project)]
    assert build.execute_changed(notebooks(project)) == 0
    assert outcomes(capsys) == ["pass", "pass"]
    assert printed(build.EXECUTED / "00-first.ipynb") == "quick\n"
    assert printed(build.EXECUTED / "01-second.ipynb") == "notebooks\n", "wrong working directory"
    assert [path.read_bytes() for path in notebooks(project)] == before, "the checkout changed"

    build.execute_changed(notebooks(project))
    assert outcomes(capsys) == ["unchanged", "unchanged"]

    write(project, "00-first", "profile = 'quick'", "print(profile, profile)")
    build.execute_changed(notebooks(project))
    assert outcomes(capsys) == ["pass", "unchanged"]


@pytest.mark.parametrize(
    "name",
    "alfs_utils/room.py results/run.json book/page.md tools/build.py "
    "_config.yml _toc.yml requirements.txt".split(),
)
def test_the_key_covers_everything_a_notebook_may_read(project, name):
    path = project / name
    path.parent.mkdir(exist_ok=True)
    keys = set()
    for text in ("one", "two"):
        path.write_text(text)
        keys.add(build.notebook_key(notebooks(project)[0], build.shared_key()))
    assert len(keys) == 2


def test_outputs_do_not_change_the_key(project):
    path = notebooks(project)[0]
    before = build.notebook_key(path, "")
    build.execute(path, path)
    assert printed(path) == "quick\n" and build.notebook_key(path, "") == before


def test_a_failure_is_listed_at_the_end_and_spoils_nothing(project, capsys):
    broken = write(project, "00-first", "profile = 'quick'", "raise ValueError('no such luck')")
    before = broken.read_bytes()
    assert build.execute_all(notebooks(project), "quick") == 1
    captured = capsys.readouterr()
    assert "00-first" in captured.out and "FAIL" in captured.out and "pass" in captured.out
    assert "no such luck" in captured.err
    assert captured.err.rstrip().endswith("1 of 2 notebooks failed: 00-first")
    assert broken.read_bytes() == before, "a failed run overwrote the notebook"
    assert printed(notebooks(project)[1]) == "notebooks\n"
    # And the next `make book` tries the failed one again.
    for _ in range(2):
        assert build.execute_changed(notebooks(project)) == 1


def test_re_execution_is_byte_identical(project):
    path = notebooks(project)[0]
    build.execute(path, path)
    first = path.read_bytes()
    build.execute(path, path)
    assert path.read_bytes() == first


def test_another_profile_goes_elsewhere(project):
    before = [path.read_bytes() for path in notebooks(project)]
    assert build.execute_all(notebooks(project)[:1], "paper") == 0
    assert printed(build.BUILD / "executed-paper" / "00-first.ipynb") == "paper\n"
    assert [path.read_bytes() for path in notebooks(project)] == before


def test_an_unknown_notebook_is_an_error(project, capsys):
    with pytest.raises(SystemExit):
        build.main(["execute", "--nb", "nothing"])
    assert "no notebook in notebooks/ has 'nothing' in its name" in capsys.readouterr().err


def test_a_warning_fails_the_site_and_is_found_again_next_time(project):
    shutil.copytree(ROOT / "book", project / "book")
    config = (ROOT / "_config.yml").read_text()
    (project / "_config.yml").write_text(config)
    (project / "_toc.yml").write_text("format: jb-book\nroot: book/page\n")
    page = project / "book" / "page.md"
    page.write_text("# A page\n\nA reference to {ref}`nowhere`.\n")
    for _ in range(2):
        assert build.build_site(project / "notebooks") != 0
    page.write_text("# A page\n\nWithout it.\n")
    assert build.build_site(project / "notebooks") == 0
    assert (project / "_build" / "html" / "book" / "page.html").exists()


# --- the repository's address -----------------------------------------------------------------


def copy_of_the_tree(target):
    """The files of this working tree that belong to the repository."""
    run = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


def test_one_command_rewrites_every_address(tmp_path):
    tree = copy_of_the_tree(tmp_path)
    old, new = repository.current(tree), "https://github.com/someone/somewhere"
    changed = repository.rewrite(new, tree)
    kept = [path for path in repository.files(tree) if path.parent.name != "book"]
    assert {*kept, tree / "book" / "reproduce.md"} == {*changed}, "an address is missing"
    assert repository.current(tree) == new
    for path in tree.rglob("*"):
        if path.is_file() and ".git" not in path.parts and path.parent.name != "tests":
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert old not in text and f"/github/{repository.slug(old)}" not in text, path
    links = (tree / "README.md").read_text()
    assert f"{repository.COLAB}someone/somewhere/blob/main/notebooks/00-quickstart.ipynb" in links
    repository.rewrite(old, tree)
    assert all(p.read_bytes() == (ROOT / p.relative_to(tree)).read_bytes() for p in changed)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["https://github.com/a b/c"], ["a", "b"]])
def test_a_bad_address_is_refused(arguments, capsys):
    assert repository.main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_a_notebook_alone_fetches_the_library(tmp_path):
    """The bootstrap from an empty folder, with a local git repository as the address."""
    origin, alone = tmp_path / "origin", tmp_path / "empty"
    copy_of_the_tree(origin)
    alone.mkdir()
    address = origin.as_uri()
    repository.rewrite(address, origin)
    repository.release("", origin)
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "all"]):
        subprocess.run(["git", *identity, *command], cwd=origin, check=True)

    source = nbformat.read(origin / "notebooks" / "00-quickstart.ipynb", as_version=4)
    imports = next(i for i, c in enumerate(source.cells) if "from alfs_utils" in c.source)
    where = new_code_cell("import alfs_utils\nprint(alfs_utils.__file__)")
    notebook = new_notebook(cells=[*source.cells[: imports + 1], where], metadata=source.metadata)
    nbformat.write(notebook, alone / "alone.ipynb")
    (alone / "alf-book").mkdir()
    (alone / "alf-book" / "x").touch()  # left by a clone that was interrupted
    for fetched in (1, 0):  # the second time finds the clone
        build.execute(alone / "alone.ipynb", alone / "out.ipynb")
        cells = nbformat.read(alone / "out.ipynb", as_version=4).cells
        (bootstrap,) = [cell for cell in cells if "bootstrap" in cell.metadata.get("tags", [])]
        said = [output.text.split(" commit ")[0] for output in bootstrap.outputs]
        assert said == fetched * [f"{address} (no release)"]
        last = cells[-1].outputs[-1].text
        assert last.strip() == str(alone / "alf-book" / "alfs_utils" / "__init__.py")


def test_a_notebook_of_a_release_fetches_that(tmp_path):
    """Not what the default branch has become since."""
    origin, alone = tmp_path / "origin", tmp_path / "empty"
    (origin / "alfs_utils").mkdir(parents=True)
    alone.mkdir()
    git = ["git", "-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run([*git, "init", "--quiet"], cwd=origin, check=True)
    for version in ("1", "2"):
        (origin / "alfs_utils" / "__init__.py").write_text(f"__version__ = {version!r}\n")
        for command in (["add", "."], ["commit", "-qm", "."], ["tag", f"v{version}.0"]):
            subprocess.run([*git, *command], cwd=origin, check=True)
    notebooks = tmp_path / "notebooks"
    notebooks.mkdir()
    copied = shutil.copy(ROOT / "notebooks" / "00-quickstart.ipynb", notebooks)
    assert len(repository.release("v1.0", tmp_path)) == 1
    assert not repository.release("v1.0", tmp_path)
    cells = nbformat.read(copied, as_version=4).cells
    (source,) = [c.source for c in cells if "bootstrap" in c.metadata.get("tags", [])]
    source = source.replace(repository.current(), origin.as_uri())
    code = source + "\nimport alfs_utils\nprint(alfs_utils.__version__)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=alone, capture_output=True, text=True, check=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "v1.0"], cwd=origin, capture_output=True, text=True
    ).stdout.strip()
    first, last = run.stdout.splitlines()
    assert f"v1.0 commit {commit} of 20" in first and last == "1"
    assert [path.name for path in alone.iterdir()] == ["alf-book"]
