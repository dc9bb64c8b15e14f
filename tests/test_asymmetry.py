"""Ratios, certificates and minimisers against oracles that share no code with them."""

import copy
import itertools
import math
import time
from decimal import Decimal, localcontext
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from alfs_utils import _enclosure, asymmetry, noise
from alfs_utils._branch_and_bound import Enclosure
from alfs_utils.asymmetry import (
    PiecewiseLinear,
    admissible,
    asymmetry_ratio,
    asymmetry_ratio_exact,
    asymmetry_ratio_upper,
    certify,
    is_asymmetric,
    weighted_risk_minimiser,
)
from alfs_utils.losses import (
    AELLoss,
    AGCELoss,
    AMSELoss,
    AULLoss,
    BiasedMAELoss,
    CELoss,
    FocalLoss,
    GCELoss,
    MAELoss,
    NCELoss,
    NLNLLoss,
    NNCELoss,
    NNFLLoss,
    Normalized,
    NormalizedFocalLoss,
    NormalizedGCELoss,
    PointwiseLoss,
    RCELoss,
    SCELoss,
    UnhingedLoss,
)

F = Fraction
SYM = noise.symmetric(10, 0.8)  # c = 9/4
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


# Plain formulas, for arrays of any floating dtype.
def agce(a, q):
    return lambda u: ((a + 1) ** q - (a + u) ** q) / q if q else np.log((a + 1) / (a + u))


def aul(a, p):
    return lambda u: ((a - u) ** p - (a - 1) ** p) / p if p else np.log((a - u) / (a - 1))


def ael(a):
    return lambda u: np.exp(-u / a)


def risk(l, w, u, normalised=False):
    values = l(np.asarray(u, float))
    weighted = np.where(np.asarray(w) > 0, w * values, 0).sum(-1)
    return weighted / values.sum(-1) if normalised else weighted


def vertex(k, t):
    return np.eye(k)[t]


def random_weights(rng, k, ratio):
    """Weights whose largest is `ratio` times the second largest, anywhere in the vector."""
    w = rng.random(k)
    t = rng.integers(k)
    w[t] = ratio * np.delete(w, t).max()
    return w, t


def piecewise(slopes):
    """Exact l that falls by slopes[i]/m on the i-th of m equal cells, l(1) = 0."""
    m = len(slopes)
    left = [sum(map(F, slopes[i:]), F(0)) / m for i in range(m + 1)]

    def value(u):
        i = min(int(u * m), m - 1)
        return left[i] - slopes[i] * (u - F(i, m) if isinstance(u, F) else u - i / m)

    return value


S_SHAPED = piecewise([F(6, 5), F(3, 5), F(6, 5)])  # h: (0,0), (1/3,.4), (2/3,.6), (1,1)
T6 = piecewise([3, 1])


# --- ratios -----------------------------------------------------------------------------------


def brute_ratios(l):
    """Both versions of eq. (7), and eq. (8), by their definitions in extended precision."""
    grid = np.linspace(np.longdouble(0), 1, 41)
    steps = np.array([1, 0.5, 0.1, 1e-2, 1e-3, 1e-4], np.longdouble)
    grid = np.unique(np.concatenate([grid, 1 - steps]))
    x, y, d = np.meshgrid(grid, grid, steps, indexing="ij")
    legal = x + y + d <= 1 + 1e-18  # y = u_2 - du
    x, y, d = x[legal], y[legal], d[legal]
    quotient = (l(x) - l(x + d)) / (l(y) - l(y + d))
    return quotient.min(), quotient[y == 0].min(), quotient[(y == 0) & (x + d == 1)].min()


TABLE = [  # loss, formula, printed, repaired, r_u
    (MAELoss(), lambda u: 2 - 2 * u, 1, 1, 1),
    (RCELoss(), lambda u: 1 - u, 1, 1, 1),
    (UnhingedLoss(), lambda u: 1 - u, 1, 1, 1),
    (AGCELoss(0.6, 1), agce(0.6, 1), 1, 1, 1),
    (AULLoss(3, 1), aul(3, 1), 1, 1, 1),
    (AGCELoss(0.6, 0.6), agce(0.6, 0.6), *[(0.6 / 1.6) ** 0.4] * 3),
    (AGCELoss(0.5, -1), agce(0.5, -1), *[1 / 9] * 3),
    (AGCELoss(2, 0), agce(2, 0), *[2 / 3] * 3),
    (AGCELoss(1, 2), agce(1, 2), 0.5, 1, 1),
    (AGCELoss(6, 1.5), agce(6, 1.5), (6 / 7) ** 0.5, 1, 1),
    (AGCELoss(0, 2), agce(0, 2), 0, 1, 1),
    (AULLoss(5.5, 3), aul(5.5, 3), *[(4.5 / 5.5) ** 2] * 3),
    (AULLoss(1, 2), aul(1, 2), 0, 0, 0),
    (AULLoss(3, 0.1), aul(3, 0.1), (2 / 3) ** 0.9, 1, 1),
    (AULLoss(3, -1), aul(3, -1), (2 / 3) ** 2, 1, 1),
    (AULLoss(1, 0.5), aul(1, 0.5), 0, 1, 1),
    (AELLoss(2.5), ael(2.5), *[math.exp(-0.4)] * 3),
    (GCELoss(0.5), agce(0, 0.5), 0, 0, 0),
    (GCELoss(2), agce(0, 2), 0, 1, 1),
    # sums: two convex, and a mixed one whose slopes are equal at 0 and 1
    (
        3 * AELLoss(1.0) + MAELoss(),
        lambda u: 3 * np.exp(-u) + 2 - 2 * u,
        *[(3 / math.e + 2) / 5] * 3,
    ),
]


def named(value):
    """An id without the address of a function, for it would differ from process to process."""
    return getattr(value, "__name__", None) or repr(value)


@pytest.mark.parametrize(("loss", "l", "printed", "repaired", "upper"), TABLE, ids=named)
def test_ratios_of_the_losses(loss, l, printed, repaired, upper):
    found = asymmetry_ratio(loss), asymmetry_ratio(loss, "repaired"), asymmetry_ratio_upper(loss)
    assert found == pytest.approx((printed, repaired, upper), rel=1e-13, abs=1e-15)
    for k in (2, 3, 100):
        assert asymmetry_ratio_exact(loss, k) == found[2]
    for closed, brute in zip(found, brute_ratios(l), strict=True):
        slack = 0.02 if closed == 0 else 2e-3  # an infinite slope is felt at du -> 0 only
        assert closed - 1e-9 <= float(brute) <= closed + slack


def test_ratios_of_losses_with_an_infinite_value_at_0():
    for loss in (CELoss(), FocalLoss(0.5), SCELoss(0.1, 1), CELoss() + AGCELoss(1, 2)):
        assert asymmetry_ratio(loss) == asymmetry_ratio(loss, "repaired") == 0
        assert asymmetry_ratio_upper(loss) == asymmetry_ratio_exact(loss, 3) == 0


def test_ratios_of_a_mixed_sum_are_searched_with_its_slopes():
    loss, l = AGCELoss(0.3, 0.5) + AGCELoss(1, 2), lambda u: agce(0.3, 0.5)(u) + agce(1, 2)(u)
    found = asymmetry_ratio(loss), asymmetry_ratio(loss, "repaired"), asymmetry_ratio_upper(loss)
    for value, brute in zip(found, brute_ratios(l), strict=True):
        assert value == pytest.approx(float(brute), abs=2e-3)
    proven = certify(loss, SYM).ratio
    mediant = asymmetry_ratio(AGCELoss(0.3, 0.5))
    assert mediant < proven < asymmetry_ratio(loss, "repaired")


def test_ratios_of_a_smooth_callable():
    def smoothstep(u):
        return 1 - 3 * u**2 + 2 * u**3

    assert 0 <= asymmetry_ratio(smoothstep) < 0.04
    assert asymmetry_ratio(smoothstep, "repaired") == asymmetry_ratio_exact(smoothstep, 4) == 1
    for ratio in (asymmetry_ratio, asymmetry_ratio_upper):
        assert ratio(lambda u: math.exp(-u)) == pytest.approx(math.exp(-1), abs=1e-3)


