"""Checks of Definition 3, equation (8), Theorems 6 and 8 and their remarks (chapter 7).

Many use losses that are linear between the points j/n, given by their drops h_j = l(0) - l(j/n),
which are integers. Then every infimum, and every minimum over the simplex, is attained on the
grid of multiples of 1/n (the corners of the cells on which all is linear), and nothing is rounded.

An infimum of the form of eq. (7) runs over moves (i, j, d): u_1 = i/n, u_2 = j/n, Delta u = d/n.
"""

from fractions import Fraction

import numpy as np

from alfs_utils import asymmetry, noise
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AULLoss,
    GCELoss,
    MAELoss,
    RCELoss,
    UnhingedLoss,
)
from alfs_utils.paper.checks import Check, listed

__all__ = [
    "LOSSES",
    "definition_3_values",
    "descend",
    "equal_ratios",
    "equation_8",
    "infimum",
    "k_class_ratio",
    "landscape",
    "paper_ratio",
    "polyline",
    "printed_moves",
    "remark_clean_level",
    "remark_complete",
    "repaired_moves",
    "smooth_infimum",
    "theorem_6",
    "theorem_8",
    "three_class_ratio",
    "upper_moves",
    "when_the_ratios_agree",
]

LOSSES = [
    MAELoss(),
    UnhingedLoss(),
    RCELoss(),
    AGCELoss(a=0.6, q=0.6),
    AGCELoss(a=4, q=0.2),
    AGCELoss(a=1, q=1),
    AGCELoss(a=1, q=2),
    AGCELoss(a=6, q=1.5),
    AGCELoss(a=1.8, q=3),
    AULLoss(a=5.5, p=3),
    AULLoss(a=2, p=2),
    AULLoss(a=2, p=0.5),
    AULLoss(a=3, p=0.1),
    AULLoss(a=6.3, p=1.5),
    AELLoss(a=2.5),
    AELLoss(a=1.5),
    GCELoss(q=0.7),
]


# --- the paper's values, and ours -----------------------------------------------------------


def paper_ratio(loss):
    """r as the paper gives it, in the text after Definition 3 and after Corollaries 1 to 3."""
    match loss:
        case AGCELoss():
            return (loss.a / (loss.a + 1)) ** (1 - loss.q) if loss.q <= 1 else 1.0
        case AULLoss():
            return ((loss.a - 1) / loss.a) ** (loss.p - 1) if loss.p >= 1 else 1.0
        case AELLoss():
            return float(np.exp(-1 / loss.a))
        case GCELoss():
            return 0.0
    return 1.0


def printed_ratio(loss):
    """The infimum (7) in closed form: g(1)/g(0) if l is convex, g(0)/g(1) if it is concave."""
    match loss:
        case AGCELoss():
            return (loss.a / (loss.a + 1)) ** abs(1 - loss.q)
        case AULLoss():
            return ((loss.a - 1) / loss.a) ** abs(loss.p - 1)
    return paper_ratio(loss)


# --- infima by enumeration ------------------------------------------------------------------


def printed_moves(n):
    """Eq. (7): 0 <= u_1, u_2, u_1 + u_2 <= 1, 0 < Delta u <= u_2."""
    return [(i, j, d) for j in range(1, n + 1) for i in range(n - j + 1) for d in range(1, j + 1)]


def repaired_moves(n):
    """The repair: Delta u = u_2, all of u_2 is moved."""
    return [(i, j, j) for j in range(1, n + 1) for i in range(n - j + 1)]


def upper_moves(n):
    """Eq. (8): Delta u = u_2 and u_1 + u_2 = 1."""
    return [(n - j, j, j) for j in range(1, n + 1)]


def infimum(h, moves):
    """Smallest quotient of eq. (7) over some moves, exact: h holds integers."""
    return min(Fraction(h[i + d] - h[i], h[j] - h[j - d]) for i, j, d in moves(len(h) - 1))


