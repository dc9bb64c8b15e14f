"""Where does the spread of runs come from: the noise draw, the initial weights, the order?

All of this was fixed before the first of these runs. The seeds of a run are independent, so any
of them can be varied alone, or all combinations made.

**Words**, three seeds. The draw is the rater: one of ten for each word, drawn anew (`words-one`).
Four losses, scaled and with step sizes chosen as in `people`; 30 epochs. *Crossed*: draws, weights
and orders 0 to 5 each, 216 runs of a loss. *One at a time*: 20 values of one seed, the others 0.

**Digits**, four seeds: the same and the augmentation. The default of `RunConfig` (symmetric 0.6, 40
epochs) with CE and AGCE; three values of each seed, crossed: 81 runs of a loss. (A first record had
36 of them, draws 0 and 2 with weights 1 and 2. All were then run on another kind of CPU.)

**The split** (`split`) is an analysis of variance. A run repeats bit for bit, so without a second
run of the same seeds all interactions are the rest. The share of a main effect in the sum of
squares stands beside that of its degrees of freedom (`by chance`). The F test holds it against the
largest interaction that its seed has with another one, since seeds are random factors. The interval
of its standard deviation is exact for the ratio to that interaction, if both are normal, and takes
the standard deviation of the interaction as estimated. (Changed after the runs: the test was
against all interactions together, as if they were chance alone. No reading changed its answer.)

**Three runs** (`three_runs`), on the words. The authors' code draws the noise once, and varies
weights and order together. So we take, of the crossed runs, all 20 triples of weights and orders
(0, 0), ..., (5, 5) with one draw, for each draw, and those in which the draw varies, too. How often
does the interval, mean +- t s / sqrt(3) at 95 %, contain the mean of all 216 runs? And how often
does the better of two losses by three runs each, all on the same draw, have the better mean of all?

**The sentences** (`survival`). The printed means are drawn again, 500 times, independently, normal
with standard deviation s / sqrt(3) for the printed s, or with s sqrt(1/3 + v), where v is the
variance of the noise draw over that of the rest *in the difference of two losses* (what both share
in one draw, a ranking does not see), the largest of the words and the digits. A sentence survives
if at least 95 % of the redraws give it the printed answer. Cells without a printed s stay as they
are.

**MNIST** (`mnist`): AGCE at symmetric 0.8, `which_runs.spread`. The draw matters if the variance of
its five runs exceeds that of the five of weights and order by the F test at 5 %, one-sided. (Before
any of these runs, weights and order were first to be varied in two runs each: those five would not
have been independent.)
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from alfs_utils import data, records
from alfs_utils.data import words
from alfs_utils.losses import AGCELoss, CELoss
from alfs_utils.paper import census, people, together
from alfs_utils.paper.printed import CELLS
from alfs_utils.paper.sentences import CLAIMS
from alfs_utils.paper.together import Job, train
from alfs_utils.paper.which_runs import spread
from alfs_utils.training import RunConfig
from alfs_utils.training import train as train_one
from alfs_utils.training.environment import Clock

WORDS_FACTORS = ("noise draw", "initial weights", "order")
DIGITS_FACTORS = (*WORDS_FACTORS, "augmentation")
WORDS_LOSSES = ("CE", "GCE", "AGCE", "AUL")
DIGITS_LOSSES = {"CE": CELoss(), "AGCE": AGCELoss(a=4, q=0.2)}
LEVELS, DIGITS_LEVELS, ALONE = 6, 3, 20
TUNING_SEED = 100


def answers(words_runs: Mapping, digits_runs: Mapping) -> list[tuple[str, bool | None]]:
    """Readings, of the crossed accuracies of each loss; None where there are no runs."""
    on_words = [split(x, WORDS_FACTORS) for x in words_runs.values()]
    on_digits = [split(x, DIGITS_FACTORS) for x in digits_runs.values()]
    pairs = [a - b for a, b in combinations(words_runs.values(), 2)]
    covered = [three_runs(x) for x in words_runs.values()]
    return [
        (
            "words: for each loss the draw is the largest of the three main effects",
            all(f["share"].iloc[:3].idxmax() == "noise draw" for f in on_words),
        ),
        (
            "words: for each loss the draw's main effect is significant at 5 %",
            all(f.loc["noise draw", "p"] < 0.05 for f in on_words),
        ),
        (
            "digits: for both losses the interactions have half of the sum of squares or more",
            all(f.loc["interactions", "share"] >= 0.5 for f in on_digits) if on_digits else None,
        ),
        (
            "digits: for neither loss is the augmentation's main effect significant at 5 %",
            all(f.loc["augmentation", "p"] >= 0.05 for f in on_digits) if on_digits else None,
        ),
        (
            "words: with one draw, 95 % intervals of three runs cover in fewer than 90 % of cases",
            all(one < 90 for one, _ in covered),
        ),
        (
            "words: with a draw of its own for each run they cover in 90 % or more",
            all(own >= 90 for _, own in covered),
        ),
        (
            "words: in each difference of two losses the draw has a smaller share than in a loss",
            bool(
                max(split(x, WORDS_FACTORS).loc["noise draw", "share"] for x in pairs)
                < min(f.loc["noise draw", "share"] for f in on_words)
            ),
        ),
    ]


# --- readings -----------------------------------------------------------------------------------


def split(x: np.ndarray, names: Sequence[str], level: float = 0.95) -> pd.DataFrame:
    """Split the variance of a crossed design, an axis for each factor.

    Returns
    -------
    DataFrame
        A row for each factor and "interactions": `share` of the sum of squares and `by chance`, in
        [0, 1]; `p` of the F test, see the module; `sd`, `low` and `high`, the standard deviation of
        the main effect in the units of x, and its interval. The interactions have `sd` alone.
    """
    shares = census.split(x, names)
    freedom = np.array([n - 1 for n in x.shape])
    rest = x.size - 1 - freedom.sum()
    total = ((x - x.mean()) ** 2).sum()
    noise = shares["interactions"] * total / rest
    frame = pd.DataFrame({"share": shares, "by chance": np.r_[freedom, rest] / (x.size - 1)})
    for axis, (name, n, df) in enumerate(zip(names, x.shape, freedom, strict=True)):
        square, within = max(_interaction(x, axis, j) for j in range(x.ndim) if j != axis)
        F = shares[name] * total / df / square
        frame.loc[name, "p"] = stats.f.sf(F, df, within)
        ends = {"sd": 1.0, "low": stats.f.ppf((1 + level) / 2, df, within)}
        ends |= {"high": stats.f.ppf((1 - level) / 2, df, within)}
        for column, quantile in ends.items():
            frame.loc[name, column] = math.sqrt(max(0, F / quantile - 1) * square * n / x.size)
    frame.loc["interactions", "sd"] = math.sqrt(noise)
    return frame


def _interaction(x, i, j):
    """The mean square of the interaction of two factors, and its degrees of freedom."""
    both = x.mean(axis=tuple({*range(x.ndim)} - {i, j}))
    rest = both - both.mean(0) - both.mean(1, keepdims=True) + both.mean()
    freedom = (both.shape[0] - 1) * (both.shape[1] - 1)
    return float((rest**2).sum() * x.size / both.size / freedom), freedom


def three_runs(x: np.ndarray) -> tuple[float, float]:
    """Percent of 95 % intervals of three runs that cover the mean of all: one draw, own draws.

    `x` has the axes draw, weights, order, of equal length.
    """
    n = len(x)
    same = np.arange(n)
    one = [_covers(x[d, t, t], x.mean()) for d in same for t in _triples(n)]
    own = [
        _covers(x[(t + d) % n, t, (t + o) % n], x.mean())
        for d, o in product(same, same)
        for t in _triples(n)
    ]
    return 100 * float(np.mean(one)), 100 * float(np.mean(own))


def right_order(a: np.ndarray, b: np.ndarray) -> float:
    """Percent of pairs of triples on one draw whose means are in the order of all runs' means."""
    d = a - b
    found = [np.sign(d[draw, t, t].mean()) for draw in range(len(d)) for t in _triples(len(d))]
    return 100 * float(np.mean(np.array(found) == np.sign(d.mean())))


