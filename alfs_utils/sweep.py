"""Many runs: configurations in, finished records out.

Every run has one place in the ledger (`alfs_utils.records`), so a sweep can be stopped, killed and
started again, twice at once and on several machines that share the folder. It skips finished runs
and runs that another process is training, and continues interrupted runs from their checkpoints.

On one machine the runs go to worker processes. Beyond it, `run` takes any executor, such as that of
a Dask cluster. This room does not choose the runs: `python -m alfs_utils sweep` knows those of the
paper.
"""

import atexit
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from alfs_utils import data, records, training
from alfs_utils._arguments import integer, real
from alfs_utils._locks import ELSEWHERE, locked
from alfs_utils.data import human, webvision
from alfs_utils.training import RunConfig
from alfs_utils.training.environment import agreed, device_name, device_of, process

__all__ = ["estimate", "own_ledger", "own_runs", "run", "states", "train_into"]

TRIES = 3  # for a run whose worker process dies
RESERVE = 100_000  # bytes, more than a record has
DONE = "done"


@dataclass(frozen=True)
class Job:
    """The arguments that all runs of a sweep share, see `run`; workers get a copy."""

    results: Path
    device: str | None
    threads: int
    flag: Path  # a file that exists as long as the sweep is to go on
    pack: Path | None
    weights: Path | None
    how: dict[str, bool]


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
    describe: Callable[[RunConfig], str] = str,
    executor: Executor | None = None,
) -> dict[str, int]:
    """Train the runs that the ledger lacks, and write each as it ends.

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
        See `training.train`; both are for GPUs, and the records have them.
    progress : bool, optional
        False shows nothing. Otherwise every run that ends gives a line on standard error, and there
        is a bar: only if standard error is a terminal (None), or always (True).
    describe : callable
        Gives the name of a run in these lines.
    executor : concurrent.futures.Executor, optional
        Where to run instead of in local processes, for example a Dask client's `get_executor()`.
        Its workers must see the folder `results` under the same path, and the data.

    Returns
    -------
    dict
        Number of runs by outcome: "done", "already done", "elsewhere" (another sweep trains it),
        "stopped", "failed".

    Raises
    ------
    ValueError, OSError
        Before training starts: if an argument is wrong, data are missing or damaged, or a place
        cannot be written to.
    """
    _check_arguments(workers, device, threads, time_budget, compiled, executor)
    _check_data(configs)
    if not os.fspath(results):
        raise ValueError("results: expected a folder, got ''")
    results = Path(results).absolute()
    pack, weights = (path and Path(path).absolute() for path in (pack, weights))
    _make_places(results, pack, weights)
    _clean(results, pack)
    configs = list(dict.fromkeys(configs))
    todo = [c for c, state in zip(configs, states(configs, results), strict=True) if state != DONE]
    counts = Counter({"already done": len(configs) - len(todo)})
    if weights and progress is not False:
        _name_lost_weights(weights, set(configs).difference(todo))
    how = {"deterministic": deterministic, "compiled": compiled}
    with _flag(results, time_budget) as flag:
        job = Job(results, device, threads, flag, pack, weights, how)
        hidden = None if progress is None else not progress
        with (
            closing(_outcomes(todo, job, executor or workers)) as outcomes,
            tqdm(total=len(todo), unit="run", dynamic_ncols=True, disable=hidden) as bar,
        ):
            for number, (config, outcome, message) in enumerate(outcomes, 1):
                counts[outcome] += 1
                bar.update()
                if outcome in (DONE, "failed") and progress is not False:
                    text = f"[{number}/{len(todo)}] {outcome}: {describe(config)}: {message}"
                    bar.write(text, file=sys.stderr)
    return dict(+counts)  # without zeros


