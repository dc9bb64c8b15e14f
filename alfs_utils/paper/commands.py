"""What the command line runs: sweeps, WebVision, features, human labels."""

import argparse
import contextlib
import dataclasses
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from alfs_utils import data, records
from alfs_utils import sweep as sweep_runs
from alfs_utils._arguments import integer, option
from alfs_utils.data import human as human_labels
from alfs_utils.data import webvision as webvision_data
from alfs_utils.losses.settings import ROWS
from alfs_utils.paper import table_3, which_runs


def _guarded(action: Callable[[], int]) -> int:
    """Run an action and return its exit status; print an error as one line."""
    try:
        status = action()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `--list | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished runs are in the ledger, the others resume", file=sys.stderr)
        return 130


# --- sweep ----------------------------------------------------------------------------------


def sweep(argv: Sequence[str]) -> int:
    """Train, list or estimate the runs of a table or a grid."""
    options = _sweep_parser().parse_args(argv)

    def action():
        configs = _chosen(options)
        if options.list:
            return _print_states(configs, options.results)
        if options.estimate:
            return _print_estimate(configs, options)
        return _run(configs, options)

    return _guarded(action)


def _sweep_parser():
    parser = argparse.ArgumentParser(prog="python -m alfs_utils sweep", description=sweep.__doc__)
    add = parser.add_argument
    add("--table", type=int, choices=sorted(which_runs.TABLES), help="default: both")
    add("--grid", choices=which_runs.GRIDS, help="other runs than the tables'")
    add("--dataset", help="mnist (default), cifar10, cifar100 or, to try, digits")
    add("--results", type=_path, default="results", help="the ledger's folder; default: results")
    add("--seeds", type=int, default=3, help="runs per cell; default: 3")
    add("--epochs", type=int, help="other than the paper's")
    add("--precision", help="float32 (default), bfloat16 or float16")
    add("--only", default="", metavar="WORDS", help='as in --list: "CE,AGCE symmetric 0.8"')
    add("--first", type=int, metavar="N", help="only N runs, the first that are not done")
    add("--list", action="store_true", help="print every run and its state, and train nothing")
    add("--estimate", action="store_true", help="time 30 steps, print hours, and train nothing")
    add("--workers", type=int, default=1, help="runs at once; default: 1")
    add("--threads", type=int, default=1, help="CPU threads of each; default: 1")
    add("--device", help="cpu or cuda; default: the GPU, if there is one")
    add("--time-budget", type=_seconds, metavar="8m", help="stop after this time")
    add("--pack", type=_path, metavar="FILE", help="append each record to this .jsonl, too")
    add("--weights", type=_path, metavar="FOLDER", help="keep the final weights here")
    add("--compile", action="store_true", dest="compiled", help="torch.compile, for a GPU")
    add("--deterministic", action="store_true", help="repeats bit for bit on a GPU, too; slower")
    add("--address", help="of a Dask scheduler that has the workers")
    return parser


def _chosen(options):
    integer("--seeds", options.seeds, 1, 1000)
    if options.first is not None:
        integer("--first", options.first, 0)
    if options.grid and options.table:
        raise ValueError("--table: expected none with --grid")
    seeds = range(options.seeds)
    if options.grid:
        default, grid = which_runs.GRIDS[options.grid]
        configs = grid(data.find(default if options.dataset is None else options.dataset), seeds)
    else:
        dataset = data.find("mnist" if options.dataset is None else options.dataset)
        configs = which_runs.table(options.table, dataset, seeds)
    changes = {name: getattr(options, name) for name in ("epochs", "precision")}
    changes = {name: value for name, value in changes.items() if value is not None}
    configs = [dataclasses.replace(c, **changes) for c in configs]
    configs = [c for c in configs if _matches(c, options.only)]
    if not configs:
        raise ValueError(
            f"--only: expected words that --list shows for a run, got {options.only!r}"
        )
    if options.first is not None:
        todo = zip(configs, sweep_runs.states(configs, options.results), strict=True)
        configs = [c for c, state in todo if state != "done"][: options.first]
    return configs


def _matches(config, only):
    """Whether each word of `only` is among the run's; a comma between words means "or"."""
    words = {records.run_id(config), *which_runs.describe(config).split()}
    return all(words & set(alternatives.split(",")) for alternatives in only.split())


def _print_states(configs, results):
    found = sweep_runs.states(configs, results)
    for config, state in zip(configs, found, strict=True):
        print(f"{records.run_id(config)}  {state:<12} {which_runs.describe(config)}")
    print(", ".join(f"{n} {state}" for state, n in sorted(Counter(found).items())))
    return 0


def _print_estimate(configs, options):
    todo = zip(configs, sweep_runs.states(configs, options.results), strict=True)
    configs = [c for c, state in todo if state != "done"]
    hours = sweep_runs.estimate(configs, options.device, options.threads)
    print(f"{len(configs)} runs to do, about {hours:.1f} hours one after the other")
    return 0


def _run(configs, options):
    passed = ("workers", "device", "threads", "time_budget", "pack", "weights")
    passed += ("deterministic", "compiled")
    arguments = {name: getattr(options, name) for name in passed} | {
        "describe": which_runs.describe
    }
    with contextlib.ExitStack() as stack:
        if options.address:
            arguments["executor"] = stack.enter_context(_client(options.address)).get_executor()
        counts = sweep_runs.run(configs, options.results, **arguments)
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) or "nothing to do")
    return 1 if "failed" in counts else 0


def _client(address):
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ValueError(f"--address needs Dask: pip install distributed ({error})") from error
    return Client(address)


def _path(text):
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return text


def _seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 8m or 1.5h, got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


# --- WebVision ------------------------------------------------------------------------------


def webvision(argv: Sequence[str]) -> int:
    """Verify the images of Table 3, estimate the cost of a row, or train it, under torchrun too."""
    parser = argparse.ArgumentParser(
        prog="python -m alfs_utils webvision", description=webvision.__doc__
    )
    parser.add_argument("action", choices=["verify", "estimate", "train"])
    add = parser.add_argument
    add("--row", default="AGCE", choices=ROWS["webvision"], help="of Table 3; default: AGCE")
    add("--seed", type=int, default=0)
    add("--precision", default="float32", help="float32, bfloat16 or float16; default: float32")
    add("--results", type=_path, default="results", help="the ledger's folder; default: results")
    add("--weights", type=_path, metavar="FILE", help="save the final weights here")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(argv)
    actions = {"verify": _verify, "estimate": _estimate_row, "train": _train_row}
    return _guarded(lambda: actions[options.action](options))


def _verify(options):
    images = webvision_data.verify(webvision_data.load())
    print(f"{images} images, all can be decoded")
    return 0


def _estimate_row(options):
    config = table_3.row(options.row, options.seed, options.precision)
    seconds, hours = table_3.estimate(config, options.device)
    print(f"{seconds:.0f} s per epoch, {hours:.1f} hours per run on one {options.device}")
    return 0


def _train_row(options):
    config = table_3.row(options.row, options.seed, options.precision)
    if done := table_3.train(config, options.device, options.results, options.weights):
        print(done)
    return 0


# --- features -------------------------------------------------------------------------------


def features(argv: Sequence[str]) -> int:
    """Make the stored picture and the numbers of runs whose final weights are at hand."""
    parser = argparse.ArgumentParser(
        prog="python -m alfs_utils features", description=features.__doc__
    )
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="ID", help="may be given several times")
    add("--weights", type=_path, required=True, metavar="FOLDER", help="has the weights, ID.pt")
    add("--results", type=_path, default="results", help="the ledger's folder; default: results")
    options = parser.parse_args(argv)
    return _guarded(lambda: _make_features(options))


def _make_features(options):
    from alfs_utils.paper import features as room  # scikit-learn takes a second

    for run_id in options.run:
        made = room.make(run_id, Path(options.weights) / f"{run_id}.pt", options.results)
        test = made.about["metrics"]["test"]
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in test.items())
        print(f"{run_id}: {numbers}", flush=True)
    return 0


# --- human labels ---------------------------------------------------------------------------


def human(argv: Sequence[str]) -> int:
    """Convert the published files to .npz, or write how often each class was called what."""
    parser = argparse.ArgumentParser(prog="python -m alfs_utils human", description=human.__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("convert", help="write the .npz files")
    actions.add_parser("counts", help="write the count matrices").add_argument("folder", type=_path)
    options = parser.parse_args(argv)

    def action():
        if options.action == "convert":
            paths = [human_labels.convert(name) for name in ("cifar10", "cifar100")]
        else:
            paths = human_labels.write_counts(options.folder)
        print(*paths, sep="\n")
        return 0

    return _guarded(action)


# --- lost classes ---------------------------------------------------------------------------


def census(argv: Sequence[str]) -> int:
    """Train the short runs of chapter 12b; start it once per core, the processes share the work."""
    from alfs_utils.paper import census as room
    from alfs_utils.paper import short_runs

    parser = argparse.ArgumentParser(prog="python -m alfs_utils census", description=census.__doc__)
    add = parser.add_argument
    add("--results", default="results", help="the folder of the results; default: results")
    add("--part", choices=room.PARTS, help="default: all, in their order of work")
    add("--whole", metavar="CURE", help="whole runs of a cure instead")
    add("--float32", action="store_true", help="where a CPU has no bfloat16: what has no run yet")
    add("--list", action="store_true", help="print how much of each part is done, train nothing")
    options = parser.parse_args(argv)

    def action():
        if options.list:
            for name, part in room.PARTS.items():
                print(f"{len(short_runs.load(options.results, part)):4} of {len(part):4}  {name}")
            return 0
        torch.set_num_threads(1)
        trials = room.PARTS[options.part] if options.part else room.trials()
        if options.whole is not None:
            option("--whole", options.whole, [*room.CURES])
            trials = room.whole(options.whole)
        if options.float32:
            trials = map(short_runs.in_float32, short_runs.missing(trials, options.results))
        for line in short_runs.run(trials, options.results):
            print(line, flush=True)
        return 0

    return _guarded(action)
