"""Which runs lose a whole class, how often, why, and what prevents it: design and readings.

All of this was fixed before the runs that it is about. What was known by then: a dozen seeds, most
with AGCE, of the first epoch on MNIST at asymmetric noise 0.4, of which two in three lost a class,
always one that flips; four seeds that lost none after 100 steps of cross entropy; one that lost a
class for all its 50 epochs, and two whose class came back. Those trials were made with other code
and are not among the runs here.

**The runs** are the first epoch (469 steps) of the paper's recipe for MNIST, in bfloat16, one
thread. Looks are every 25 to 50 steps on the first 1,000 test images; the last word is that of all
10,000 (`short_runs`). `PARTS` has them in their order of work, seeds outermost within a part, so
that every beginning is worth something: a part counts for the seeds that all its losses have.
(Noted afterwards: a later CPU had no bfloat16 units, and made what was missing in float32.)

**The readings.** A class is *lost* at a look if fewer than `LOST` % of its test images are right:
at ten classes, chance. A run *loses a class* if one is lost after its last step. It was lost
*since* the first look from which on it is lost at every look. Shares of runs have Clopper-Pearson's
95 % interval.

*What decides?* `crossing` has AGCE with 6 initial weights, 6 orders and 3 draws of the noise, all
combinations. The number of classes lost in each is split like a variance, see `split`. A seed
decides if its main effect has half of the sum of squares or more; if the interactions have half or
more, no seed decides alone.

*One factor at a time* (`FACTORS`, seeds 0 to 9): a change matters if the share of runs that lose a
class differs from that of the same seeds without it by McNemar's exact test at 5 %.

*A prediction from early logits.* The lead of a class is the mean, over its test images, of its own
logit less that of the class it flips to. Rule A: a class that flips is lost after the epoch if its
lead is below 0 after `EARLY` steps. Rule B: if it is below the threshold that makes fewest mistakes
with AGCE on seeds 0 to 9 (the middle of the widest gap). Both are tested on AGCE's seeds 10 to 19
and on AUL and NCE+RCE with all seeds, beside "no class is lost", which they have to beat.

*A cure* keeps all classes in all 20 seeds at asymmetric 0.4 after the first epoch. Of those that
do, or else of those that lose fewest, the two of highest mean accuracy go on to whole runs, two
seeds each: clean, symmetric 0.8, asymmetric 0.4. A cure costs nothing if its mean is at most 0.5
points below that of AGCE alone, clean and at symmetric 0.8. Of two that cost nothing the one that
is simpler to add is recommended: steps of cross entropy, then what changes the loss. (Changed
before the first whole run: they are in float32, like the tables' runs, so that AGCE alone is the
tables' own run of the same seed.)

*What we expect*, from two logits with a shared part (`checks.lost_classes`): what all samples share
is learned first, and it favours the more frequent label. The classes that flip start behind in the
order of the shares of the two labels: 7 (to 1) and 3 (to 8) most, 2 (to 7) less, 5 and 6 (to each
other) hardly. So 7 and 3 are lost most often, steps of cross entropy and weights of 1 / count are
cures, and an output bias from the label counts is none: it makes the start worse. The model orders
the losses by how they pull on samples that they contradict: AUL (concave) loses most runs, then
AGCE, then AEL (more convex); GCE and CE lose none. And less noise loses fewer. (Noted afterwards:
the order 7, 3, 2 is that of the pairs alone. The shares of all labels, with what flips to them from
elsewhere, would put 3 first; chapter 12b shows both.)

*The alarm* (`alfs_utils.lost_classes`, which sees predictions and given labels only) is judged on
the last stretch of every run here. It is false if the class has 50 % or more of its test images
right in the end, and missing if it has fewer than `LOST` %.

*Cells of the tables that are a mixture.* A cell is a mixture if some of its runs lose a class and
others do not. Such a cell has no mean and no standard deviation; the page shows every seed, and
says: "k of n seeds keep all classes; those reach m". With k of n kept, three good draws in a row
have the probability (k / n)^3, with the third powers of the interval's ends. The cell is compared
with the paper's by the mean of the kept runs, since a printed spread below 1 point says that all
three of the paper's runs kept all classes, or all lost the same number. At least 10 seeds, in the
columns asymmetric 0.3 and 0.4 of AGCE, AUL, AEL and NCE+RCE, are needed for these words; with fewer
the page says how many there are.

*CIFAR-10*, which nobody can run here: `CIFAR10_PREDICTION`. (Added before these runs: the same
sentences are held against `which_runs.reduced` at asymmetric 0.4, seed 0: 10,000 images, a small
network, 30 epochs. That is another recipe, so it can support the prediction or cast doubt on it.)

*Late or lost?* (Added when ten seeds of symmetric 0.8 had been seen: AGCE, AUL and AEL have lost
classes there, MAE, GCE and the sums have none.) We had not foreseen it. Under symmetric noise no
wrong label leads, and the model has no fall. So we expect that these classes are late: with 3.6
times the learning rate AGCE loses none with seeds 0 to 9. If it still loses with half as many seeds
as without, or more, they are not merely late.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from alfs_utils import records
from alfs_utils.classes import CLASS_NAMES
from alfs_utils.losses import MAELoss, from_paper
from alfs_utils.lost_classes import lost_from_counts
from alfs_utils.paper import protocol, short_runs
from alfs_utils.paper.short_runs import Trial

__all__ = [
    "Mixture",
    "Share",
    "alarms",
    "changed_table",
    "cifar10_answers",
    "cost_table",
    "foreseen",
    "losing",
    "losing_table",
    "lost",
    "mcnemar",
    "mixture",
    "runs_of",
    "share",
    "since",
    "split",
    "threshold",
    "trials",
    "whole",
]

LOST = 10.0  # percent
KEPT = 50.0  # percent: an alarm for a class that has as much is false
EARLY = 100  # steps
LOSSES = {
    "AGCE": from_paper("AGCE", "mnist"),
    "CE": from_paper("CE", "mnist"),
    "AUL": from_paper("AUL", "mnist"),
    "NCE+RCE": from_paper("NCE+RCE", "mnist"),
    "GCE": from_paper("GCE", "mnist"),
    "MAE": MAELoss(),
    "AEL": from_paper("AEL", "mnist"),
    "NCE+AGCE": from_paper("NCE+AGCE", "cifar10"),
}
FIRST = ("AGCE", "CE", "AUL", "NCE+RCE")
OTHERS = tuple(name for name in LOSSES if name not in FIRST)
_AGCE = str(LOSSES["AGCE"])
_STRONGER = f"3.6 * {_AGCE}"

# What each changes in the run of AGCE at asymmetric 0.4. A pull of 3.6 is about that of the
# CIFAR-10 setting of AGCE where training starts.
FACTORS = {
    "pull x 3.6": {"loss": _STRONGER},
    "pull / 3.6": {"loss": f"{1 / 3.6!r} * {_AGCE}"},
    "learning rate x 3.6": {"lr": 0.036},
    "learning rate / 3.6": {"lr": 0.01 / 3.6},
    "no clipping": {"clip_norm": float("inf")},
    "clipping at 0.5": {"clip_norm": 0.5},
    "batches of 32": {"batch_size": 32},
    "batches of 512": {"batch_size": 512},
    "no batch norm": {"batch_norm": False},
}
# The same for what may prevent that a class is lost, or might be thought to. ln 9 lifts the given
# label from 1/10 to 1/2.
CURES = {
    "100 steps of CE first": {"ce_steps": 100},
    "25 steps of CE first": {"ce_steps": 25},
    "235 steps of CE first": {"ce_steps": 235},
    "NCE beside it": {"loss": f"NCELoss() + {_AGCE}"},
    "pull x 3.6": {"loss": _STRONGER},
    "learning rate warmed up for 235 steps": {"warm_up": 235},
    "logit bias ln 9": {"logit_bias": float(np.log(9))},
    "output bias from the label counts": {"output_bias": True},
    "labels weigh 1 / count": {"balanced": True},
}

# Of the runs of Table 2's column asymmetric 0.4, the paper's recipe, in the last epoch. Written
# when no run of it had been seen by class. The sources of flips are bird, cat, deer, dog, truck;
# cat and dog flip to each other, so that at most one of the two can be lost to the other: at most
# four classes. Each lost class costs ten points times its share of right images.
CIFAR10_PREDICTION = {
    "losses": ("AGCE", "AUL", "AEL"),
    "classes lost per run, mean over runs and losses": (2.5, 3.5),
    "classes lost in any one run": (2, 4),
    "only classes that flip are lost": ("bird", "cat", "deer", "dog", "truck"),
    "cat or dog is lost, in this share of runs at least": 0.8,
    "CE and GCE lose": 0,
}


def trial(name: str, noise: str, eta: float, seed: int, **changes) -> Trial:
    """One run of the census; `changes` are fields of `Trial` and of `RunConfig`."""
    start = {key: changes.pop(key) for key in [*changes] if key in Trial.__dataclass_fields__}
    changes = {"loss": LOSSES[name], "precision": "bfloat16"} | changes
    config = protocol.run("mnist", changes.pop("loss"), noise, eta, seed, **changes)
    return Trial(config, **start)


def _column(names, noise, eta):
    return [trial(name, noise, eta, seed) for seed in range(20) for name in names]


def _changed(changes, seeds):
    return [trial("AGCE", "asymmetric", 0.4, s, **c) for s in seeds for c in changes.values()]


WHOLE = (("symmetric", 0.0), ("symmetric", 0.8), ("asymmetric", 0.4))


def crossing() -> list[Trial]:
    """AGCE with initial weights 0 to 5, orders 0 to 5 and draws of the noise 0 to 2, crossed.

    MNIST is not augmented, so that `augment_seed` only makes three of them runs of the census.
    """
    seeds = [(i, j, n) for n in range(3) for i in range(6) for j in range(6)]
    return [
        trial("AGCE", "asymmetric", 0.4, 0, init_seed=i, order_seed=j, noise_seed=n, augment_seed=i)
        for i, j, n in seeds
    ]


def crossed(results) -> np.ndarray | None:
    """Classes lost in each run of `crossing`, (weights, orders, draws); None if some lack."""
    runs = short_runs.load(results, crossing())
    if len(runs) < len(crossing()):
        return None
    number = [len(lost(shares)) for shares in runs["test_accuracy"]]
    return np.reshape(number, (3, 6, 6)).transpose(1, 2, 0)


# In their order of work. One run takes 13 s on a core of an AMD EPYC with AVX-512.
PARTS = {
    "asymmetric 0.4": _column(FIRST, "asymmetric", 0.4),
    "cures": _changed(CURES, range(20)),
    "asymmetric 0.4, other losses": _column(OTHERS, "asymmetric", 0.4),
    "crossing": crossing(),
    "asymmetric 0.3": _column(FIRST, "asymmetric", 0.3),
    "factors": _changed(FACTORS, range(10)),
    # Do lost classes come back? The first ten epochs of 50.
    "ten epochs": [
        trial(name, "asymmetric", 0.4, seed, epochs=10)
        for seed in range(4)
        for name in ("AGCE", "AUL", "NCE+RCE")
    ],
    "symmetric 0.8": _column(LOSSES, "symmetric", 0.8),
    "asymmetric 0.3, other losses": _column(OTHERS, "asymmetric", 0.3),
    "asymmetric 0.2": _column(LOSSES, "asymmetric", 0.2),
    "symmetric 0.6": _column(LOSSES, "symmetric", 0.6),
    "symmetric 0.8, faster": [
        trial("AGCE", "symmetric", 0.8, seed, **FACTORS["learning rate x 3.6"])
        for seed in range(10)
    ],
}


def whole(name: str) -> list[Trial]:
    """Whole runs of AGCE with one of `CURES`, two seeds: clean, symmetric 0.8, asymmetric 0.4.

    The choice of the cures waits for their first epochs, so these are in no part.
    """
    changes = {"epochs": 50, "precision": "float32", **CURES[name]}
    return [trial("AGCE", *noise, seed, **changes) for seed in range(2) for noise in WHOLE]


def trials() -> list[Trial]:
    """All of `PARTS`, each trial once."""
    return list(dict.fromkeys(trial for part in PARTS.values() for trial in part))


COLUMNS = (("asymmetric", 0.4), ("asymmetric", 0.3), ("asymmetric", 0.2))
COLUMNS += (("symmetric", 0.8), ("symmetric", 0.6))


def runs_of(results, names=tuple(LOSSES), noise="asymmetric", eta=0.4, **changes) -> pd.DataFrame:
    """The runs so far of these losses on this noise, with the same changes: `short_runs.load`."""
    wanted = [trial(name, noise, eta, seed, **changes) for seed in range(20) for name in names]
    return short_runs.load(results, wanted)


# --- readings -----------------------------------------------------------------------------------


def losing(runs: pd.DataFrame) -> "Share":
    """How many of these runs lose a class."""
    return share(sum(bool(lost(shares)) for shares in runs["test_accuracy"]), len(runs))


def losing_table(results) -> pd.DataFrame:
    """For each loss and noise of the census, how many runs lose a class; "–" where none is run."""
    rows = {}
    for name in LOSSES:
        found = {f"{n} {eta:g}": losing(runs_of(results, (name,), n, eta)) for n, eta in COLUMNS}
        rows[name] = {column: str(count) if count.n else "–" for column, count in found.items()}
    return pd.DataFrame(rows).T


def changed_table(results, changes: dict) -> pd.DataFrame:
    """AGCE at asymmetric 0.4 with each of `CURES` or `FACTORS`, beside the same seeds without.

    Columns: runs that lose a class; the same seeds without the change; McNemar's p; `accuracy`,
    the mean over classes and runs, in percent.
    """
    plain = runs_of(results, ("AGCE",)).set_index("init_seed")
    rows = {"nothing": {"lose a class": str(losing(plain)), "accuracy": _accuracy(plain)}}
    for name, change in changes.items():
        runs = runs_of(results, ("AGCE",), **change).set_index("init_seed")
        both = runs.index.intersection(plain.index)
        pair = [[bool(lost(x)) for x in r.loc[both, "test_accuracy"]] for r in (runs, plain)]
        rows[name] = {
            "lose a class": str(losing(runs)) if len(runs) else "–",
            "same seeds without": f"{sum(pair[1])} of {len(both)}" if len(both) else "–",
            "p": mcnemar(*pair) if len(both) else np.nan,
            "accuracy": _accuracy(runs),
        }
    return pd.DataFrame(rows).T


def _accuracy(runs):
    return float(np.mean(runs["test_accuracy"].to_list())) if len(runs) else np.nan


def cost_table(results) -> pd.DataFrame:
    """What the cures cost in `whole` runs: a row for each cure and noise that has any.

    Columns: `cure`, `noise`, `eta`; `seeds`, how many; `accuracy`, percent of all test images, the
    mean over these seeds; `alone`, that of the tables' runs of AGCE with the same seeds;
    `difference`, in points.
    """
    rows = []
    for name in CURES:
        runs = short_runs.load(results, whole(name))
        for noise, eta in WHOLE:
            pairs = [
                (with_cure, alone["test_accuracy"][-1])
                for seed, with_cure in _of(runs, noise, eta)[["init_seed", "overall"]].to_numpy()
                if (alone := records.find(_alone(noise, eta, int(seed)), results))
            ]
            if pairs:
                cured, alone = np.mean(pairs, axis=0)
                rows.append((name, noise, eta, len(pairs), cured, alone, cured - alone))
    columns = ["cure", "noise", "eta", "seeds", "accuracy", "alone", "difference"]
    return pd.DataFrame(rows, columns=columns)


def _alone(noise, eta, seed):
    return trial("AGCE", noise, eta, seed, precision="float32").config


def _of(runs, noise, eta):
    return runs[(runs["noise"] == noise) & (runs["eta"] == eta)]


def alarms(runs: pd.DataFrame) -> dict[str, int]:
    """The alarm on the last stretch of runs: how many classes are kept, and alarms among them.

    Returns
    -------
    dict
        "kept" (at least `KEPT` % right), "false" (alarms among them), "lost", "missing" (lost
        classes without an alarm), "between".
    """
    found = dict.fromkeys(("kept", "false", "lost", "missing", "between"), 0)
    for run in runs.itertuples():
        rung = lost_from_counts(run.predicted[-1], run.given[-1])
        gone = lost(run.test_accuracy)
        for c, right in enumerate(run.test_accuracy):
            kind = "lost" if c in gone else "kept" if right >= KEPT else "between"
            found[kind] += 1
            found["false"] += kind == "kept" and c in rung
            found["missing"] += kind == "lost" and c not in rung
    return found


def cifar10_answers(ends: Mapping[str, Sequence[Sequence[float]]]) -> list[tuple[str, bool]]:
    """Hold `CIFAR10_PREDICTION` against runs of AGCE, AUL, AEL, CE and GCE.

    Parameters
    ----------
    ends : mapping
        For each loss, a row for each of its runs: the percentage of each class that is right.
    """
    classes_of = CLASS_NAMES["cifar10"]
    gone = {x: [[classes_of[c] for c in lost(row)] for row in rows] for x, rows in ends.items()}
    losses, (least, most), (fewest, utmost), flips, often, others = CIFAR10_PREDICTION.values()
    runs = [classes for name in losses for classes in gone[name]]
    counts = [len(classes) for classes in runs]
    holds = [
        least <= np.mean(counts) <= most,
        all(fewest <= n <= utmost for n in counts),
        {*flips} >= set().union(*runs),
        np.mean([bool({"cat", "dog"} & {*classes}) for classes in runs]) >= often,
        sum(len(classes) for name in ("CE", "GCE") for classes in gone[name]) == others,
    ]
    said = [*CIFAR10_PREDICTION.items()][1:]
    return [(f"{x}: {_word(y)}", bool(z)) for (x, y), z in zip(said, holds, strict=True)]


def _word(value):
    if not isinstance(value, tuple):
        return str(value)
    return ", ".join(value) if isinstance(value[0], str) else "{} to {}".format(*value)


def lost(accuracy: Sequence[float]) -> list[int]:
    """The classes that are lost, from the percentage of each class that is right."""
    return [c for c, share_right in enumerate(accuracy) if share_right < LOST]


def since(steps: Sequence[int], accuracy: Sequence[Sequence[float]], c: int) -> int | None:
    """The step from whose look on class c is lost at every look; None if it is not at the last."""
    first = None
    for step, shares in zip(reversed(steps), reversed(accuracy), strict=True):
        if shares[c] >= LOST:
            break
        first = step
    return first


@dataclass(frozen=True)
class Share:
    """k of n, with Clopper-Pearson's interval."""

    k: int
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.k} of {self.n} ({100 * self.low:.0f} to {100 * self.high:.0f} %)"