def _outcomes(todo, job, workers):
    """Yield each configuration, its outcome and a message, as they end.

    `workers` is an executor, or the number of processes here.
    """
    with ExitStack() as stack:
        work = _one
        if isinstance(workers, int):
            pools: dict[int, ProcessPoolExecutor] = {}
            stack.callback(_shut_down, pools)
            work = partial(_in_a_process, pools)
            workers = stack.enter_context(ThreadPoolExecutor(workers))
        futures: dict[Future, RunConfig] = {}
        stack.callback(_stop, job.flag, futures)
        for config in todo:
            futures[workers.submit(work, config, job)] = config
        for future in as_completed(futures):
            yield futures[future], *_result_of(future)


def _stop(flag, futures):
    flag.unlink(missing_ok=True)  # workers stop when they miss it, wherever they are
    for future in futures:
        future.cancel()


def _check_arguments(workers, device, threads, time_budget, compiled, executor):
    integer("workers", workers, 1, 1024)
    integer("threads", threads, 1, 4096)
    if time_budget is not None:
        real("time_budget", time_budget, "a number of seconds >= 0", lambda x: x >= 0)
    if device is not None:
        device_of(device, here=executor is None)
    if compiled and executor is not None:
        raise ValueError(
            "compiled: expected False with an executor (CUDA graphs need a main thread), got True"
        )


def _check_data(configs):
    """Load every data set once, so that a missing file stops the sweep before it starts."""
    for dataset in sorted({c.dataset for c in configs}):
        clean = data.load(dataset).train_labels
        for labels in sorted({c.noise for c in configs if c.dataset == dataset} & {*human.NAMES}):
            human.load(labels, clean.numpy())


def _make_places(results, pack, weights):
    (results / ".work").mkdir(parents=True, exist_ok=True)
    if weights:
        Path(weights).mkdir(parents=True, exist_ok=True)
    if pack:
        Path(pack).parent.mkdir(parents=True, exist_ok=True)
        open(pack, "ab").close()


def _name_lost_weights(weights, done):
    lost = sorted(i for i in map(records.run_id, done) if not (Path(weights) / f"{i}.pt").exists())
    if lost:
        text = "done earlier, and their weights were not kept here: a new ledger makes them"
        print(f"{', '.join(lost)}: {text}", file=sys.stderr)


@contextmanager
def _flag(results, time_budget):
    """Keep a locked file as long as the sweep goes on, so that `_clean` leaves it there."""
    flag = results / ".work" / f"sweep-{uuid.uuid4().hex}"
    with locked(flag):
        flag.touch()  # its lock may lie elsewhere
        late = threading.Timer(min(time_budget or 0, threading.TIMEOUT_MAX), flag.unlink, [True])
        late.daemon = True
        if time_budget is not None:  # a clock that is set back does not move it
            late.start()
        try:
            yield flag
        finally:
            late.cancel()
            flag.unlink(missing_ok=True)


def _result_of(future):
    try:
        return future.result()
    except Exception as error:  # whatever a run raises, the others go on
        return "failed", f"{type(error).__name__}: {error}"


# --- one run --------------------------------------------------------------------------------


def train_into(
    results: str | os.PathLike,
    config: RunConfig,
    device: str,
    *,
    pack: str | os.PathLike | None = None,
    progress: bool | None = False,
    **how,
) -> tuple[str, str]:
    """Train a run and write its record, unless that exists or another process trains the run.

    Parameters
    ----------
    results : path
        The ledger.
    config, device
        See `training.train`.
    pack : path, optional
        See `run`.
    progress : bool, optional
        See `training.train`; none by default.
    **how
        Other arguments of `training.train`.

    Returns
    -------
    outcome, message : str
        "done", "already done" or "elsewhere", and a line about it.

    Raises
    ------
    training.Stopped
        If the run was asked to stop.
    """
    checkpoint = records.checkpoint_of(config, results)
    first = process()[0] == 0  # of the processes of a distributed run, one decides and writes
    with _mine(checkpoint, first) as mine:
        found = "elsewhere", "another process is at work on this run"
        if mine:
            there = first and records.find(config, results) is not None
            found = ("already done", str(records.path_of(config, results))) if there else None
        if found := agreed(found):
            return found
        history = training.train(config, device, checkpoint=checkpoint, progress=progress, **how)
        if first:
            record = records.make(history)
            _room(checkpoint).unlink()
            records.write(record, results)
            if _packed(record, pack):
                checkpoint.unlink(missing_ok=True)  # only now: until here it was the only copy
    score = f"{history.last:.2f} %" if history.status == "finished" else history.status
    return "done", f"{score} in {history.seconds / 60:.1f} min"