def _triples(n):
    return [np.array(t) for t in combinations(range(n), 3)]


def _covers(three, truth):
    half = stats.t.ppf(0.975, 2) * three.std(ddof=1) / math.sqrt(3)
    return abs(three.mean() - truth) <= half


def ratio(difference: np.ndarray, names: Sequence[str]) -> float:
    """The variance of the noise draw over that of all else, in the difference of two losses."""
    found = split(difference, names)["sd"] ** 2
    return float(found["noise draw"] / found.drop("noise draw").sum())


def survival(ratio: float, redraws: int = 500, seed: int = 0) -> pd.DataFrame:
    """How often the printed answer of each ranking sentence comes again from redrawn means.

    Returns a row per reading of `sentences.CLAIMS`: `reading`, `printed` (its answer), `weights and
    order` and `with the draw`: percent of redraws with the same answer, see the module; NaN where
    no cell of the claim has a printed spread.
    """
    rng = np.random.default_rng(seed)
    means = np.array([cell.mean for cell in CELLS], dtype=float)  # NaN where none is printed
    spreads = np.array([cell.std or 0 for cell in CELLS])
    keys = [cell.key for cell in CELLS]
    normal = rng.standard_normal((redraws, len(CELLS)))
    printed = [claim.outcome(dict(zip(keys, means, strict=True))).holds for claim in CLAIMS]
    frame = pd.DataFrame({"reading": [c.reading for c in CLAIMS], "printed": printed})
    for name, variance in {"weights and order": 1 / 3, "with the draw": 1 / 3 + ratio}.items():
        hits = np.zeros(len(CLAIMS))
        for z in normal:
            drawn = dict(zip(keys, means + spreads * math.sqrt(variance) * z, strict=True))
            hits += [
                claim.outcome(drawn).holds == p for claim, p in zip(CLAIMS, printed, strict=True)
            ]
        frame[name] = 100 * hits / redraws
    spread_of = dict(zip(keys, spreads, strict=True))
    silent = [not any(spread_of[key] for part in claim.parts for key in part) for claim in CLAIMS]
    frame.loc[silent, ["weights and order", "with the draw"]] = np.nan
    return frame


