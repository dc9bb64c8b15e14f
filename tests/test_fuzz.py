"""Calls of public functions with odd arguments: an answer, or a named error, and soon.

Each argument is a sensible value or, half of the time, one of `ODD`. A call may return, or raise a
ValueError or TypeError whose message names an argument, or is Python's own about the signature.
"""

# ruff: noqa: E501 (many values a line)

import math
import random
import re
import signal
import warnings
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from alfs_utils import asymmetry, data, estimation, instance_noise, models, noise
from alfs_utils import losses as L
from alfs_utils import recommend as advice
from alfs_utils._arguments import shown as shown_argument
from alfs_utils.lost_classes import lost_classes
from alfs_utils.suspicious import margins, suspicious
from alfs_utils.training import RunConfig

SECONDS = 3  # of the processor, per call: other programs do not count


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")


def numbers():
    return [
        None, True, False, 0, 1, -1, 2, 3, 7, 10**9, 2**31, 2**63, 2**64, 10**400, -(10**400),
        0.0, -0.0, 0.5, 1.5, 1e-320, 1e-30, 1e308, -1e308, math.nan, math.inf, -math.inf,
        Fraction(1, 3), Fraction(10**400), Fraction(1, 10**400), Decimal("0.3"), 1 + 2j,
        np.float32(0.5), np.float64(math.nan), np.int64(3), np.uint64(2**63), np.bool_(True),
        np.longdouble(2), torch.tensor(2.0), torch.tensor(3),
    ]  # fmt: skip


def texts():
    return [
        "", "x", "1", "nan", "\0", "é" * 5000, b"x", "symmetric", "CE", "CELoss()", "mnist", "iid",
        "AGCELoss(a=1, q=0.5)", "AELLoss(a=" + "9" * 400 + ")", "-" * 5000 + "1", "-" * 200_000,
        "CELoss()+" * 2000 + "CELoss()", "(" * 500, "2*CELoss()", "CELoss()*CELoss()", "NCELoss",
        "AELLoss(3, weight={0: 1})", "AELLoss(**{})", "lambda: 0", "CELoss(CELoss())", "AELLoss(1j)",
        "CELoss(weight=[1, 2], ignore_index=" + "9" * 30 + ")", "MAELoss(reduction=3)", "9" * 5000,
    ]  # fmt: skip


def arrays():
    return [
        [], [0], [0, 1, 2], [2, 1, 1], [0.5, 0.2], [Fraction(2), Fraction(1)], [Fraction(2), None],
        [Fraction(2), math.nan], [[1, 0], [0, 1]], [[8, 2], [1, 9]], [[0.8, 0.2], [0.1, 0.9]],
        [[1, 2], [3]], [None], ["a"], ["1", "2"], [10**400, 1], [[10**400, 0], [0, 1]], [math.nan] * 3,
        [True, False], {}, {0: 1}, {1, 2}, (), range(3), iter([1, 2]), np.array(3), np.zeros((0, 0)),
        np.zeros((2, 3)), np.eye(3), np.full((3, 3), 1 / 3), np.eye(2)[None], -np.eye(2),
        np.array([2**63, 1], np.uint64), np.array([[2**63, 1], [1, 3]], np.uint64),
        np.array([[2**62, 2**62], [1, 2**62]]), np.array([1, 2], "m8[s]"), np.array(["2020"], "M8[D]"),
        np.array([object(), 1]), np.array([1e308, 1e308]), np.array([5e-324, 0]), np.eye(2, dtype=bool),
        np.array([10**12]), np.array([1 + 2j, 1]), torch.eye(2), torch.eye(3, requires_grad=True),
        torch.tensor([0, 1, 1]), torch.empty(2, 2, device="meta"), torch.eye(2).to_sparse(),
        torch.eye(2, dtype=torch.bfloat16), torch.randn(4, 3), torch.zeros(0, 3), [torch.tensor(1.0)] * 2,
    ]  # fmt: skip


def things():
    return [
        L.CELoss(), L.NCELoss(), L.NLNLLoss(), L.CELoss(reduction="sum"), L.AULLoss(1, 0.5),
        L.AMSELoss(3), L.NNCELoss(0.4), L.NNFLLoss() + L.AMSELoss(9), L.BiasedMAELoss(2),
        L.CELoss(weight=[1.0, 2.0]), 0.0 * L.CELoss(), nn.CrossEntropyLoss(), nn.MSELoss(), nn.Linear(2, 2),
        asymmetry.PiecewiseLinear([0, Fraction(1, 2), 1], [2, Fraction(1, 2), 0]), L.CELoss, int, len,
        object(), Unprintable(), lambda: 0, lambda u: "x", lambda u: None, lambda u: 1 - u, ...,
    ]  # fmt: skip


