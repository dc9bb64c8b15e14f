"""Which loss for my data? From noisy labels and a few trusted ones to a certified loss.

A convex loss is asymmetric on class-conditional noise with clean level c iff c >= 1/r, where 1/r =
g(0)/g(1) is how much harder it pulls on a sample that the network contradicts than on one that it
agrees with (Corollaries 1 to 3 of the paper). So robustness asks for a small 1/r. Fitting asks for
a large one: if all pulls are alike (MAE, 1/r = 1), samples that are not fitted yet hardly move the
logits. This is the trade-off. `recommend` chooses the certified loss that moves them most. (With
two classes it is MAE itself: its steps, u (1 - u), are largest at 1/2.) If even that one is slow,
as with many classes, it chooses a sum with NCE, certified in the limit: the guide "Which loss for
my data?" has the trials behind this rule, and those in which it did not help.

>>> from alfs_utils import noise
>>> recommend(T=noise.symmetric(10, 0.8)).choice.loss
'AGCELoss(a=0.247, q=0.5)'
"""

import math
import textwrap
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from alfs_utils import noise
from alfs_utils._arguments import array, integer, real
from alfs_utils.asymmetry import TOLERANCE, Region, admissible, certify
from alfs_utils.estimation import (
    Interval,
    class_clean_level_intervals,
    clean_level_interval,
    count_matrix,
    labels_to_decide,
)
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    CELoss,
    GCELoss,
    Loss,
    MAELoss,
    NCELoss,
    value_and_pull,
)

__all__ = ["Option", "Recommendation", "largest_step", "recommend", "start_of", "time_to_start"]

# The paper's own examples, Section 4.1; only a is left to choose.
FAMILIES = ((AGCELoss, {"q": 0.5}), (AULLoss, {"p": 2.0}), (AELLoss, {}))
BASELINES = (CELoss(), GCELoss(q=0.7), MAELoss())
# In multiples of CE's time to start. In trials, certified losses above SLOW lost whole classes, and
# GCE above SLOW_GCE fell behind CE.
SLOW, SLOW_GCE = 1.25, 1.6
QUADRATURE = np.polynomial.legendre.leggauss(100)

LIMITS = (
    "The certificate takes noise to depend on the class alone. Where some samples are harder than "
    "others of their class, their clean level is lower than c.",
    "It is about the minimum of the risk, not about the way there. Training may lose whole "
    "classes: watch with `lost_classes`. In trials, CE for the first hundred steps prevented it; "
    "larger steps helped little. A sum with NCE starts faster, but is certified in the limit only.",
)
SAMPLED = (
    "The interval takes the trusted samples to be a random choice from the noisy ones, and their "
    "trusted labels to be right."
)


@dataclass(frozen=True)
class Option:
    """One loss, compared with the lower end of c.

    Attributes
    ----------
    loss : str
        A text that `losses.loss_from_string` reads.
    verdict : str
        That of `certify` for the lower end of c, with "(limit)" if the risk has no minimum.
    needs : float
        1/r, the least clean level for which the loss is asymmetric; inf if none suffices.
    start : float
        How well the loss begins to fit, see `start_of`.
    time : float
        How long the loss takes to fit a sample, see `time_to_start`.
    """

    loss: str
    verdict: str
    needs: float
    start: float
    time: float


