"""Execute the notebooks and build the site.

    python tools/build.py book      execute what changed into _build/, then build the site from it
    python tools/build.py execute   refresh the committed outputs in notebooks/
    python tools/build.py site      build the site from the committed outputs, executing nothing
    python tools/build.py offline   pack the site that was built into _build/alf-book.zip

Notebooks run in order, each in a fresh kernel, with papermill. Run it through `make`.
"""

import argparse
import base64
import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from importlib.metadata import version
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "_build"
EXECUTED = BUILD / "executed"
STAGE = BUILD / "stage"
BUDGET_SECONDS = 60  # per notebook, quick profile, 2 CPU cores

# What an executed notebook depends on besides its own source.
INPUTS = ["alfs_utils", "results", "book", "tools", "requirements.txt", "_config.yml", "_toc.yml"]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["book", "execute", "site", "offline"])
    parser.add_argument("--nb", default="", help="only notebooks whose name contains this text")
    parser.add_argument("--profile", default="quick", choices=["quick", "paper"])
    options = parser.parse_args(argv)

    notebooks = [nb for nb in all_notebooks() if options.nb in name_of(nb)]
    if not notebooks:
        parser.error(f"no notebook in notebooks/ has {options.nb!r} in its name")
    try:
        if options.command == "book":
            return execute_changed(notebooks) or build_site(EXECUTED)
        if options.command == "execute":
            return execute_all(notebooks, options.profile)
        if options.command == "offline":
            return pack()
        return build_site(ROOT / "notebooks")
    except KeyboardInterrupt:
        print("\ninterrupted: the next build goes on from here", file=sys.stderr)
        return 130


def all_notebooks() -> list[Path]:
    """The notebooks in the order of the book: chapters first, then the folders beside them."""
    found = (ROOT / "notebooks").rglob("*.ipynb")
    chapters = [path for path in found if ".ipynb_checkpoints" not in path.parts]
    return sorted(chapters, key=lambda path: (len(path.parts), path))


def name_of(notebook: Path) -> str:
    """A notebook's name below notebooks/, without the ending."""
    return notebook.relative_to(ROOT / "notebooks").with_suffix("").as_posix()


def execute_changed(notebooks: list[Path]) -> int:
    """Execute copies under _build/, skipping those whose key has not changed since."""
    wanted = {EXECUTED / f"{name_of(notebook)}.ipynb" for notebook in notebooks}
    for stale in EXECUTED.rglob("*.ipynb"):
        if stale not in wanted:
            stale.unlink()
    shared = shared_key()
    keys = {nb: notebook_key(nb, shared) for nb in notebooks}

    def run(notebook: Path) -> str:
        output = EXECUTED / f"{name_of(notebook)}.ipynb"
        receipt = output.with_suffix(".key")
        if output.exists() and receipt.exists() and receipt.read_text() == keys[notebook]:
            return "unchanged"
        receipt.unlink(missing_ok=True)
        execute(notebook, output)
        receipt.write_text(keys[notebook])
        return "pass"

    return report(notebooks, run)


def execute_all(notebooks: list[Path], profile: str) -> int:
    """Execute in place; a profile other than quick goes to _build/executed-PROFILE instead."""
    if profile == "quick":
        target, parameters = ROOT / "notebooks", {}
    else:
        target, parameters = BUILD / f"executed-{profile}", {"profile": profile}
        print(f"profile {profile}: the executed notebooks go to {target}")

    def run(notebook: Path) -> str:
        execute(notebook, target / f"{name_of(notebook)}.ipynb", parameters)
        return "pass"

    return report(notebooks, run, BUDGET_SECONDS if profile == "quick" else None)


