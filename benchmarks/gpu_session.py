"""Use a GPU for a few minutes: its tests, timings, then as many missing runs as fit.

    python benchmarks/gpu_session.py --minutes 12 [--pack runs.jsonl] [--results results]
    python benchmarks/gpu_session.py --device cpu --dry

First come the tests that need a GPU, then the speed of a step beside that of the plain loop
(`training.py` in this folder). The rest of the time goes to runs that the ledger lacks, several at
once: those of MNIST's tables, then on CIFAR-10 asymmetric noise 0.4, symmetric noise 0.8 and
Figure 3. Every finished record is in the packed file at once; a run that was cut off goes on in the
next session, if the ledger is kept. At the end it says what is left. `--dry` does the same with the
embedded digits in less than two minutes, without a GPU if `--device cpu` says so.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from alfs_utils import data, sweep
from alfs_utils.losses import MAELoss, from_paper
from alfs_utils.paper import protocol, which_runs
from alfs_utils.training import RunConfig
from alfs_utils.training.environment import device_of

ROOT = Path(__file__).resolve().parents[1]
TESTS, TIMINGS = 0.15, 0.35  # of the time, until when these may take
MARGIN = 20.0  # seconds: a sweep that is told to stop writes its checkpoints first


def main(argv=None):
    options = _parsed(argv)
    seconds = 60 * options.minutes
    end = time.monotonic() + seconds
    late = threading.Timer(seconds + MARGIN, os._exit, [3])  # should a GPU hang, too
    late.daemon = True
    late.start()

    def left(share=1.0):
        return max(1.0, end - (1 - share) * seconds - time.monotonic())

    try:
        failed = not _do("tests", _tests(), left(TESTS))
        for name, command in _timings(options.device, options.dry):
            failed |= not _do(name, command, left(TIMINGS))
        with tempfile.TemporaryDirectory() as folder:
            results = options.results or (folder if options.dry else ROOT / "results")
            failed |= _train(_runs(options.dry), results, options, left() - MARGIN)
        print(f"{seconds - left():.0f} of {seconds:.0f} s used", flush=True)
    finally:
        late.cancel()
    return int(failed)


def _parsed(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--minutes", type=float, default=12, help="all in all; default: 12")
    add("--device", default="cuda", choices=["cuda", "cpu"], help="default: cuda")
    add("--dry", action="store_true", help="the same path on the digits, in two minutes")
    add("--workers", type=int, default=max(1, min(8, (os.cpu_count() or 1) // 2)))
    add("--results", help="the ledger; default: results, with --dry a temporary folder")
    add("--pack", default=None, help="each record is appended here; default: gpu-session.jsonl")
    options = parser.parse_args(argv)
    try:
        device_of(options.device)
    except ValueError as error:  # before the tests, which skip where there is no GPU
        parser.error(str(error))
    if options.dry:
        options.minutes = min(options.minutes, 2)
    elif options.pack is None:
        options.pack = ROOT / "gpu-session.jsonl"
    return options


def _do(name, command, seconds):
    """Run a command for at most so long, show what it prints, and say whether it passed."""
    print(f"--- {name}", flush=True)
    start = time.monotonic()
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        code = "cut off"
    print(f"--- {name}: {code or 'passed'}, {time.monotonic() - start:.0f} s", flush=True)
    return not code


def _tests():
    """Those that say "needs a CUDA GPU" without one."""
    options = ["-q", "-rs", "-p", "no:cacheprovider", "-k", "a_gpu"]
    return [sys.executable, "-m", "pytest", *options, "tests/test_training.py"]


def _timings(device, dry):
    script = ROOT / "benchmarks" / "training.py"
    size = ["--rounds", "1", "--steps", "2", "--workers", "0"] if dry else ["--rounds", "3"]
    for dataset, more in (
        ("mnist", []),
        ("mnist", ["--compile"]),
        ("cifar10", []),
        ("cifar10", ["--precision", "bfloat16"]),
    )[: 1 if dry else None]:
        command = [sys.executable, script, "--device", device, "--dataset", dataset]
        yield " ".join(["steps on", dataset, *more]), [*command, *size, *more]


def _runs(dry):
    """The runs in the order of work, by what they are for; without those whose data are absent."""
    mnist, cifar10 = ("digits", "digits") if dry else map(data.find, ("mnist", "cifar10"))
    shown = ("CE", "AUL", "AGCE", "MAE", "NCE+AGCE")
    losses = [MAELoss() if name == "MAE" else from_paper(name, "cifar10") for name in shown]
    tables = which_runs.table(None, mnist, **({"epochs": 2} if dry else {}))
    figure = which_runs.figure_3()
    found = {
        "MNIST, the tables": tables,
        "CIFAR-10, asymmetric 0.4": [_run(cifar10, x, "asymmetric", 0.4) for x in losses],
        "CIFAR-10, symmetric 0.8": [_run(cifar10, x, "symmetric", 0.8) for x in losses],
        "CIFAR-10, Figure 3": [_run(cifar10, c.loss, c.noise, c.eta) for c in figure],
    }
    if dry:
        return {f"{name} (on the digits)": runs[:2] for name, runs in found.items()}
    return {name: runs for name, runs in found.items() if _is_there(runs[0].dataset, name)}


def _run(dataset, loss, noise, eta):
    if dataset == "digits":
        return RunConfig(loss, dataset, noise=noise, eta=eta, epochs=2)
    return protocol.run(dataset, loss, noise, eta)


def _is_there(dataset, name):
    try:
        data.load(dataset)
        return True
    except (FileNotFoundError, ValueError) as error:
        print(f"{name}: left out. {error}", flush=True)
        return False


def _train(groups, results, options, seconds):
    """Train what is missing, and print how far each group is; return whether a run failed."""
    print(f"--- runs: {options.workers} at once, for {max(0, seconds):.0f} s", flush=True)
    runs = [run for group in groups.values() for run in group]
    how = {"workers": options.workers, "device": options.device, "pack": options.pack}
    counts = {}
    if seconds > 0 and runs:
        words = which_runs.describe
        counts = sweep.run(runs, results, time_budget=seconds, describe=words, **how)
    print("--- runs:", ", ".join(f"{n} {outcome}" for outcome, n in counts.items()) or "none")
    for name, group in groups.items():
        states = Counter(sweep.states(group, results))
        print(f"{name}: {', '.join(f'{n} {state}' for state, n in states.items())}")
    return "failed" in counts


if __name__ == "__main__":
    sys.exit(main())