def mnist(ledger: pd.DataFrame) -> pd.DataFrame:
    """The runs of `which_runs.spread` so far, with `varied`: what is not that of seed 0."""
    runs = records.runs_of(ledger, spread())
    seeds = {"noise_seed": "noise draw", "init_seed": "weights and order"}
    varied = [next((word for n, word in seeds.items() if row[n]), "none") for row in runs.iloc]
    return runs.assign(varied=varied)


def mnist_answer(runs: pd.DataFrame) -> float:
    """p of the F test that the draw varies more than weights and order."""
    none = runs[runs["varied"] == "none"]
    draw = pd.concat([none, runs[runs["varied"] == "noise draw"]])["last"]
    rest = pd.concat([none, runs[runs["varied"] == "weights and order"]])["last"]
    return float(stats.f.sf(draw.var() / rest.var(), len(draw) - 1, len(rest) - 1))


# --- runs ---------------------------------------------------------------------------------------


def write_words(path: str | os.PathLike) -> Path:
    """Train all runs on the words, and write one record: the last accuracies by seeds and loss."""
    clock, dataset = Clock(), data.load("words")
    losses = people.matched({name: people.LOSSES[name] for name in WORDS_LOSSES}, 2)
    drawn = {
        seed: torch.tensor(words.given("words-one", "words", seed).labels)
        for seed in [*range(ALONE), TUNING_SEED]
    }
    steps = people.chosen(people.tune(dataset, drawn[TUNING_SEED], losses, "words_mlp"))
    level, alone = range(LEVELS), range(ALONE)
    seeds = [*product(level, level, level)]
    seeds += [(n, 0, 0) for n in alone] + [(0, i, 0) for i in alone] + [(0, 0, o) for o in alone]
    config = {"dataset": "words", "noise": "words-one", "epochs": people.EPOCHS}
    record = {"config": config, "environment": together.environment()}
    record |= {"factors": WORDS_FACTORS, "steps": steps, "crossed": {}, "alone": {}}
    for name, loss in losses.items():
        jobs = [Job(loss, drawn[n], steps[name], i, o) for n, i, o in seeds]
        fixed = {"epochs": people.EPOCHS, **people.SHARED}
        last = train(dataset, jobs, "words_mlp", **fixed).accuracy[:, -1].numpy().round(4)
        cut = LEVELS**3
        record["crossed"][name] = last[:cut].reshape(3 * (LEVELS,)).tolist()
        record["alone"][name] = last[cut:].reshape(3, ALONE).tolist()
    return together.write(record | together.cost(clock), path)


def digits_config(name: str, seeds: Sequence[int]) -> RunConfig:
    """The run of a loss of `DIGITS_LOSSES` with a seed for each of `DIGITS_FACTORS`."""
    names = ("noise_seed", "init_seed", "order_seed", "augment_seed")
    return replace(RunConfig(DIGITS_LOSSES[name]), **dict(zip(names, seeds, strict=True)))


def write_digits(path: str | os.PathLike) -> Path:
    """Train all runs on the digits, and write one record: the last accuracies by seeds and loss."""
    clock, level = Clock(), range(DIGITS_LEVELS)
    runs = product(*len(DIGITS_FACTORS) * [level], DIGITS_LOSSES)  # the loss varies fastest
    last = [
        train_one(digits_config(name, seeds), progress=False).test_accuracy[-1]
        for *seeds, name in runs
    ]
    x = np.reshape(last, (*len(DIGITS_FACTORS) * (DIGITS_LEVELS,), -1)).round(4)
    config = asdict(RunConfig("CELoss()")) | {"loss": list(map(repr, DIGITS_LOSSES.values()))}
    config |= {factor: [*level] for factor in DIGITS_FACTORS}
    record = {"config": config, "environment": together.environment()}
    crossed = {name: x[..., i].tolist() for i, name in enumerate(DIGITS_LOSSES)}
    record |= {"factors": DIGITS_FACTORS, "crossed": crossed}
    return together.write(record | together.cost(clock), path)


def read(path: str | os.PathLike) -> dict:
    """Read a record; `crossed` and `alone` as arrays by loss."""
    record = json.loads(Path(path).read_text(encoding="utf-8"))
    for part in ("crossed", "alone"):
        record[part] = {name: np.array(x) for name, x in record.get(part, {}).items()}
    return record
