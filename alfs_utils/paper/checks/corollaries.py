"""Checks of Corollaries 1 to 3, their remarks, Figure 2 and the numbers in Section 4 (chapter 9).

Thresholds and losses are written out here once more, in `Decimal` where equality matters, so that
they are independent of `alfs_utils.losses` and `alfs_utils.asymmetry`, which they are held against.
"""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial

import numpy as np

from alfs_utils import noise
from alfs_utils.asymmetry import admissible, asymmetry_ratio, certify, weighted_risk_minimiser
from alfs_utils.losses import AELLoss, AGCELoss, AULLoss, GCELoss, NCELoss, from_paper
from alfs_utils.losses.settings import ROWS
from alfs_utils.paper.checks import Check, listed

__all__ = [
    "TABLE_LOSSES",
    "corollary_1",
    "corollary_2",
    "corollary_3",
    "figure_2_gap",
    "figure_2_growth",
    "hyper_parameters",
    "least_a",
    "minimiser_below",
    "numeric_remarks",
    "random_weights",
    "remark_growth",
    "remarks_on_completeness",
    "sixteen_65ths",
]


# --- the paper's formulas -------------------------------------------------------------------


def agce_threshold(a, q):
    """Least w_m/w_n for which AGCE is asymmetric (Corollary 1)."""
    return ((a + 1) / a) ** (1 - q) if q <= 1 else Decimal(1)


def aul_threshold(a, p):
    """Least w_m/w_n for which AUL is asymmetric (Corollary 2)."""
    return (a / (a - 1)) ** (p - 1) if p > 1 else Decimal(1)


def ael_threshold(a):
    """Least w_m/w_n for which AEL is asymmetric (Corollary 3)."""
    return (1 / a).exp()


def agce(u, a, q):
    return ((a + 1) ** q - (a + u) ** q) / q if q else ((a + 1) / (a + u)).ln()


def aul(u, a, p):
    return ((a - u) ** p - (a - 1) ** p) / p if p else ((a - u) / (a - 1)).ln()


def ael(u, a):
    return (-u / a).exp()


def least_a(family, rho, power=None):
    """a* of Figure 2, the least a with rho r >= 1, for AGCE (q < 1), AUL (p > 1) and AEL."""
    if family is AELLoss:
        return 1 / math.log(rho)
    kappa = rho ** (1 / (1 - power)) if family is AGCELoss else rho ** (1 / (power - 1))
    return 1 / (kappa - 1) if family is AGCELoss else kappa / (kappa - 1)


def minimiser_below(family, a, rho, power=None):
    """u_m of the minimiser for a <= a* while only m and n have mass: a straight line in a."""
    if family is AELLoss:
        return (1 + a * math.log(rho)) / 2
    kappa = rho ** (1 / (1 - power)) if family is AGCELoss else rho ** (1 / (power - 1))
    return ((a + 1) * kappa - a if family is AGCELoss else 1 + a * (kappa - 1)) / (1 + kappa)


# --- the corollaries ------------------------------------------------------------------------


def random_weights(rho, k, seed):
    """(k,) weights with w_m/w_n = rho; m, n and the rest are random."""
    rng = np.random.default_rng(seed)
    w = rng.random(k)
    m, n = rng.permutation(k)[:2]
    w[n] = 1.0
    w[m] = float(rho)
    return w, int(m)


def concave_slack(loss, w, m, seed):
    """Least [F(u) - F(e_m)] / [(w_m - w_n) D (1 - u_m)] over random u; concave l: at least 1."""
    rng = np.random.default_rng(seed)
    u = rng.dirichlet(np.full(len(w), 0.3), 200)
    u = u[1 - u[:, m] > 1e-2]
    l0, l1 = (float(loss.of_probability(x)) for x in (0.0, 1.0))
    excess = loss.of_probability(u) @ w - (w[m] * l1 + (w.sum() - w[m]) * l0)
    return float((excess / ((w[m] - np.delete(w, m).max()) * (l0 - l1) * (1 - u[:, m]))).min())


