"""The tools behind `make`: executing, caching, staging, and the repository's address."""

import asyncio
import base64
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import nbformat
import numpy as np
import psutil
import pytest
import torch
from helpers import ROOT
from jupyter_client.manager import AsyncKernelManager
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

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


def test_a_notebook_says_which_run_its_outputs_are_of(project):
    path = notebooks(project)[0]

    def executed():
        build.execute(path, path)
        return nbformat.read(path, as_version=4).metadata["executed"]

    run = executed()
    today = {datetime.now(UTC) - timedelta(hours=hours) for hours in (0, 1)}
    assert run["date"] in {day.date().isoformat() for day in today} and 0 <= run["seconds"] < 60
    assert run["python"] == platform.python_version()
    assert torch.__version__.startswith(run["torch"])
    # The same outputs once more are no news, others are, and a time that was far too long.
    path.write_text(path.read_text().replace(run["date"], "2001-01-01"))
    assert executed() == run | {"date": "2001-01-01"}
    path.write_text(path.read_text().replace(f'"seconds": {run["seconds"]}', '"seconds": 1000'))
    assert executed()["seconds"] < 60 and executed()["date"] == run["date"]
    path.write_text(path.read_text().replace("print(profile)", "print(profile, 2)"))
    assert executed()["date"] == run["date"]


def test_another_profile_goes_elsewhere(project):
    before = [path.read_bytes() for path in notebooks(project)]
    assert build.execute_all(notebooks(project)[:1], "paper") == 0
    assert printed(build.BUILD / "executed-paper" / "00-first.ipynb") == "paper\n"
    assert [path.read_bytes() for path in notebooks(project)] == before


def test_an_unknown_notebook_is_an_error(project, capsys):
    with pytest.raises(SystemExit):
        build.main(["execute", "--nb", "nothing"])
    assert "no notebook in notebooks/ has 'nothing' in its name" in capsys.readouterr().err


def one_page(project, text):
    shutil.copytree(ROOT / "book", project / "book", dirs_exist_ok=True)
    shutil.copyfile(ROOT / "_config.yml", project / "_config.yml")
    (project / "_toc.yml").write_text("format: jb-book\nroot: book/page\n")
    (project / "book" / "page.md").write_text(text)


def test_a_killed_build_does_not_make_the_next_one_lenient(project):
    """Killed when Sphinx has read the page and stored that, but has not failed yet."""
    one_page(project, "# A page\n\nA reference to {ref}`nowhere`.\n")
    run = subprocess.run

    def killed(command, **_):
        run([word for word in command if word != "-W"])
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        build.subprocess.run = killed
        build.build_site(project / "notebooks")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (build.BUILD / ".doctrees" / "environment.pickle").exists()
    assert build.build_site(project / "notebooks") != 0
    assert not [*build.BUILD.glob("building-*")]


def test_a_build_that_goes_on_is_left_alone(project, monkeypatch):
    monkeypatch.setattr(build.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 0))
    for name in ("write_front_door", "write_ledger", "write_records"):
        monkeypatch.setattr(build, name, lambda path: None)
    (page := build.BUILD / "html" / "page.html").parent.mkdir(parents=True)
    page.touch()
    (project / "_config.yml").touch(), (project / "_toc.yml").touch()
    other = subprocess.Popen(["sleep", "60"])
    mark = build.BUILD / f"building-site.{other.pid}"
    mark.touch()
    assert build.build_site(project / "notebooks") == 0
    assert page.exists() and mark.exists()
    other.kill()
    other.wait()
    assert build.build_site(project / "notebooks") == 0
    assert not page.exists() and not mark.exists()