def _packed(record, pack):
    """Append a record to the packed file, if there is one; a full disk only causes a warning."""
    try:
        if pack:
            records.pack(record, pack)
        return True
    except OSError as error:
        text = f"{pack}: record {record['id']} not appended, the next sweep does it ({error})"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
        return False


def _room(checkpoint):
    """Return the path of the file that reserves room on the disk for the record."""
    return checkpoint.with_suffix(".room")


@contextmanager
def _mine(checkpoint: Path, wanted: bool) -> Iterator[bool]:
    """Lock a run and reserve room for its record; yield whether the run is ours."""
    if not wanted:
        yield True
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    # Not at once: `states` and `_clean` hold the lock for a moment.
    with locked(checkpoint.with_suffix(".lock"), 0.5) as mine:
        try:
            if mine:
                _room(checkpoint).unlink(missing_ok=True)  # left by a kill, or a link
                with open(_room(checkpoint), "xb") as file:
                    file.write(bytes(RESERVE))
            yield mine
        finally:
            if mine:
                _room(checkpoint).unlink(missing_ok=True)


def _clean(results, pack):
    """Remove files that killed processes left behind; skip runs and sweeps that go on."""
    work = results / ".work"
    for flag in work.glob("sweep-*"):
        with locked(flag, 0) as gone:
            if gone:
                flag.unlink(missing_ok=True)
    left = [*work.glob("*.ckpt"), *work.glob("*.room"), *work.glob(".*.ckpt.part")]
    left += results.glob("*/.*.json.*")
    for run_id in {found[0] for path in left if (found := re.findall("[0-9a-f]{12}", path.name))}:
        with locked(work / f"{run_id}.lock", 0) as mine:
            if mine:
                _clean_run(results, run_id, pack)


def _clean_run(results, run_id, pack):
    checkpoint = results / ".work" / f"{run_id}.ckpt"
    parts = [*results.glob(f"*/.{run_id}.json.*"), checkpoint.with_name(f".{checkpoint.name}.part")]
    for path in (*parts, _room(checkpoint)):
        path.unlink(missing_ok=True)
    for path in results.glob(f"*/{run_id}.json"):
        with suppress(ValueError, OSError):  # a damaged record: its run goes on from the checkpoint
            if checkpoint.exists() and _packed(records.read(path), pack):
                checkpoint.unlink()


# A run changes torch's random generator, number of threads and deterministic mode, which belong to
# the whole process. So the threads of a Dask worker take turns.
_ALONE = threading.Lock()


def _one(config, job):
    """Train one configuration in a worker; return its outcome and a message."""
    with _ALONE:
        torch.set_num_threads(job.threads)
        if job.how["deterministic"]:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        stop = _stopper(job.flag)
        if stop():
            return "stopped", ""
        weights = job.weights and job.weights / f"{records.run_id(config)}.pt"
        how = job.how | {"weights": weights, "should_stop": stop}
        device = job.device or _default_device()
        try:
            return train_into(job.results, config, device, pack=job.pack, **how)
        except training.Stopped as error:
            return "stopped", str(error)


def _default_device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def _stopper(flag):
    """Make a function that says whether to stop; it asks the disk at most once a second."""
    asked, answer = -1.0, False

    def stop():
        nonlocal asked, answer
        now = time.monotonic()
        if now - asked > 1 and not answer:
            asked, answer = now, not flag.exists()
        return answer

    return stop


# --- worker processes -----------------------------------------------------------------------