def improves(loss, w, m, u):
    """Whether F(u) < F(e_m), in the precision of the context."""
    w, u = [Decimal(x) for x in w.tolist()], [Decimal(x) for x in u.tolist()]
    u[m] = 1 - (sum(u) - u[m])
    l0, l1 = loss(Decimal(0)), loss(Decimal(1))
    rise = sum(x * (loss(v) - l0) for x, v in zip(w, u, strict=True) if v > 0)
    return rise < w[m] * (l1 - l0)


def rises_off_vertex(loss, w, m, seed):
    """Whether F(u) > F(e_m) on rays from e_m: to the other vertices, their centre and at random."""
    rng, k = np.random.default_rng(seed), len(w)
    others = np.delete(np.arange(k), m)
    ends = np.zeros((k + 2, k))
    ends[range(k - 1), others] = 1
    ends[k - 1, others] = 1 / (k - 1)
    ends[k:, others] = rng.dirichlet(np.ones(k - 1), 2)
    steps = [10.0**-e for e in (0, 0.3, 2, 9)]
    return not any(
        improves(loss, w, m, (1 - d) * np.eye(k)[m] + d * end) for d in steps for end in ends
    )


def tie_is_unique(loss, rho):
    """At rho = g(0)/g(1): F rises from e_m towards e_n from the start, but only like D^2."""
    rises = []
    for exponent in range(1, 13):
        d = Decimal(10) ** -exponent
        rise = rho * (loss(1 - d) - loss(Decimal(1))) - (loss(Decimal(0)) - loss(d))
        rises.append(0 < rise < 1000 * d * d * (loss(Decimal(0)) - loss(Decimal(1))))
    return all(rises)


def _at(formula, parameters, u):
    return formula(u, *parameters)


def corollary(family, formula, threshold, settings, wider, draws=9):
    """Hold a threshold against the certified minimiser from both sides, and at equality.

    `settings` are parameters (a, power) or (a,), `wider` are some beyond the paper's range. Where
    the threshold is 1, the lower side would have another maximum; there the bound
    F(u) - F(e_m) >= (w_m - w_n) D (1 - u_m) of concave losses is tried on random u. Above every
    threshold F itself is held against F(e_m) off e_m, in 60 digits.
    """
    cases = right = below = below_vertex = curved = ties = 0
    gap, slack, rising = 0.0, math.inf, True
    with localcontext() as context:
        context.prec = 60
        for number, setting in enumerate([*settings, *wider]):
            exact = [Decimal(str(x)) for x in setting]
            loss, rho = family(*setting), threshold(*exact)
            l = partial(_at, formula, exact)
            for step, draw in ((s, d) for s in (0.995, 0.999, 1.001, 1.005) for d in range(draws)):
                if float(rho) * step <= 1:
                    continue
                w, m = random_weights(float(rho) * step, (2, 3, 10)[draw % 3], [number, draw])
                found = weighted_risk_minimiser(loss, w)
                is_vertex = bool(found.u[m] == 1)
                gap = max(gap, found.gap)
                is_better = step > 1 or improves(l, w, m, found.u)
                rising &= step < 1 or draw > 2 or rises_off_vertex(l, w, m, [number, draw])
                cases, right = cases + 1, right + (is_better and is_vertex == (step > 1))
                below, below_vertex = below + (step < 1), below_vertex + (step < 1 and is_vertex)
                if rho == 1:
                    slack = min(slack, concave_slack(loss, w, m, [number, draw]))
            curved, ties = curved + (rho > 1), ties + (rho > 1 and tie_is_unique(l, rho))
    figures = {
        "parameters": len(settings),
        "parameters beyond the paper's range": len(wider),
        "random weights at 0.995 to 1.005 times the threshold": cases,
        "the certified minimiser is e_m exactly if the corollary says so": right,
        "duality gaps are below 1e-12": gap < 1e-12,
        "below the threshold it is e_m": (below_vertex, below),
        "above it F(u) > F(e_m) on rays from e_m, in 60 digits": rising,
        "at equality the risk rises from e_m to e_n, in 60 digits": (ties, curved),
    }
    if slack < math.inf:
        figures["the bound for concave losses holds on random u"] = slack > 1 - 1e-6
    return Check(
        printed=right == cases and gap < 1e-12 and ties == curved and slack > 1 - 1e-6 and rising,
        control=below_vertex == 0 < below,
        figures=figures,
    )