ODD = [*numbers(), *texts(), *arrays(), *things()]

LOSSES = [
    *(L.CELoss(), L.MAELoss(), L.NCELoss(), L.AGCELoss(1, 0.5), L.AULLoss(3, 2), L.AELLoss(2)),
    *(L.NCELoss() + 4 * L.AGCELoss(6, 1.5), L.GCELoss(), L.FocalLoss(), L.NormalizedGCELoss()),
    *(L.AGCELoss(0.1, 0.5) + L.AGCELoss(0, 2), L.SCELoss(0.1, 1), L.RCELoss(), L.NLNLLoss()),
]
K, ETA, SEED = [1, 2, 3, 10], [0, 0.2, 0.5, 1], [0, 1, 2**40]
LABELS = [[0, 1, 2, 0], np.arange(10).repeat(5), torch.tensor([2, 1, 0])]
NOISY = [[0, 1, 1, 0], np.arange(50) % 10, torch.tensor([2, 1, 1])]
T = [noise.symmetric(3, 0.4), noise.pairflip(10, 0.3), np.eye(3), [[0.9, 0.1], [0.2, 0.8]]]
POSTERIOR = [np.eye(3), noise.symmetric(3, 0.4)]
WEIGHTS = [[3, 2, 1], [0.5, 0.3, 0.2], [Fraction(2), Fraction(1)], np.ones(10) + np.eye(10)[0]]
COUNTS = [[[60, 20], [0, 80]], [[5, 0], [0, 5]], np.eye(4, dtype=int) * 9 + 1]
NUMBER, PROBABILITY = [0.5, 1, 2, 3, -1], [0, 0.3, 1, np.linspace(0, 1, 4), torch.rand(3)]
DATASETS = ["digits", "mnist", "cifar10", "cifar100", "words"]
KINDS = ["symmetric", "asymmetric", "pairflip", "asymmetric-superclass"]
SHAPE = [None, "convex", "concave"]
LOGITS, TARGET = [torch.randn(4, 3)], [torch.tensor([0, 1, 2, -100]), torch.rand(4, 3)]
OPTIONS = {"weight": [None, [1, 2, 3]], "ignore_index": [-100, 1], "reduction": ["mean", "none"]}


def made(kind, **sensible):
    """A constructor and its sensible arguments."""
    return kind, {**sensible, **OPTIONS}