def test_ctrl_c_in_a_notebook_takes_one_line(project):
    """And leaves no kernel behind."""
    slow = "import os, time\nopen('started', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    notebook = write(project, "00-first", "profile = 'quick'", slow)
    before = notebook.read_bytes()
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import build; "
        "build.ROOT = Path(sys.argv[2]); build.BUILD = build.ROOT / '_build'; "
        "sys.exit(build.main(['execute', '--nb', '00']))"
    )
    command = [sys.executable, "-c", code, str(ROOT / "tools"), str(project)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = project / "notebooks" / "started"
    while not (started.exists() and started.read_text()):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.strip() == "interrupted: the next build goes on from here"
    assert not psutil.pid_exists(int(started.read_text()))
    assert notebook.read_bytes() == before


BUSY = """
import time
handlers = get_ipython().kernel.shell_handlers
async def slow(*message):
    time.sleep(1)
handlers["kernel_info_request"] = slow
"""


@pytest.mark.parametrize(
    ("manager", "quiet"), [(AsyncKernelManager, False), (build.QuietKernelManager, True)]
)
def test_a_kernel_that_is_at_work_ends_without_a_word(tmp_path, manager, quiet):
    async def run(log):
        kernel = manager(kernel_name="python3")
        await kernel.start_kernel(stderr=log)
        client = kernel.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        client.execute(BUSY)
        await client.get_shell_msg(timeout=60)
        client.kernel_info()
        await asyncio.sleep(0.3)
        await kernel.shutdown_kernel()
        client.stop_channels()
        return await kernel.is_alive()

    # In a thread of its own: a browser in the same worker has an event loop in this one.
    with open(tmp_path / "log", "w") as log, ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, run(log)).result() is False
    said = (tmp_path / "log").read_text()
    assert ("KeyboardInterrupt caught in kernel" not in said) is quiet, said


def test_a_warning_fails_the_site_and_is_found_again_next_time(project):
    one_page(project, "# A page\n\nA reference to {ref}`nowhere`.\n")
    for _ in range(2):
        assert build.build_site(project / "notebooks") != 0
    one_page(project, "# A page\n\nWithout it.\n")
    assert build.build_site(project / "notebooks") == 0
    assert (project / "_build" / "html" / "book" / "page.html").exists()


def test_links_to_the_repository_come_with_its_address(project):
    shutil.copytree(ROOT / "book", project / "book")
    config = (ROOT / "_config.yml").read_text().replace("/OWNER/", "/someone/")
    (project / "_config.yml").write_text(config)
    (project / "_toc.yml").write_text("format: jb-book\nroot: notebooks/00-first\n")
    shutil.rmtree(project / "alfs_utils")
    (project / "alfs_utils").symlink_to(ROOT / "alfs_utils")  # pages link to its verdicts
    notebook = nbformat.read(project / "notebooks" / "00-first.ipynb", as_version=4)
    link = f"{repository.COLAB}someone/alf-book/blob/main/notebooks/00-first.ipynb"
    notebook.cells[0].source += f"\n\n[Open this notebook in Colab]({link})\n"
    nbformat.write(notebook, project / "notebooks" / "00-first.ipynb")
    assert build.build_site(project / "notebooks") == 0
    page = (project / "_build" / "html" / "notebooks" / "00-first.html").read_text()
    assert page.count(f'href="{link}"') == 2, "the rocket, and the first line"
    assert 'href="https://github.com/someone/alf-book"' in page
    assert 'content="https://someone.github.io/alf-book/_static/preview.png"' in page


def test_an_environment_that_is_none_is_named(tmp_path):
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (tmp_path / ".venv" / ".ready").touch()
    for content in (None, f'#!/bin/sh\nexec {sys.executable} -S "$@"\n'):  # none; no packages
        if content:
            python.write_text(content)
            python.chmod(0o755)
        made = subprocess.run(["make", "site"], cwd=tmp_path, capture_output=True, text=True)
        assert made.returncode == 2
        assert ".venv lacks Python or packages. Delete it" in made.stderr
        assert "rm -rf .venv" in made.stderr and "Traceback" not in made.stderr


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


def test_a_png_keeps_its_size_and_loses_most_of_its_bytes():
    pixels = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    smooth = Image.fromarray(pixels).resize((320, 180))
    before = io.BytesIO()
    smooth.save(before, "png")
    text = base64.b64encode(before.getvalue()).decode()
    after = build.slim(text)
    assert len(after) < len(text) / 2
    with Image.open(io.BytesIO(base64.b64decode(after))) as image:
        assert image.size == smooth.size


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