def share(k: int, n: int) -> Share:
    """k of n with its 95 % interval; (0, 1) for n = 0."""
    if not n:
        return Share(0, 0, 0.0, 1.0)
    interval = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    return Share(k, n, float(interval.low), float(interval.high))


def mcnemar(with_it: Sequence[bool], without: Sequence[bool]) -> float:
    """McNemar's exact p for runs that lose a class with and without a change, paired by seed."""
    pairs = list(zip(with_it, without, strict=True))
    only = pairs.count((True, False))
    either = only + pairs.count((False, True))
    return float(stats.binomtest(only, either).pvalue) if either else 1.0


def split(
    counts: np.ndarray, names: Sequence[str] = ("initial weights", "order", "noise draw")
) -> pd.Series:
    """Split the sum of squares of a crossed design among its factors and their interactions.

    Parameters
    ----------
    counts : array with one axis for each factor
        A number for each combination of the factors' levels.
    names : sequence of str
        The factors, in the order of the axes.

    Returns
    -------
    Series
        One for each name, and "interactions": shares of the sum of squares about the mean; NaN if
        all numbers are equal. Each share by chance: degrees of freedom.
    """
    x = np.asarray(counts, dtype=float)
    mean, total = x.mean(), ((x - x.mean()) ** 2).sum()
    shares = {}
    for axis, name in enumerate(names):
        effect = x.mean(axis=tuple({*range(x.ndim)} - {axis})) - mean
        shares[name] = (effect**2).sum() * x.size / x.shape[axis]
    found = pd.Series(shares) / total if total else pd.Series(np.nan, index=names)
    return pd.concat([found, pd.Series({"interactions": 1 - found.sum(skipna=False)})])