def _in_a_process(pools, config, job):
    """Train a configuration in this thread's worker process; start a new one if that has died.

    Each thread has a pool of one process: a larger pool is lost as a whole when one process dies.
    """
    thread = threading.get_ident()
    for _ in range(TRIES):
        if thread not in pools:
            context = multiprocessing.get_context("spawn")
            pools[thread] = ProcessPoolExecutor(1, context, _start_worker)
        try:
            return pools[thread].submit(_one, config, job).result()
        except Exception as error:  # it may have broken CUDA for its process
            pools.pop(thread).shutdown()
            if not isinstance(error, BrokenExecutor):
                raise
    raise RuntimeError(f"its worker process died {TRIES} times (killed, or out of memory?)")


def _shut_down(pools):
    for pool in pools.values():
        pool.shutdown()


def _start_worker():
    # Ctrl-C reaches every process of a terminal; here the sweep says when to stop, see `run`.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore that `os._exit` would leave behind
    atexit.register(os._exit, 0)  # unloading torch would take a second longer


def _die_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


# --- how far it is --------------------------------------------------------------------------


def states(configs: Sequence[RunConfig], results: str | os.PathLike = "results") -> list[str]:
    """Say in which of five states each configuration is.

    "done"; "running"; "interrupted": it has a checkpoint; "to do"; "unreadable": its record cannot
    be read, or another version of the library wrote it; a warning says why.
    """
    return [_state(config, Path(results)) for config in configs]


def _state(config, results):
    checkpoint = records.checkpoint_of(config, results)
    try:
        if records.find(config, results) is not None:
            return DONE
    except (OSError, ValueError) as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=3)
        return "unreadable"
    lock = checkpoint.with_suffix(".lock")
    if lock.exists():
        with locked(lock, 0) as free:
            if not free:
                return "running"
    return "interrupted" if checkpoint.exists() else "to do"


def estimate(
    configs: Sequence[RunConfig], device: str | None = None, threads: int = 1, steps: int = 30
) -> float:
    """Estimate how many hours the runs would take here, one after the other.

    The function times `steps` training steps, and a part of the test, of one run of each data set,
    network and precision.
    """
    _check_arguments(1, device, threads, None, False, None)
    torch.set_num_threads(integer("threads", threads, 1))
    epochs: Counter = Counter()
    sample = {}
    for config in configs:
        kind = config.dataset, config.model, config.precision
        epochs[kind] += config.epochs
        sample[kind] = config
    device = device or _default_device()
    seconds = {k: training.seconds_per_epoch(c, device, steps) for k, c in sample.items()}
    return sum(seconds[kind] * epochs[kind] for kind in sample) / 3600


# --- the reader's own runs ------------------------------------------------------------------

DRIVE = Path("/content/drive")  # where Colab mounts a Google Drive
DRIVE_SECONDS = 300.0  # between checkpoints there: the Drive keeps every version of a file
PATIENCE = 1.0  # hours on a CPU that a page takes without being asked to


def own_ledger() -> Path:
    """Return the folder in which the pages keep their reader's own runs, beyond the session.

    It is ALFS_RESULTS_DIR if that is set; in Colab the folder `alf-ledger` of the Google Drive,
    which is mounted first (Colab then asks for a permission); elsewhere `alf-ledger` in the home.

    Raises
    ------
    OSError
        In Colab, if the Drive cannot be mounted: no other folder there outlives the session.
    """
    if named := os.environ.get("ALFS_RESULTS_DIR"):
        return Path(named).absolute()
    if "google.colab" not in sys.modules:
        return Path.home() / "alf-ledger"
    home = DRIVE / "MyDrive"
    if not home.is_dir():
        try:
            import_module("google.colab").drive.mount(str(DRIVE))
        except Exception as error:  # Colab has no common class for what can go wrong
            raise OSError(
                f"{DRIVE}: expected a Drive, as nothing else here outlives the session, got "
                f"{error!r}; allow it, or set os.environ['ALFS_RESULTS_DIR'] to another folder"
            ) from error
    return home / "alf-ledger"


