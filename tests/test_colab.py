"""Every notebook alone in an empty folder, with the packages of Colab: `pytest -m long` runs it.

It needs Python 3.13, a network for `requirements-colab.txt`, and minutes for each notebook.
ALFS_COLAB_PYTHON names an interpreter that has these packages already.
"""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from helpers import ROOT, require

sys.path.insert(0, str(ROOT / "tools"))
import build

pytestmark = pytest.mark.long

EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[1])
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """An interpreter with the packages of Colab."""
    if ready := os.environ.get("ALFS_COLAB_PYTHON"):
        return ready
    require(shutil.which("python3.13") is not None, "Python 3.13")
    folder = tmp_path_factory.mktemp("colab") / "venv"
    subprocess.run(["python3.13", "-m", "venv", folder], check=True)
    install = ["-m", "pip", "install", "--quiet", "-r", ROOT / "requirements-colab.txt"]
    subprocess.run([folder / "bin" / "python", *install], check=True)
    return folder / "bin" / "python"


@pytest.mark.parametrize("path", build.all_notebooks(), ids=build.name_of)
def test_a_notebook_runs_alone_in_colab(path, python, tmp_path):
    """It clones the commit that is checked out here, prints no error and draws every figure."""
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    text = path.read_text()
    assert text.count(f'REPOSITORY = \\"{url}\\"') == 1
    alone = tmp_path / path.name
    alone.write_text(
        text.replace(f'REPOSITORY = \\"{url}\\"', f'REPOSITORY = \\"{ROOT.as_uri()}\\"')
    )
    here = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "ALFS_DATA_DIR")}
    command = [python, "-c", EXECUTE, alone.name]
    run = subprocess.run(
        command, cwd=tmp_path, env=here | {"TQDM_DISABLE": "1"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    before, after = (nbformat.read(p, as_version=4) for p in (path, alone))
    assert figures(after) == figures(before) and (tmp_path / "alf-book" / "alfs_utils").is_dir()
    # Whether a small run warns of a lost class depends on the rounding of its torch.
    warned = [o.text for o in outputs(after) if o.get("name") == "stderr"]
    assert not [text for text in warned if "see alfs_utils.lost_classes" not in text], warned


def outputs(notebook):
    return [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]


def figures(notebook):
    kinds = [list(output.get("data", {})) for output in outputs(notebook)]
    return sum(any(kind.startswith("image/") for kind in found) for found in kinds)