def three_class_ratio(h):
    """r*_3, the infimum of [l(u_m) - l(1)] / sum_{i != m} [l(0) - l(u_i)] over u != e_m."""
    n = len(h) - 1
    pairs = [(i, j) for i in range(n + 1) for j in range(n + 1 - i) if i + j]
    return min(Fraction(h[n] - h[n - i - j], h[i] + h[j]) for i, j in pairs)


def slope_ratio(h):
    """The closed form of (7): the infimum of g(a)/g(b) over a, b >= 0, a + b <= 1."""
    g = np.diff(h).tolist()
    return min(Fraction(g[i], g[j]) for i in range(len(g)) for j in range(len(g) - i))


def random_drops(count=240):
    """Lists h of integers: a quarter convex, concave and affine losses each, a quarter neither."""
    slopes = np.random.default_rng(0).integers(1, 10, (count, 6))
    slopes[::4] = -np.sort(-slopes[::4])
    slopes[1::4] = np.sort(slopes[1::4])
    slopes[2::4] = slopes[2::4, :1]
    return np.pad(slopes.cumsum(axis=1), ((0, 0), (1, 0))).tolist()


def is_affine(h):
    return len(set(np.diff(h).tolist())) == 1


def is_convex(h):
    return bool((np.diff(h, 2) <= 0).all())  # l = const - h


def is_asymmetric(h, rho, third):
    """Definition 2 on weights (rho, 1, third), 0 <= third <= 1, decided exactly on the grid."""
    rho, third = Fraction(rho), Fraction(third)
    scale = rho.denominator * third.denominator
    w = [int(x * scale) for x in (rho, Fraction(1), third)]
    n, h = len(h) - 1, np.array(h)
    i, j = (x.ravel() for x in np.mgrid[: n + 1, : n + 1])
    i, j = i[(0 < i + j) & (i + j <= n)], j[(0 < i + j) & (i + j <= n)]
    return bool((w[0] * (h[n] - h[n - i - j]) - w[1] * h[i] - w[2] * h[j] > 0).all())


def around(ratio):
    """Weight ratios rho > 1 at 0.995, 1 and 1.005 times 1/ratio."""
    return [rho for step in (199, 200, 201) if (rho := Fraction(step, 200) / ratio) > 1]


def polyline(h):
    """The loss with these drops as a function that keeps Fractions; l(1) = 0."""
    n = len(h) - 1

    def loss(u):
        j = min(int(u * n), n - 1)
        return h[n] - h[j] - (h[j + 1] - h[j]) * (u * n - j)

    return loss


def descend(slope, weights, start, rate=1.0, steps=500):
    """Follow gradient descent on sum_i w_i l(softmax(z)_i) in the logits z.

    Parameters
    ----------
    slope : callable
        l', elementwise on arrays.
    weights : (..., k) array_like
    start : (..., k) array_like
        Positive probabilities.

    Returns
    -------
    (..., k) ndarray
        The probabilities in the end.
    """
    weights, z = np.asarray(weights, float), np.log(start)
    for step in range(steps + 1):
        u = np.exp(z - z.max(axis=-1, keepdims=True))
        u /= u.sum(axis=-1, keepdims=True)
        if step < steps:
            pull = weights * slope(u)
            z = z - rate * u * (pull - (u * pull).sum(axis=-1, keepdims=True))
    return u


def smooth_infimum(loss, kind="printed", smallest=2.0**-12):
    """Eq. (7), its repair or (8) by brute force, in float64; Delta u is at least `smallest`."""
    u = np.concatenate([np.arange(33) / 32, [smallest, 1 - smallest]])
    steps = np.concatenate([2.0 ** -np.arange(8), [0]])
    u1, u2, step = (x.ravel() for x in np.meshgrid(u, u[u > 0], steps))
    delta = np.maximum(u2 * step, smallest)
    keep = (u1 + u2 <= 1) & {
        "printed": delta <= u2,
        "repaired": delta == u2,
        "upper": (delta == u2) & (u1 + u2 == 1),
    }[kind]
    u1, u2, delta = u1[keep], u2[keep], delta[keep]
    value = loss.of_probability
    return float(((value(u1) - value(u1 + delta)) / (value(u2 - delta) - value(u2))).min())


