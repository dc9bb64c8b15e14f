"""Many runs: configurations in, finished records out.

Every run has one place in the ledger (`alfs_utils.records`), so a sweep can be stopped, killed and
started again, twice at once and on several machines that share the folder: a run that is finished
is not run again, one that somebody is at work on is left to them, one that was cut off goes on from
its checkpoint.

On one machine the runs go to worker processes. Beyond it, `run` takes any executor, such as that of
a Dask cluster. Which runs there are is not for this room to say: `python -m alfs_utils sweep` knows
those of the paper.
"""

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
)
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from alfs_utils import data, records, training
from alfs_utils._arguments import integer
from alfs_utils.data import human
from alfs_utils.training import RunConfig
from alfs_utils.training.environment import process

__all__ = ["estimate", "run", "states", "train_into"]

TRIES = 3  # for a run whose worker process dies
RESERVE = 100_000  # bytes, more than a record has


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
    describe : callable
        What to call a run in these lines.
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
    integer("workers", workers, 1)
    integer("threads", threads, 1)
    own = executor is None
    if own and device and _is_cuda(device) and not torch.cuda.is_available():
        raise ValueError(f"device: expected 'cpu' here, where torch sees no GPU, got {device!r}")
    if compiled and not own:
        raise ValueError(
            "compiled: expected False with an executor (CUDA graphs need a main thread)"
        )
    _check_data(configs)
    results = Path(results).absolute()
    configs = list(dict.fromkeys(configs))
    todo = [c for c in configs if records.find(c, results) is None]
    counts = Counter({"already done": len(configs) - len(todo)})
    _make_places(results, pack, weights)
    if weights and progress is not False:
        _name_lost_weights(weights, set(configs).difference(todo))
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
    hidden = None if progress is None else not progress
    bar = tqdm(total=len(todo), unit="run", dynamic_ncols=True, disable=hidden)
    worker = executor or ThreadPoolExecutor(workers)
    futures = {}
    try:
        with bar:
            one = _one if executor else _in_a_process
            futures = {worker.submit(one, config, job): config for config in todo}
            for number, future in enumerate(as_completed(futures), 1):
                outcome, message = _result_of(future)
                counts[outcome] += 1
                bar.update()
                if outcome in ("done", "failed") and progress is not False:
                    text = f"{outcome}: {describe(futures[future])}: {message}"
                    bar.write(f"[{number}/{len(todo)}] {text}", file=sys.stderr)
    finally:
        flag.unlink(missing_ok=True)  # workers stop when they miss it, wherever they are
        for future in futures:
            future.cancel()
        if own:
            worker.shutdown()
    return dict(+counts)  # without zeros


def _check_data(configs):
    """What is missing is found now, not in every worker."""
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


def _is_cuda(device):
    try:
        return torch.device(device).type == "cuda"
    except RuntimeError as error:
        raise ValueError(f"device: expected 'cpu' or 'cuda', got {device!r}") from error


def _result_of(future):
    try:
        return future.result()
    except Exception as error:  # whatever a run raises, the others go on
        return "failed", f"{type(error).__name__}: {error}"


# --- one run --------------------------------------------------------------------------------


def train_into(
    results: str | os.PathLike, config: RunConfig, device: str, *, pack=None, **how
) -> tuple[str, str]:
    """Train a run and write its record, unless that is done or somebody is at it.

    Parameters
    ----------
    results : path
        The ledger.
    config, device
        See `training.train`.
    pack : path, optional
        See `run`.
    **how
        Other arguments of `training.train`.

    Returns
    -------
    outcome, message : str
        "done", "already done" or "elsewhere", and a word on it.

    Raises
    ------
    training.Stopped
    """
    checkpoint = records.checkpoint_of(config, results)
    first = process()[0] == 0  # of the processes of a distributed run, one writes
    if records.find(config, results) is not None:
        return "already done", str(records.path_of(config, results))
    with _locked(checkpoint, first) as (mine, reserve):
        if not mine:
            return "elsewhere", "another process is at work on this run"
        if first and records.find(config, results) is not None:
            return "already done", str(records.path_of(config, results))
        history = training.train(config, device, checkpoint=checkpoint, progress=False, **how)
        if first:
            record = records.make(history)
            reserve.unlink()
            if pack:
                records.pack(record, pack)
            records.write(record, results)
            checkpoint.unlink(missing_ok=True)  # only now: until here it was the only copy
    score = f"{history.last:.2f} %" if history.status == "finished" else history.status
    return "done", f"{score} in {history.seconds / 60:.1f} min"