def report(notebooks: list[Path], run, budget: float | None = BUDGET_SECONDS) -> int:
    """Run each notebook, a line of progress for each, all failures listed at the end."""
    failures, began = [], time.perf_counter()
    for number, notebook in enumerate(notebooks, 1):
        print(f"[{number}/{len(notebooks)}] {name_of(notebook):<32}", end=" ", flush=True)
        start = time.perf_counter()
        try:
            outcome = run(notebook)
        except Exception as error:  # whatever a notebook raises, the others still run
            outcome = "FAIL"
            failures.append((notebook, error))
        seconds = time.perf_counter() - start
        slow = f"  (over the budget of {budget} s)" if budget and seconds > budget else ""
        print(f"{seconds:6.1f} s  {outcome}{slow}", flush=True)
    print(f"{len(notebooks)} notebooks in {time.perf_counter() - began:.1f} s")
    for notebook, error in failures:
        print(f"\nFAILED {notebook.relative_to(ROOT)}\n{error}", file=sys.stderr)
    if failures:
        names = ", ".join(name_of(notebook) for notebook, _ in failures)
        print(f"\n{len(failures)} of {len(notebooks)} notebooks failed: {names}", file=sys.stderr)
    return 1 if failures else 0


def execute(source: Path, output: Path, parameters: dict | None = None) -> None:
    """Run `source` with papermill; `output` is only replaced once every cell has passed."""
    import papermill

    os.environ["TQDM_DISABLE"] = "1"  # a page should not show a bar at each of its steps
    # Some runs of the pages lose classes, as the pages say. The warning is for a reader's own runs.
    os.environ["PYTHONWARNINGS"] = "ignore::RuntimeWarning:alfs_utils.training.loop"
    temporary = BUILD / "running" / output.name
    for folder in (temporary.parent, output.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nbformat's and pyzmq's own deprecations
        papermill.execute_notebook(
            source,
            temporary,
            parameters=parameters or {},
            kernel_name="python3",
            cwd=source.parent,
            progress_bar=False,
            kernel_manager_class=QuietKernelManager,
        )
    strip_metadata(temporary, output)
    shutil.move(temporary, output)


class QuietKernelManager(AsyncKernelManager):
    """Ends a kernel by asking it to.

    jupyter_client sends it SIGINT first. A kernel that is still at work on its last message then
    prints "KeyboardInterrupt caught in kernel", although nobody pressed Ctrl-C.
    """

    async def _async_interrupt_kernel(self):
        if not self.shutting_down:
            await super()._async_interrupt_kernel()


def strip_metadata(path: Path, before: Path) -> None:
    """Drop what differs from run to run, such as where a text was cut into pieces.

    What is kept of times and versions stands in one place, `executed`. It is that of the notebook
    `before` if the run gave the same outputs: so it leaves no trace. But if it took less than half
    the time, the machine was busy before, and the new time is the better one.
    """
    notebook = nbformat.read(path, as_version=4)
    run = notebook.metadata.pop("papermill", {})
    notebook.metadata["executed"] = {
        "date": run.get("start_time", "")[:10],
        "seconds": round(run.get("duration") or 0),
        "python": notebook.metadata.get("language_info", {}).pop("version", ""),
        "torch": version("torch").split("+")[0],
    }
    for cell in notebook.cells:
        for name in ("papermill", "execution"):
            cell.metadata.pop(name, None)
        if not cell.metadata.get("tags"):
            cell.metadata.pop("tags", None)
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = slim(output.data["image/png"])
    earlier = nbformat.read(before, as_version=4) if before.exists() else notebook
    executed = earlier.metadata.get("executed", notebook.metadata["executed"])
    busy = executed["seconds"] > 2 * notebook.metadata["executed"]["seconds"] + 2
    if earlier.cells == notebook.cells and not busy:
        notebook.metadata["executed"] = executed
    nbformat.write(notebook, path)


def slim(png: str) -> str:
    """A PNG, in base64, with 256 colours: a third of the bytes of a cloud of points."""
    from PIL import Image

    found = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.convert("RGB").quantize(256).save(found, "png", optimize=True)
    return base64.b64encode(found.getvalue()).decode()


def joined(outputs: list) -> list:
    """Outputs with adjacent pieces of one stream made one; a busy machine cuts them anywhere."""
    found = []
    for output in outputs:
        if found and output.get("name", 0) == found[-1].get("name", 1):
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def shared_key() -> str:
    """Hash of everything that any notebook may depend on."""
    digest = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for name in INPUTS:
        path = ROOT / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
        for file in files:
            if not {"__pycache__", ".work"} & {*file.parts}:
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def notebook_key(path: Path, shared: str) -> str:
    """Hash of a notebook's source (outputs do not count) and of what all notebooks share."""
    cells = nbformat.read(path, as_version=4).cells
    source = [(c.cell_type, c.source, sorted(c.metadata.get("tags", []))) for c in cells]
    return hashlib.sha256(f"{shared}{source!r}".encode()).hexdigest()


def build_site(notebooks: Path) -> int:
    """Build the site strictly (every warning is an error) from the given executed notebooks."""
    for left in BUILD.glob("building-site.*"):
        if not is_alive(int(left.suffix[1:])):  # killed, perhaps between a warning and its failure
            forget_site()
            left.unlink(missing_ok=True)
    building = BUILD / f"building-site.{os.getpid()}"
    BUILD.mkdir(parents=True, exist_ok=True)
    building.touch()
    stage(notebooks)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    flags = ["-W", "-n", "--keep-going", "-q", "--path-output", str(ROOT)]
    start = time.perf_counter()
    status = subprocess.run([jupyter_book, "build", str(STAGE), *flags]).returncode
    if status:
        forget_site()  # Sphinx warns about a page only when it reads it: the next build must, too
        building.unlink(missing_ok=True)
        print(f"the site was not built cleanly (status {status}): see above", file=sys.stderr)
        return status
    building.unlink(missing_ok=True)
    write_front_door(BUILD / "html" / "index.html")
    write_ledger(BUILD / "html" / "ledger.csv")
    write_records(BUILD / "html" / "records.zip")
    print(f"site built in {time.perf_counter() - start:.1f} s")
    print(BUILD / "html" / "index.html")
    return 0


def is_alive(pid: int) -> bool:
    """Whether a process with this number runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        pass
    return True


def write_ledger(path: Path) -> None:
    """Write the table of all runs, to which the pages of the tables link."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from alfs_utils import records

    records.to_csv(records.load(ROOT / "results"), path)


def write_records(path: Path) -> None:
    """Write all of results/, every curve included, into one archive; it repeats byte for byte."""
    folder = ROOT / "results"
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and ".work" not in f.parts]
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(ROOT).as_posix())
            archive.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)