@settings(quick, max_examples=25)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=6).filter(lambda s: 60 % len(s) == 0))
def test_ratios_of_piecewise_linear_losses_are_exact(slopes):
    """The infima are attained at knots, which an exhaustive search in Fractions finds too."""
    m, g = len(slopes), slopes
    knots = [sum(map(F, slopes[i:]), F(0)) for i in range(m + 1)]  # l at i/m, times m

    def worst(pairs):
        return min(a / b for a, b in pairs)

    printed = worst((F(g[i]), F(g[j])) for i in range(m) for j in range(m - i))
    repaired = worst(
        (knots[i] - knots[i + j], knots[0] - knots[j])
        for j in range(1, m + 1)
        for i in range(m - j + 1)
    )
    exact = {
        k: worst(
            (knots[m - sum(v)], sum(knots[0] - knots[j] for j in v))
            for v in itertools.product(range(m + 1), repeat=k - 1)
            if 0 < sum(v) <= m
        )
        for k in (2, 3, 4)
    }
    l = piecewise(slopes)
    chain = [
        asymmetry_ratio(l),
        asymmetry_ratio(l, "repaired"),
        *(asymmetry_ratio_exact(l, k) for k in (4, 3, 2)),
        F(1),
    ]
    assert chain == [printed, repaired, exact[4], exact[3], exact[2], 1]
    assert chain == sorted(chain) and all(isinstance(r, F) for r in chain)
    assert asymmetry_ratio_upper(l) == exact[2]
    told = PiecewiseLinear([F(i, m) for i in range(m + 1)], [x / m for x in knots])
    assert [asymmetry_ratio(told), asymmetry_ratio(told, "repaired")] == [printed, repaired]
    assert {k: asymmetry_ratio_exact(told, k) for k in exact} == exact
    assert certify(told, [F(100), F(1), F(1)]).ratio == exact[3]


def test_the_exact_ratio_can_lie_below_r_u():
    assert asymmetry_ratio_upper(S_SHAPED) == 1
    assert asymmetry_ratio_exact(S_SHAPED, 3) == F(3, 4)


# --- thresholds against the certified minimiser ------------------------------------------------

CONVEX = [
    (AGCELoss(0.6, 0.6), agce(0.6, 0.6), (0.6 / 1.6) ** 0.4),
    (AULLoss(5.5, 3), aul(5.5, 3), (4.5 / 5.5) ** 2),
    (AELLoss(2.5), ael(2.5), math.exp(-0.4)),
    (
        2 * AELLoss(1.0) + UnhingedLoss(),
        lambda u: 2 * np.exp(-u) + 1 - u,
        (2 / math.e + 1) / 3,
    ),
]


@pytest.mark.parametrize(("loss", "l", "ratio"), CONVEX, ids=named)
def test_convex_threshold_against_the_certified_minimiser(loss, l, ratio):
    """Corollaries 1 to 3: asymmetric at 1.005 times the threshold, not at 0.995 times."""
    rng = np.random.default_rng(1)
    for i, factor in itertools.product(range(60), (0.995, 1.005)):
        w, t = random_weights(rng, (2, 3, 10)[i % 3], factor / ratio)
        certificate, minimum = certify(loss, w), weighted_risk_minimiser(loss, w)
        at_vertex = risk(l, w, vertex(len(w), t))
        assert certificate.asymmetric is (factor > 1)
        assert certificate.binding == t
        assert certificate.margin == pytest.approx(factor - 1, abs=1e-12)
        assert minimum.gap <= 1e-13 * at_vertex
        assert minimum.risk == pytest.approx(risk(l, w, minimum.u), rel=1e-14)
        if factor > 1:
            assert (minimum.u == vertex(len(w), t)).all()
        else:
            assert minimum.u.sum() == pytest.approx(1, abs=1e-15) and minimum.u.min() >= 0
            assert minimum.risk < at_vertex and minimum.u[t] < 1
            check_witness(certificate.witness, l, w, t)
            assert certificate.witness.gain <= at_vertex - minimum.lower_bound + 1e-14


def check_witness(witness, l, w, t, normalised=False):
    u = np.array(witness.u)
    assert u.min() >= 0 and u.sum() == pytest.approx(1, abs=1e-15)
    assert np.delete(u, t).sum() > 0, "no vertex; u[t] itself may round to 1"
    assert witness.risk == pytest.approx(risk(l, w, u, normalised), rel=1e-12)
    assert witness.vertex_risk == pytest.approx(
        risk(l, w, vertex(len(w), t), normalised), rel=1e-12
    )
    drop = risk(l, w, vertex(len(w), t), normalised) - risk(l, w, u, normalised)
    assert 0 < witness.gain <= drop * (1 + 1e-9) + 1e-14


@pytest.mark.parametrize(
    ("loss", "l"),
    [
        (AGCELoss(1, 2), agce(1, 2)),
        (AULLoss(3, 0.1), aul(3, 0.1)),
        (MAELoss(), lambda u: 2 - 2 * u),
    ],
    ids=named,
)
def test_concave_losses_are_completely_asymmetric(loss, l):
    rng = np.random.default_rng(2)
    for i in range(200):
        w, t = random_weights(rng, (2, 3, 10)[i % 3], 1.005)
        assert is_asymmetric(loss, w) is True
        minimum = weighted_risk_minimiser(loss, w)
        assert (minimum.u == vertex(len(w), t)).all() and minimum.gap == 0
        sample = rng.dirichlet(np.full(len(w), 0.3), 200)
        assert (risk(l, w, sample) >= minimum.lower_bound - 1e-12).all()
        w[t] *= 0.995 / 1.005  # now another class is the largest, and wins
        assert certify(loss, w).binding != t and weighted_risk_minimiser(loss, w).u[t] == 0


NORMALISED = [
    (Normalized(AELLoss(2.0)), ael(2.0), math.exp(-0.5)),  # phi(1) is not 0
    (Normalized(AGCELoss(0.6, 0.6)), agce(0.6, 0.6), (0.6 / 1.6) ** 0.4),
    (2.0 * Normalized(AULLoss(2, 2)), aul(2, 2), 0.5),
]


@pytest.mark.parametrize(("loss", "phi", "ratio"), NORMALISED, ids=named)
def test_normalised_threshold_is_that_of_the_shifted_weights(loss, phi, ratio):
    rng, both = np.random.default_rng(3), set()
    scale = loss.terms[0][0] if hasattr(loss, "terms") else 1
    for i, factor in itertools.product(range(60), (0.995, 1.005)):
        w = np.sort(rng.random((3, 4, 10)[i % 3]))[::-1].copy()
        k, others = len(w), w[1:]
        # solve (w_t - v) r = w_n - v with v = F(e_t) = alpha w_t + beta for w_t
        alpha = phi(1.0) / (phi(1.0) + (k - 1) * phi(0.0))
        beta = phi(0.0) * others.sum() / (phi(1.0) + (k - 1) * phi(0.0))
        threshold = (others[0] - beta * (1 - ratio)) / ((1 - alpha) * ratio + alpha)
        w[0] = others[0] + (threshold - others[0]) * factor
        certificate, minimum = certify(loss, w), weighted_risk_minimiser(loss, w)
        assert certificate.asymmetric is (factor > 1)
        assert minimum.gap <= 1e-12
        assert minimum.risk == pytest.approx(scale * risk(phi, w, minimum.u, True), rel=1e-13)
        sample = rng.dirichlet(np.full(k, 0.3), 50)
        assert (scale * risk(phi, w, sample, True) >= minimum.lower_bound - 1e-12).all()
        assert (minimum.u[0] == 1) is np.bool_(factor > 1)
        if factor < 1:
            assert minimum.risk < scale * risk(phi, w, vertex(k, 0), True)
            assert 0 < certificate.witness.gain
            assert certificate.witness.risk <= certificate.witness.vertex_risk
        both.add(certificate.verdict)
    assert both == {"asymmetric", "not asymmetric"}


def test_normalised_losses_under_symmetric_and_other_noise():
    for loss in (NormalizedGCELoss(0.7), Normalized(AELLoss(0.1))):
        assert certify(loss, SYM).asymmetric is True  # equal off-diagonal weights
        assert certify(loss, [0.6, 0.4]).asymmetric is True  # two classes: Theorem 3 holds
        assert certify(loss, noise.pairflip(10, 0.4)).asymmetric is False
    for loss in (NormalizedGCELoss(2), Normalized(AULLoss(3, 0.1)), Normalized(MAELoss())):
        assert certify(loss, noise.pairflip(10, 0.49)).asymmetric is True
    almost = SYM.copy()
    almost[3, 4] += 1e-16
    assert certify(NormalizedGCELoss(0.7), almost).verdict == "boundary"
    minimum = weighted_risk_minimiser(NormalizedGCELoss(0.7), noise.pairflip(10, 0.4)[0])
    assert (round(minimum.u[0], 3), round(minimum.risk, 5)) == (0.814, 0.04048)


# --- exact decisions and counterexamples -------------------------------------------------------


def test_theorem_6_fails_at_equality_for_a_piecewise_linear_loss():
    w, knots = [F(3), F(1)], PiecewiseLinear([0, F(1, 2), 1], [2, F(1, 2), 0])
    assert asymmetry_ratio(T6) == asymmetry_ratio(knots) == F(1, 3)
    for loss, shape in ((T6, None), (T6, "convex"), (knots, None), (knots, "convex")):
        certificate = certify(loss, w, shape)
        witness = certificate.witness
        assert certificate.asymmetric is False and witness.gain == 0
        assert sum(witness.u) == 1 and witness.u[0] < 1
        assert sum(a * T6(x) for a, x in zip(w, witness.u, strict=True)) == 2 == witness.vertex_risk
    assert certify(knots, [3.0, 1.0]).verdict == "boundary"
    assert certify(knots, [F(3) + F(1, 10**30), F(1)]).asymmetric is True
    assert certify(knots, [F(3) - F(1, 10**30), F(1)]).asymmetric is False
    assert certify(T6, [F(3) + F(1, 10**30), F(1)], "convex").verdict == "undecided"


