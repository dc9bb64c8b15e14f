"""Noise that depends on the sample (chapter 16). The statements are ours, none is the paper's.

The generators are those of `alfs_utils.instance_noise`; c(x) is the clean level of a sample, and
p0 the share of samples that a loss is not certified for.
"""

import numpy as np

from alfs_utils import data
from alfs_utils.asymmetry import asymmetry_ratio, certify, weighted_risk_minimiser
from alfs_utils.instance_noise import (
    class_matrix,
    margin_dependent,
    part_dependent,
    softmax_regression,
)
from alfs_utils.losses import AGCELoss, AULLoss, MAELoss
from alfs_utils.paper.checks import Check
from alfs_utils.paper.checks.limits import fill_up

__all__ = ["class_certificate", "part_dependent_noise", "posteriors", "surprise"]

LOSSES = (MAELoss(), AGCELoss(a=4, q=0.2), AULLoss(a=5.5, p=3))


def _samples(n, k):
    """Clean labels and features: k clouds in 20 dimensions that overlap."""
    rng = np.random.default_rng(0)
    clean = np.arange(n) % k
    return clean, rng.normal(size=(k, 20))[clean] + 1.5 * rng.normal(size=(n, 20))


def surprise(given, believed, order, groups=10):
    """Mean of (counted - expected)^2 / variance over groups of samples; near 1 for a true belief.

    For each class j, the samples are sorted by column j of `order` and cut into groups. Counted is
    how often j was given in a group, expected is the sum of the believed P(j | x). Groups of a
    variance below 5 are left out.
    """
    scores = []
    for j, p in enumerate(believed.T):
        for part in np.array_split(np.argsort(order[:, j], kind="stable"), groups):
            expected, variance = p[part].sum(), (p[part] * (1 - p[part])).sum()
            if variance > 5:
                scores.append(((given[part] == j).sum() - expected) ** 2 / variance)
    return float(np.mean(scores))


def _as_returned(clean, posterior):
    return posterior


def posteriors(believed=_as_returned) -> Check:
    """The labels that a generator draws are given as often as its posterior says.

    8,000 samples of five classes, both generators, twenty seeds each, in groups of similar samples:
    the mean squared deviation of the counts must be 1 to 0.2, in units of its variance. The
    control: the class matrix, which has the same rates, must be refused for both.
    """
    clean, x = _samples(8_000, 5)
    p, found, by_class = softmax_regression(x, clean), [], []
    for seed in range(20):
        made = part_dependent(clean, x, 0.3, seed, norm=5.0), margin_dependent(clean, p, 0.3, seed)
        for noisy, posterior in made:
            found.append(surprise(noisy.labels, believed(clean, posterior), posterior))
            T = class_matrix(clean, posterior)
            by_class.append(surprise(noisy.labels, T[clean], posterior))
    kinds = np.mean(np.reshape(found, (-1, 2)), axis=0)
    refused = np.mean(np.reshape(by_class, (-1, 2)), axis=0)
    return Check(
        printed=bool((np.abs(kinds - 1) < 0.2).all()),
        control=bool((refused > 3).all()),
        figures={
            "draws of 8,000 labels": len(found),
            "deviation from the posterior (1 is chance), part-dependent": f"{kinds[0]:.2f}",
            "from the margin": f"{kinds[1]:.2f}",
            "deviation from the class matrix, part-dependent": f"{refused[0]:.1f}",
            "from the margin, class matrix": f"{refused[1]:.1f}",
        },
    )


def _on_one_class(clean, posterior):
    """Mean share of a sample's wrong probability that lies on a single class."""
    others = posterior.copy()
    others[np.arange(len(clean)), clean] = 0
    return float((others.max(axis=1) / others.sum(axis=1)).mean())