@contextmanager
def _locked(checkpoint: Path, wanted: bool) -> Iterator[tuple[bool, Path]]:
    """Lock a run, and keep room on the disk for its record, in case that fills up meanwhile.

    Yields whether the run is ours, and the file that keeps the room. The lock's file stays: were it
    removed, two processes could hold locks on two files of one name.
    """
    reserve = checkpoint.with_suffix(".room")
    if not wanted:
        yield True, reserve
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock_of(checkpoint)
    try:
        lock.acquire(timeout=0.2, poll_interval=0.02)  # `states` holds it for a moment
    except Timeout:
        yield False, reserve
        return
    except (NotImplementedError, OSError) as error:
        raise OSError(f"{lock.lock_file}: expected a file system with locks: {error}") from error
    try:
        reserve.write_bytes(bytes(RESERVE))
        yield True, reserve
    finally:
        reserve.unlink(missing_ok=True)
        lock.release()


def _lock_of(checkpoint):
    return FileLock(
        checkpoint.with_suffix(".lock"), fallback_to_soft=False, preserve_lock_file=True
    )


# A run changes torch's random generator, number of threads and deterministic mode, which are all of
# the process: where a Dask worker has several threads, they take turns.
_ALONE = threading.Lock()


def _one(config, job):
    """Train one configuration, in a worker; returns its outcome and a word on it."""
    with _ALONE:
        torch.set_num_threads(job["threads"])
        if job["how"]["deterministic"]:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        stop = _stopper(job)
        if stop():
            return "stopped", ""
        weights = job["weights"] and job["weights"] / f"{records.run_id(config)}.pt"
        how = job["how"] | {"weights": weights, "should_stop": stop}
        device = job["device"] or _default_device()
        try:
            return train_into(job["results"], config, device, pack=job["pack"], **how)
        except training.Stopped as error:
            return "stopped", str(error)


def _default_device():
    return "cuda" if torch.cuda.is_available() else "cpu"


def _stopper(job):
    """A cheap question: is it time to stop? The file system is asked at most once a second."""
    asked, answer = -1.0, False

    def stop():
        nonlocal asked, answer
        now = time.monotonic()
        if now - asked > 1 and not answer:
            asked = now
            late = job["deadline"] is not None and time.time() > job["deadline"]
            answer = late or not job["flag"].exists()
        return answer

    return stop


# --- worker processes -----------------------------------------------------------------------

_mine = threading.local()


def _in_a_process(config, job):
    """Train a configuration in the process of this thread, which is made anew when it is broken.

    A process of its own for each thread: a pool of many is lost as a whole when one of them dies.
    """
    for _ in range(TRIES):
        if getattr(_mine, "pool", None) is None:
            context = multiprocessing.get_context("spawn")
            _mine.pool = ProcessPoolExecutor(1, context, _start_worker)
        try:
            return _mine.pool.submit(_one, config, job).result()
        except Exception as error:  # it may have broken CUDA for its process
            _mine.pool.shutdown()
            _mine.pool = None
            if not isinstance(error, BrokenExecutor):
                raise
    raise RuntimeError(f"its worker process died {TRIES} times (killed, or out of memory?)")


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
    if checkpoint.with_suffix(".lock").exists():
        try:
            with _lock_of(checkpoint).acquire(timeout=0):
                pass
        except Timeout:
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


if __name__ == "__main__":  # an earlier spelling of the command
    from alfs_utils.__main__ import main

    sys.exit(main(["sweep", *sys.argv[1:]]))
