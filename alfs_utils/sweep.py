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
import atexit
import contextlib
import dataclasses
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from functools import cache
from pathlib import Path
from queue import SimpleQueue

import torch

from alfs_utils import data, grids, human, paper, records, training
from alfs_utils._files import try_lock
from alfs_utils._progress import progress_bar
from alfs_utils.losses import FocalLoss
from alfs_utils.training import RunConfig, paper_run

__all__ = ["estimate", "extras", "run", "states", "table"]

TABLES = {1: "symmetric", 2: "asymmetric"}  # clean labels are symmetric noise of rate 0
# The order of work: the methods that say most in every setting, then the other methods.
FIRST_METHODS = ("CE", "GCE", "AGCE", "AUL", "NCE+RCE", "SCE")
SETTINGS = (
    ("symmetric", 0.8),
    ("symmetric", 0.4),
    ("asymmetric", 0.4),
    ("symmetric", 0.6),
    ("symmetric", 0.2),
    ("symmetric", 0.0),
    ("asymmetric", 0.3),
    ("asymmetric", 0.2),
    ("asymmetric", 0.1),
)
TRIES = 3  # for a run whose worker process dies
RESERVE = 100_000  # bytes, more than a record has


# --- which runs -----------------------------------------------------------------------------


def table(
    number: int | None,
    dataset: str,
    seeds: Sequence[int] = (0, 1, 2),
    source: str = "tables",
    noise_draws: str = "fresh",
    **changes,
) -> list[RunConfig]:
    """The runs of Table 1 (clean and symmetric) or 2 (asymmetric), most telling first.

    Parameters
    ----------
    number : {1, 2} or None
        None: both.
    dataset : str
        "mnist", "cifar10", "cifar100", or the "-npz" name of the latter two. "digits" gives MNIST's
        rows with the defaults of `RunConfig`: no table of the paper, but the same code in seconds.
    seeds : sequence of int
        One run of each cell per seed; all cells of the first seed come first.
    source : {"tables", "repository"}
        Which loss each row has, see `paper.setting`. Where both agree, so do the runs.
    noise_draws : {"fresh", "one"}
        Whether every seed draws its own label noise, or all train on the draw of seed 0, as in the
        authors' code.
    **changes
        Other fields of `RunConfig`. Runs with changes are not the paper's.
    """
    if number not in (None, *TABLES):
        raise ValueError(f"number must be 1, 2 or None, got {number!r}")
    if noise_draws not in ("fresh", "one"):
        raise ValueError(f"noise_draws must be 'fresh' or 'one', got {noise_draws!r}")
    if noise_draws == "one":
        changes = changes | {"noise_seed": 0}
    rows = _rows(dataset)
    first = [name for name in FIRST_METHODS if name in rows]
    others = [name for name in rows if name not in FIRST_METHODS]
    settings = [s for s in SETTINGS if number is None or s[0] == TABLES[number]]
    cells = [(n, *setting) for group in (first, others) for setting in settings for n in group]
    return [
        _config(
            dataset, paper.paper_loss(name, _paper_name(dataset), source), *setting, seed, changes
        )
        for seed in seeds
        for name, *setting in cells
    ]


def extras(dataset: str, seeds: Sequence[int] = (0,), **changes) -> list[RunConfig]:
    """Runs beside the tables, at eta = 0.4 and 0.8: the repository's settings where they differ.

    And, at symmetric 0.4, the focal loss as its formula has it; the tables' row has the detached
    factor of the authors' code.
    """
    tables = set(table(None, dataset, seeds, **changes))
    theirs = table(None, dataset, seeds, "repository", **changes)
    formula = FocalLoss(gamma=0.5)
    return [c for c in theirs if c not in tables and c.eta in (0.4, 0.8)] + [
        _config(dataset, formula, "symmetric", 0.4, seed, changes) for seed in seeds
    ]


