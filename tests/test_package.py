"""The package as an engineer meets it: what it imports, what it costs, how it installs."""

import importlib.metadata
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import types
import zipfile
from datetime import date

import pytest
import yaml
from helpers import ROOT, require
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import alfs_utils


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


# In this order: what one room may not bring along, none before it may. `test_losses` has losses.
FORBIDDEN = {
    "alfs_utils": "torch torchvision numpy pandas matplotlib sklearn",
    "alfs_utils.noise": "torch torchvision pandas matplotlib sklearn scipy",
    "alfs_utils.estimation": "torch pandas matplotlib sklearn scipy",
    "alfs_utils.training": "torchvision pandas matplotlib sklearn",
    "alfs_utils.sweep": "torchvision sklearn scipy",  # SciPy is needed by scikit-learn alone
}


@pytest.fixture(scope="module")
def loaded():
    """The modules that are loaded after each of these rooms, imported one after the other."""
    code = "import importlib, json, sys\nloaded = {}\n"
    code += f"for room in {[*FORBIDDEN]!r}:\n"
    code += "    importlib.import_module(room)\n    loaded[room] = [*sys.modules]\n"
    return json.loads(python(f"{code}print(json.dumps(loaded))"))


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_room_imports_only_what_it_may(module, loaded):
    assert module in loaded[module]
    assert [name for name in FORBIDDEN[module].split() if name in loaded[module]] == []


def test_import_adds_little_to_torch():
    code = (
        "import time, torch; start = time.perf_counter()\n"
        "import alfs_utils, alfs_utils.losses\nprint(time.perf_counter() - start)"
    )
    assert any(float(python(code)) <= 0.15 for _ in range(3))  # a busy machine may need several


# Nothing but torch, NumPy and the standard library of a system without fcntl can be imported.
ALONE = """
import sys, sysconfig, tempfile
import numpy as np, torch
sysconfig.get_config_vars()  # itself imports a file of the system's
allowed = {{"alfs_utils", "torch", "numpy", "mpmath", "sympy", {more}, *sys.stdlib_module_names}}

class Gate:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ModuleNotFoundError(f"{{name}} is not installed here", name=name)

for name in set(sys.modules):
    if name.split(".")[0] in {{"scipy", "pandas", "matplotlib", "filelock", "tqdm", "torchvision"}}:
        del sys.modules[name]
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp")))
sys.meta_path.insert(0, Gate())
for name in ("scipy", "pandas", "sklearn", "seaborn", "torchvision", "tqdm", "filelock", "fcntl"):
    try:
        __import__(name)
        raise SystemExit(f"{{name}} was to be blocked")
    except ModuleNotFoundError:
        pass
"""
FIRST_FLOOR = """
from alfs_utils import asymmetry, estimation, classes, instance_noise, losses, noise
from alfs_utils.lost_classes import lost_classes
from alfs_utils.recommend import recommend
from alfs_utils.suspicious import suspicious
clean, T = np.arange(3).repeat(200), noise.symmetric(3, 0.4)
z, y = torch.randn(8, 3, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
total = losses.NCELoss() + 4 * losses.from_paper("AGCE", "cifar10")
losses.loss_from_string(repr(total))(z, y).backward()
losses.NLNLLoss()(z, y).backward()
assert z.grad.abs().sum() > 0 and losses.value_and_pull(total, 0.5, 3)[1] > 0
noisy = noise.corrupt(clean, T, seed=0)
with tempfile.TemporaryDirectory() as folder:
    assert noise.NoisyLabels.load(noisy.save(folder + "/labels")).sha256 == noisy.sha256
assert asymmetry.certify(losses.AGCELoss(a=6, q=1.5), T).asymmetric
assert asymmetry.weighted_risk_minimiser(losses.AELLoss(a=2.5), T[0]).u[0] == 1
assert 6 in asymmetry.admissible(losses.AGCELoss, T, q=0.5)
c = estimation.clean_level_interval(estimation.count_matrix(clean=clean, noisy=noisy.labels))
assert c.low < noise.clean_level(T) < c.high and classes.NUM_CLASSES["cifar10"] == 10
assert recommend(clean=clean, noisy=noisy.labels).choice.verdict == "asymmetric"
by_sample, posterior = instance_noise.part_dependent(clean, np.eye(3)[clean], 0.3, 0, norm=1.0)
assert posterior.shape == (600, 3) and 0.2 < by_sample.rate < 0.4
assert lost_classes(np.zeros(600, int), noisy.labels) == [1, 2]
assert noisy.mask[suspicious(noisy.labels, logits=np.eye(3)[clean])[: noisy.mask.sum()]].all()
"""
PLOTS = """
import matplotlib
matplotlib.use("agg")
from alfs_utils import losses, noise, plots
figure = plots.loss_and_pull({"CE": losses.CELoss(), "AGCE": losses.AGCELoss(a=6, q=1.5)})
plots.transition_heatmap(figure.axes[0], noise.symmetric(3, 0.4), "T")
plots.curves(figure.axes[1], {"CE": [[0.1, 0.2], [0.2, 0.3]]})
figure.canvas.draw()
"""
MATPLOTLIB = "matplotlib PIL contourpy cycler dateutil fontTools kiwisolver packaging pyparsing six"


