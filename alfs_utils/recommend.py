"""Which loss for my data? From noisy labels and a few trusted ones to a certified loss.

A convex loss is asymmetric on class-conditional noise with clean level c iff c >= 1/r, where 1/r =
g(0)/g(1) is how much harder it pulls on a sample that the network contradicts than on one that it
agrees with (Corollaries 1 to 3 of the paper). So robustness asks for a small 1/r. Fitting asks for
a large one: if all pulls are alike (MAE, 1/r = 1), samples that are not fitted yet hardly move the
logits. This is the trade-off. `recommend` chooses the certified loss that moves them most. (With
two classes it is MAE itself: its steps, u (1 - u), are largest at 1/2.)

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
from alfs_utils._arguments import integer
from alfs_utils.asymmetry import TOLERANCE, Region, admissible, certify
from alfs_utils.estimation import (
    Interval,
    class_clean_level_intervals,
    clean_level_interval,
    count_matrix,
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
QUADRATURE = np.polynomial.legendre.leggauss(100)

LIMITS = (
    "The certificate takes noise to depend on the class alone. Where some samples are harder than "
    "others of their class, their clean level is lower than c.",
    "It is about the minimum of the risk, not about the way there. If training stalls, raise the "
    "learning rate first. A sum with NCE starts faster, but is certified in the limit only.",
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
        Confidence of the interval; None for a given T.
    doubtful : tuple of int
        Classes whose own label may not dominate: the lower end of their clean level is <= 1.
    regions : tuple of Region
        The certified a of AGCE (q = 0.5), AUL (p = 2) and AEL; empty if no loss is certified, and
        for a T without noise.
    options : tuple of Option
        These three losses with the least certified a (rounded up), and others to compare with;
        empty if no loss is certified. For a T without noise, CE alone.
    choice : Option or None
    reason : str
    limits : tuple of str
        The assumptions of the recommendation.
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

    def __repr__(self):
        head = f"c = {self.c.estimate:.3g}"
        if self.level is not None:
            head += f", {100 * self.level:g} % interval {self.c.low:.3g} to {self.c.high:.3g}"
        lines = [head]
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
        head = escape(repr(self).partition("\n")[0])
        choice = f"<code>{self.choice.loss}</code>" if self.choice else "none is certified"
        table = "".join(_row(option, option is self.choice) for option in self.options)
        if table:
            names = ("loss", "needs c", "start", "time", "certified")
            titles = "".join(f"<th>{name}</th>" for name in names)
            table = f"<table><tr>{titles}</tr>{table}</table>"
        limits = "".join(f"<li>{escape(text)}</li>" for text in self.limits)
        return (
            f"<p>{head}</p><p><b>Recommended: {choice}.</b> {escape(self.reason)}</p>{table}"
            f"<details><summary>what it assumes</summary><ul>{limits}</ul></details>"
        )


def recommend(
    noisy: npt.ArrayLike | None = None,
    clean: npt.ArrayLike | None = None,
    *,
    counts: npt.ArrayLike | None = None,
    T: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Recommendation:
    """Recommend a loss for noisy labels, or say that none is certified.

    Give one of three things: labels (`noisy` and `clean`), `counts`, or `T`.

    Parameters
    ----------
    noisy, clean : (n,) array_like of integers
        Given and trusted labels of the same samples: a random choice from the training set. Each of
        the k classes must be among the labels; if not, give `counts`.
    counts : (k, k) array_like of integers
        How often class i was called j, see `estimation.count_matrix`.
    T : (k, k) array_like
        A known transition matrix; nothing is estimated.
    level : float
        Confidence of the interval of c; half of the rest is in each tail. All verdicts are for the
        lower end of the interval.

    Returns
    -------
    Recommendation
    """
    given = [name for name, x in (("labels", noisy), ("counts", counts), ("T", T)) if x is not None]
    if len(given) != 1 or (noisy is None) != (clean is None):
        raise TypeError(
            "noisy, counts, T: expected one of them, noisy with clean, "
            f"got {', '.join(given) or 'none'}{' without clean' if noisy is not None else ''}"
        )
    if T is not None:
        levels, c = noise.class_clean_levels(T), Interval(*[noise.clean_level(T)] * 3)
        return _recommendation(levels, c, None)
    counts = count_matrix(clean, noisy) if counts is None else counts
    c = clean_level_interval(counts, level)
    return _recommendation(class_clean_level_intervals(counts, level).low, c, level)


def _recommendation(levels, c, level):
    """Recommend for c; `levels` has the clean level of each class, or its interval's lower end."""
    k, limits = len(levels), LIMITS if level is None else (SAMPLED, *LIMITS)
    doubtful = tuple(np.flatnonzero(levels - 1 <= TOLERANCE).tolist())
    if c.low - 1 <= TOLERANCE:
        return Recommendation(k, c, level, doubtful, (), (), None, _refusal(c, doubtful), limits)
    if math.isinf(c.low):
        option = _option(CELoss(), np.eye(k)[0])
        reason = "T has no noise: there is nothing to be robust against."
        return Recommendation(k, c, level, doubtful, (), (option,), option, reason, limits)
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
    return Recommendation(k, c, level, doubtful, regions, options, choice, reason, limits)


def _row(option, chosen):
    """One option as a row of an HTML table, the chosen one in bold."""
    numbers = (f"{option.needs:.3g}", f"{option.start:.2f}", f"{option.time:.1f}")
    loss = f"<code>{option.loss}</code>"
    cells = (f"<b>{loss}</b>" if chosen else loss, *numbers, option.verdict)
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _refusal(c, doubtful):
    which = f" (in doubt: {', '.join(map(str, doubtful[:5]))}"
    which += f" and {len(doubtful) - 5} more)" if len(doubtful) > 5 else ")"
    if c.high <= 1:
        return (
            f"In some class a wrong label is at least as frequent as the right one{which}. A loss "
            "that sides with the most frequent label learns that wrong one. Correct or merge such "
            "classes first."
        )
    return (
        "It is not shown that in every class the right label is the most frequent one"
        f"{which}. More trusted labels of these classes may settle it, either way."
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
        raise ValueError(f"loss: expected one that moves a sample, got {loss!r}")
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