# Names of `--grid`: the data set without `--dataset`, and the runs.
GRIDS = {
    "extras": ("mnist", extras),
    "collapse": ("cifar10", grids.collapse),
    "figure-3": ("cifar10", grids.figure_3),
    "figure-5": ("mnist", grids.figure_5),
    "kernel-pairs": ("mnist", grids.kernel_pairs),
    "tuning": ("mnist", grids.tuning),
    "precision-pairs": ("mnist", grids.precision_pairs),
    "reduced": ("cifar10", grids.reduced),
    "superclass": ("cifar100", grids.superclass),
}


def _config(dataset, loss, noise, eta, seed, changes):
    if dataset != "digits":
        return paper_run(dataset, loss, noise, eta, seed, **changes)
    seeds = dict.fromkeys(training.SEEDS, seed)
    return RunConfig(loss, dataset, noise=noise, eta=eta, **(seeds | changes))


def _paper_name(dataset):
    return "mnist" if dataset == "digits" else data.base_name(dataset)


def _rows(dataset):
    if dataset != "digits" and data.base_name(dataset) not in training.PROTOCOLS:
        known = ", ".join(["digits", *training.PROTOCOLS])
        raise ValueError(f"dataset must be one of {known}, got {dataset!r}")
    return paper.ROWS[_paper_name(dataset)]


def _describe(config):
    """A run in words, as `--only` reads them."""
    words = [config.dataset, config.noise, f"{config.eta:g}", _loss_name(config)]
    recipe = training.PROTOCOLS.get(data.base_name(config.dataset))
    if recipe and config.model != recipe["model"]:
        words += [config.model]
    if config.train_size:
        words += [f"{config.train_size}-images"]
    if recipe and config.epochs != recipe["epochs"]:
        words += [f"{config.epochs}-epochs"]
    if recipe and not config.augment:
        words += ["no-augmentation"]
    words += [f"seed {config.init_seed}"]
    if config.noise_seed != config.init_seed:
        words += [f"noise-seed {config.noise_seed}"]
    if config.precision != "float32":
        words += [config.precision]
    return " ".join(words)


def _loss_name(config):
    """The row of the tables that a run belongs to, or its loss."""
    return _names(_paper_name(config.dataset)).get(config.loss, config.loss)


@cache
def _names(dataset):
    names = {}
    for mark, source, compat in (
        (" (formula)", "tables", "formula"),
        (" (repository)", "repository", "official"),
        ("", "tables", "official"),  # last, for most losses are the same in all three
    ):
        losses = {name: paper.paper_loss(name, dataset, source, compat) for name in _rows(dataset)}
        names |= {str(loss): name + mark for name, loss in losses.items()}
    return names


# --- running them ---------------------------------------------------------------------------