def alone(code, more="torch"):
    """The code where nothing but what the first floor may need, and `more`, can be imported."""
    return ALONE.format(more=", ".join(map(repr, more.split()))) + code


def test_the_rooms_are_loaded_when_they_are_asked_for():
    python(
        "import sys, time; start, before = time.perf_counter(), set(sys.modules)\n"
        "import alfs_utils\n"
        "assert time.perf_counter() - start < 0.1, time.perf_counter() - start\n"
        "new = set(sys.modules) - before\n"
        "assert {n.split('.')[0] for n in new} <= {'alfs_utils', 'importlib', 'warnings'}, new\n"
        "assert alfs_utils.losses.AGCELoss(a=6, q=1.5) and 'noise' in dir(alfs_utils)\n"
        "assert not hasattr(alfs_utils, 'AGCELoss')"
    )


FLOOR_1 = "asymmetry classes estimation instance_noise losses lost_classes noise plots".split()
FLOOR_1 += ["recommend", "suspicious"]


@pytest.mark.parametrize("room", FLOOR_1)
def test_public_functions_and_methods_are_annotated(room):
    module = importlib.import_module(f"alfs_utils.{room}")
    public = [getattr(module, name) for name in module.__all__]
    functions = [f for f in public if inspect.isfunction(f)]
    for owner in (c for c in public if inspect.isclass(c)):
        members = {k: v for k, v in vars(owner).items() if k == "__init__" or k[0] != "_"}
        members = [getattr(v, "fget", getattr(v, "__func__", v)) for v in members.values()]
        functions += [f for f in members if inspect.isfunction(f) and f.__module__[:4] == "alfs"]
    assert functions or room == "classes"
    for function in functions:
        names = [n for n in inspect.signature(function).parameters if n not in ("self", "cls")]
        missing = {*names, "return"} - set(function.__annotations__) - {"options"}
        if hasattr(function, "__signature__"):  # **options, shown one by one
            missing -= {"weight", "ignore_index", "reduction"}
        assert not missing, (function.__qualname__, missing)