@dataclass(frozen=True, repr=False)
class Recommendation:
    """The result of `recommend`.

    Attributes
    ----------
    num_classes : int
    c : Interval
        Clean level: lower end, estimate, upper end; all three are equal for a given T.
    level : float or None
        Confidence of each end on its own; None for a given T.
    doubtful : tuple of int
        Classes whose own label may not dominate: the lower end of their clean level is <= 1.
    regions : tuple of Region
        The certified a of AGCE (q = 0.5), AUL (p = 2) and AEL; empty if no loss is certified, and
        for a T without noise.
    options : tuple of Option
        These three losses with the least certified a (rounded up), and others to compare with;
        empty if no loss is certified. For a T without noise, CE alone.
    choice : Option or None
        The certified option of the best start, or the sum with NCE if that one is slow.
    reason : str
    limits : tuple of str
        The assumptions of the recommendation.
    mistakes : str
        What the classes of least clean level are called, in words; they tell clean from noisy.
    labels : float or None
        If too few labels were given: how many are expected to do, see `labels_to_decide`.
    """

    num_classes: int
    c: Interval
    level: float | None
    doubtful: tuple[int, ...]
    regions: tuple[Region, ...]
    options: tuple[Option, ...]
    choice: Option | None
    reason: str
    limits: tuple[str, ...]
    mistakes: str = ""
    labels: float | None = None

    def _head(self):
        """The clean level, and in a second paragraph the mistakes, if there are any."""
        head = f"c = {self.c.estimate:.3g}"
        if self.level is not None:
            head += f"; at least {self.c.low:.3g} and at most {self.c.high:.3g}, "
            head += f"each with {100 * self.level:g} % confidence"
        if not self.mistakes:
            return [head]
        swapped = "(Is it the other way round? Then clean and noisy are swapped.)"
        return [head, f"{self.mistakes[0].upper()}{self.mistakes[1:]}. {swapped}"]

    def __repr__(self):
        lines = [textwrap.fill(text, 76) for text in self._head()]
        width = max((len(option.loss) for option in self.options), default=0)
        if self.options:
            lines.append(f"{'loss':{width}}  {'needs c':>7}  {'start':>5}  {'time':>5}  certified")
        lines += [
            f"{option.loss:{width}}  {option.needs:7.3g}  {option.start:5.2f}  "
            f"{option.time:5.1f}  {option.verdict}"
            for option in self.options
        ]
        lines.append(f"recommended: {self.choice.loss if self.choice else 'none is certified'}")
        for text in (self.reason, *self.limits):
            lines.append(textwrap.fill(text, 76, initial_indent="- ", subsequent_indent="  "))
        return "\n".join(lines)

    def _repr_html_(self):
        head = "".join(f"<p>{escape(text)}</p>" for text in self._head())
        choice = f"<code>{self.choice.loss}</code>" if self.choice else "none is certified"
        table = "".join(_row(option, option is self.choice) for option in self.options)
        if table:
            names = ("loss", "needs c", "start", "time", "certified")
            titles = "".join(f"<th>{name}</th>" for name in names)
            table = f"<table><tr>{titles}</tr>{table}</table>"
        limits = "".join(f"<li>{escape(text)}</li>" for text in self.limits)
        return (
            f"{head}<p><b>Recommended: {choice}.</b> {escape(self.reason)}</p>{table}"
            f"<details><summary>what it assumes</summary><ul>{limits}</ul></details>"
        )