def test_equality_for_a_strictly_convex_exact_loss_is_left_open():
    def aul22(u):
        return ((2 - u) ** 2 - 1) / 2

    aul22.slope = lambda u: u - 2
    certificate = certify(aul22, [F(2), F(1)], "convex")
    assert certificate.verdict == "boundary" and certificate.asymmetric is None
    assert certificate.margin == 0 and certificate.ratio == F(1, 2)
    assert is_asymmetric(aul22, [F(2) + F(1, 10**40), F(1)], "convex") is True
    assert is_asymmetric(aul22, [F(199, 100), F(1)], "convex") is False


def test_three_classes_can_fail_where_r_u_is_1():
    witness = certify(S_SHAPED, [F(1), F(99, 100), F(99, 100)]).witness
    assert (witness.risk, witness.vertex_risk) == (F(447, 250), F(99, 50))
    assert witness.u == (F(1, 3),) * 3
    assert is_asymmetric(S_SHAPED, [F(1), F(99, 100)]) is None  # two classes: true, no proof


def test_theorem_3_fails_for_normalised_gce():
    w, root = (F(1), F(9, 10), F(1, 100)), (F(4, 5), F(3, 5), F(0))  # u = (16/25, 9/25, 0)
    phi = [1 - x for x in root]
    here = sum(a * x for a, x in zip(w, phi, strict=True)) / sum(phi)
    assert here == F(57, 160) < F(91, 200) == (w[1] + w[2]) / 2
    certificate = certify(NormalizedGCELoss(0.5), w)
    assert certificate.asymmetric is False
    assert weighted_risk_minimiser(NormalizedGCELoss(0.5), w).risk <= 57 / 160
    check_witness(certificate.witness, lambda u: 1 - np.sqrt(u), np.array(w, float), 0, True)


def test_fractions_decide_what_floats_cannot():
    tiny = F(1, 10**20)
    T = [[F(1, 2) + tiny, F(1, 2) - tiny], [F(1, 4), F(3, 4)]]
    exact, rounded = certify(AGCELoss(1, 2), T), certify(AGCELoss(1, 2), [1.0 + 1e-14, 1.0])
    assert exact.asymmetric is True and exact.c == (F(1, 2) + tiny) / (F(1, 2) - tiny)
    assert rounded.verdict == "boundary" and rounded.asymmetric is None
    assert [c.verdict for c in exact.classes] == ["asymmetric"] * 2
    # the exact shift of three Fractions: equal off-diagonal weights, and almost equal ones
    gce = NormalizedGCELoss(0.5)
    assert is_asymmetric(gce, [F(1, 2), F(1, 4), F(1, 4)]) is True
    assert is_asymmetric(gce, [F(1, 2), F(1, 4), F(1, 4) - F(1, 10**3)]) is False


def test_the_gain_survives_where_risks_round_to_the_same_float():
    loss = AELLoss(1.0)
    certificate = certify(loss, [math.e * (1 - 1e-9), 1.0])
    assert certificate.asymmetric is False and 0 < certificate.witness.gain < 1e-17
    assert certify(GCELoss(0.95), [0.99, 0.01]).witness.gain > 0
    for ratio, verdict in ((1 - 1e-13, "boundary"), (1 + 1e-13, "boundary")):
        assert certify(loss, [math.e * ratio, 1.0]).verdict == verdict


# --- the certificate of a matrix ----------------------------------------------------------------


def test_certificate_of_a_matrix():
    T = noise.asymmetric("cifar10", 0.4)
    certificate = certify(AELLoss(2.0), T)
    assert certificate.asymmetric is False and certificate.binding == 2
    assert certificate.c == pytest.approx(1.5) == noise.clean_level(T)
    assert certificate.margin == pytest.approx(1.5 * math.exp(-0.5) - 1, rel=1e-12)
    flipped = {9, 2, 3, 5, 4}
    for i, part in enumerate(certificate.classes):
        assert part.verdict == ("not asymmetric" if i in flipped else "asymmetric")
        assert part.margin == (certificate.margin if i in flipped else math.inf)
    check_witness(certificate.witness, ael(2.0), T[2], 2)
    assert certificate.classes[2].witness is certificate.witness
    assert repr(certificate).startswith("<not asymmetric: class 2, c=1.5, ratio=0.6065")
    assert certify(AELLoss(2.5), T).asymmetric is True
    # the largest margin among the failing classes does not bind, the smallest does
    assert certify(AELLoss(1.0), [[0.6, 0.4, 0], [0, 1, 0], [0.45, 0, 0.55]]).binding == 2


@pytest.mark.parametrize(
    "loss", [CELoss(), FocalLoss(2), SCELoss(0.01, 1), GCELoss(0.7)], ids=named
)
def test_losses_that_are_never_asymmetric(loss):
    for T in (SYM, noise.asymmetric("mnist", 0.1), [0.7, 0.3, 0.0]):
        certificate = certify(loss, T)
        assert certificate.asymmetric is False and certificate.ratio == 0
        assert certificate.witness.risk < certificate.witness.vertex_risk
        assert (certificate.witness.gain == math.inf) is (
            certificate.witness.vertex_risk == math.inf
        )
    assert certify(loss, np.eye(3)).asymmetric is True  # without noise, any decreasing l is
    torch_ce = torch.nn.CrossEntropyLoss()
    assert repr(certify(torch_ce, SYM)) == repr(certify(CELoss(), SYM))


def test_mixed_sums_are_certified_refuted_or_undecided():
    def mixed(beta):
        return AGCELoss(0.1, 0.5) + beta * AGCELoss(0, 2)

    assert certify(AGCELoss(0.3, 0.5) + AGCELoss(1, 2), SYM).asymmetric is True
    certificate = certify(mixed(0.01), SYM)
    assert certificate.asymmetric is False
    check_witness(
        certificate.witness, lambda u: agce(0.1, 0.5)(u) + 0.01 * agce(0, 2)(u), SYM[0], 0
    )
    assert certify(mixed(100), SYM).asymmetric is True  # beyond the mediant bound
    # with an affine term: its slope 2 counts on both sides
    a0, a1, b0 = 0.3**-0.5 + 2, 1.3**-0.5 + 2, 1.0
    found = certify(AGCELoss(0.3, 0.5) + AGCELoss(1, 2) + MAELoss(), SYM).ratio
    assert found == pytest.approx((a1 + b0) / (a0 + b0), rel=1e-14)
    silent = certify(0.0 * CELoss() + 0.0 * NCELoss() + MAELoss(), SYM)
    assert silent.asymmetric is True and silent.attained and silent.method == "affine: vertices"


# --- NCE ----------------------------------------------------------------------------------------


def nce(w, u):
    v = -np.log(u)
    return (w * v).sum(-1) / v.sum(-1)


@pytest.mark.parametrize("loss", [NCELoss(), NormalizedFocalLoss(0.5), 2.0 * NCELoss()], ids=named)
def test_nce_alone_is_not_asymmetric(loss):
    for w in ([1.0, 0.9, 0.01], SYM[0], [1.0, 0.0, 0.0]):
        certificate = certify(loss, w)
        assert certificate.asymmetric is False
        u = np.array(certificate.witness.u)
        assert u[0] <= 0.5 and (u == 0).sum() == 1 and w[np.argmin(u)] == min(w)
        assert certificate.witness.gain == 0
        assert certificate.witness.risk == (2 if "2.0" in repr(loss) else 1) * min(w)
    assert is_asymmetric(loss, [0.6, 0.4]) is True
    with pytest.raises(TypeError, match="loss: expected a pointwise loss or a normalised"):
        weighted_risk_minimiser(loss, [1.0, 0.9, 0.01])


def test_nce_infimum_is_approached_away_from_the_vertex():
    w = np.array([1.0, 0.9, 0.01])
    values = [nce(w, np.array([(1 - e) / 2, (1 - e) / 2, e])) for e in (1e-3, 1e-30, 1e-300)]
    assert values == sorted(values, reverse=True) and 0.01 < values[-1] < 0.02


