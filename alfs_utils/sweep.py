"""Many runs: a grid of configurations in, finished records out.

    python -m alfs_utils.sweep --table 1 --dataset mnist --results results/
    python -m alfs_utils.sweep --table 1 --dataset mnist --list

Every run has one place in the ledger (`alfs_utils.records`), so a sweep can be stopped, killed and
started again, twice at once and on several machines that share the folder: a run that is finished
is not run again, one that somebody is at work on is left to them, one that was cut off goes on from
its checkpoint.

On one machine the runs go to worker processes. Beyond it, `run` takes any executor, such as that of
a Dask cluster (`--address`).
"""

import argparse
import contextlib
import fcntl
import os
import re
import sys
import time
import traceback
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch
from tqdm.auto import tqdm

from alfs_utils import data, paper, records, training
from alfs_utils.losses import FocalLoss
from alfs_utils.training import RunConfig, paper_run

__all__ = ["estimate", "run", "states", "table"]

TABLES = {
    1: [("symmetric", eta) for eta in (0.8, 0.4, 0.6, 0.2, 0.0)],
    2: [("asymmetric", eta) for eta in (0.4, 0.3, 0.2, 0.1)],
}
# The cells that say most come first: these methods, and of them the settings marked below.
FIRST_METHODS = ("CE", "GCE", "AGCE", "AUL", "NCE+RCE", "SCE")
FIRST_SETTINGS = (("symmetric", 0.8), ("symmetric", 0.4), ("asymmetric", 0.4))
TRIES = 3  # for a run whose worker process dies


def table(
    number: int, dataset: str, seeds: Sequence[int] = (0, 1, 2), source: str = "tables"
) -> list[RunConfig]:
    """The runs of Table 1 (clean and symmetric) or 2 (asymmetric), most telling first.

    Parameters
    ----------
    number : {1, 2}
    dataset : str
        "mnist", "cifar10", "cifar100", or the "-npz" name of the latter two.
    seeds : sequence of int
        One run of each cell per seed; all cells of the first seed come first.
    source : {"tables", "repository"}
        See `paper.setting`. "repository" gives only the rows whose setting differs from the
        tables', at eta = 0.4 and 0.8.
    """
    base = data.base_name(dataset)
    if number not in TABLES:
        raise ValueError(f"number must be 1 or 2, got {number!r}")
    methods = sorted(paper.ROWS[base], key=_place)
    if source == "repository":
        methods = [name for name in methods if _differs(name, base)]
    cells = [(name, *setting) for name in methods for setting in TABLES[number]]
    if source == "repository":
        cells = [cell for cell in cells if cell[2] in (0.4, 0.8)]
    cells.sort(key=_rank)
    return [
        paper_run(dataset, paper.paper_loss(name, base, source), noise, eta, seed)
        for seed in seeds
        for name, noise, eta in cells
    ]


def extras(dataset: str, seeds: Sequence[int] = (0,)) -> list[RunConfig]:
    """Runs beside the tables: the repository's settings, and the focal loss as its formula has it."""
    runs = [c for number in TABLES for c in table(number, dataset, seeds, "repository")]
    formula = FocalLoss(gamma=0.5)  # the tables' row has the detached factor of the authors' code
    return runs + [paper_run(dataset, formula, "symmetric", 0.4, seed) for seed in seeds]


def _differs(name, base):
    ours, theirs = (str(paper.paper_loss(name, base, s)) for s in ("tables", "repository"))
    return ours != theirs


def _place(name):
    return FIRST_METHODS.index(name) if name in FIRST_METHODS else len(FIRST_METHODS)


def _rank(cell):
    """The most telling cells first, setting by setting; then the other methods last."""
    name, *setting = cell
    setting = tuple(setting)
    if name in FIRST_METHODS and setting in FIRST_SETTINGS:
        return 0, FIRST_SETTINGS.index(setting), _place(name)
    return 1, name not in FIRST_METHODS, 0