def run(
    configs: Sequence[RunConfig],
    results: str | os.PathLike = "results",
    *,
    workers: int = 1,
    device: str | None = None,
    threads: int = 1,
    time_budget: float | None = None,
    pack: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    deterministic: bool = False,
    compiled: bool = False,
    progress: bool | None = None,
    executor: Executor | None = None,
) -> dict[str, int]:
    """Train what is not yet in the ledger; every finished run is written as it ends.

    A script that calls this needs the usual ``if __name__ == "__main__":``, because worker
    processes import it.

    Parameters
    ----------
    configs : sequence of RunConfig
    results : path
        The ledger. Checkpoints and locks of unfinished runs lie in its folder `.work`.
    workers : int
        Runs at once, each in its own process.
    device : str, optional
        "cpu" or "cuda", which several workers share; by default the GPU, if a worker has one.
    threads : int
        Threads of each worker on the CPU; part of what makes runs repeat bit for bit.
    time_budget : float, optional
        Seconds after which the sweep stops; unfinished runs keep their checkpoints.
    pack : path, optional
        A .jsonl file to which every finished record is appended, too.
    weights : path, optional
        A folder for the final weights, id.pt.
    deterministic, compiled : bool
        See `training.train`; both are for GPUs, and the records say them.
    progress : bool, optional
        False: say nothing. Otherwise every run that ends gives a line on standard error, and there
        is a bar: if standard error is a terminal (None), or in any case (True).
    executor : concurrent.futures.Executor, optional
        Where to run instead of in local processes, for example a Dask client's `get_executor()`.
        Its workers must see the folder `results` under the same path, and the data.

    Returns
    -------
    dict
        Number of runs by outcome: "done", "already done", "elsewhere" (another sweep is at it),
        "stopped", "failed".

    Raises
    ------
    ValueError, OSError
        Before anything is trained: bad arguments, missing or damaged data, no place to write.
    """
    if workers < 1 or threads < 1:
        raise ValueError(f"workers and threads must be at least 1, got {workers} and {threads}")
    own = executor is None
    if own and device and _is_cuda(device) and not torch.cuda.is_available():
        raise ValueError(f"device must be 'cpu' here, where torch sees no GPU, got {device!r}")
    if compiled and not own:
        raise ValueError("compiled must be False with an executor: CUDA graphs need a main thread")
    for dataset in sorted({c.dataset for c in configs}):
        clean = data.load(dataset).train_labels  # what is missing is found now, not in every worker
        for labels in sorted({c.noise for c in configs if c.dataset == dataset} & {*human.NAMES}):
            human.load(labels, clean.numpy())
    results = Path(results).absolute()
    configs = list(dict.fromkeys(configs))
    todo = [c for c in configs if records.find(c, results) is None]
    counts = Counter({"already done": len(configs) - len(todo)})
    (results / ".work").mkdir(parents=True, exist_ok=True)
    if weights:
        Path(weights).mkdir(parents=True, exist_ok=True)
        done = map(records.run_id, set(configs).difference(todo))
        lost = sorted(i for i in done if not (Path(weights) / f"{i}.pt").exists())
        if lost and progress is not False:
            text = "done earlier, and their weights were not kept here: a new ledger makes them"
            print(f"{', '.join(lost)}: {text}", file=sys.stderr)
    if pack:
        Path(pack).parent.mkdir(parents=True, exist_ok=True)
        open(pack, "ab").close()
    flag = results / ".work" / f"sweep-{uuid.uuid4().hex}"
    flag.touch()
    job = {
        "results": results,
        "device": device,
        "threads": threads,
        "deadline": None if time_budget is None else time.time() + time_budget,
        "flag": flag,
        "pack": pack and Path(pack).absolute(),
        "weights": weights and Path(weights).absolute(),
        "how": {"deterministic": deterministic, "compiled": compiled},
    }
    executor = _Processes(workers) if own else executor
    futures = {}
    bar = progress_bar(progress, total=len(todo), unit="run")
    try:
        with bar:
            futures = {executor.submit(_one, config, job): config for config in todo}
            for number, future in enumerate(as_completed(futures), 1):
                outcome, message = _result_of(future)
                counts[outcome] += 1
                bar.update()
                if outcome in ("done", "failed") and progress is not False:
                    text = f"{outcome}: {_describe(futures[future])}: {message}"
                    bar.write(f"[{number}/{len(todo)}] {text}", file=sys.stderr)
    finally:
        flag.unlink(missing_ok=True)  # workers stop when they miss it, wherever they are
        for future in futures:
            future.cancel()
        if own:
            executor.shutdown()
    return dict(+counts)  # without zeros


def _is_cuda(device):
    try:
        return torch.device(device).type == "cuda"
    except RuntimeError as error:
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}") from error


def _result_of(future):
    try:
        return future.result()
    except Exception as error:  # whatever a run raises, the others go on
        return "failed", f"{type(error).__name__}: {error}"


# A run changes torch's random generator, number of threads and deterministic mode, which are all of
# the process: where a Dask worker has several threads, they take turns.
_ALONE = threading.Lock()


def _one(config, job):
    """Train one configuration, in a worker; returns its outcome and a word on it."""
    with _ALONE:
        return _train(config, job)