def test_nce_plus_an_asymmetric_loss_is_asymmetric_in_the_limit_only():
    w, rng = np.array([1.0, 0.6, 0.01]), np.random.default_rng(4)
    loss = NCELoss() + 2.0 * AELLoss(2.5)
    certificate = certify(loss, w)
    assert certificate.asymmetric is True and not certificate.attained
    assert "never attained" in repr(certificate)

    def total(u):
        return nce(w, u) + 2 * risk(ael(2.5), w, u)

    infimum = 0.01 + 2 * risk(ael(2.5), w, vertex(3, 0))
    near = [total(np.array([1 - 2 * d, d, math.exp(-1 / d**2)])) for d in (0.1, 0.05)]
    assert infimum < near[1] < near[0] < infimum + 0.1
    assert (total(rng.dirichlet(np.full(3, 0.3), 2000) + 1e-300) > infimum).all()
    # two classes: the limit is a value, and it is attained
    assert certify(loss, w[:2]).attained
    # below the threshold, some face without the least class is better than e_t
    failing = certify(NCELoss() + AELLoss(1.0), w)
    assert failing.asymmetric is False and failing.attained
    u = np.array(failing.witness.u)
    assert u[2] == 0
    drop = risk(ael(1.0), w, vertex(3, 0)) - risk(ael(1.0), w, u)
    assert 0 < failing.witness.gain <= drop
    assert failing.witness.vertex_risk - failing.witness.risk == pytest.approx(drop, rel=1e-9)
    assert is_asymmetric(NCELoss() + AELLoss(1.0), w[:2]) is False
    assert is_asymmetric(NCELoss() + CELoss(), w) is False


def test_theorem_5_needs_both_terms():
    pair = noise.pairflip(10, 0.4)
    good, bad = AGCELoss(1, 2), Normalized(AELLoss(0.2))
    assert certify(good + Normalized(good), pair).asymmetric is True
    assert certify(0.01 * good + bad, pair).asymmetric is False
    assert certify(100 * good + bad, pair).verdict == "undecided"


# --- adversarial search -------------------------------------------------------------------------

a_of_agce, a_of_aul = st.floats(0.05, 8), st.floats(1.05, 8)
exponents = st.floats(-2, 3).filter(lambda q: abs(q) > 0.01)  # where the plain formula is sound
TERMS = st.one_of(
    st.builds(lambda a, q: (AGCELoss(a, q), agce(a, q)), a_of_agce, exponents),
    st.builds(lambda a, p: (AULLoss(a, p), aul(a, p)), a_of_aul, exponents),
    st.builds(lambda a: (AELLoss(a), ael(a)), st.floats(0.2, 5)),
    st.builds(lambda q: (GCELoss(q), agce(0, q)), st.floats(0.3, 2)),
    st.just((MAELoss(), lambda u: 2 - 2 * u)),
)