def agrees(loss, claim, kind):
    """Whether `claim` is the infimum, from both sides: no value below, and one right above it."""
    if claim == 0:
        return smooth_infimum(loss, kind, 2.0**-40) < 1e-3
    return claim * (1 - 1e-9) <= smooth_infimum(loss, kind) <= claim * (1 + 2e-3)


# --- the checks -----------------------------------------------------------------------------


def definition_3_values(paper=paper_ratio, closed=printed_ratio, losses=LOSSES) -> Check:
    """The values of r that the paper states, against eq. (7) as printed and as repaired."""
    wrong = [loss for loss in losses if not agrees(loss, paper(loss), "printed")]
    repaired = all(agrees(loss, paper(loss), "repaired") for loss in losses)
    closed_is_right = all(agrees(loss, closed(loss), "printed") for loss in losses)
    moved = [agrees(loss, 1.005 * paper(loss) + 1e-3, "repaired") for loss in losses]

    def square(u):  # AGCE with a = 1, q = 2 in fractions
        return (4 - (1 + u) ** 2) / 2

    d = Fraction(1, 1000)
    witness = (square(Fraction(0)) - square(d)) / (square(1 - d) - square(Fraction(1)))
    return Check(
        printed=not wrong and witness >= paper(AGCELoss(a=1, q=2)),
        repaired=repaired and closed_is_right,
        control=not any(moved),
        figures={
            "losses": len(losses),
            "the paper's r is not the infimum (7)": f"{len(wrong)}: {listed(wrong)}",
            "our closed form is, for all": closed_is_right,
            "with Delta u = u_2 the paper's r is right for all": repaired,
            "and right when moved by 0.5 %": sum(moved),
            "AGCE(a=1, q=2) at u_1 = 0, u_2 = 1, Delta u = 1/1000": f"{witness} < 1",
        },
    )


def theorem_6(ratio=printed_moves, repair=repaired_moves, enough=lambda x: x > 1) -> Check:
    """w_m/w_n r >= 1 makes a loss asymmetric; repaired: > 1, with the repaired ratio."""
    cases = said = ties = broken = beyond = below = gained = 0
    repaired = True
    for h in random_drops():
        r, fixed = infimum(h, ratio), infimum(h, repair)
        for rho in {*around(r), *around(fixed)}:
            for third in (0, Fraction(1, 2), 1):
                holds = is_asymmetric(h, rho, third)
                cases += 1
                said += rho * r >= 1
                ties += rho * r == 1
                broken += rho * r == 1 and not holds
                beyond += rho * r > 1 and not holds
                gained += rho * r < 1 and enough(rho * fixed)
                below += rho * fixed == Fraction(199, 200) and not holds
                repaired &= holds or not enough(rho * fixed)
    loss = {Fraction(0): 2, Fraction(1, 2): Fraction(1, 2), Fraction(1): 0}  # slopes -3, -1
    edge = [3 * loss[u] + loss[1 - u] for u in loss if u > 0]
    return Check(
        printed=broken == beyond == 0 and len(set(edge)) > 1,
        repaired=repaired and beyond == 0 < gained,
        control=below > 0,
        figures={
            "exact cases with three classes": cases,
            "rho r >= 1": said,
            "rho r = 1": ties,
            "rho r = 1, and e_m is not the only minimiser": broken,
            "rho r > 1, and e_m is not the only minimiser": beyond,
            "rho r° > 1 always suffices": repaired,
            "rho r° > 1 although rho r < 1": gained,
            "rho r° = 0.995, and e_m is not the only minimiser": below,
            "slopes -3 and -1, w = (3, 1)": f"F(1/2, 1/2) = {edge[0]}, F(e_m) = {edge[1]}",
        },
    )