def _train(config, job):
    torch.set_num_threads(job["threads"])
    device = job["device"] or _default_device()
    results, how = job["results"], job["how"]
    records.revision()  # now: the files may change while it trains
    if how["deterministic"]:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    checkpoint = records.checkpoint_of(config, results)
    stop = _stopper(job)
    if stop():
        return "stopped", ""
    with open(checkpoint.with_suffix(".lock"), "a") as lock:
        if not try_lock(lock):
            return "elsewhere", ""
        if records.find(config, results) is not None:
            return "already done", ""
        _fill(lock, RESERVE)
        try:
            history = training.train(
                config,
                device,
                checkpoint=checkpoint,
                weights=job["weights"] and job["weights"] / f"{records.run_id(config)}.pt",
                progress=False,
                should_stop=stop,
                **how,
            )
        except training.Stopped as error:
            return "stopped", str(error)
        record = records.make(history, device, **how)
        _fill(lock, 0)
        if job["pack"]:
            records.pack(record, job["pack"])
        records.write(record, results)
        checkpoint.unlink(missing_ok=True)  # only now: until here it was the only copy
    score = f"{history.last:.2f} %" if history.status == "finished" else history.status
    return "done", f"{score} in {history.seconds / 60:.1f} min"


def _fill(file, size):
    """Keep room on the disk for the record, so that one that fills up meanwhile costs no run."""
    file.truncate(0)
    file.write("\0" * size)
    file.flush()
    os.fsync(file.fileno())


def _default_device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def _stopper(job):
    """A cheap question: is it time to stop? The file system is asked at most once a second."""
    asked, answer = 0.0, False

    def stop():
        nonlocal asked, answer
        now = time.time()
        if now - asked > 1 and not answer:
            asked = now
            late = job["deadline"] is not None and now > job["deadline"]
            answer = late or not job["flag"].exists()
        return answer

    return stop


class _Processes(ThreadPoolExecutor):
    """An executor of worker processes, of which one may die and cost only the run it had.

    Each thread has one process (a pool of many is lost as a whole when one of them dies), and gives
    the run to a new one.
    """

    def __init__(self, workers):
        super().__init__(workers)
        self._free = SimpleQueue()
        for _ in range(workers):
            self._free.put(_new_process())

    def submit(self, function, *args):
        return super().submit(self._in_a_process, function, *args)

    def _in_a_process(self, function, *args):
        process = self._free.get()
        try:
            for _ in range(TRIES):
                try:
                    return process.submit(function, *args).result()
                except BrokenExecutor:
                    process.shutdown()
                    process = _new_process()
                except Exception:  # it may have broken CUDA for its process
                    process.shutdown()
                    process = _new_process()
                    raise
            raise RuntimeError(f"its worker process died {TRIES} times (killed, or out of memory?)")
        finally:
            self._free.put(process)

    def shutdown(self, wait=True, **options):
        super().shutdown(wait, **options)
        while not self._free.empty():
            self._free.get().shutdown(wait)


def _new_process():
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _start_worker)


def _start_worker():
    # Ctrl-C reaches every process of a terminal; here the sweep says when to stop, see `run`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    atexit.register(os._exit, 0)  # unloading torch would take a second longer


def _die_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


# --- how far it is --------------------------------------------------------------------------


def states(configs: Sequence[RunConfig], results: str | os.PathLike = "results") -> list[str]:
    """State of each configuration: "done", "running", "interrupted" (has a checkpoint), "to do"."""
    return [_state(config, Path(results)) for config in configs]


def _state(config, results):
    checkpoint = records.checkpoint_of(config, results)
    if records.find(config, results) is not None:
        return "done"
    with contextlib.suppress(FileNotFoundError), open(checkpoint.with_suffix(".lock")) as file:
        if not try_lock(file, shared=True):
            return "running"
    return "interrupted" if checkpoint.exists() else "to do"


def estimate(
    configs: Sequence[RunConfig], device: str | None = None, threads: int = 1, steps: int = 30
) -> float:
    """Hours that the runs would take here, one after the other.

    Times `steps` training steps, and a part of the test, of one run of each data set, network and
    precision.
    """
    torch.set_num_threads(threads)
    epochs: Counter = Counter()
    sample = {}
    for config in configs:
        kind = config.dataset, config.model, config.precision
        epochs[kind] += config.epochs
        sample[kind] = config
    device = device or _default_device()
    seconds = {k: training.seconds_per_epoch(c, device, steps) for k, c in sample.items()}
    return sum(seconds[kind] * epochs[kind] for kind in sample) / 3600