# What is called, with sensible values of each argument.
CALLS = [
    (noise.symmetric, {"num_classes": K, "eta": ETA, "include_true": [True, False]}),
    (noise.pairflip, {"num_classes": K, "eta": ETA}),
    (noise.asymmetric, {"dataset": DATASETS, "eta": ETA, "convention": ["blocks", "superclass"]}),
    (noise.matrix, {"kind": KINDS, "dataset": DATASETS, "eta": ETA}),
    (noise.corrupt, {"labels": LABELS, "T": T, "seed": SEED, "counts": ["iid", "exact"]}),
    (
        noise.official_alfs,
        {"labels": LABELS, "dataset": DATASETS, "kind": KINDS, "eta": ETA, "seed": SEED},
    ),
    (noise.transition_matrix, {"clean": LABELS, "noisy": NOISY, "num_classes": [None, *K]}),
    (noise.count_matrix, {"clean": LABELS, "noisy": NOISY, "num_classes": [None, *K]}),
    (noise.dominant_classes, {"clean": LABELS, "noisy": NOISY, "num_classes": [None, *K]}),
    (noise.class_clean_levels, {"T": T}),
    (noise.clean_level, {"T": T}),
    (noise.is_clean_dominant, {"T": T}),
    (
        noise.NoisyLabels,
        {"labels": NOISY, "clean": LABELS, "T": T, "seed": SEED, "counts": ["iid"], "recipe": [""]},
    ),
    (
        instance_noise.part_dependent,
        {
            "labels": LABELS[2:], "features": [np.eye(3), [[1.0], [0], [2]]], "eta": ETA,
            "seed": SEED, "norm": [None, 2.0], "spread": [0.1, 0], "num_classes": [None, 3],
        },
    ),
    (
        instance_noise.margin_dependent,
        {
            "labels": LABELS[2:], "probabilities": [np.eye(3), T[0]], "eta": [0, 0.2],
            "seed": SEED, "kind": ["I", "II"],
        },
    ),
    (instance_noise.from_posterior, {"labels": LABELS[2:], "posterior": POSTERIOR, "seed": SEED}),
    (instance_noise.sample_clean_levels, {"labels": LABELS[2:], "posterior": POSTERIOR}),
    (instance_noise.class_matrix, {"labels": LABELS[2:], "posterior": POSTERIOR}),
    (
        instance_noise.softmax_regression,
        {"features": [np.eye(3)], "labels": LABELS[2:], "steps": [0, 3], "step": [0.1]},
    ),
    (estimation.transition_intervals, {"counts": COUNTS, "level": [0.95, 0.5]}),
    (estimation.class_clean_level_intervals, {"counts": COUNTS, "level": [0.95, 0.5]}),
    (estimation.clean_level_interval, {"counts": COUNTS, "level": [0.95, 0.5]}),
    (estimation.labels_to_decide, {"counts": COUNTS, "level": [0.95, 0.6]}),
    (lost_classes, {"predicted": NOISY, "given": LABELS, "num_classes": [None, *K]}),
    (suspicious, {"given": LABELS, "logits": LOGITS}),
    (margins, {"given": LABELS, "probabilities": [np.full((3, 4), 0.25), np.eye(3)]}),
    (asymmetry.is_asymmetric, {"loss": LOSSES, "weights": WEIGHTS, "shape": SHAPE}),
    (asymmetry.certify, {"loss": LOSSES, "T": T + WEIGHTS, "shape": SHAPE}),
    (asymmetry.asymmetry_ratio, {"loss": LOSSES, "definition": ["printed", "repaired"]}),
    (asymmetry.asymmetry_ratio_upper, {"loss": LOSSES}),
    (asymmetry.asymmetry_ratio_exact, {"loss": LOSSES, "k": K}),
    (asymmetry.weighted_risk_minimiser, {"loss": LOSSES, "weights": WEIGHTS, "shape": SHAPE}),
    (asymmetry.admissible, {"family": [L.AGCELoss], "T": T + WEIGHTS, "q": NUMBER}),
    (asymmetry.admissible, {"family": [L.AULLoss], "T": T + WEIGHTS, "p": NUMBER}),
    (asymmetry.admissible, {"family": [L.AELLoss, L.AMSELoss], "T": T + WEIGHTS}),
    (asymmetry.PiecewiseLinear, {"knots": [[0, 0.5, 1]], "values": [[2, 1, 0]]}),
    (advice.recommend, {"noisy": NOISY, "clean": LABELS, "level": [0.95]}),
    (advice.recommend, {"counts": COUNTS, "level": [0.95]}),
    (advice.recommend, {"T": T}),
    (advice.start_of, {"loss": LOSSES, "k": K}),
    (advice.largest_step, {"loss": LOSSES, "k": K}),
    (advice.time_to_start, {"loss": LOSSES, "k": K}),
    (L.value_and_pull, {"loss": LOSSES, "u": [0.5, [0.1, 1]], "k": K}),
    (L.loss_from_string, {"text": [repr(loss) for loss in LOSSES]}),
    (L.setting, {"name": ["CE", "AGCE", "NCE+AUL"], "dataset": DATASETS, "source": ["tables"]}),
    (L.from_paper, {"name": ["CE", "AGCE", "NCE+AUL"], "dataset": DATASETS, "compat": ["formula"]}),
    (
        L.negative_learning,
        {"input": LOGITS, "complementary": TARGET, "compat": ["official", "formula"]} | OPTIONS,
    ),
    (L.LossSum, {"terms": [[(1.0, L.CELoss())], [(2, L.NCELoss()), (0, L.MAELoss())]]}),
    (L.Normalized, {"loss": LOSSES}),
    made(L.AGCELoss, a=NUMBER, q=NUMBER),
    made(L.AULLoss, a=NUMBER, p=NUMBER),
    made(L.AELLoss, a=NUMBER),
    made(L.GCELoss, q=NUMBER, compat=["official"]),
    made(L.FocalLoss, gamma=NUMBER),
    made(L.SCELoss, alpha=NUMBER, beta=NUMBER, A=NUMBER),
    made(L.RCELoss, A=NUMBER),
    made(L.NLNLLoss, seed=SEED),
    made(L.CELoss, label_smoothing=[0, 0.1]),
    made(L.MAELoss),
    made(L.NCELoss),
    made(L.NormalizedFocalLoss, gamma=NUMBER),
    made(L.NormalizedGCELoss, q=NUMBER),
    *((loss.of_probability, {"u": PROBABILITY}) for loss in LOSSES),
    *((loss.slope, {"u": PROBABILITY}) for loss in LOSSES),
    *((loss, {"input": LOGITS, "target": TARGET}) for loss in LOSSES),
    (
        RunConfig,
        {
            "loss": LOSSES, "dataset": DATASETS, "model": ["digits_cnn"], "noise": KINDS, "eta": ETA,
            "augment": [True], "epochs": [1, 9], "batch_size": [32], "lr": NUMBER, "momentum": ETA,
            "weight_decay": ETA, "clip_norm": NUMBER, "noise_seed": SEED, "init_seed": SEED,
            "order_seed": SEED, "augment_seed": SEED, "counts": ["iid"], "precision": ["float32"],
            "train_size": [0, 9], "nesterov": [False], "schedule": ["cosine"],
        },
    ),
    (models.build, {"name": ["digits_cnn", "mnist_cnn"], "num_classes": K, "seed": SEED}),
    (data.find, {"name": DATASETS}),
    (data.base_name, {"name": DATASETS}),
    *((lambda x, loss=loss: loss + x, {"x": LOSSES}) for loss in LOSSES),
    *((lambda x, loss=loss: x + loss, {"x": LOSSES}) for loss in LOSSES),
    *((lambda x, loss=loss: loss * x, {"x": NUMBER}) for loss in LOSSES),
    *((lambda x, loss=loss: x * loss, {"x": NUMBER}) for loss in LOSSES),
    *((lambda x, loss=loss: loss / x, {"x": NUMBER}) for loss in LOSSES),
]  # fmt: skip
NAMED = re.compile(r"[\w, .*-]+?: |[\w, ]+: expected", re.DOTALL)
# Of the signature and of the operators: Python's, NumPy's.
PYTHONS = re.compile(
    r"unsupported operand|can't multiply|can only concatenate|can't concat|Concatenation operation|"
    r".*positional arg|.*keyword(-only)? argument|operand '.*' does not support ufuncs|"
    r"'.*' object is not iterable"
)