# Its witness moves 1e-20: the probability of the label rounds to 1.
@example(
    terms=[(1.0, (GCELoss(0.984375), agce(0, 0.984375)))], normalised=False, seed=0, spread=1.0
)
@settings(quick, max_examples=150)
@given(
    terms=st.lists(st.tuples(st.floats(0.1, 3), TERMS), min_size=1, max_size=3),
    normalised=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.05, 3),
)
def test_no_search_contradicts_a_certificate(terms, normalised, seed, spread):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 7))
    w, t = random_weights(rng, k, 1 + spread)
    if rng.random() < 0.3:
        w[rng.permutation(np.delete(np.arange(k), t))[: k // 2]] = 0.0
        w[t] = (1 + spread) * np.delete(w, t).max() or 1.0
    loss = sum((c * loss for c, (loss, _) in terms[1:]), terms[0][0] * terms[0][1][0])
    loss = Normalized(loss) if normalised else loss

    def total(u):
        return sum(c * f(u) for c, (_, f) in terms)

    certificate = certify(loss, w)
    if certificate.asymmetric is False:
        check_witness(certificate.witness, total, w, t, normalised)
    if certificate.asymmetric is not True:
        return
    d = 2.0 ** -np.arange(0, 40)[:, None]
    e = vertex(k, t)
    ends = [vertex(k, i) for i in range(k)] + [*rng.dirichlet(np.full(k, 0.3), 20)]
    points = np.concatenate([e + d * (end - e) for end in ends] + [rng.dirichlet(np.ones(k), 300)])
    here = risk(total, w, e, normalised)
    assert risk(total, w, points, normalised).min() >= here - 1e-13 * abs(here)


# --- declared and undeclared callables ----------------------------------------------------------


def test_an_undeclared_callable_never_gets_a_yes():
    for l in (lambda u: math.exp(-u / 3), lambda u: 1 - u**2, S_SHAPED):
        assert certify(l, SYM).verdict == "undecided"
        assert certify(l, np.eye(3)).verdict == "undecided"
    certificate = certify(lambda u: math.exp(-u / 1.2), SYM)
    assert certificate.asymmetric is False and certificate.ratio is None
    check_witness(certificate.witness, ael(1.2), SYM[0], 0)


@pytest.mark.parametrize("factor", [0.995, 1.005])
@pytest.mark.parametrize("exp", [math.exp, np.exp])
def test_a_declared_convex_callable(factor, exp):
    a = factor / math.log(9 / 4)

    def own(u):
        return exp(-u / a)

    measured = certify(own, SYM, shape="convex")
    assert measured.verdict == ("undecided" if factor > 1 else "not asymmetric")
    assert measured.ratio is None and ("method slope" in measured.missing) is (factor > 1)
    assert certify(own, np.eye(3), "convex").verdict == "undecided"  # it might end flat
    own.slope = lambda u: -exp(-u / a) / a
    certificate = certify(own, SYM, shape="convex")
    assert certificate.asymmetric is (factor > 1)
    assert certificate.ratio == pytest.approx(math.exp(-1 / a), rel=1e-15)
    assert "declared" in certificate.declarations[0] and "slope" in certificate.declarations[1]
    assert certify(own, np.eye(3), "convex").asymmetric is True


class Convex:
    """l(u) = 1 - u^q, with its derivative."""

    def __init__(self, q, factor=1.0):
        self.q, self.factor = q, factor

    def __call__(self, u):
        return 1 - u**self.q

    def slope(self, u):
        return -self.factor * self.q * u ** (self.q - 1) if u else -math.inf


def test_an_infinite_slope_is_not_overlooked():
    clean = [0.999, 0.001]
    for q in (0.3, 0.7, 0.9, 0.99):
        assert is_asymmetric(lambda u, q=q: 1 - u**q, clean, "convex") is not True
        certificate = certify(Convex(q), clean, "convex")
        assert certificate.asymmetric is False and certificate.ratio == 0
        assert not any("measured" in line for line in certificate.declarations)
    for factor in (0.9, 1.1):
        with pytest.raises(ValueError, match="slope is not the derivative"):
            certify(Convex(0.5, factor), clean, "convex")


def test_a_declared_concave_callable_and_subclass():
    certificate = certify(lambda u: 1 - u**2, noise.pairflip(10, 0.49), "concave")
    assert certificate.asymmetric is True and certificate.ratio == 1

    class Custom(PointwiseLoss):
        floor = 0

        def _of_log_probability(self, log_u):
            return self.floor + 1 - torch.exp(2 * log_u)

        def _formula(self, u):
            return self.floor + 1 - u * u

        def _derivative(self, u):
            return -2 * u

    assert certify(Custom(), SYM).verdict == "undecided"
    assert certify(Custom(), SYM, "concave").asymmetric is True
    assert certify(Normalized(Custom()), noise.pairflip(10, 0.49), "concave").asymmetric is True
    Custom.floor = -1
    with pytest.raises(ValueError, match=r"^loss: expected l\(1\) >= 0 .*, got Normalized"):
        certify(Normalized(Custom()), SYM, "concave")


# --- a yes is a proof, a no has a witness -------------------------------------------------------


def exact_gain(l, w, witness, t=0, digits=60):
    """F(e_t) - F(u) for a formula of mpmath's numbers; entry t of u is 1 less the others."""
    with mpmath.workdps(digits):
        others = {i: mpmath.mpf(x) for i, x in enumerate(witness.u) if i != t}
        gain = sum(mpmath.mpf(w[i]) * (l(mpmath.mpf(0)) - l(x)) for i, x in others.items())
        rest = 1 - sum(others.values())
        return gain - mpmath.mpf(w[t]) * (l(rest) - l(mpmath.mpf(1)))


def flat_floats(u):
    return max(0, 0.985 - u)


def flat_fractions(u):
    return max(F(0), F(985, 1000) - u) if isinstance(u, F) else max(0.0, 0.985 - u)


class FlatEnd(PointwiseLoss):
    def _of_log_probability(self, log_u):
        return torch.relu(0.985 - torch.exp(log_u))

    def _formula(self, u):
        return max(Decimal(0), Decimal("0.985") - u)

    def _derivative(self, u):
        steep = u < 0.985
        return -steep.double() if isinstance(u, torch.Tensor) else -Decimal(int(steep))


@pytest.mark.parametrize(
    ("loss", "T"),
    [
        (flat_floats, [1, 0, 0]),
        (flat_floats, np.eye(3)),
        (flat_fractions, [1, 0, 0]),
        (flat_fractions, [F(1), F(0), F(0)]),
        (FlatEnd(), np.eye(3)),
        (Normalized(FlatEnd()), noise.symmetric(3, 0.3)),
        (PiecewiseLinear([0, F(197, 200), 1], [1, 0, 0]), np.eye(3)),
    ],
    ids=range(7),
)
def test_a_flat_end_is_never_certified(loss, T):
    """Every u with u_t >= 0.985 ties with e_t."""
    shape = None if isinstance(loss, PiecewiseLinear) else "convex"
    certificate = certify(loss, T, shape)
    if certificate.verdict == "undecided":  # an l of floats only: nothing is proven
        assert isinstance(loss, torch.nn.Module) and certificate.missing
    else:
        assert certificate.asymmetric is False and certificate.witness.gain == 0


def test_slopes_between_the_samples_are_never_certified():
    """Convex with knots at 2^-60, 2^-36, ...: differences see 1.5 where the slope at 0 is 1.7e7."""
    knots = [F(0), F(1, 2**60), F(1, 2**36), F(1, 2**35), F(1, 2**34), F(1)]
    slopes = [F(17_000_000), F(3, 2), F(3, 2), F(2, 5), F(1, 5)]
    values = [F(0)]
    for i in range(4, -1, -1):
        values.insert(0, values[0] + slopes[i] * (knots[i + 1] - knots[i]))

    def hidden(u):
        i = next(j for j in range(1, 6) if u <= knots[j])
        return values[i - 1] - slopes[i - 1] * (u - knots[i - 1])

    for w in ([F(100), F(1)], [F(1000), F(1), F(1)]):
        opaque, told = certify(hidden, w, "convex"), certify(PiecewiseLinear(knots, values), w)
        assert opaque.asymmetric is not True
        assert told.asymmetric is False and told.witness.gain > 0
        assert told.ratio == slopes[-1] / slopes[0]


def test_a_slope_that_differences_miss_is_never_certified():
    """l' = -(2 - u - 1e-6 u^0.1), c r = 1 - 2e-8: F(u) < F(e_t) for moves below 1e-17 only."""
    s = 1e-6

    def smooth(u):
        return 2 * (1 - u) - (1 - u**2) / 2 - s * (1 - u**1.1) / 1.1

    w = [2 * (1 - 2e-8) / (1 - s), 1.0]
    assert certify(smooth, w, "convex").verdict == "undecided"
    smooth.slope = lambda u: -(2 - u - s * u**0.1)
    certificate = certify(smooth, w, "convex")
    assert certificate.asymmetric is False and certificate.margin == pytest.approx(-2e-8, rel=1e-6)
    gain = exact_gain(
        lambda u: (
            2 * (1 - u)
            - (1 - u**2) / 2
            - mpmath.mpf(s) * (1 - u ** mpmath.mpf(1.1)) / mpmath.mpf(1.1)
        ),
        w,
        certificate.witness,
        digits=200,
    )
    assert 0 < certificate.witness.gain <= gain < 1e-20


@pytest.mark.parametrize(
    ("l", "w"),
    [
        (lambda u: ((1e4 - u) ** 0.5 - (1e4 - 1) ** 0.5) / 0.5, [0.6, 0.4]),
        (lambda u: ((2e4 + 1) ** 1.5 - (2e4 + u) ** 1.5) / 1.5, [0.6, 0.4]),
        (lambda u: ((1e5 + 1) ** 2 - (1e5 + u) ** 2) / 2, [0.5001, 0.4999]),
        (lambda u: ((1000 - u) ** 0.1 - 999**0.1) / 0.1, [0.5001, 0.4999]),
        (lambda u: (math.pow(1e4 - u, 0.5) - math.pow(9999, 0.5)) / 0.5, [0.6, 0.4]),  # floats only
    ],
    ids=range(5),
)
def test_rounding_refutes_no_concave_formula(l, w):
    assert certify(l, w).verdict == "undecided"
    assert certify(l, w, "concave").asymmetric is True


def test_a_function_in_torch_is_taken():
    """It refuses Fractions with a RuntimeError, and keeps single precision."""

    def typed(u):
        return (1000 - torch.tensor(u)) ** 0.5 - 999**0.5

    assert certify(typed, [1.0005, 1.0]).verdict == "undecided"
    assert certify(typed, [1.0005, 1.0], "concave").asymmetric is True


@pytest.mark.parametrize("q", [1.1, 1.5, 2.0, 3.0])
def test_single_precision_refutes_no_concave_formula(q):
    one, a, q = np.float32(1), np.float32(767.3), np.float32(q)

    def typed(u):
        return float(((a + one) ** q - (a + np.float32(u)) ** q) / q)

    for w in ([1.0005, 1.0, 0.9], [1.00002, 1.0]):
        assert certify(typed, w).verdict == "undecided"
        assert certify(typed, w, "concave").asymmetric is True


@pytest.mark.parametrize(
    ("l", "shape", "verdict"),
    [
        # the paper's settings for MNIST
        (lambda u: ((3 - u) ** 0.1 - (3 - 1) ** 0.1) / 0.1, "concave", "asymmetric"),
        (lambda u: ((4 + 1) ** 0.2 - (4 + u) ** 0.2) / 0.2, "convex", "undecided"),
        (lambda u: ((1e7 + 1) ** 0.2 - (1e7 + u) ** 0.2) / 0.2, "convex", "undecided"),
        # seems flat from 0.6 on
        (lambda u: 1 + math.exp(-60 * u), "convex", "not asymmetric"),
    ],
    ids=range(4),
)
def test_true_declarations_are_not_refused(l, shape, verdict):
    assert certify(l, [0.9, 0.1], shape).verdict == verdict


def test_what_floats_only_show_is_said_to_be_measured():
    certificate = certify(lambda u: math.exp(-u / 1.2), SYM)
    assert certificate.asymmetric is False
    assert "measured" in certificate.declarations[-1]
    confirmed = certify(lambda u: np.exp(-u / 1.2), SYM)
    assert confirmed.asymmetric is False and confirmed.declarations == ()


@pytest.mark.parametrize("p", [1.02, 1.05, 1.5, 3])
@pytest.mark.parametrize("c", [1.5, 10, 1000])
def test_witnesses_at_the_end_of_a_steep_bend(p, c):
    """AUL at a = 1: beyond d = 2^-53 only log(1 - u), and no float u, knows the slope at 1 - d."""
    certificate = certify(AULLoss(a=1, p=p), [c, 1.0])
    assert certificate.asymmetric is False

    def aul(u):
        return (1 - u) ** mpmath.mpf(p) / mpmath.mpf(p)

    gain = exact_gain(aul, [c, 1.0], certificate.witness, digits=400)
    assert 0 < certificate.witness.gain <= gain


def test_the_answer_says_what_would_decide():
    l = PiecewiseLinear([0, F(1, 3), F(2, 3), 1], [3, 2, 1, 0])
    assert "PiecewiseLinear" in certify(lambda u: l(u) + 0, SYM).missing
    assert certify(l, SYM).asymmetric is True and certify(l, SYM).missing == ""
    assert "slope" in repr(certify(lambda u: (2 - u) ** 2, SYM, "convex"))

    def hinge(u):
        return (1 - u) ** 2

    hinge.slope = lambda u: -2 * (1 - u)
    assert "slope there" in certify(hinge, np.eye(3), "convex").missing
    assert certify(100 * AGCELoss(1, 2) + Normalized(AELLoss(0.2)), noise.pairflip(10, 0.4)).missing


CLOSE = [
    (AELLoss(0.5) + AGCELoss(0, 1.5), lambda u: ael(0.5)(u) + agce(0, 1.5)(u)),
    (AULLoss(1.1, 3) + AGCELoss(0, 1.2), lambda u: aul(1.1, 3)(u) + agce(0, 1.2)(u)),
]


@pytest.mark.parametrize(("loss", "l"), CLOSE, ids=named)
def test_mixed_sums_are_decided_close(loss, l):
    D = np.concatenate([np.geomspace(1e-9, 1e-4, 500), np.linspace(1e-4, 1, 200_001)])
    D = D.astype(np.longdouble)
    needed = float(((l(0 * D) - l(D)) / (l(1 - D) - l(1 + 0 * D))).max())  # for two classes
    for gap in (1e-6, 1e-4, 1e-2):
        certified, refuted = (certify(loss, [needed * (1 + x), 1.0]) for x in (gap, -gap))
        assert certified.asymmetric is True and certified.method == "sum: enclosures"
        assert refuted.asymmetric is False and refuted.ratio is None
        check_witness(refuted.witness, l, [needed * (1 - gap), 1.0], 0)


# --- branch and bound ---------------------------------------------------------------------------

MORE = [  # S-shaped; convex, concave, convex
    (AULLoss(1.05, 3) + 0.6 * AGCELoss(0, 1.5), lambda u: aul(1.05, 3)(u) + 0.6 * agce(0, 1.5)(u)),
    (AELLoss(0.2) + AULLoss(1.5, -1), lambda u: ael(0.2)(u) + aul(1.5, -1)(u)),
]


@pytest.mark.parametrize(("loss", "l"), CLOSE + MORE, ids=named)
def test_bounds_hold_on_their_boxes(loss, l):
    enclosure, rng, shapes = Enclosure(loss.terms), np.random.default_rng(8), set()
    for _ in range(150):
        a, b = (10 ** rng.uniform(-4, 0) * np.sort(rng.random(2))).tolist()
        w, m, p = (float(rng.uniform(*ends)) for ends in ((0.1, 2), (0, 4), (a, b)))
        x = np.linspace(np.longdouble(a), b, 201)
        fall, rise = l(0 * x) - l(x), l(1 - x) - l(1 + 0 * x)
        for side, values in ((1, w * rise - m * x), (0, m * x - w * fall)):
            least, size = enclosure._least((a, b), w, p, m, side)
            assert least <= values.min() + 1e-15 * size
            shape = enclosure.shape((a, b), side)
            shapes.add(shape)
            bends = np.diff(values, 2)
            assert shape is None or (bends.min() >= -1e-16 if shape else bends.max() <= 1e-16)
    assert shapes >= {True, False}


def lowest(l, top, w):
    """v and the least top P(D) - w_1 h(v_1) - w_2 h(v_2), by grids that close in."""
    centre, radius = np.array([0.5, 0.5], np.longdouble), np.longdouble(0.5)
    for _ in range(9):
        axes = [np.clip(np.linspace(c - radius, c + radius, 41), 0, 1) for c in centre]
        v = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        D = v.sum(axis=-1)
        risk = top * (l(np.maximum(1 - D, 0)) - l(1 + 0 * D)) + (w * (l(v) - l(0 * v))).sum(axis=-1)
        risk[D > 1] = np.inf
        centre, radius = v[np.unravel_index(risk.argmin(), risk.shape)], radius / 6
    return centre.astype(float), risk.min()


@pytest.mark.parametrize(("loss", "l"), CLOSE + MORE, ids=named)
def test_no_box_with_a_minimiser_is_dropped(loss, l):
    enclosure, rng, kept = Enclosure(loss.terms), np.random.default_rng(9), 0
    for w in ((1.0, 1.0), (1.0, 0.3)):
        for top in (1.01, 1.2):
            v, risk = lowest(l, top, np.array(w))
            if risk > -1e-9 or v.sum() > 1 - v[0]:  # e_t, or another top class
                continue
            for _ in range(10):
                spread = 10 ** rng.uniform(-3, 0, 6)
                boxes = [
                    (max(x - a, 0.0), min(x + b, 1.0))
                    for x, a, b in zip([v.sum(), *v], spread[:3], spread[3:], strict=True)
                ]
                left = enclosure._contract(boxes, top, w)
                assert left is not None
                for (a, b), x in zip(left, [v.sum(), *v], strict=True):
                    assert a - 1e-6 <= x <= b + 1e-6
                assert enclosure._bound(left, top, w) is not None
                kept += 1
    assert kept or loss in [one for one, _ in MORE[1:]]


# --- intervals ----------------------------------------------------------------------------------

FORMULAS = [
    AGCELoss(0.6, 0.6),
    AGCELoss(2, 0),
    AGCELoss(0, 1.5),
    GCELoss(0.7),
    AULLoss(3, 0.1),
    AULLoss(1, 1.05),
    AULLoss(3, 0),
    AELLoss(2.5),
    CELoss(),
    FocalLoss(0.5),
    SCELoss(0.1, 1.0),
    SCELoss(0.0, 1.0),
    MAELoss(),
    UnhingedLoss(),
    RCELoss(),
    BiasedMAELoss(2),
]


def contains(x, value):
    low, high = _enclosure.bounds(x)
    return F(low) <= F(value) <= F(high) and high - low <= 1e-14 * max(1, abs(high))


@pytest.mark.parametrize("loss", FORMULAS, ids=named)
def test_intervals_hold_the_formulas_of_the_losses(loss):
    _enclosure.context().prec = 200
    for u in (F(1, 3), F(137, 512), F(1, 10**9), 1 - F(1, 10**9)):
        with localcontext(prec=50):
            exact = Decimal(u.numerator) / u.denominator
            value, slope = loss._formula(exact), loss._derivative(exact)
        x = _enclosure.interval(u)
        parameters = _enclosure.parameters(loss, _enclosure.interval)
        assert contains(_enclosure.formula([(1.0, loss)])(x), value)
        slopes = _enclosure.SLOPES[type(loss)](x, 1 - x, *parameters)
        assert contains(slopes / 10**9, -slope / 10**9)
        g = _enclosure.steepness([(2.0, loss)])(np.array([float(u)]), np.array([float(1 - u)]))
        assert g == pytest.approx([-2 * float(slope)], rel=1e-12)
        if type(loss) in _enclosure.BENDS and u == F(1, 3):
            with localcontext(prec=50):
                h = Decimal(1) / 10**20
                bend = (loss._derivative(exact + h) - loss._derivative(exact - h)) / (2 * h)
            low, high = _enclosure.bounds(_enclosure.BENDS[type(loss)](x, 1 - x, *parameters))
            assert low <= float(bend) <= high


def test_intervals_answer_only_what_they_know():
    iv = _enclosure.context()
    iv.prec = 200
    third = iv.mpf(1) / 3
    assert third < 0.34 and not third > 0.34 and third != 0.3 and max(0, third) is third
    for unsettled in (
        lambda: third < third,
        lambda: third == third,
        lambda: bool(third - third),
        lambda: max(third, iv.mpf(1) / 3),
    ):
        with pytest.raises(_enclosure.Unsettled):
            unsettled()
    for number in (float, math.exp, torch.tensor, lambda x: np.asarray(x, float)):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            number(iv.mpf(0.5))
    low, high = _enclosure.bounds(third)
    assert F(low) < F(1, 3) < F(high) and high - low < 1e-15


def test_points_are_on_the_simplex():
    for u in ([0.1] * 10 + [0.0], [1 / 3] * 3 + [0.0], [1e-30, 1.0, 0.0], [0.7, 0.7, 0.0]):
        point = _enclosure.on_simplex(u, len(u) - 1)
        assert sum(point) == 1 and min(point) >= 0
        assert all(F(float(x)) == x for x in point[:-1])
    assert _enclosure.on_simplex([0.0, 1.0], 1) is None
    assert _enclosure.on_simplex([-0.1, 1.1], 1) is None


def test_an_l_that_is_exact_here_and_there_is_not_taken_for_exact():
    def l_of_two_kinds(u):
        return 2 - u if u < F(2, 3) else 2 - float(u)

    assert not certify(l_of_two_kinds, [F(2), F(1)]).asymmetric


# --- the minimiser ------------------------------------------------------------------------------


def test_minimiser_closed_forms():
    w = np.array([0.5, 0.3, 0.2])
    assert weighted_risk_minimiser(CELoss(), w).u == pytest.approx(w, abs=1e-15)
    a, ratio = 0.8, 1.7
    minimum = weighted_risk_minimiser(AELLoss(a), [ratio, 1.0])
    assert minimum.u[0] == pytest.approx((1 + a * math.log(ratio)) / 2, abs=1e-15)
    a, kappa = 0.2, 1.7 ** (1 / 0.5)
    minimum = weighted_risk_minimiser(AGCELoss(a, 0.5), [1.7, 1.0])
    assert minimum.u[0] == pytest.approx(((a + 1) * kappa - a) / (1 + kappa), abs=1e-15)
    ties = weighted_risk_minimiser(AELLoss(1.0), [1.0, 1.0, 1.0])
    assert ties.u == pytest.approx(np.full(3, 1 / 3), abs=1e-15)
    assert weighted_risk_minimiser(NormalizedGCELoss(0.5), [1, 1, 1]).risk == 1


@pytest.mark.parametrize(
    ("loss", "l"),
    [
        (SCELoss(0.1, 1), lambda u: -0.1 * np.log(u) - math.log(1e-4) * (1 - u)),
        (FocalLoss(0.5), lambda u: -np.sqrt(1 - u) * np.log(u)),
        (AELLoss(0.3) + GCELoss(0.5), lambda u: np.exp(-u / 0.3) + 2 - 2 * np.sqrt(u)),
        (Normalized(AELLoss(0.3) + MAELoss()), lambda u: np.exp(-u / 0.3) + 2 - 2 * u),
    ],
    ids=named,
)
def test_minimiser_where_the_slope_has_no_closed_inverse(loss, l):
    w, normalised = np.array([0.4, 0.35, 0.15, 0.1]), isinstance(loss, Normalized)
    minimum = weighted_risk_minimiser(loss, w)
    assert 0 <= minimum.gap <= 1e-13
    assert minimum.risk == pytest.approx(risk(l, w, minimum.u, normalised), rel=1e-13)
    near = minimum.u + 1e-3 * np.random.default_rng(5).normal(size=(500, 4))
    near = np.abs(near) / np.abs(near).sum(-1, keepdims=True)
    assert (risk(l, w, near, normalised) >= minimum.lower_bound - 1e-13).all()


@pytest.mark.parametrize(
    ("loss", "l"), [(AELLoss(0.5), ael(0.5)), (CELoss(), lambda u: -np.log(u))]
)
def test_the_gap_covers_a_point_that_is_not_optimal(loss, l, monkeypatch):
    w, u = np.array([0.5, 0.3, 0.2]), np.full(3, 1 / 3)
    best = weighted_risk_minimiser(loss, w)
    monkeypatch.setattr(asymmetry, "_water_fill", lambda part, w: np.full(len(w), 1 / len(w)))
    poor = weighted_risk_minimiser(loss, w)
    assert poor.risk == pytest.approx(risk(l, w, u), rel=1e-14)
    assert poor.lower_bound <= best.risk < poor.risk <= best.risk + poor.gap
    if isinstance(loss, AELLoss):
        worse = weighted_risk_minimiser(2.0 * Normalized(loss), w)
        monkeypatch.undo()
        best = weighted_risk_minimiser(2.0 * Normalized(loss), w)
        assert worse.lower_bound <= best.lower_bound + 1e-15 and best.gap <= 1e-15
        assert best.risk < worse.risk <= best.risk + worse.gap


@pytest.mark.parametrize("l", [lambda u: 1 - 3 * u**2 + 2 * u**3, S_SHAPED])
def test_minimiser_on_a_grid_has_a_true_lower_bound(l):
    w, rng = np.array([1.0, 0.99, 0.99]), np.random.default_rng(6)
    minimum = weighted_risk_minimiser(l, w)
    assert minimum.method == "grid" and 0 < minimum.gap < 0.01
    points = [minimum.u, np.full(3, 1 / 3), *rng.dirichlet(np.ones(3), 500)]
    risks = [sum(a * float(l(x)) for a, x in zip(w, u.tolist(), strict=True)) for u in points]
    assert risks[0] == pytest.approx(minimum.risk, rel=1e-14)
    assert minimum.lower_bound <= min(risks) + 1e-12 and minimum.risk <= min(risks) + minimum.gap


# --- admissible parameters ----------------------------------------------------------------------


def test_the_thresholds_of_the_paper():
    T = np.full((10, 10), F(4, 45))
    np.fill_diagonal(T, F(1, 5))  # symmetric 0.8, c = 9/4
    agce_region = admissible(AGCELoss, T, q=0.5)
    assert agce_region.threshold == F(16, 65) and isinstance(agce_region.threshold, F)
    assert admissible(AULLoss, T, p=2).threshold == F(9, 5)
    assert admissible(AELLoss, T).threshold == 1 / math.log(9 / 4)
    assert repr(agce_region) == "<AGCELoss(a, q=0.5) is asymmetric iff a >= 16/65>"
    assert F(16, 65) in agce_region and F(15, 65) not in agce_region
    for family, fixed in ((AGCELoss, {"q": 0.5}), (AULLoss, {"p": 2}), (AELLoss, {})):
        exact, rounded = admissible(family, T, **fixed), admissible(family, SYM, **fixed)
        assert rounded.threshold == pytest.approx(float(exact.threshold), rel=1e-14)
        at = float(rounded.threshold)
        assert certify(family(a=at, **fixed), SYM).verdict == "boundary"
        assert certify(family(a=1.005 * at, **fixed), SYM).asymmetric is True
        assert certify(family(a=0.995 * at, **fixed), SYM).asymmetric is False


@quick
@given(
    c=st.floats(1.05, 50),
    case=st.one_of(
        st.tuples(st.just(AGCELoss), st.floats(-2, 2).map(lambda q: {"q": q})),
        st.tuples(st.just(AULLoss), st.floats(-1, 4).map(lambda p: {"p": p})),
        st.just((AELLoss, {})),
    ),
    a=st.floats(0.01, 20),
)
def test_admissible_agrees_with_certify(c, case, a):
    family, fixed = case
    a = a + 1 if family is AULLoss else a
    region = admissible(family, [c, 1.0], **fixed)
    asked = (
        [a] if region.threshold < 1e-2 else [a, 0.995 * region.threshold, 1.005 * region.threshold]
    )
    for a in asked:
        try:
            loss = family(a=float(a), **fixed)
        except ValueError:  # 0.995 times a threshold can be illegal
            continue
        verdict = certify(loss, [c, 1.0])
        if verdict.verdict != "boundary":
            assert verdict.asymmetric is (a in region)


def test_admissible_without_noise_and_without_threshold():
    regions = {
        "AGCELoss(a, q=0.5) is asymmetric iff a >= 0": (AGCELoss, np.eye(3), {"q": 0.5}),
        "AGCELoss(a, q=-1) is asymmetric iff a > 0": (AGCELoss, np.eye(3), {"q": -1}),
        "AGCELoss(a, q=2) is asymmetric iff a >= 0": (AGCELoss, SYM, {"q": 2}),
        "AULLoss(a, p=0) is asymmetric iff a > 1": (AULLoss, SYM, {"p": 0}),
        "AULLoss(a, p=1) is asymmetric iff a >= 1": (AULLoss, SYM, {"p": 1}),
        "AELLoss(a) is asymmetric iff a > 0": (AELLoss, np.eye(3), {}),
    }
    for text, (family, T, fixed) in regions.items():
        assert repr(admissible(family, T, **fixed)) == f"<{text}>"
    # thresholds that underflow: a = 0 (a = 1) has r = 0 and stays outside
    assert 0 not in admissible(AGCELoss, [4.0, 1.0], q=0.999)
    assert 1 not in admissible(AULLoss, [4.0, 1.0], p=1.001)


# --- input --------------------------------------------------------------------------------------

BAD_T = np.array([[0.5, 0.5, 0.0], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: certify(MAELoss(), BAD_T), ValueError, r"^T: .*unique maximum at 0 in row 0"),
        (lambda: certify(MAELoss(), BAD_T * 1.1), ValueError, "^T: .*sum 1"),
        (lambda: certify(MAELoss(), BAD_T[:2]), ValueError, "^T: "),
        (lambda: certify(MAELoss(), BAD_T * np.nan), ValueError, "^T: .*nan"),
        (lambda: certify(MAELoss(), [[F(1), F(1, 9**9)], [F(0), F(1)]]), ValueError, "^T: .*sum 1"),
        (lambda: certify(MAELoss(), [[1, 0], [1]]), TypeError, "^T: expected an array"),
        (lambda: certify(MAELoss(), [1.0]), ValueError, "^T: expected shape"),
        (lambda: is_asymmetric(MAELoss(), [1.0, 1.0]), ValueError, "^weights: .*unique"),
        (lambda: is_asymmetric(MAELoss(), [1.0, -1.0]), ValueError, "^weights: .*-1"),
        (lambda: is_asymmetric(MAELoss(), [1.0, np.inf]), ValueError, "^weights: .*inf"),
        (lambda: is_asymmetric(MAELoss(), ["x", "y"]), TypeError, "^weights: "),
        (lambda: is_asymmetric(MAELoss(), SYM), ValueError, r"^weights: expected shape \(k,\)"),
        (lambda: weighted_risk_minimiser(MAELoss(), [0.0, 0.0]), ValueError, "^weights: "),
        (lambda: certify("mae", SYM), TypeError, "^loss: .*'mae'"),
        (lambda: certify(torch.nn.MSELoss(), SYM), TypeError, "MSELoss"),
        (lambda: certify(NLNLLoss(), SYM), TypeError, "NLNLLoss"),
        (lambda: certify(MAELoss(weight=[1.0, 2.0]), SYM), ValueError, "^loss: .*weights"),
        (lambda: certify(0.0 * MAELoss(), SYM), ValueError, "^loss: .*decrease"),
        (lambda: certify(lambda u: u, SYM), ValueError, r"^loss: .*decrease"),
        (lambda: certify(lambda u: 1 - u + (0.5 < u < 0.7) / 5, SYM), ValueError, "^loss: .*decr"),
        (lambda: certify(lambda u: 0.5, SYM), ValueError, "^loss: .*decrease"),
        (lambda: PiecewiseLinear([0, 0.5], [1, 0]), ValueError, "^knots: .*0 to 1"),
        (lambda: PiecewiseLinear([0, 0.5, 0.5, 1], [3, 2, 1, 0]), ValueError, "^knots: .*increas"),
        (lambda: PiecewiseLinear([0, 1], [1, 0.5, 0]), ValueError, "^values: expected 2"),
        (lambda: PiecewiseLinear([0, 0.5, 1], [1, 2, 0]), ValueError, "^values: .*decrease"),
        (lambda: PiecewiseLinear([0, 1], [1, math.nan]), ValueError, "^knots, values: .*finite"),
        (lambda: PiecewiseLinear([0, 1], [1, 0])(2), ValueError, "^u: .*got 2"),
        (
            lambda: certify(PiecewiseLinear([0, 0.5, 1], [3, 1, 0]), SYM, "concave"),
            ValueError,
            "^shape: .*, got 'concave': l is not concave",
        ),
        (lambda: certify(lambda u: (u - 0.9) ** 2, SYM), ValueError, "^loss: .*decrease"),
        (lambda: certify(lambda u: math.nan, SYM), ValueError, "^loss: .*nan"),
        (lambda: certify(lambda u: -np.log(np.float64(u)), SYM), ValueError, "^loss: .*inf"),
        (lambda: certify(lambda u: -math.log(u), SYM), ValueError, "^loss: .*u = 0"),
        (lambda: certify(lambda u: None, SYM), ValueError, "^loss: .*number"),
        (lambda: certify(lambda u: 1 - u**2, SYM, "convex"), ValueError, "^shape: .*not convex"),
        (
            lambda: certify(lambda u: 1 - u**0.5, SYM, "concave"),
            ValueError,
            "^shape: .*not concave",
        ),
        (lambda: certify(T6, [F(4), F(1)], "concave"), ValueError, "^shape: .*not concave"),
        (lambda: certify(AGCELoss(1, 2), SYM, "convex"), ValueError, "^shape: "),
        (lambda: certify(MAELoss(), SYM, "round"), ValueError, "^shape: .*'round'"),
        (lambda: asymmetry_ratio(MAELoss(), "exact"), ValueError, "^definition: .*'exact'"),
        (lambda: asymmetry_ratio(NCELoss()), TypeError, "^loss: .*NCELoss"),
        (lambda: asymmetry_ratio_exact(MAELoss(), 1), ValueError, "^k: "),
        (lambda: admissible(GCELoss, SYM), TypeError, "^family: .*GCELoss"),
        (lambda: admissible(AGCELoss, SYM), TypeError, "^fixed: .*'q'"),
        (lambda: admissible(AGCELoss, SYM, q=math.nan), ValueError, "^q: .*got nan"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with np.errstate(divide="ignore"), pytest.raises(error, match=message):
        call()


# --- speed --------------------------------------------------------------------------------------


def best_time(call, repeats=5):
    times = []
    for _ in range(repeats):
        start = time.process_time()  # not the clock's: other tests run at the same time
        call()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize(
    "loss",
    [AGCELoss(1e-3, 0.5), NormalizedGCELoss(0.7), NCELoss() + 4.0 * AGCELoss(6, 1.5), NCELoss()],
    ids=named,
)
def test_certify_on_100_classes_takes_under_50_ms(loss):
    T = noise.asymmetric("cifar100", 0.4)
    assert best_time(lambda: certify(loss, T)) < 0.05


def test_certify_of_a_callable_on_10_classes_takes_under_2_s():
    for l, shape in ((lambda u: math.exp(-u / 1.2), "convex"), (lambda u: math.exp(-u), None)):
        assert best_time(lambda l=l, shape=shape: certify(l, SYM, shape), 2) < 2


def test_enclosures_on_10_classes_take_under_2_s():
    rng = np.random.default_rng(7)
    T = rng.random((10, 10)) * 0.1 + np.eye(10) * 0.13  # ten different rows
    T /= T.sum(axis=1, keepdims=True)
    loss = AGCELoss(0.1, 0.5) + AGCELoss(0, 2)
    verdicts = {c.method for c in certify(loss, T).classes}
    assert "sum: enclosures" in verdicts
    assert best_time(lambda: certify(loss, T), 2) < 2
    knots = [F(j, 12) for j in range(13)]
    values = [2 * (12 - j) + F((j * j) % 5, 4) for j in range(13)]
    assert best_time(lambda: certify(PiecewiseLinear(knots, values), T), 2) < 2


# --- the losses that came after the paper -----------------------------------------------------


def risks(loss, w, u):
    """Weighted risks at the rows of u, by forward passes in float64."""
    logits = torch.tensor(u, dtype=torch.float64).log()
    per_label = copy.deepcopy(loss)
    per_label.reduction = "none"
    labels = [torch.full((len(u),), i) for i in range(len(w))]
    return sum(x * per_label(logits, y) for x, y in zip(w, labels, strict=True)).numpy()


@pytest.mark.parametrize("a", [1.0, 1.5, 4.0, 30.0])
def test_amse_minimiser_is_the_projection_of_the_scaled_weights(a):
    """It beats random points and satisfies the first-order conditions, written down by hand."""
    rng = np.random.default_rng(3)
    for k in (2, 3, 10):
        w = rng.random(k) * rng.integers(1, 5)
        found = weighted_risk_minimiser(AMSELoss(a), w)
        slopes = w.sum() * found.u - a * w
        used = found.u > 0
        assert np.ptp(slopes[used]) < 1e-12 * a * w.sum()
        assert (slopes[~used] >= slopes[used].min() - 1e-12).all()
        assert found.u.sum() == pytest.approx(1, abs=1e-15)
        cloud = np.maximum(rng.dirichlet(np.full(k, 0.3), 500), 1e-300)
        assert found.risk <= risks(AMSELoss(a), w, cloud).min() + 1e-12
        assert found.gap < 1e-12 * found.risk


def test_amse_looks_at_the_margin_and_not_at_c():
    """At one c = 9/4 a larger sum of the other weights asks for a larger a; equality counts."""
    for others, least in ((1, F(13, 5)), (2, F(17, 5)), (9, F(9))):
        w = [F(9), *[F(4)] * others]
        assert admissible(AMSELoss, w).threshold == least
        assert certify(AMSELoss(math.ceil(least)), w).asymmetric
        below = certify(AMSELoss(float(least) - 0.01), w)
        assert below.asymmetric is False and below.witness.gain > 0 and below.witness.proven
    assert certify(AMSELoss(9), noise.symmetric(10, 0.8)).verdict == "boundary"
    assert certify(AMSELoss(1), [1.0, 0.0]).asymmetric  # no noise: the Brier score is proper
    joint = certify(NCELoss() + AMSELoss(30), noise.symmetric(10, 0.8))
    assert joint.asymmetric and not joint.attained


@pytest.mark.parametrize("loss", [NNCELoss(), NNFLLoss(), NNCELoss(1e-3)], ids=repr)
def test_nnce_is_lowest_on_the_corner_that_the_clamp_cuts_off(loss):
    """Nowhere below W - w_t, equal to it on the corner, above it elsewhere."""
    rng = np.random.default_rng(4)
    for k in (2, 3, 10):
        w = np.sort(rng.random(k))[::-1]
        w[0] = w[1] * 1.0001
        found = certify(loss, w)
        assert found.asymmetric and found.corner == loss.p_min and "up to" in repr(found)
        least = w[1:].sum()
        cloud = np.maximum(rng.dirichlet(np.full(k, 0.2), 300), 1e-300)
        cloud[:100, 1:] = loss.p_min * rng.random((100, k - 1))
        cloud[:100, 0] = 1 - cloud[:100, 1:].sum(axis=1)
        cloud[50:100, [0, 1]] = cloud[50:100, [1, 0]]  # the corner of the rival
        inside = (cloud[:, 1:] <= loss.p_min).all(axis=1)
        got = risks(loss, w, cloud)
        assert (got[~inside] > least).all() and got[inside] == pytest.approx(least, rel=1e-14)
        assert inside.any()
    with pytest.raises(ValueError, match="p_min < 1/10"):
        certify(NNCELoss(0.2), noise.symmetric(10, 0.2))
    assert certify(loss + MAELoss(), w).corner == 0


def test_a_logit_bias_is_paid_in_asymmetry():
    for eps in (0.1, 0.5, 2.0):
        assert asymmetry_ratio(BiasedMAELoss(eps)) == pytest.approx(math.exp(-2 * eps), rel=1e-14)
    assert certify(BiasedMAELoss(0), [1.0, 0.999]).asymmetric
    T = noise.symmetric(10, 0.8)  # c = 9/4
    edge = math.log(9 / 4) / 2
    assert certify(BiasedMAELoss(edge - 1e-6), T).asymmetric
    beyond = certify(BiasedMAELoss(edge + 1e-6), T)
    assert beyond.asymmetric is False and beyond.witness.proven


def test_losses_of_all_probabilities_have_no_ratio():
    for loss in (AMSELoss(3), NNCELoss()):
        with pytest.raises(TypeError, match=r"^loss: expected a function l\(u_i\) of one"):
            asymmetry_ratio(loss)