def corollary_1(threshold=agce_threshold) -> Check:
    """AGCE is asymmetric iff w_m/w_n >= ((a + 1)/a)^(1 - q) for q <= 1, always for q > 1."""
    settings = [(0.6, 0.6), (4, 0.2), (0.25, 0.5), (1, 1), (1, 2), (6, 1.5), (0.1, 3)]
    return corollary(AGCELoss, agce, threshold, settings, [(2, 0), (1.5, -1), (0, 2)])


def corollary_2(threshold=aul_threshold) -> Check:
    """AUL is asymmetric iff w_m/w_n >= (a/(a - 1))^(p - 1) for p > 1, always for p <= 1."""
    settings = [(5.5, 3), (1.8, 2), (6.3, 1.5), (2, 1), (2, 0.5), (3, 0.1)]
    return corollary(AULLoss, aul, threshold, settings, [(3, 0), (2, -1), (1, 1)])


def corollary_3(threshold=ael_threshold) -> Check:
    """AEL is asymmetric iff w_m/w_n >= exp(1/a)."""
    return corollary(AELLoss, ael, threshold, [(0.5,), (1.2,), (1.5,), (2.5,), (5,)], [])


# --- their remarks --------------------------------------------------------------------------


def remarks_on_completeness(agce_from=1.0, aul_up_to=1.0) -> Check:
    """AGCE q >= 1 and AUL p <= 1 are completely asymmetric, AEL is not; GCE q < 1 never is."""
    close = np.array([1.0 + 1e-6] + [1.0] * 9)
    complete = [AGCELoss(a, q) for a in (0.1, 1, 6) for q in (agce_from, 1.5, 3)]
    complete += [AULLoss(a, p) for a in (1.1, 3, 6) for p in (aul_up_to, 0.5, 0.1)]
    yes = [certify(loss, close).asymmetric for loss in complete]
    no = [certify(AELLoss(a), close).asymmetric for a in (0.5, 2.5, 100.0)]
    gce = [certify(GCELoss(q), [1e3, 1.0, 0.0]) for q in (0.3, 0.7, 0.9)]
    witnessed = all(c.witness.gain > 0 for c in gce if c.witness)
    control = [certify(loss, close).asymmetric for loss in (AGCELoss(1, 0.99), AULLoss(3, 1.01))]
    return Check(
        printed=all(yes) and not any(no) and not any(c.asymmetric for c in gce) and witnessed,
        control=not any(control),
        figures={
            "AGCE (q >= 1) and AUL (p <= 1) certified at w_m/w_n = 1 + 1e-6": (sum(yes), len(yes)),
            "AEL certified there": (sum(no), len(no)),
            "GCE (q < 1) certified at w_m/w_n = 1000": (
                sum(bool(c.asymmetric) for c in gce),
                len(gce),
            ),
            "witnesses refute GCE": witnessed,
            "AGCE with q = 0.99 and AUL with p = 1.01 certified": sum(control),
        },
    )


def numeric_remarks(c=Fraction(9, 4), claims=(Fraction(16, 65), Fraction(9, 5), None)) -> Check:
    """Symmetric noise 0.8: c = 9/4; AGCE(q = .5) a >= 16/65, AUL(p = 2) 9/5, AEL 1/ln(9/4)."""
    agce_a, aul_a, ael_a = claims
    ael_a = 1 / math.log(Fraction(9, 4)) if ael_a is None else ael_a
    eta = Fraction(4, 5)
    T = noise.symmetric(10, 0.8)
    exact = {
        "c": c == (1 - eta) / (eta / 9),
        "16/65": c**2 * agce_a / (agce_a + 1) == 1,
        "9/5": c * (aul_a - 1) / aul_a == 1,
        "1/ln(9/4)": abs(math.exp(1 / ael_a) / c - 1) < 1e-12,
    }
    families = [(AGCELoss, agce_a, {"q": 0.5}), (AULLoss, aul_a, {"p": 2}), (AELLoss, ael_a, {})]
    sides, regions, other = [], [], []
    for family, a, fixed in families:
        sides += [
            certify(family(a=float(a) * step, **fixed), T).asymmetric for step in (1.005, 0.995)
        ]
        regions.append(math.isclose(admissible(family, [c, Fraction(1)], **fixed).threshold, a))
        own = certify(
            family(a=float(a) * 0.995, **fixed), noise.symmetric(10, 0.8, include_true=True)
        )
        other.append(own.asymmetric)
    return Check(
        printed=all(exact.values()) and sides == [True, False] * 3 and all(regions),
        control=all(other),
        figures={f"{name} is exact": found for name, found in exact.items()}
        | {
            "certified at 1.005 a, refuted at 0.995 a": sides == [True, False] * 3,
            "`admissible` gives the same thresholds": all(regions),
            "if the noise may draw the true class (c = 7/2), 0.995 a is asymmetric, too": all(
                other
            ),
        },
    )


