"""The package as an engineer meets it: what it imports, what it costs, how it installs."""

import json
import shutil
import subprocess
import sys
import types
import zipfile

import pytest
from conftest import ROOT


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("alfs_utils", "torch torchvision numpy pandas matplotlib sklearn"),
        ("alfs_utils.noise", "torch torchvision pandas matplotlib sklearn scipy"),
        ("alfs_utils.losses", "torchvision pandas matplotlib sklearn scipy"),
        ("alfs_utils.training", "torchvision pandas matplotlib sklearn"),
    ],
)
def test_a_room_imports_only_what_it_may(module, forbidden):
    loaded = python(
        f"import sys, {module}\nprint([m for m in {forbidden.split()!r} if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_import_adds_little_to_torch():
    code = (
        "import time, torch; start = time.perf_counter()\n"
        "import alfs_utils, alfs_utils.losses\nprint(time.perf_counter() - start)"
    )
    assert min(float(python(code)) for _ in range(3)) <= 0.15


def test_the_wheel_holds_every_module(tmp_path):
    source = tmp_path / "source"  # building leaves files behind
    shutil.copytree(ROOT / "alfs_utils", source / "alfs_utils")
    for name in ("pyproject.toml", "README.md"):
        shutil.copyfile(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("alfs_utils/")}
        metadata = next(n for n in archive.namelist() if n.endswith("/METADATA"))
        needs = archive.read(metadata).decode().splitlines()
    sources = [p for p in (ROOT / "alfs_utils").rglob("*") if p.suffix in (".py", ".cpp")]
    assert packed == {p.relative_to(ROOT).as_posix() for p in sources}
    core = [line for line in needs if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert core == ["Requires-Dist: torch>=2.6", "Requires-Dist: numpy>=1.26"]


def test_pins_are_exact_and_satisfy_the_lower_bounds():
    import tomllib

    from packaging.requirements import Requirement

    files = [ROOT / "requirements.txt", ROOT / "requirements-extras.txt"]
    pins = {}
    for line in "\n".join(file.read_text() for file in files).splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[name] = version
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    for bound in map(Requirement, [*project["dependencies"], *(b for e in extras for b in e)]):
        assert bound.specifier.contains(pins[bound.name]), bound


TORCHVISION = """
import json, sys, types, torch
import alfs_utils._torchvision as cured
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
    exec((ROOT / "alfs_utils" / "_torchvision.py").read_text(), namespace)
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