def run(
    configs: Sequence[RunConfig],
    results: str | os.PathLike = "results",
    *,
    workers: int = 1,
    device: str = "cpu",
    threads: int = 1,
    time_budget: float | None = None,
    pack: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    executor: Executor | None = None,
) -> dict[str, int]:
    """Train what is not yet in the ledger; every finished run is written as it ends.

    Parameters
    ----------
    configs : sequence of RunConfig
    results : path
        The ledger. Checkpoints and locks of unfinished runs lie in its folder `.work`.
    workers : int
        Runs at once, each in its own process.
    device : str
        "cpu" or "cuda"; several workers share it.
    threads : int
        Threads of each worker on the CPU; part of what makes runs repeat bit for bit.
    time_budget : float, optional
        Seconds after which the sweep stops; unfinished runs keep their checkpoints.
    pack : path, optional
        A .jsonl file to which every finished record is appended, too.
    weights : path, optional
        A folder for the final weights, id.pt.
    executor : concurrent.futures.Executor, optional
        Where to run instead of in local processes, for example a Dask client's `get_executor()`.
        Its workers must see the folder `results` under the same path, and the data.

    Returns
    -------
    dict
        Number of runs by outcome: "done", "already done", "elsewhere", "stopped", "failed".
    """
    if workers < 1 or threads < 1:
        raise ValueError(f"workers and threads must be at least 1, got {workers} and {threads}")
    for dataset in sorted({c.dataset for c in configs}):
        data.load(dataset)  # a missing file is found now, not in every worker
    results = Path(results).absolute()
    work = results / ".work"
    work.mkdir(parents=True, exist_ok=True)
    job = {
        "results": results,
        "device": device,
        "threads": threads,
        "deadline": None if time_budget is None else time.time() + time_budget,
        "stop_file": work / f"stop-{uuid.uuid4().hex}",
        "parent": os.getpid() if executor is None else None,
        "pack": pack if pack is None else Path(pack).absolute(),
        "weights": weights if weights is None else Path(weights).absolute(),
    }
    counts: dict[str, int] = {}
    todo = list(dict.fromkeys(configs))
    with tqdm(total=len(todo), unit="run", disable=None) as bar:
        for outcome, config, message in _outcomes(todo, job, workers, executor):
            counts[outcome] = counts.get(outcome, 0) + 1
            bar.update()
            if outcome in ("done", "failed"):
                bar.write(f"{outcome}: {_describe(config)}  {message}", file=sys.stderr)
    return counts


def _outcomes(todo, job, workers, executor):
    """Yield (outcome, config, message) of every run; a dead worker costs only the runs in hand."""
    tries = dict.fromkeys(todo, 0)
    try:
        while todo:
            own = executor is None
            pool = ProcessPoolExecutor(workers, get_context("spawn")) if own else executor
            futures = {pool.submit(_one, config, job): config for config in todo}
            todo = []
            try:
                for future in as_completed(futures):
                    config = futures[future]
                    try:
                        outcome, message = future.result()
                    except BrokenExecutor as error:
                        # It is not known whose worker died: all that were unfinished go again.
                        tries[config] += 1
                        if tries[config] < TRIES:
                            todo.append(config)
                            continue
                        outcome, message = "failed", f"its worker died {TRIES} times: {error}"
                    except Exception as error:  # whatever a run raises, the others go on
                        outcome, message = "failed", f"{type(error).__name__}: {error}"
                    yield outcome, config, message
            except BaseException:
                job["stop_file"].touch()  # also tells workers that the signal does not reach
                for future in futures:
                    future.cancel()
                raise
            finally:
                if own:
                    pool.shutdown(wait=True, cancel_futures=True)
    finally:
        job["stop_file"].unlink(missing_ok=True)


def _one(config, job):
    """Train one configuration in a worker; returns (outcome, message)."""
    torch.set_num_threads(job["threads"])
    results, name = job["results"], records.run_id(config)
    work = results / ".work"
    stop = _stopper(job)
    if stop():
        return "stopped", ""
    with _claim(work / f"{name}.lock") as mine:
        if not mine:
            return "elsewhere", ""
        if records.find(config, results) is not None:
            return "already done", ""
        checkpoint = work / f"{name}.ckpt"
        weights = job["weights"] and job["weights"] / f"{name}.pt"
        try:
            history = training.train(
                config,
                job["device"],
                checkpoint=checkpoint,
                weights=weights,
                progress=False,
                should_stop=stop,
            )
        except training.Stopped as error:
            _leave_if_orphaned(job)
            return "stopped", str(error)
        except Exception:
            return "failed", traceback.format_exc(limit=-3)
        record = records.make(history, job["device"])
        records.write(record, results)
        if job["pack"]:
            records.pack(record, job["pack"])
        checkpoint.unlink(missing_ok=True)  # only now: until here it was the only copy
    return "done", f"{history.last:.2f} % in {history.seconds / 60:.1f} min"


def _stopper(job):
    """A cheap question: is it time to stop? The file system is asked at most once a second."""
    asked, answer = 0.0, False

    def stop():
        nonlocal asked, answer
        now = time.time()
        if now - asked > 1 and not answer:
            asked = now
            late = job["deadline"] is not None and now > job["deadline"]
            answer = late or job["stop_file"].exists() or _orphaned(job)
        return answer

    return stop


def _orphaned(job):
    return job["parent"] is not None and os.getppid() != job["parent"]