def recommend(
    *,
    clean: npt.ArrayLike | None = None,
    noisy: npt.ArrayLike | None = None,
    counts: npt.ArrayLike | None = None,
    T: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Recommendation:
    """Recommend a loss for noisy labels, or say that none is certified.

    Give one of these, by name: labels (`clean` and `noisy`), `counts`, or `T`.

    Parameters
    ----------
    clean, noisy : (n,) array_like of integers
        Trusted and given labels of the same samples: a random choice from the training set. Each of
        the k classes must be among the labels; if not, give `counts`.
    counts : (k, k) array_like of integers
        How often class i was called j, see `estimation.count_matrix`.
    T : (k, k) array_like
        A known transition matrix; nothing is estimated.
    level : float
        Confidence in (0.5, 1) of each end of the interval of c on its own. All verdicts are for the
        lower end, so this is the confidence that what is certified for it is certified for c.

    Returns
    -------
    Recommendation
    """
    labels = clean if noisy is None else noisy
    given = [
        name for name, x in (("labels", labels), ("counts", counts), ("T", T)) if x is not None
    ]
    absent = [name for name, x in (("clean", clean), ("noisy", noisy)) if x is None]
    if len(given) != 1 or len(absent) == 1:
        raise TypeError(
            "clean, counts, T: expected one of them, and noisy with clean, "
            f"got {', '.join(given) or 'none'}{f' without {absent[0]}' if len(absent) == 1 else ''}"
        )
    if T is not None:
        levels, c = noise.class_clean_levels(T), Interval(*[noise.clean_level(T)] * 3)
        return _recommendation(array("T", T, dtype=np.float64), levels, c, None)
    level = real("level", level, "a number in (0.5, 1)", lambda level: 0.5 < level < 1)
    if clean is not None and noisy is not None:
        counts = count_matrix(clean=clean, noisy=noisy)
    assert counts is not None  # one of the three is given
    both = 2 * level - 1  # of two ends that hold with `level` each
    c = clean_level_interval(counts, both)
    levels = class_clean_level_intervals(counts, both).low
    # Percentages of small integers, such as uint8, would overflow.
    return _recommendation(array("counts", counts, dtype=np.int64), levels, c, level)


def _recommendation(table, levels, c, level):
    """Recommend for c, with `table` the counts, or T if `level` is None.

    `levels` has the clean level of each class, or the lower end of its interval.
    """
    k, limits = len(levels), LIMITS if level is None else (SAMPLED, *LIMITS)
    if k < 2:
        raise ValueError("T: expected shape (k, k) with k >= 2, got (1, 1)")
    if not table.any():
        raise ValueError("counts: expected at least one label, got none")
    doubtful = tuple(np.flatnonzero(levels - 1 <= TOLERANCE).tolist())
    said = _mistakes(table, counted=level is not None)
    if c.low - 1 <= TOLERANCE:
        more = labels_to_decide(table, level) if level is not None and c.high > 1 else None
        reason = _refusal(c, doubtful, more, table)
        return Recommendation(k, c, level, doubtful, (), (), None, reason, limits, said, more)
    if math.isinf(c.low):
        option = _option(CELoss(), np.eye(k)[0])
        reason = "T has no noise: there is nothing to be robust against."
        return Recommendation(k, c, level, doubtful, (), (option,), option, reason, limits, said)
    # Whether a convex, concave or affine loss is asymmetric depends on the largest two weights
    # only. Beyond 1e6 the least a of AGCE would be too small for a float.
    weights = np.r_[min(c.low, 1e6), np.ones(k - 1)]
    regions = tuple(admissible(family, weights, **fixed) for family, fixed in FAMILIES)
    certified = [region.family(_above(region), **region.fixed) for region in regions]
    sums = [10 * NCELoss() + certified[0]]
    options = tuple(_option(loss, weights) for loss in [*certified, *BASELINES, *sums])
    choice = max((o for o in options if o.verdict == "asymmetric"), key=lambda o: o.start)
    reason = (
        f"It is certified for every c >= {choice.needs:.3g}. Of the losses that are certified for "
        f"c = {c.low:.3g}, and not only in the limit, it starts fastest: at u = 1/{k}, where "
        f"training starts, its steps are {100 * choice.start:.0f} % of the largest it ever takes."
    )
    if choice.time > SLOW * time_to_start(CELoss(), k):
        reason = (
            f"{choice.loss} is certified, and not only in the limit, but its time to start is over "
            f"{SLOW} times that of CE. In trials such losses lost whole classes; the sum with NCE "
            "lost few."
        )
        choice = options[-1]
    return Recommendation(k, c, level, doubtful, regions, options, choice, reason, limits, said)


def _row(option, chosen):
    """One option as a row of an HTML table, the chosen one in bold."""
    numbers = (f"{option.needs:.3g}", f"{option.start:.2f}", f"{option.time:.1f}")
    loss = f"<code>{option.loss}</code>"
    cells = (f"<b>{loss}</b>" if chosen else loss, *numbers, option.verdict)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _mistakes(table, counted):
    """Say in words what the classes of least clean level are called, three at most."""
    size, found, words = table.sum(axis=1), [], []
    for i in range(len(table)):
        j = int(np.delete(table[i], i).argmax())
        j += j >= i
        if table[i, j] > 0:
            found.append((table[i, i] / table[i, j], i, j))
    for _, i, j in sorted(found)[:3]:
        seen = f" ({table[i, j]} of {size[i]})" if counted else ""
        words.append(f"class {i} is labelled {j} in {100 * table[i, j] / size[i]:.3g} %{seen}")
    return "; ".join(words)


def _refusal(c, doubtful, more, table):
    which = f" (in doubt: {', '.join(map(str, doubtful[:5]))}"
    which += f" and {len(doubtful) - 5} more)" if len(doubtful) > 5 else ")"
    if c.high <= 1:
        return (
            f"In some class a wrong label is at least as frequent as the right one{which}. A loss "
            "that sides with the most frequent label learns that wrong one. Correct or merge such "
            "classes first."
        )
    reason = f"It is not shown that in every class the right label is the most frequent one{which}."
    if more is None:
        return reason
    k, gce, seen = len(table), GCELoss(q=0.7), table.sum()
    stopped = "CE, stopped where held-out noisy labels agree most,"
    slow = time_to_start(gce, k) > SLOW_GCE * time_to_start(CELoss(), k)
    until = stopped if slow else repr(gce)
    until = f"Until then, {until} did better than CE in trials, without a certificate."
    if math.isinf(more):
        return f"{reason} Even {1000 * seen} trusted labels are not expected to show it. {until}"
    return (
        f"{reason} About {float(f'{more:.2g}'):.0f} trusted labels in all, these {seen} and others "
        f"drawn as they were, are expected to show it in nine of ten cases. {until}"
    )


def _above(region):
    """Return the least number of three digits inside a region and not on its edge.

    For AUL these are the digits of a - 1.
    """
    base = 1.0 if region.family is AULLoss else 0.0
    x = (float(region.threshold) - base) * (1 + 1e-9)  # 99.999... is 100
    step = 10.0 ** (math.floor(math.log10(x)) - 2)
    steps = math.floor(x / step + 1e-6) + 1
    return float(f"{base + steps * step:.12g}")


def _option(loss: Loss, weights):
    certificate = certify(loss, weights)
    verdict = certificate.verdict + ("" if certificate.attained else " (limit)")
    needs = 1 / float(certificate.ratio) if certificate.ratio else math.inf
    k = len(weights)
    return Option(repr(loss), verdict, needs, start_of(loss, k), time_to_start(loss, k))


def start_of(loss: Loss, k: int) -> float:
    """Return the step of a sample at u = 1/k, where training starts, relative to `largest_step`."""
    k = integer("k", k, 2, 2**53)
    return float(_step(loss, 1 / k, k)) / largest_step(loss, k)


def largest_step(loss: Loss, k: int) -> float:
    """Return the largest gradient of the label's logit, pull u (1 - u), on a grid of u in (0, 1).

    The other k - 1 classes share 1 - u evenly. 1 / largest_step(loss, k) * loss has a largest step
    of 1, as cross entropy has.
    """
    k = integer("k", k, 2, 2**53)
    u = np.r_[1 / k, np.geomspace(1e-9, 0.01, 500), np.linspace(0.01, 1, 1000)]
    largest = float(_step(loss, u, k).max())
    if largest <= 0:
        raise ValueError(f"loss: expected one with a gradient, got {loss!r}")
    return largest


def time_to_start(loss: Loss, k: int) -> float:
    """Return the time of gradient flow on one sample from u = 1/k to 1/2, at a `largest_step` of 1.

    All logits start at 0. Then u grows at the rate pull u^2 (1-u)^2 k/(k-1). So the time is the
    integral of (k-1)/k divided by the step over the log-odds of u. It is 0 for two classes, which
    start at 1/2, and about k/4 for MAE and log k for cross entropy (chapter 9b).
    """
    k = integer("k", k, 2, 2**53)
    nodes, weights = QUADRATURE
    half = math.log(k - 1) / 2
    u = 1 / (1 + np.exp(half * (1 - nodes)))
    time = (k - 1) / k * half * (weights / _step(loss, u, k)).sum()
    return float(time * largest_step(loss, k))


def _step(loss, u, k):
    return value_and_pull(loss, u, k)[1] * u * (1 - u)