def equation_8(ratio=printed_moves, repair=repaired_moves, upper=upper_moves) -> Check:
    """r <= r_u, with the whole chain r <= r° <= r*_3 <= r_u <= 1, and where it is strict."""
    chains, reverse, strict = [], 0, 0
    affine_only = closed_form = True
    for h in (losses := random_drops()):
        chain = [infimum(h, ratio), infimum(h, repair), three_class_ratio(h), infimum(h, upper), 1]
        chains.append(chain == sorted(chain))
        reverse += chain[3] <= chain[0]
        strict += len(set(chain[:4])) == 4
        closed_form &= chain[0] == slope_ratio(h)
        affine_only &= (chain[0] == 1) == is_affine(h) and (
            not is_convex(h) or chain[0] == chain[3]
        )
    return Check(
        printed=all(chains) and affine_only and closed_form,
        control=0 < reverse < len(losses),
        figures={
            "exact losses": len(losses),
            "r <= r° <= r*_3 <= r_u <= 1": sum(chains),
            "all four different": strict,
            "r = 1 only if affine, r = r_u if convex": affine_only,
            "r is the infimum of g(a)/g(b) over a + b <= 1": closed_form,
            "the reverse, r_u <= r": reverse,
        },
    )


def theorem_8(upper=upper_moves) -> Check:
    """A loss is asymmetric only if w_m/w_n r_u >= 1."""
    asymmetric = broken = insufficient = cases = 0
    two_classes = True
    for h in random_drops():
        r_u = infimum(h, upper)
        for rho in around(r_u):
            two_classes &= is_asymmetric(h, rho, 0) == (rho * r_u > 1)
            holds = is_asymmetric(h, rho, 1)
            cases += 2
            asymmetric += holds + is_asymmetric(h, rho, 0)
            broken += rho * r_u < 1 and (holds or is_asymmetric(h, rho, 0))
            insufficient += rho * r_u > 1 and not holds
    return Check(
        printed=broken == 0 and asymmetric > 0 and two_classes,
        control=insufficient > 0,
        figures={
            "exact cases": cases,
            "asymmetric": asymmetric,
            "asymmetric with rho r_u < 1": broken,
            "two classes: asymmetric iff rho r_u > 1": two_classes,
            "three classes: rho r_u > 1, but not asymmetric": insufficient,
        },
    )


def equal_ratios(paper=paper_ratio, losses=LOSSES) -> Check:
    """Both r and r_u of MAE, AGCE, AUL and AEL are equal; repaired: both r° and r_u are."""
    losses = [loss for loss in losses if not isinstance(loss, GCELoss)]
    upper = all(agrees(loss, paper(loss), "upper") for loss in losses)
    moved = [agrees(loss, 1.005 * paper(loss), "upper") for loss in losses]
    kinds = ("printed", "repaired", "upper")
    values = {loss: [smooth_infimum(loss, kind) for kind in kinds] for loss in losses}
    different = [loss for loss, (r, _, r_u) in values.items() if r_u > 1.005 * r]
    same = all(abs(r_u - r) <= 2e-3 * r_u for _, r, r_u in values.values())
    bent = [0, 2, 3, 5]  # neither convex nor concave
    least, most = infimum(bent, repaired_moves), infimum(bent, upper_moves)
    return Check(
        printed=not different,
        repaired=same and upper,
        control=not any(moved) and least < most,
        figures={
            "losses": len(losses),
            "r_u is the paper's value for all": upper,
            "and its value moved by 0.5 %": sum(moved),
            "r° = r_u for all": same,
            "r < r_u": f"{len(different)}: {listed(different)}",
            "a loss with drops 2, 1, 2": f"r° = {least}, r_u = {most}",
        },
    )