def own_runs(
    configs: Sequence[RunConfig],
    *,
    keep: bool = True,
    workers: int = 1,
    device: str | None = None,
    weights: bool = False,
) -> pd.DataFrame:
    """Train the runs that the reader's own ledger lacks, and return those that it has then.

    The pages call it. It first prints which runs are there and what the others cost here. Whatever
    ends the session, a finished run is kept, and one that was cut off goes on when the page is run
    again. Where the data are missing, or there is no GPU and a CPU would take over an hour, it
    trains nothing and says what to do.

    Parameters
    ----------
    configs : sequence of RunConfig
    keep : bool
        False trains all of them in a temporary folder, in silence, on the CPU.
    workers : int
        Runs at once; a single one shows its epochs in a bar.
    device : str, optional
        "cpu" or "cuda"; by default the GPU, if there is one. One that is given is taken however
        long it takes.
    weights : bool
        Whether to keep the final weights, too: `weights`/id.pt in the ledger.

    Returns
    -------
    DataFrame
        The finished ones, as `records.runs_of` returns them.
    """
    configs = list(dict.fromkeys(configs))
    if not keep:
        with tempfile.TemporaryDirectory() as folder:
            _train_own(configs, Path(folder), workers, device or "cpu", shown=False)
            return records.runs_of(records.load(folder), configs)
    folder = own_ledger()
    (folder / ".work").mkdir(parents=True, exist_ok=True)
    _find_locks(folder)
    missing = _announced(configs, folder, device)
    _train_own(missing, folder, workers, device or _default_device(), weights)
    return records.runs_of(records.load(folder), configs)


def _find_locks(folder):
    try:
        with locked(folder / ".work" / "try.lock", 0):
            pass
    except OSError:
        os.environ[ELSEWHERE] = str(Path(tempfile.gettempdir()) / "alfs-locks")
        print(f"{folder} has no file locks: train there from one machine at a time")


def _announced(configs, folder, device):
    """Print what is there, what is missing and its cost; return the runs to train."""
    found = states(configs, folder)
    missing = [config for config, state in zip(configs, found, strict=True) if state != DONE]
    counts = ", ".join(f"{n} {state}" for state, n in Counter(found).items())
    print(f"your own ledger, {folder}: {counts}")
    if not missing:
        return []
    try:
        _check_data(missing)
        if "webvision-mini" in {config.dataset for config in missing}:
            webvision.check_whole(data.load("webvision-mini"))
    except (FileNotFoundError, ValueError) as error:  # missing, damaged, or a part of it
        print(f"Nothing is trained, for want of data. {error}")
        return []
    there = device or _default_device()
    hours = estimate(missing, there, torch.get_num_threads(), steps=5)
    name = device_name(device_of(there))
    print(f"{len(missing)} run(s) to do: from the start about {hours:.1f} hours on {name}")
    if device is None and there == "cpu" and hours > PATIENCE:
        print(
            "Nothing is trained: there is no GPU here, and it would take that long. Do you have "
            "one? In Colab: Runtime, Change runtime type, then run the page again. To train on "
            'this CPU all the same, give own_runs device="cpu".'
        )
        return []
    return missing


def _train_own(configs, folder, workers, device, weights=False, shown=True):
    place = folder / "weights" if weights else None
    if workers > 1:
        how = {"device": device, "weights": place, "progress": None if shown else False}
        threads = max(1, torch.get_num_threads() // workers)  # more than there are cores wait
        run(configs, folder, workers=workers, threads=threads, **how)
        return
    if place:
        place.mkdir(parents=True, exist_ok=True)
    every = DRIVE_SECONDS if DRIVE in folder.parents else None
    for config in configs:
        how = {"progress": shown, "checkpoint_seconds": every}
        how["weights"] = place and place / f"{records.run_id(config)}.pt"
        outcome, message = train_into(folder, config, device, **how)
        if shown:
            print(f"{outcome}: {config.loss}, seed {config.init_seed}: {message}", flush=True)


if __name__ == "__main__":  # an earlier spelling of the command
    from alfs_utils.__main__ import main

    sys.exit(main(["sweep", *sys.argv[1:]]))