# --- the command ----------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        configs = _chosen(options)
        if options.list:
            _print_states(configs, options.results)
        elif options.estimate:
            _print_estimate(configs, options)
        else:
            return _run(configs, options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # `--list | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: finished runs are in the ledger, the others resume", file=sys.stderr)
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m alfs_utils.sweep", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--table", type=int, choices=sorted(TABLES), help="default: both")
    add("--grid", choices=GRIDS, help="other runs than the tables'")
    add("--dataset", help="mnist (default), cifar10, cifar100 or, to try, digits")
    add("--results", default="results", help="the ledger's folder; default: results")
    add("--seeds", type=int, default=3, help="runs per cell; default: 3")
    add("--noise-draws", default="fresh", help="fresh for each seed (default), or one for all")
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
    add("--pack", metavar="FILE", help="append each record to this .jsonl, too")
    add("--weights", metavar="FOLDER", help="keep the final weights here")
    add("--compile", action="store_true", dest="compiled", help="torch.compile, for a GPU")
    add("--deterministic", action="store_true", help="repeats bit for bit on a GPU, too; slower")
    add("--address", help="of a Dask scheduler that has the workers")
    return parser


def _chosen(options):
    if options.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, got {options.seeds}")
    if options.grid and (options.table or options.noise_draws != "fresh"):
        raise ValueError("--table and --noise-draws do not go with --grid")
    seeds = range(options.seeds)
    if options.grid:
        default, grid = GRIDS[options.grid]
        configs = grid(data.find(options.dataset or default), seeds)
    else:
        dataset = data.find(options.dataset or "mnist")
        configs = table(options.table, dataset, seeds, noise_draws=options.noise_draws)
    changes = {name: getattr(options, name) for name in ("epochs", "precision")}
    changes = {name: value for name, value in changes.items() if value is not None}
    configs = [dataclasses.replace(c, **changes) for c in configs]
    configs = [c for c in configs if _matches(c, options.only)]
    if not configs:
        raise ValueError(f"--only={options.only!r}: expected words that --list shows for some run")
    if options.first is not None:
        todo = zip(configs, states(configs, options.results), strict=True)
        configs = [c for c, state in todo if state != "done"][: options.first]
    return configs


def _matches(config, only):
    """Whether each word of `only` is among the run's; a comma between words means "or"."""
    words = {records.run_id(config), *_describe(config).split()}
    return all(words & set(alternatives.split(",")) for alternatives in only.split())


def _print_states(configs, results):
    found = states(configs, results)
    for config, state in zip(configs, found, strict=True):
        print(f"{records.run_id(config)}  {state:<12} {_describe(config)}")
    print(", ".join(f"{n} {state}" for state, n in sorted(Counter(found).items())))


def _print_estimate(configs, options):
    todo = zip(configs, states(configs, options.results), strict=True)
    configs = [c for c, state in todo if state != "done"]
    hours = estimate(configs, options.device, options.threads)
    print(f"{len(configs)} runs to do, about {hours:.1f} hours one after the other")


def _run(configs, options):
    passed = ("workers", "device", "threads", "time_budget", "pack", "weights")
    passed += ("deterministic", "compiled")
    arguments = {name: getattr(options, name) for name in passed}
    with contextlib.ExitStack() as stack:
        if options.address:
            arguments["executor"] = stack.enter_context(_client(options.address)).get_executor()
        counts = run(configs, options.results, **arguments)
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()) or "nothing to do")
    return 1 if "failed" in counts else 0


def _client(address):
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ValueError(f"--address needs Dask: pip install distributed ({error})") from error
    return Client(address)


def _seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"expected a time such as 90s, 8m or 1.5h, got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


if __name__ == "__main__":
    # Workers elsewhere cannot import `__main__`.
    from alfs_utils.sweep import main as command

    sys.exit(command())
