"""Time every loss against `F.cross_entropy`, forward and backward, interleaved in one run.

    python benchmarks/losses.py [--rounds 15] [--threads 1] [--device cpu] [--no-compile]

Each round times all candidates once, in a shuffled order, so that a busy moment of the machine
hits them alike; a table cell is the ratio of the fastest rounds (the median of per-round ratios
in brackets). "one-hot" is the usual formulation, softmax times a one-hot target.
"""

import argparse
import random
import statistics
import time

import torch
import torch.nn.functional as F

from alfs_utils import losses as L


def one_hot(formula):
    """The usual formulation of a loss: `formula` of all probabilities and the target's."""

    def loss(input, target):
        p = F.softmax(input, dim=1)
        y = F.one_hot(target, input.shape[1]).to(p)
        return formula(p, (p * y).sum(1)).mean()

    return loss


def normalized(formula):
    return lambda p, u: formula(u) / formula(p).sum(1)


def agce(u, a=6.0, q=1.5):
    return ((a + 1) ** q - (a + u) ** q) / q


CASES = {
    "CE": (L.CELoss(), one_hot(lambda p, u: -u.log())),
    "MAE": (L.MAELoss(), one_hot(lambda p, u: 2 - 2 * u)),
    "RCE": (L.RCELoss(), one_hot(lambda p, u: 9.21 * (1 - u))),
    "SCE": (L.SCELoss(0.1, 1.0), one_hot(lambda p, u: 9.21 * (1 - u) - 0.1 * u.log())),
    "FL": (L.FocalLoss(0.5), one_hot(lambda p, u: -((1 - u) ** 0.5) * u.log())),
    "GCE": (L.GCELoss(0.7), one_hot(lambda p, u: (1 - u**0.7) / 0.7)),
    "AGCE": (L.AGCELoss(0.6, 0.6), one_hot(lambda p, u: agce(u, 0.6, 0.6))),
    "AUL": (L.AULLoss(5.5, 3.0), one_hot(lambda p, u: ((5.5 - u) ** 3 - 4.5**3) / 3)),
    "AEL": (L.AELLoss(2.5), one_hot(lambda p, u: (-u / 2.5).exp())),
    "NLNL": (L.NLNLLoss(), one_hot(lambda p, u: -(1 - u).clamp(min=1e-5).log())),
    "NCE": (L.NCELoss(), one_hot(normalized(lambda u: -u.log()))),
    "NFL": (
        L.NormalizedFocalLoss(0.5),
        one_hot(normalized(lambda u: -((1 - u) ** 0.5) * u.log())),
    ),
    "NGCE": (L.NormalizedGCELoss(0.7), one_hot(normalized(lambda u: 1 - u**0.7))),
    "NCE+AGCE": (
        L.NCELoss() + 4.0 * L.AGCELoss(6.0, 1.5),
        one_hot(lambda p, u: u.log() / p.log().sum(1) + 4 * agce(u)),
    ),
    "NCE+RCE": (
        L.NCELoss() + L.RCELoss(),
        one_hot(lambda p, u: u.log() / p.log().sum(1) + 9.21 * (1 - u)),
    ),
}


def seconds(loss, input, target, repeat):
    synchronize = torch.cuda.synchronize if input.is_cuda else lambda: None
    synchronize()
    start = time.perf_counter()
    for _ in range(repeat):
        input.grad = None
        loss(input, target).backward()
    synchronize()
    return (time.perf_counter() - start) / repeat


def measure(candidates, shape, rounds, repeat, device):
    torch.manual_seed(0)
    input = (3 * torch.randn(shape, device=device)).requires_grad_()
    target = torch.randint(shape[1], shape[:1], device=device)
    for loss in candidates.values():  # warm up: compilation, allocator
        seconds(loss, input, target, 2)
    times = {name: [] for name in candidates}
    order = list(candidates)
    for _ in range(rounds):
        random.Random(0).shuffle(order)
        for name in order:
            times[name].append(seconds(candidates[name], input, target, repeat))
    return times


def ratio(times, reference):
    best = min(times) / min(reference)
    median = statistics.median(t / r for t, r in zip(times, reference, strict=True))
    return f"{best:5.2f} ({median:5.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch._dynamo.config.recompile_limit = 8 * len(CASES)  # they share one forward

    candidates = {"F.cross_entropy": F.cross_entropy}
    for name in options.only:
        loss, naive = CASES[name]
        candidates[name, "eager"], candidates[name, "one-hot"] = loss, naive
        if not options.no_compile and name != "NLNL":  # its generator stays outside graphs
            candidates[name, "compiled"] = torch.compile(loss, fullgraph=True, dynamic=False)

    for shape, repeat in (((4096, 1000), 1), ((128, 10), 50)):
        times = measure(candidates, shape, options.rounds, repeat, options.device)
        reference = times["F.cross_entropy"]
        print(
            f"\n{shape} float32, forward + backward; F.cross_entropy {min(reference) * 1e3:.3f} ms"
        )
        print(f"{'loss':<10}{'eager':>15}{'compiled':>15}{'one-hot':>15}")
        for name in options.only:
            cells = (
                ratio(times[name, kind], reference) if (name, kind) in times else "-"
                for kind in ("eager", "compiled", "one-hot")
            )
            print(f"{name:<10}" + "".join(f"{cell:>15}" for cell in cells))


if __name__ == "__main__":
    main()