class Hang(BaseException):
    pass


def alarm(*_):
    raise Hang


def outcome(function, arguments):
    """Call; return "returned", "refused", or what is wrong with the answer."""
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
    try:
        function(**arguments)
        return "returned"
    except (TypeError, ValueError) as error:
        if NAMED.match(str(error)) or PYTHONS.match(str(error)):
            return "refused"
        return f"not named: {type(error).__name__}: {str(error)[:200]}"
    except IndexError as error:
        if "Target" in str(error) and "out of bounds" in str(error):
            return "refused"  # torch's own for a class that is none, as documented
        return f"IndexError: {error}"
    except Hang:
        return f"not back in {SECONDS} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def fuzz(calls, seed):
    """Make so many calls; return how many ended how, and what went wrong."""
    rng, count, wrong = random.Random(seed), Counter(), {}
    before = signal.signal(signal.SIGVTALRM, alarm)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            L.CELoss().slope(torch.empty(1, device="meta"))  # torch takes seconds, once
            for _ in range(calls):
                function, sensible = rng.choice(CALLS)
                share = rng.choice([0, 0.2, 0.5, 1])
                arguments = {
                    name: rng.choice(ODD if rng.random() < share else values)
                    for name, values in sensible.items()
                    if rng.random() < 0.97
                }
                said = outcome(function, arguments)
                count[said if said in ("returned", "refused") else "wrong"] += 1
                if said not in ("returned", "refused"):
                    shown = {k: shown_argument(v) for k, v in arguments.items()}
                    wrong.setdefault((str(function)[:60], said[:60]), (said, shown))
    finally:
        signal.signal(signal.SIGVTALRM, before)
    return count, wrong


def check(calls, seed):
    count, wrong = fuzz(calls, seed)
    print(f"{calls} calls: {dict(count)}")
    assert not wrong, "\n".join(
        f"{key[0]}: {said}: {shown}" for key, (said, shown) in wrong.items()
    )
    # Neither all refused nor all accepted: the arguments reach what is behind the checks.
    assert min(count["returned"], count["refused"]) > calls / 5


def test_odd_arguments_get_an_answer_or_a_named_error():
    check(2500, 0)


@pytest.mark.long
def test_a_hundred_thousand_calls():
    check(100_000, 1)


def test_the_fuzz_sees_what_is_wrong(monkeypatch):
    def overflow(x):
        return float(10**400)

    def endless(x):
        while True:
            pass

    monkeypatch.setattr(f"{__name__}.SECONDS", 0.2)
    before = signal.signal(signal.SIGVTALRM, alarm)
    try:
        assert outcome(overflow, {"x": 1}).startswith("OverflowError")
        assert outcome(endless, {"x": 1}) == "not back in 0.2 s"
        assert outcome(int, {"x": "a"}) == "refused"  # the signature
        assert outcome(lambda x: int(x), {"x": "a"}).startswith(
            "not named: ValueError: invalid lit"
        )
    finally:
        signal.signal(signal.SIGVTALRM, before)