def sixteen_65ths(ratio=lambda a: (a / (a + 1)) ** 0.5, slip=16 / 65, meant=4 / 9) -> Check:
    """'AGCE (q = .5) whose asymmetry ratio is smaller than 16/65': it is a, the ratio is 4/9."""
    T, values = noise.symmetric(10, 0.8), [0.01, 0.05, 0.1, 0.2, 0.2449, 0.2474, 0.3, 1.0, 3.0]
    refuted = [certify(AGCELoss(a=a, q=0.5), T).asymmetric is False for a in values]
    as_printed = [ratio(a) < slip for a in values]
    repaired = [ratio(a) < meant for a in values]
    by_a = [a < 16 / 65 for a in values]
    missed = [a for a, no, said in zip(values, refuted, as_printed, strict=True) if no != said]
    return Check(
        printed=not missed,
        repaired=repaired == refuted == by_a,
        control=[ratio(a) < 1.005 * meant for a in values] != refuted,
        figures={
            "values of a": listed(values),
            "not asymmetric on symmetric 0.8": sum(refuted),
            "“r < 16/65” misses a": listed(missed),
            "“a < 16/65” is right for all": by_a == refuted,
            "“r < 4/9” is right for all": repaired == refuted,
        },
    )


def remark_growth(ratio=lambda loss: asymmetry_ratio(loss, "repaired")) -> Check:
    """r grows with a for AGCE (q < 1), AUL (p > 1) and AEL."""
    values = np.linspace(1.05, 8, 60)
    families = [(AGCELoss, (0.2, 0.6, 0.95)), (AULLoss, (1.5, 2, 3)), (AELLoss, (None,))]
    grows = []
    for family, powers in families:
        for power in powers:
            rest = () if power is None else (power,)
            r = [ratio(family(float(a), *rest)) for a in values]
            grows.append(bool((np.diff(r) > 0).all()))
    constant = [ratio(AGCELoss(float(a), 1.5)) for a in values]
    return Check(
        printed=all(grows),
        control=not (np.diff(constant) > 0).all(),
        figures={
            f"families, on {len(values)} values of a": len(grows),
            "r increases": sum(grows),
            "r of AGCE with q = 1.5 is constant": len(set(constant)) == 1,
        },
    )


# --- Figure 2 -------------------------------------------------------------------------------


def figure_2_gap(u_m=minimiser_below, rho=2.0) -> Check:
    """p_m has an obvious gap from 1 if rho r < 1: above 0.01 for plotted a, up to 0.9 a*.

    Moreover p_m is a straight line in a that meets 1 at a*, so that the gap is no threshold effect.
    The control: the line with a moved by 0.5 %.
    """
    w, m = np.array([0.3, rho, 0.2, 0.1, 1.0, 0.25, 0.15, 0.05, 0.3, 0.2]), 1
    error, last, plotted, above, wrong = 0.0, [], [], True, []
    for family, power in ((AGCELoss, 0.5), (AULLoss, 2.0), (AULLoss, 3.0), (AELLoss, None)):
        rest, a_star = () if power is None else (power,), least_a(family, rho, power)
        for part in (0.7, 0.9, 0.97, 0.999):
            a = a_star * part if a_star * part > 1 or family is not AULLoss else None
            if a is None:
                continue
            found = weighted_risk_minimiser(family(a, *rest), w).u[m]
            error = max(error, float(abs(found - u_m(family, a, rho, power))))
            plotted += [float(1 - found)] * (part <= 0.9)
            wrong.append(abs(found - u_m(family, 1.005 * a, rho, power)) > 1e-6)
        last.append(float(1 - found))
        above &= bool(weighted_risk_minimiser(family(1.001 * a_star, *rest), w).u[m] == 1)
    return Check(
        printed=above and min(plotted) > 0.01,
        repaired=above and error < 1e-9 and min(last) > 0,
        control=all(wrong),
        figures={
            "cases below a*": len(wrong),
            "the certified p_m is our straight line to 1e-9": error < 1e-9,
            "and is the line with a moved by 0.5 %": sum(not x for x in wrong),
            "smallest gap 1 - p_m at a up to 0.9 a*": f"{min(plotted):.3f}",
            "gap 1 - p_m at a = 0.999 a*": listed(f"{x:.5f}" for x in last),
            "above a* the gap is 0": above,
        },
    )