def _leave_if_orphaned(job):
    if _orphaned(job):  # nobody waits for a result, and the queue would block for ever
        os._exit(1)


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[bool]:
    """Hold a run's lock; the kernel frees it however the process ends. Yields whether it is ours."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        # Removed while held; whoever opened it before holds a file without a name, which is why
        # the ledger is asked only after the lock is taken.
        path.unlink(missing_ok=True)


def states(configs: Sequence[RunConfig], results: str | os.PathLike = "results") -> list[str]:
    """State of each configuration: "done", "running", "interrupted" (has a checkpoint), "to do"."""
    work = Path(results) / ".work"
    found = []
    for config in configs:
        name = records.run_id(config)
        if records.find(config, results) is not None:
            found.append("done")
        elif _is_locked(work / f"{name}.lock"):
            found.append("running")
        else:
            found.append("interrupted" if (work / f"{name}.ckpt").exists() else "to do")
    return found


def _is_locked(path):
    try:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def estimate(
    configs: Sequence[RunConfig], device: str = "cpu", threads: int = 1, steps: int = 30
) -> dict[str, float]:
    """Hours that the runs would take here one after the other, per data set.

    Times `steps` training steps and the test of one run of each data set, network and precision.
    """
    torch.set_num_threads(threads)
    hours: dict[str, float] = {}
    for sample in {(c.dataset, c.model, c.precision): c for c in configs}.values():
        alike = [
            c
            for c in configs
            if (c.dataset, c.model, c.precision) == (sample.dataset, sample.model, sample.precision)
        ]
        seconds = training.seconds_per_epoch(sample, device, steps)
        total = sum(seconds * c.epochs for c in alike) / 3600
        hours[sample.dataset] = hours.get(sample.dataset, 0.0) + total
    return hours


# --- the command ----------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m alfs_utils.sweep", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--table", type=int, choices=sorted(TABLES), action="append", help="default: both")
    add("--dataset", default="mnist", help="mnist, cifar10, cifar100 (or -npz); default: mnist")
    add("--results", default="results", help="the ledger's folder; default: results")
    add("--seeds", type=int, default=3, help="runs per cell; default: 3")
    add("--extras", action="store_true", help="the runs beside the tables instead")
    add("--only", default="", help="only runs whose line in --list matches this regular expression")
    add("--first", type=int, default=None, help="only so many runs, the first that are not done")
    add("--list", action="store_true", help="print every run and its state, and train nothing")
    add("--estimate", action="store_true", help="time 30 steps, print hours, and train nothing")
    add("--workers", type=int, default=1, help="runs at once; default: 1")
    add("--threads", type=int, default=1, help="CPU threads of each; default: 1")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--precision", default="float32", help="float32, bfloat16 or float16; default: float32")
    add("--time-budget", type=_seconds, default=None, metavar="8m", help="stop after this time")
    add("--pack", default=None, metavar="FILE", help="append each record to this .jsonl, too")
    add("--weights", default=None, metavar="FOLDER", help="keep the final weights here")
    add("--address", default=None, help="of a Dask scheduler that has the workers")
    options = parser.parse_args(argv)
    try:
        configs = _chosen(options)
        if options.list:
            return _print_states(configs, options.results)
        if options.estimate:
            return _print_estimate(configs, options)
        return _run(configs, options)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished runs are in the ledger, the others resume", file=sys.stderr)
        return 130


def _chosen(options):
    dataset, seeds = data.find(options.dataset), range(options.seeds)
    if options.extras:
        configs = extras(dataset, seeds)
    else:
        numbers = options.table or sorted(TABLES)
        # Both tables: the most telling cells of both before the rest of either.
        configs = [c for number in numbers for c in table(number, dataset, seeds)]
        configs.sort(key=lambda c: (c.noise_seed, _rank((_name_of(c), c.noise, c.eta))))
    configs = [replace(c, precision=options.precision) for c in configs]
    configs = [c for c in configs if re.search(options.only, _describe(c))]
    if not configs:
        raise ValueError(f"--only={options.only!r}: expected a pattern that some run matches")
    if options.first is not None:
        todo = zip(configs, states(configs, options.results), strict=True)
        configs = [c for c, state in todo if state != "done"][: options.first]
    return configs


def _name_of(config):
    """The row of the tables that a run belongs to, or its loss."""
    base = data.base_name(config.dataset)
    names = {str(paper.paper_loss(name, base)): name for name in paper.ROWS[base]}
    return names.get(config.loss, config.loss)


def _describe(config):
    name = _name_of(config)
    return f"{config.dataset} {config.noise} {config.eta:g} {name} seed {config.noise_seed}"


def _print_states(configs, results):
    found = states(configs, results)
    for config, state in zip(configs, found, strict=True):
        print(f"{records.run_id(config)}  {state:<12} {_describe(config)}")
    print(", ".join(f"{found.count(s)} {s}" for s in sorted(set(found))))
    return 0


def _print_estimate(configs, options):
    todo = zip(configs, states(configs, options.results), strict=True)
    configs = [c for c, state in todo if state != "done"]
    for dataset, hours in estimate(configs, options.device, options.threads).items():
        print(
            f"{dataset}: {len(configs)} runs to do, about {hours:.1f} hours one after the other on "
            f"{options.device} with {options.threads} thread(s)"
        )
    return 0


def _run(configs, options):
    executor = None
    if options.address:
        from dask.distributed import Client

        executor = Client(options.address).get_executor()
    counts = run(
        configs,
        options.results,
        workers=options.workers,
        device=options.device,
        threads=options.threads,
        time_budget=options.time_budget,
        pack=options.pack,
        weights=options.weights,
        executor=executor,
    )
    print(", ".join(f"{number} {outcome}" for outcome, number in counts.items()))
    return 1 if "failed" in counts else 0


def _seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 8m or 1.5h, got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


if __name__ == "__main__":
    sys.exit(main())