def tracked():
    """The files of a checkout that are no part of its tooling on GitHub."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    return [name for name in names if not name.startswith((".github/", ".ci/", ".git", ".pre-"))]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    source = folder / "source"  # building leaves files behind
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, source / name)
    build = "from setuptools.build_meta import build_sdist; build_sdist('..')"
    subprocess.run([sys.executable, "-W", "error", "-c", build], cwd=source, check=True)
    (packed,) = folder.glob("*.tar.gz")
    return packed


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", folder, sdist], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_source_distribution_is_the_checkout(sdist):
    with tarfile.open(sdist) as archive:
        packed = {member.name.split("/", 1)[-1] for member in archive if member.isfile()}
    added = {"PKG-INFO", "setup.cfg"} | {n for n in packed if n.startswith("alfs_utils.egg-info/")}
    assert packed - added == {*tracked()}


def test_the_wheel_holds_two_floors_and_is_typed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("alfs_utils/")}
        metadata = next(n for n in archive.namelist() if n.endswith("/METADATA"))
        needs = archive.read(metadata).decode().splitlines()
    files = [p.relative_to(ROOT) for p in (ROOT / "alfs_utils").rglob("*") if p.is_file()]
    kinds = (".py", ".typed", ".cpp", ".npz", ".txt")
    floors = {p.as_posix() for p in files if p.suffix in kinds and p.parts[1] != "paper"}
    assert packed == floors and "alfs_utils/py.typed" in packed
    core = [line for line in needs if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert core == ["Requires-Dist: torch>=2.6", "Requires-Dist: numpy>=1.26"]
    assert "License-Expression: BSD-3-Clause" in needs and "License-File: LICENSE" in needs


def test_there_is_one_version(wheel):
    assert wheel.name.split("-")[1] == alfs_utils.__version__
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == alfs_utils.__version__
    newest = re.search(r"^## (\S+) \((.*)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == alfs_utils.__version__
    assert newest[2] == "unreleased" or date.fromisoformat(newest[2])


def test_the_page_on_pypi_has_no_link_into_a_checkout():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 3 and all(link.startswith("https://") for link in links), links


def test_the_builder_is_bounded():
    (builder,) = project()["build-system"]["requires"]
    bounds = {specifier.operator for specifier in Requirement(builder).specifier}
    assert bounds == {">=", "<"}


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def closure(names):
    """The installed distributions that these need, by name."""
    found, todo = {}, [(name, frozenset()) for name in names]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in found:
            continue
        found[name, wanted] = distribution = importlib.metadata.distribution(name)
        for needed in map(Requirement, distribution.requires or []):
            markers = (
                [needed.marker.evaluate({"extra": e}) for e in ("", *wanted)]
                if needed.marker
                else [True]
            )
            if any(markers):
                todo.append((canonicalize_name(needed.name), frozenset(needed.extras)))
    return {name: distribution for (name, _), distribution in found.items()}


ROOMS = {
    "": alone(FIRST_FLOOR),
    "plots": alone(PLOTS, MATPLOTLIB),
    "train": """
import importlib
rooms = "classes data data.human data.webvision data.words models records sweep training"
for room in rooms.split():
    importlib.import_module("alfs_utils." + room)
from alfs_utils import data, records, sweep
from alfs_utils.training import RunConfig
data.load("words")
from PIL import Image
if __name__ == "__main__":
    configs = [RunConfig("CELoss()", epochs=1, eta=0.4)]
    with tempfile.TemporaryDirectory() as folder:
        assert sweep.run(configs, folder, device="cpu", progress=False) == {"done": 1}
        assert len(records.runs_of(records.load(folder), configs)) == 1