def figure_2_growth(minimiser=lambda loss, w: weighted_risk_minimiser(loss, w).u, rho=2.0) -> Check:
    """The curve of Figure 2 is more and more asymmetric as a, or r, gets bigger: p_m grows.

    The certified p_m at twelve values of a up to a*, for AGCE (q < 1), AUL (p > 1) and AEL, must
    increase with r. The control: for AGCE with q > 1 it is 1 throughout.
    """
    w, m = np.array([0.3, rho, 0.2, 0.1, 1.0, 0.25, 0.15, 0.05, 0.3, 0.2]), 1
    grows, parts = [], np.linspace(0.5, 0.99, 12)
    for family, power in ((AGCELoss, 0.5), (AULLoss, 2.0), (AULLoss, 3.0), (AELLoss, None)):
        rest, a_star = () if power is None else (power,), least_a(family, rho, power)
        losses = [family(a, *rest) for a in a_star * parts if family is not AULLoss or a > 1]
        p_m = [float(minimiser(loss, w)[m]) for loss in losses]
        r = [asymmetry_ratio(loss, "repaired") for loss in losses]
        grows.append(bool((np.diff(p_m) > 0).all() and (np.diff(r) > 0).all()))
    complete = [float(minimiser(AGCELoss(float(a), 1.5), w)[m]) for a in parts]
    return Check(
        printed=all(grows),
        control=set(complete) == {1.0},
        figures={
            "families": len(grows),
            "p_m and r increase with a, below a*": sum(grows),
            "p_m of AGCE with q = 1.5 is 1 for every a": set(complete) == {1.0},
        },
    )


# --- the hyper-parameters of the tables -----------------------------------------------------

# The asymmetric part of each row of Tables 1 and 2 that has one.
TABLE_LOSSES = {
    f"{label} {prefix}{family}": (1.0 * from_paper(prefix + family, dataset)).terms[-1][1]
    for dataset, label in {"mnist": "MNIST", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}.items()
    for prefix in ("", "NCE+")
    for family in ("AGCE", "AUL", "AEL")
    if prefix + family in ROWS[dataset]
}


def hyper_parameters(losses=TABLE_LOSSES, c=1.5) -> Check:
    """The asymmetric losses in the tables have r >= 1/1.5, so they suit asymmetric noise 0.4."""
    margins = {name: c * asymmetry_ratio(loss, "repaired") for name, loss in losses.items()}
    below = [name for name, margin in margins.items() if margin < 1]
    tight = [f"{name} {margin:.3f}" for name, margin in margins.items() if 1 <= margin < 1.02]
    T = noise.asymmetric("cifar100", 0.4)
    both = certify(10 * NCELoss() + 0.1 * losses["CIFAR-100 NCE+AEL"], T)
    beyond = certify(AELLoss(a=2.4), noise.asymmetric("cifar10", 0.4)).asymmetric is False
    return Check(
        printed=not below,
        repaired=below == ["CIFAR-100 NCE+AEL"] and both.asymmetric is False and len(tight) == 3,
        control=beyond,
        figures={
            f"losses at c = {c}": len(losses),
            "c r < 1": listed(f"{name} {margins[name]:.3f}" for name in below),
            "that loss in the sum with NCE": both.verdict,
            "c r at most 2 % above 1": listed(tight),
            "AEL(a=2.4) would be beyond": beyond,
        },
    )