def _leads(runs, step):
    """For each run and each class that flips: its lead after so many steps, and whether lost."""
    pairs = []
    for run in runs.itertuples():
        leads = run.lead[list(run.steps).index(step)]
        gone = lost(run.test_accuracy)
        pairs += [(lead, c in gone) for c, lead in enumerate(leads) if lead is not None]
    return pairs


def foreseen(runs: pd.DataFrame, limit: float = 0.0, step: int = EARLY) -> dict[str, int]:
    """Hold "lost if the lead after `step` steps is below `limit`" against runs.

    Returns
    -------
    dict
        Numbers of classes that flip: "classes"; "lost"; "foreseen", both; "false", foreseen and
        not lost; "mistakes", those of the rule; "none", those of "no class is lost".
    """
    pairs = _leads(runs, step)
    gone = [is_lost for _, is_lost in pairs]
    hits = sum(lead < limit and is_lost for lead, is_lost in pairs)
    false = sum(lead < limit and not is_lost for lead, is_lost in pairs)
    found = {"classes": len(pairs), "lost": sum(gone), "foreseen": hits, "false": false}
    return found | {"mistakes": sum(gone) - hits + false, "none": sum(gone)}


def threshold(runs: pd.DataFrame, step: int = EARLY) -> float:
    """The limit of fewest mistakes on these runs, in the middle of the widest gap that has them."""
    leads = sorted({lead for lead, _ in _leads(runs, step)})
    gaps = list(pairwise(leads))
    least = min(foreseen(runs, (a + b) / 2, step)["mistakes"] for a, b in gaps)
    best = [(a, b) for a, b in gaps if foreseen(runs, (a + b) / 2, step)["mistakes"] == least]
    low, high = max(best, key=lambda gap: gap[1] - gap[0])
    return (low + high) / 2


@dataclass(frozen=True)
class Mixture:
    """What a cell's seeds say, see the module.

    Attributes
    ----------
    kept : Share
        Seeds that keep all classes.
    mean : float
        Their mean accuracy; NaN if there are none.
    three : tuple of float
        How likely three kept draws in a row are: the estimate, and both ends of the interval.
    """

    kept: Share
    mean: float
    three: tuple[float, float, float]

    @property
    def mixed(self) -> bool:
        return 0 < self.kept.k < self.kept.n

    def __str__(self) -> str:
        k, n = self.kept.k, self.kept.n
        reach = f"; those reach {self.mean:.2f} %" if k else ""
        return f"{k} of {n} seeds keep all classes{reach}"


def mixture(last: Sequence[float], by_class: Sequence[Sequence[float]]) -> Mixture:
    """Read a cell's runs: accuracies in the last epoch, whole and by class, one entry per seed."""
    kept = [whole for whole, shares in zip(last, by_class, strict=True) if not lost(shares)]
    found = share(len(kept), len(last))
    rate = found.k / found.n if found.n else np.nan
    mean = float(np.mean(kept)) if kept else np.nan
    return Mixture(found, mean, (rate**3, found.low**3, found.high**3))