""",
    "cluster": "import dask_jobqueue, distributed\nfrom alfs_utils import sweep\n",
}


@pytest.mark.parametrize("extra", ROOMS)
def test_an_extra_is_all_that_its_rooms_need(extra, wheel, tmp_path):
    """An environment of nothing but what the extra declares, and what that brings along."""
    declared = project()["project"]
    extras = declared["optional-dependencies"]
    lines = [*declared["dependencies"], *extras.get(extra, [])]
    lines += extras["train"] if extra == "cluster" else []
    names = {canonicalize_name(Requirement(line).name) for line in lines} - {"alfs-utils"}
    for name in names:
        require(importlib.util.find_spec(MODULES.get(name, name)), f"{name}, see requirements*.txt")
    for distribution in closure(names).values():
        for file in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
            link, target = tmp_path / file, distribution.locate_file(file)
            if file != "__pycache__" and not link.exists() and target.exists():
                link.symlink_to(target)
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (tmp_path / "page.py").write_text(
        "import tempfile\nimport numpy as np\nimport torch\n" + ROOMS[extra]
    )
    run = subprocess.run(
        [sys.executable, "-S", "page.py"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]


MODULES = {
    "scikit-learn": "sklearn",
    "pillow": "PIL",
    "dask-jobqueue": "dask_jobqueue",
}  # where a distribution has another name


def test_an_installed_package_says_that_it_has_no_tables(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    for name in ("sweep", "features"):
        run = subprocess.run(
            [sys.executable, "-m", "alfs_utils", name], cwd=tmp_path, capture_output=True, text=True
        )
        assert run.returncode == 2 and "needs a checkout" in run.stderr, run.stderr


def pins(*files):
    found = {}
    for line in "\n".join((ROOT / file).read_text() for file in files).splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            found[canonicalize_name(name)] = version
    return found


def test_every_package_of_the_environment_is_pinned():
    asked = pins("requirements.txt", "requirements-extras.txt")
    brought = pins("constraints.txt")
    assert not asked.keys() & brought.keys()
    here = [name for name in asked if importlib.util.find_spec(MODULES.get(name, name))]
    missing = closure(here).keys() - asked.keys() - brought.keys()
    assert not {name for name in missing if not name.startswith(("nvidia-", "triton", "cuda-"))}


def test_pins_are_exact_and_satisfy_the_lower_bounds():
    pinned = pins("requirements.txt", "requirements-extras.txt")
    declared = project()["project"]
    extras = declared["optional-dependencies"].values()
    for bound in map(Requirement, [*declared["dependencies"], *(b for e in extras for b in e)]):
        if bound.name == "alfs-utils":  # an extra that includes another
            continue
        assert bound.specifier.contains(pinned[canonicalize_name(bound.name)]), bound


TORCHVISION = """
import json, sys, types, torch
import alfs_utils.data._torchvision as cured
torchvision = cured.torchvision
from torchvision import transforms
image = transforms.ToTensor()(transforms.ToPILImage()(torch.ones(1, 4, 4)))
model = torchvision.models.resnet18(num_classes=3)
print(json.dumps({"declared": hasattr(cured, "_declared"), "sum": image.sum().item(),
                  "outputs": model(torch.zeros(2, 3, 32, 32)).shape[1],
                  "cpu_only": torch.version.cuda is None}))
"""


def test_torchvision_imports_beside_this_torch():
    seen = json.loads(python(TORCHVISION))
    assert seen["sum"] == 16 and seen["outputs"] == 3


def import_cure(monkeypatch, torchvision_import):
    """Run the cure with `import torchvision` replaced; returns its namespace and declarations."""
    import builtins

    genuine, declared = builtins.__import__, []

    def fake(name, *args, **kwargs):
        return torchvision_import() if name == "torchvision" else genuine(name, *args, **kwargs)

    library = types.SimpleNamespace(
        Library=lambda *a: types.SimpleNamespace(define=declared.append)
    )
    monkeypatch.setattr("torch.library", library)
    monkeypatch.setattr(builtins, "__import__", fake)
    namespace = {}
    exec((ROOT / "alfs_utils" / "data" / "_torchvision.py").read_text(), namespace)
    return namespace, declared


def test_the_cure_does_nothing_where_torchvision_is_healthy(monkeypatch):
    healthy = types.ModuleType("torchvision")
    namespace, declared = import_cure(monkeypatch, lambda: healthy)
    assert namespace["torchvision"] is healthy and declared == []


def test_the_cure_declares_the_missing_operators_and_tries_again(monkeypatch):
    outcomes = [RuntimeError("operator torchvision::nms does not exist"), types.ModuleType("tv")]

    def broken_once():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    _, declared = import_cure(monkeypatch, broken_once)
    assert [text.split("(")[0] for text in declared] == ["nms", "qnms"] and not outcomes


def test_the_cure_leaves_other_errors_alone(monkeypatch):
    tries = []

    def unrelated():
        tries.append(1)
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        import_cure(monkeypatch, unrelated)
    assert len(tries) == 1