def when_the_ratios_agree(ratio=printed_moves, repair=repaired_moves, upper=upper_moves) -> Check:
    """If r = r_u, then rho r >= 1 iff asymmetric; repaired: if r° = r_u, then iff rho r° > 1."""
    cases = ties = broken = elsewhere = more = repaired_broken = controls = 0
    for h in random_drops():
        r, fixed, r_u = infimum(h, ratio), infimum(h, repair), infimum(h, upper)
        for rho in around(r_u):
            holds = is_asymmetric(h, rho, 1)
            if r == r_u:
                wrong = holds != (rho * r >= 1)
                cases += 1
                ties += rho * r == 1
                broken += wrong
                elsewhere += wrong and rho * r != 1
            if fixed == r_u:
                more += 1
                repaired_broken += holds != (rho * fixed > 1)
            else:
                controls += holds != (rho * r_u > 1)
    return Check(
        printed=broken == 0,
        repaired=repaired_broken == elsewhere == 0 and more > cases,
        control=controls > 0,
        figures={
            "exact cases with r = r_u": cases,
            "of these, rho r = 1": ties,
            "“asymmetric iff rho r >= 1” fails": broken,
            "and fails where rho r is not 1": elsewhere,
            "exact cases with r° = r_u": more,
            "“asymmetric iff rho r° > 1” fails": repaired_broken,
            "“asymmetric iff rho r_u > 1” fails where r° < r_u": controls,
        },
    )


def remark_complete(ratio=printed_moves, repair=repaired_moves, upper=upper_moves) -> Check:
    """r >= 1 makes a loss completely asymmetric, and such a loss has r_u >= 1."""
    sufficient = necessary = True
    repaired, complete, affine, by_repair, upper_only = True, 0, 0, 0, 0
    for h in (losses := random_drops()):
        # The least weight ratio, all others equal, is the hardest; exact: r*_3 = 1.
        holds = three_class_ratio(h) >= 1
        holds &= is_asymmetric(h, Fraction(10**6 + 1, 10**6), 1)
        complete += holds
        affine += holds and infimum(h, ratio) >= 1 and is_affine(h)
        sufficient &= is_affine(h) or infimum(h, ratio) < 1
        by_repair += holds and infimum(h, repair) >= 1
        sufficient &= holds or infimum(h, ratio) < 1
        repaired &= holds or infimum(h, repair) < 1
        necessary &= infimum(h, upper) >= 1 or not holds
        upper_only += infimum(h, upper) >= 1 and not holds
    return Check(
        printed=sufficient and necessary,
        repaired=repaired and by_repair > affine,
        control=upper_only > 0,
        figures={
            "exact losses": len(losses),
            "completely asymmetric for three classes": complete,
            "all of these have r_u >= 1": necessary,
            "r >= 1, and affine": affine,
            "r° >= 1": by_repair,
            "r >= 1 and r° >= 1 find no other loss": sufficient and repaired,
            "r_u >= 1, but not completely asymmetric": upper_only,
        },
    )


def k_class_ratio(ratio=three_class_ratio) -> Check:
    """Ours: for three classes, asymmetric on all weights with w_m/w_n = rho iff rho r*_3 > 1."""
    cases = wrong = upper_wrong = 0
    for h in random_drops():
        for rho in {*around(ratio(h)), *around(infimum(h, upper_moves))}:
            holds = is_asymmetric(h, rho, 1)
            cases += 1
            wrong += holds != (rho * ratio(h) > 1)
            upper_wrong += holds != (rho * infimum(h, upper_moves) > 1)
    example = [0, 2, 3, 5]
    found = infimum(example, upper_moves), ratio(example)
    library = [asymmetry.asymmetry_ratio_exact(polyline(example), k) for k in (2, 3)]
    return Check(
        printed=wrong == 0 and [*found] == library == [1, Fraction(3, 4)],
        control=upper_wrong > 0,
        figures={
            "exact cases": cases,
            "against “asymmetric iff rho r*_3 > 1”": wrong,
            "against the same with r*_2 = r_u": upper_wrong,
            "a loss with drops 2, 1, 2": f"r*_2 = {found[0]}, r*_3 = {found[1]}",
        },
    )


