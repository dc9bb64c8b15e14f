"""Time training steps against the straightforward loop, interleaved in one run.

    python benchmarks/training.py [--dataset mnist] [--rounds 5] [--steps 50] [--threads 2]
                                  [--workers 2] [--precision float32] [--device cpu] [--compile]
                                  [--before CHECKOUT] [--test]

"plain" is the loop one would write: a data set of PIL images with torchvision's transforms, a
DataLoader with persistent workers, the layers in the order of their description, SGD and clipping
as they come, `loss.item()` after every step. "ours" is `alfs_utils.training`; "before" is that of
another revision with the same rooms, from a `git worktree` of it. All train the same network on the
same labels in the same precision. With --test a "step" is the test after an epoch, which the plain
loop does not do.

Each has its own process, so that the allocator of one does not help the other. They take turns: one
is stopped with its workers (SIGSTOP) while the other does its steps, so that batches are not loaded
ahead at the other's cost. A round is one turn of each, in random order. The CPU time counts the
workers, too. On a busy machine look at the CPU time of `--threads 1`: it hardly depends on what
else is going on, while several threads burn CPU time as they wait for each other.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
BATCH = 128


# --- the two loops: each gives a function that does one step ---------------------------------


def ours(config, dataset, options):
    import torch

    from alfs_utils.training import loop

    loop.load_once = lambda name: dataset
    run = loop.Run(config, torch.device(options.device), compiled=options.compile)
    if options.test:
        return run.test
    run.network.train()
    n = len(dataset.train_labels)

    def batches():
        while True:
            order = torch.randperm(n, generator=run.order).to(run.device)
            yield from run.dataset.train_batches(
                order, [slice(i, i + BATCH) for i in range(0, n, BATCH)], run.augmentation
            )

    ready = batches()
    return lambda: run.step(*next(ready))


def plain(config, dataset, options):
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    device, workers = torch.device(options.device), options.workers
    loader = DataLoader(
        _Pictures(dataset), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    network = _plain_network(config.model, dataset.num_classes).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        network.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay
    )
    lower = config.precision != "float32"

    def batches():
        while True:
            yield from loader

    ready = batches()

    def step():
        images, labels = (part.to(device) for part in next(ready))
        with torch.autocast(device.type, getattr(torch, config.precision), enabled=lower):
            loss = criterion(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        return loss.item()

    return step


class _Pictures:
    """A map-style data set of PIL images, augmented and normalised one by one."""

    def __init__(self, dataset):
        from alfs_utils.data._torchvision import torchvision

        transforms = torchvision.transforms
        size = dataset.train_images.shape[-1]
        steps = []
        if dataset.crop_padding:
            steps.append(transforms.RandomCrop(size, padding=dataset.crop_padding))
        if dataset.flip:
            steps.append(transforms.RandomHorizontalFlip())
        if dataset.rotation:
            steps.append(transforms.RandomRotation(dataset.rotation))
        steps += [transforms.ToTensor(), transforms.Normalize(dataset.mean, dataset.std)]
        self.transform = transforms.Compose(steps)
        self.images = dataset.train_images.permute(0, 2, 3, 1).squeeze(-1).contiguous().numpy()
        self.labels = dataset.train_labels.tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        from PIL import Image

        return self.transform(Image.fromarray(self.images[i])), self.labels[i]


def _plain_network(model, num_classes):
    """The network with its poolings where the description has them: behind the ReLU."""
    from torch import nn

    from alfs_utils import models

    layers = list(models.build(model, num_classes, seed=0))
    for i in [i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]:
        layers[i : i + 2] = layers[i + 1], layers[i]
    return nn.Sequential(*layers).train()


def _data(name):
    """The data set, or random images of its shape; and whether it is the data set."""
    import torch

    from alfs_utils import classes, data
    from alfs_utils.data.datasets import CIFAR_RECIPES

    try:
        return data.load(name), True
    except FileNotFoundError:
        base = data.base_name(name)
        shape, n = ((1, 28, 28), 60_000) if base == "mnist" else ((3, 32, 32), 50_000)
        k = len(classes.CLASS_COUNTS[base])
        digits = data.load("digits")
        recipe = CIFAR_RECIPES.get(base, {"num_classes": k, "mean": (0.1307,), "std": (0.3081,)})
        images = torch.randint(256, (n, *shape), dtype=torch.uint8)
        plain = {"crop_padding": 0, "flip": False, "rotation": 0.0} | recipe
        return replace(
            digits,
            train_images=images,
            train_labels=torch.arange(n) % k,
            test_images=images[:1000],
            test_labels=torch.arange(1000) % k,
            **plain,
        ), False


def worker(kind, options):
    """Do as many steps as each line of standard input says; answer with the seconds they took."""
    sys.path.insert(0, str(options.before if kind == "before" else ROOT))
    import torch

    from alfs_utils.paper import protocol

    torch.set_num_threads(options.threads)
    dataset, genuine = _data(options.dataset)
    config = protocol.run(
        options.dataset, "CELoss()", "symmetric", 0.0, precision=options.precision
    )
    step = (plain if kind == "plain" else ours)(config, dataset, options)
    print(json.dumps({"genuine": genuine}), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        if options.device != "cpu":
            torch.cuda.synchronize()
        print(json.dumps(time.perf_counter() - start), flush=True)


# --- the driver -------------------------------------------------------------------------------


class Contestant:
    """One loop in its own process group, stopped except in its turns."""

    def __init__(self, kind, options):
        import psutil

        command = [sys.executable, __file__, "--as", kind, *sys.argv[1:]]
        self.child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": str(options.threads)},
        )
        self.process = psutil.Process(self.child.pid)
        self.genuine = self._answer()["genuine"]
        self._signal(signal.SIGSTOP)

    def turn(self, steps):
        """Do some steps; returns the wall and the CPU seconds they took."""
        before = self._cpu_seconds()
        self._signal(signal.SIGCONT)
        print(steps, file=self.child.stdin, flush=True)
        wall = self._answer()
        self._signal(signal.SIGSTOP)
        return wall, self._cpu_seconds() - before

    def end(self):
        self._signal(signal.SIGKILL)
        self.child.wait()

    def _answer(self):
        line = self.child.stdout.readline()
        if not line:
            sys.exit("a worker ended; its error is above")
        return json.loads(line)

    def _cpu_seconds(self):
        times = [p.cpu_times() for p in (self.process, *self.process.children(recursive=True))]
        return sum(t.user + t.system for t in times)

    def _signal(self, number):
        os.killpg(self.child.pid, number)


def measure(options):
    """Wall and CPU seconds of each turn, by contestant; and whether the data are genuine."""
    contestants = {}
    try:
        kinds = ("plain",) * (not options.test) + ("before",) * bool(options.before) + ("ours",)
        for kind in kinds:
            contestants[kind] = Contestant(kind, options)
        for contestant in contestants.values():
            contestant.turn(1 if options.test else max(3, options.steps // 4))  # warm up
        turns = {kind: [] for kind in contestants}
        order = list(contestants)
        for _ in range(options.rounds):
            random.shuffle(order)
            for kind in order:
                turns[kind].append(contestants[kind].turn(options.steps))
        return turns, contestants["ours"].genuine
    finally:
        for contestant in contestants.values():
            contestant.end()


def summary(values):
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--dataset",
        default="mnist",
        choices=["mnist", "cifar10", "cifar10-npz", "cifar100", "cifar100-npz"],
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=50, help="per turn")
    parser.add_argument("--threads", type=int, default=2, help="of the training process")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's DataLoader")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--compile", action="store_true", help="ours through torch.compile")
    parser.add_argument("--before", help="a checkout of another revision, to be timed, too")
    parser.add_argument("--test", action="store_true", help="the test after an epoch instead")
    parser.add_argument("--as", dest="kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        return worker(options.kind, options)

    turns, genuine = measure(options)
    images = options.steps * BATCH
    source = "" if genuine else " (random images of its shape: the files are not there)"
    print(
        f"{options.dataset}{source}, {options.precision}, {options.device}, "
        f"{options.threads} threads, {options.workers} workers; "
        f"{options.rounds} rounds of {options.steps} steps of {BATCH}"
    )
    print(f"{'':8}{'images/s':>10}{'CPU ms per step':>18}")
    for kind, pairs in turns.items():
        walls, cpus = zip(*pairs, strict=True)
        speed, cost = images / statistics.median(walls), statistics.median(cpus) / options.steps
        print(f"{kind:8}{speed:10.0f}{1e3 * cost:18.1f}")
    for other in [kind for kind in turns if kind != "ours"]:
        for name, i in (("wall time", 0), ("CPU time", 1)):
            pairs = zip(turns[other], turns["ours"], strict=True)
            ratios = summary([p[i] / o[i] for p, o in pairs])
            print(f"ours is {ratios} times faster than {other} in {name}")


if __name__ == "__main__":
    main()