FRONT_DOOR = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Asymmetric losses, executed</title>
<meta http-equiv="refresh" content="0; url={page}"><link rel="icon" href="data:,"></head>
<body><p><a href="{page}">Asymmetric losses, executed</a></p></body>
</html>
"""


def write_front_door(path: Path) -> None:
    """Lead from index.html to the landing page; Jupyter Book's own has no title and no language."""
    (root,) = re.findall(r"(?m)^root: (\S+)", (ROOT / "_toc.yml").read_text())
    path.write_text(FRONT_DOOR.format(page=f"{root}.html"))


def pack() -> int:
    """Pack the site that was built into one file, which opens from the disk once it is unpacked."""
    folder = BUILD / "html"
    if not (folder / "index.html").exists():
        print("there is no site yet: make site", file=sys.stderr)
        return 1
    print(shutil.make_archive(BUILD / "alf-book", "zip", BUILD, "html"))
    return 0


def stage(notebooks: Path) -> None:
    """Lay out the site's sources in one folder; unchanged files keep their times."""
    wanted = {Path(name): ROOT / name for name in ("_config.yml", "_toc.yml")}
    wanted |= {p.relative_to(ROOT): p for p in (ROOT / "book").rglob("*") if p.is_file()}
    wanted |= {Path("notebooks") / p.relative_to(notebooks): p for p in notebooks.rglob("*.ipynb")}
    for name, source in wanted.items():
        target = STAGE / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    stale = [p for p in STAGE.rglob("*") if p.is_file() and p.relative_to(STAGE) not in wanted]
    for path in stale:
        path.unlink()
    if stale:
        forget_site()  # else the pages of removed files would stay in it


def forget_site() -> None:
    """Remove the built site and Sphinx's memory of it."""
    for name in (".doctrees", "html"):
        shutil.rmtree(BUILD / name, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