def landscape(ratio=printed_ratio) -> Check:
    """Ours: for concave l, e_n is a local minimum iff rho r < 1, and e_m is the global one."""
    losses = [x for x in LOSSES if asymmetry.asymmetry_ratio(x) < paper_ratio(x) - 1e-9]
    cases = traps = wrong = control = 0
    global_minimum = True
    for loss in losses:
        for step in (0.995, 1.005):
            for r in (ratio(loss), 1.0):
                if step / r <= 1:
                    continue
                rho = step / r

                def risk(u, rho=rho, loss=loss):  # u = u_m, and u_n = 1 - u
                    return rho * loss.of_probability(u) + loss.of_probability(1 - u)

                trap = bool(risk(np.array(1e-4)) > risk(np.array(0.0)))
                grid = risk(np.arange(1001) / 1000)
                global_minimum &= bool((grid[:-1] > grid[-1]).all())
                if r == ratio(loss):
                    cases, traps, wrong = cases + 1, traps + trap, wrong + (trap != (step < 1))
                else:
                    control += trap
    ends = {}
    for loss in (AGCELoss(a=1, q=2), AGCELoss(a=6, q=1.5)):
        ends[repr(loss)] = round(float(descend(loss.slope, [1.2, 1.0], [0.12, 0.88])[0]), 2)
    return Check(
        printed=wrong == 0 and global_minimum and list(ends.values()) == [0, 1],
        control=control > 0,
        figures={
            "strictly concave losses": len(losses),
            "cases at 0.995 and 1.005 times rho = 1/r": cases,
            "e_n is a local minimum": traps,
            "against “iff rho r < 1”": wrong,
            "e_m is always the global minimum": global_minimum,
            "against the rule with the paper's r = 1": control,
            "u_m where gradient descent ends from 0.12, at rho = 1.2": listed(
                f"{name}: {u}" for name, u in ends.items()
            ),
        },
    )


def remark_clean_level(level=noise.clean_level, needed=Fraction(2, 3)) -> Check:
    """A ratio of 1/1.5 is enough for every synthetic noise of the paper.

    As printed, for any loss: one with the slopes -3 and -2 has that ratio and, at asymmetric noise
    0.4, the same risk on half of an edge as at e_m. With the assumption that l is strictly
    convex or concave, c r >= 1 decides: AUL with a = 3, p = 2, in fractions. The control: a ratio
    0.5 % lower is not enough.
    """
    tenths = [Fraction(x, 10) for x in range(1, 9)]
    expected = {(k, eta): (1 - eta) / (eta / (k - 1)) for k in (10, 100) for eta in tenths[1::2]}
    found = {(k, eta): level(noise.symmetric(k, float(eta))) for k, eta in expected}
    for data in ("mnist", "cifar10", "cifar100"):
        expected |= {(data, eta): (1 - eta) / eta for eta in tenths[:4]}
        found |= {(data, eta): level(noise.asymmetric(data, float(eta))) for eta in tenths[:4]}
    equal = all(abs(found[key] - c) <= 1e-12 * c for key, c in expected.items())
    least = min(expected.values())
    named = [expected[key] for key in ((10, tenths[7]), (100, tenths[7]), ("cifar10", tenths[3]))]
    kinked = [0, 3, 5]  # l(0) - l(j/2)
    ties = not is_asymmetric(kinked, least, 0) and slope_ratio(kinked) == Fraction(2, 3)
    curved = [9 - (3 - Fraction(j, 60)) ** 2 for j in range(61)]  # 2 [l(0) - l(j/60)] of AUL (3, 2)
    unique = all(3 * (curved[60] - curved[60 - j]) > 2 * curved[j] for j in range(1, 61))
    return Check(
        printed=not ties and equal and least * needed >= 1,
        assumed=equal and least * needed >= 1 and unique,
        control=least * needed * Fraction(199, 200) < 1,
        figures={
            "noise models": len(expected),
            "c of the matrix is the formula's": equal,
            "c of symmetric 0.8 with 10 classes": named[0],
            "c of symmetric 0.8 with 100 classes": named[1],
            "c of asymmetric 0.4": named[2],
            "smallest c": least,
            f"smallest c r at r = {needed}": least * needed,
            "slopes -3 and -2: e_m is not the only minimiser at c = 3/2": ties,
            "smallest c r with r 0.5 % lower": least * needed * Fraction(199, 200),
        },
    )