def part_dependent_noise(generate=part_dependent) -> Check:
    """Part-dependent noise: the length of x decides, and with two classes nothing depends on x.

    On raw pixels of the digits, 0 to 255, more than 99 % of a sample's wrong probability must lie
    on one class, for each of five seeds. If samples swap their features, the probability of the
    right label must stay as it is, and with two classes the whole posterior. The controls: at
    length 1 it is less than half, and with three classes the swap changes the posterior.
    """
    digits = data.load("digits")
    clean, pixels = digits.train_labels.numpy(), digits.train_images.numpy()
    raw, short, swapped, right = [], [], {}, []
    for seed in range(5):
        for norm, shares in ((None, raw), (1.0, short)):
            shares.append(_on_one_class(clean, generate(clean, pixels, 0.3, seed, norm=norm)[1]))
    for k in (2, 3):
        labels, x = _samples(600, k)
        first, second = (generate(labels, y, 0.3, 0, norm=5.0)[1] for y in (x, x[::-1]))
        swapped[k] = float(np.abs(first - second).max())
        right.append(np.abs(first - second)[np.arange(600), labels].max())
    return Check(
        printed=bool(min(raw) > 0.99 and swapped[2] == max(right) == 0),
        control=bool(max(short) < 0.5 and swapped[3] > 0.1),
        figures={
            "raw pixels: least share on one class": f"{min(raw):.4f}",
            "length 1: largest share on one class": f"{max(short):.2f}",
            "features swapped: largest change of the right label's probability": f"{max(right):g}",
            "of any, two classes": f"{swapped[2]:g}",
            "of any, three classes": f"{swapped[3]:.2f}",
        },
    )


def _uncertified(weights, labels, r):
    own, rival = weights[np.arange(len(labels)), labels], weights.copy()
    rival[np.arange(len(labels)), labels] = 0
    return own - rival.max(axis=1) / r


def _best(loss, weights):
    """Predictions of least risk, and these risks, for each row of weights."""
    found = [weighted_risk_minimiser(loss, row) for row in weights]
    return np.array([x.u for x in found]), np.array([x.risk for x in found])


def class_certificate(losses=LOSSES, weights_of=_as_returned, bound=fill_up) -> Check:
    """A loss that is certified for the class matrix need not be right on the samples.

    Noise from a margin, 120 samples, three classes: every loss is certified for the class matrix,
    and predictions of least noisy risk err. With the same matrix as noise by class they never err.
    Chapter 9b's bound, with margins of the samples, holds. The control: the same bound with the
    margins and the least risk of the class matrix must be broken for every loss.
    """
    clean, x = _samples(120, 3)
    _, posterior = margin_dependent(clean, softmax_regression(x, clean), 0.3, 0)
    weights, T = weights_of(clean, posterior), class_matrix(clean, posterior)
    errors, controls, certified, held, broken = [], [], 0, 0, 0
    for loss in losses:
        l, r = loss.of_probability, asymmetry_ratio(loss, "repaired")
        certified += certify(loss, T).asymmetric is True
        u, least = _best(loss, weights)
        u_class, least_class = (part[clean] for part in _best(loss, T))
        error = (u.argmax(axis=1) != clean).mean()
        errors.append(error)
        controls.append((u_class.argmax(axis=1) != clean).mean())
        risk, gap = (weights * l(u)).sum(axis=1), l(0.5) - l(1.0)
        margins, by_class = _uncertified(weights, clean, r), _uncertified(T[clean], clean, r)
        excess = max(0.0, (risk - least).mean()) / gap
        held += error <= (margins <= 0).mean() + bound(margins, excess) + 1e-9
        excess = max(0.0, (risk - least_class).mean()) / gap
        broken += error > (by_class <= 0).mean() + bound(by_class, excess) + 1e-9
    n = len(losses)
    return Check(
        printed=certified == n and not any(errors),
        assumed=not any(controls),
        repaired=held == n,
        control=bool(broken == n > 0),
        figures={
            "losses certified for the class matrix": (int(certified), n),
            "noise by sample: share of errors at the least risk": f"{max(errors, default=0):.2f}",
            "noise by class, same matrix": f"{max(controls, default=0):.2f}",
            "bound of chapter 9b holds with the margins of the samples": (int(held), n),
            "the same bound, read by class, is broken": (int(broken), n),
        },
    )
