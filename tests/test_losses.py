"""Losses against independent oracles: naive float64 formulas, mpmath, finite differences, torch.

The ``check_*`` functions take the module under test, so that `test_losses_mutants` can run them
on broken copies.
"""

import copy
import inspect
import io
import math
import os
import pickle
import pydoc
import re
import shutil
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import require
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from alfs_utils import losses as L
from alfs_utils import noise
from alfs_utils.asymmetry import certify, weighted_risk_minimiser

torch.set_num_threads(1)
LOG_1E_4 = math.log(1e-4)


# --- the oracle: formulas as printed, in NumPy float64, with the classes on axis 1 -------------


def power(x, y, q):
    return (x**q - y**q) / q if q else np.log(x / y)


def normalized(matrix):
    with np.errstate(invalid="ignore"):  # 0 / 0 for a single class
        return matrix / matrix.sum(1, keepdims=True)


def negative(l, u, p_min):
    v = l(np.array(p_min)) - l(np.maximum(u, p_min))
    return 1 - v / v.sum(1, keepdims=True)


NAIVE = {
    "CELoss": lambda u: -np.log(u),
    "MAELoss": lambda u: 2 - 2 * u,
    "UnhingedLoss": lambda u: 1 - u,
    "RCELoss": lambda u, A=LOG_1E_4: -A * (1 - u),
    "SCELoss": lambda u, alpha, beta, A=LOG_1E_4: -alpha * np.log(u) - beta * A * (1 - u),
    "GCELoss": lambda u, q: -np.expm1(q * np.log(u)) / q,
    "AGCELoss": lambda u, a, q: power(a + 1, a + u, q),
    "AULLoss": lambda u, a, p: power(a - u, a - 1, p),
    "AELLoss": lambda u, a: np.exp(-u / a),
    "FocalLoss": lambda u, gamma: -((1 - u) ** gamma) * np.log(u),
    "NCELoss": lambda u: normalized(-np.log(u)),
    "NormalizedFocalLoss": lambda u, gamma: normalized(-((1 - u) ** gamma) * np.log(u)),
    "NormalizedGCELoss": lambda u, q: normalized(1 - u**q),
    "BiasedMAELoss": lambda u, eps: 2 - 2 * np.exp(eps) * u / (1 - u + np.exp(eps) * u),
    "AMSELoss": lambda u, a: ((a - u) ** 2 - u**2 + (u**2).sum(1, keepdims=True)) / u.shape[1],
    "NNCELoss": lambda u, p_min=1e-7: negative(lambda u: -np.log(u), u, p_min),
    "NNFLLoss": lambda u, gamma=0.5, p_min=1e-7: negative(
        lambda u: -((1 - u) ** gamma) * np.log(u), u, p_min
    ),
}
POINTWISE = [name for name in NAIVE if name[0] != "N" and name != "AMSELoss"]
# The papers' settings and the edges of what is legal.
PARAMETERS = {
    "RCELoss": [{}, {"A": -4.0}],
    "SCELoss": [
        {"alpha": 0.01, "beta": 1.0},
        {"alpha": 6.0, "beta": 0.1, "A": -4.0},
        {"alpha": 0.0, "beta": 0.0},
    ],
    "GCELoss": [{"q": q} for q in (0.7, 1.0, 2.0, 0.05, 1e-6, 1e-25)],
    "AGCELoss": [
        {"a": a, "q": q}
        for a, q in (
            (4, 0.2), (0.6, 0.6), (6, 1.5), (1.8, 3), (1e-5, 0.5), (0, 0.3), (0, 1), (0, 2.5),
            (1, 1), (0.05, 3), (2, 0), (0.01, 0), (3, -1.5), (0.02, -0.5), (1e4, 1.5), (0, 1e-3),
        )
    ],
    "AULLoss": [
        {"a": a, "p": p}
        for a, p in (
            (3, 0.1), (5.5, 3), (6.3, 1.5), (6, 3), (1, 0.1), (1, 0.5), (1, 1), (1, 2.5), (1.02, 4),
            (1.001, 0.3), (1.000001, 0.3), (1.5, 0), (2, -1), (1.05, -2), (1e4, 0.5), (1.2, 9),
        )
    ],
    "AELLoss": [{"a": a} for a in (3.5, 2.5, 5.0, 1.5, 0.1, 100.0)],
    "FocalLoss": [{"gamma": g} for g in (0.5, 0.0, 0.1, 1.0, 2.0, 5.0)],
    "NormalizedFocalLoss": [{"gamma": g} for g in (0.5, 0.0, 2.0)],
    "NormalizedGCELoss": [{"q": q} for q in (0.7, 1.0, 0.05)],
    "BiasedMAELoss": [{"eps": eps} for eps in (2.0, 0.0, 0.1, 5.0, 30.0)],
    "AMSELoss": [{"a": a} for a in (30.0, 1.0, 1.5, 300.0)],
    "NNCELoss": [{}, {"p_min": 0.01}, {"p_min": 1e-30}],
    "NNFLLoss": [{}, {"gamma": 2.0, "p_min": 0.01}, {"gamma": 0.0}],
}  # fmt: skip
CASES = [(name, kwargs) for name in NAIVE for kwargs in PARAMETERS.get(name, [{}])]
IDS = [f"{name}({','.join(f'{v:g}' for v in kwargs.values())})" for name, kwargs in CASES]
all_cases = pytest.mark.parametrize("name, kwargs", CASES, ids=IDS)
# One case of each class, and a sum: for what does not depend on the formula.
EXAMPLES = [(name, PARAMETERS.get(name, [{}])[0]) for name in NAIVE] + [
    ("AULLoss", {"a": 1.0, "p": 0.5}),
    ("AGCELoss", {"a": 0.0, "q": 0.3}),
]


def build(name, kwargs=None, **options):
    return getattr(L, name)(**(kwargs or {}), **options)


def a_sum(**options):
    return 0.5 * L.NCELoss(**options) + 4.0 * L.AGCELoss(a=6, q=1.5, **options)


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def reduced(matrix, target, weight, ignore_index, reduction):
    """Reduce a matrix of L(u, k), (N, C, ...), for indices or probabilities, element by element."""
    weight = np.ones(matrix.shape[1]) if weight is None else weight
    soft = target.ndim == matrix.ndim
    out = np.zeros(matrix.shape[:1] + matrix.shape[2:])
    mass = 0.0
    for i in np.ndindex(out.shape):
        row = matrix[(i[0], slice(None), *i[1:])]
        if soft:
            out[i] = np.sum(target[(i[0], slice(None), *i[1:])] * weight * row)
            mass += 1
        elif target[i] != ignore_index:
            out[i] = weight[target[i]] * row[target[i]]
            mass += weight[target[i]]
    if reduction == "none":
        return out
    with np.errstate(invalid="ignore"):
        return out.sum() if reduction == "sum" else np.float64(out.sum()) / np.float64(mass)


SHAPES = [(5,), (4, 3), (7, 2), (1, 1), (0, 3), (3, 4, 2), (2, 3, 2, 2), (0, 3, 2)]


def problem(rng, shape, kind, weighted, scale=3.0):
    """Logits, target, weight and ignore_index as NumPy; class indices are ignored now and then."""
    z = scale * rng.standard_normal(shape)
    classes = shape[1] if len(shape) > 1 else shape[0]
    weight = rng.uniform(0.1, 3, classes) if weighted else None
    ignore_index = -100
    if kind == "soft":
        target = rng.uniform(0, 1, shape)
        target /= target.sum(1 if len(shape) > 1 else 0, keepdims=True)
    else:
        target = rng.integers(0, classes, shape[:1] + shape[2:] if len(shape) > 1 else ())
        ignore_index = {"index": -100, "ignore-class": 0, "ignore-all": 255}[kind]
        if kind == "ignore-all":
            target = np.full_like(target, 255)
        elif kind == "index" and target.ndim:
            target[rng.uniform(size=target.shape) < 0.2] = -100
    return z, target, weight, ignore_index


def tensor(x, dtype=None):
    return None if x is None else torch.as_tensor(x, dtype=dtype)


KINDS = ["index", "ignore-class", "ignore-all", "soft"]


def check_formula(L, name, kwargs, seed=0, shape=(6, 5), kind="index", weighted=True, red="mean"):
    z, target, weight, ignore_index = problem(np.random.default_rng(seed), shape, kind, weighted)
    loss = getattr(L, name)(
        **kwargs, weight=tensor(weight), ignore_index=ignore_index, reduction=red
    )
    if len(shape) == 1:
        matrix, labels = NAIVE[name](softmax(z[None]), **kwargs), target[None]
    else:
        matrix, labels = NAIVE[name](softmax(z), **kwargs), target
    if name.startswith("N") and matrix.shape[1] == 1:
        matrix[:] = 0  # one class: nothing to lose, as in cross entropy
    expected = reduced(matrix, labels, weight, ignore_index, red)
    got = loss(torch.tensor(z), torch.as_tensor(target))
    if len(shape) == 1 and red == "none":
        expected = expected[0]
    assert got.shape == np.shape(expected)
    # The naive formulas but GCE's cancel where q is small: eps / q.
    exponents = [abs(kwargs[k]) for k in "pq" if kwargs.get(k) and name != "GCELoss"]
    noise = 1e-15 / min([*exponents, 1.0])
    scale = np.abs(matrix).max(initial=1.0) + abs(kwargs.get("a", 0)) ** max(
        kwargs.get("q", 0), kwargs.get("p", 0)
    )
    np.testing.assert_allclose(
        got.numpy(), expected, rtol=1e-9, atol=scale * (1e-12 + noise), err_msg=f"{name} {kwargs}"
    )


def between(low, high):
    return st.floats(low, high, allow_nan=False)


@st.composite
def agce_parameters(draw):
    q = draw(between(-3, 4).filter(lambda q: abs(q) > 1e-3) | st.just(0.0))
    return {"a": draw(between(0.0 if q > 0 else 1e-3, 20)), "q": q}


@st.composite
def aul_parameters(draw):
    p = draw(between(-3, 4).filter(lambda p: abs(p) > 1e-3) | st.just(0.0))
    return {"a": draw(between(1.0 if p > 0 else 1.001, 20)), "p": p}


STRATEGIES = {
    "RCELoss": st.fixed_dictionaries({"A": between(-20, -0.01)}),
    "SCELoss": st.fixed_dictionaries({"alpha": between(0, 10), "beta": between(0, 10)}),
    "GCELoss": st.fixed_dictionaries({"q": between(1e-3, 4)}),
    "AGCELoss": agce_parameters(),
    "AULLoss": aul_parameters(),
    "AELLoss": st.fixed_dictionaries({"a": between(0.01, 100)}),
    "FocalLoss": st.fixed_dictionaries({"gamma": between(0, 6)}),
    "NormalizedFocalLoss": st.fixed_dictionaries({"gamma": between(0, 6)}),
    "NormalizedGCELoss": st.fixed_dictionaries({"q": between(1e-3, 4)}),
    "BiasedMAELoss": st.fixed_dictionaries({"eps": between(0, 20)}),
    "AMSELoss": st.fixed_dictionaries({"a": between(1, 100)}),
    "NNCELoss": st.fixed_dictionaries({"p_min": between(1e-12, 0.1)}),
    "NNFLLoss": st.fixed_dictionaries({"gamma": between(0, 6), "p_min": between(1e-12, 0.1)}),
}


# --- values ---------------------------------------------------------------------------------


@all_cases
def test_formula(name, kwargs):
    for kind in KINDS:
        check_formula(L, name, kwargs, kind=kind)


@pytest.mark.parametrize("name", NAIVE)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_parameters_shapes_weights_and_reductions(name, data):
    kwargs = data.draw(STRATEGIES.get(name, st.just({})))
    check_formula(
        L,
        name,
        kwargs,
        seed=data.draw(st.integers(0, 2**32)),
        shape=data.draw(st.sampled_from(SHAPES)),
        kind=data.draw(st.sampled_from(KINDS)),
        weighted=data.draw(st.booleans()),
        red=data.draw(st.sampled_from(["mean", "sum", "none"])),
    )


def check_cross_entropy(L):
    """Both our ways to cross entropy (torch's own, and the core through a sum) are torch's."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for kind in KINDS:
            for weighted in (False, True):
                z, target, weight, ignore_index = problem(rng, shape, kind, weighted)
                z, target, weight = torch.tensor(z), torch.as_tensor(target), tensor(weight)
                for red in ("mean", "sum", "none"):
                    options = {"weight": weight, "ignore_index": ignore_index, "reduction": red}
                    expected = F.cross_entropy(z, target, **options)
                    for loss in (L.CELoss(**options), 1.0 * L.CELoss(**options)):
                        torch.testing.assert_close(
                            loss(z, target), expected, equal_nan=True, msg=f"{loss} {shape} {kind}"
                        )


def test_cross_entropy_is_torchs():
    check_cross_entropy(L)


@pytest.mark.parametrize("name, kwargs", EXAMPLES)
def test_dtype_is_cross_entropys_and_half_is_computed_in_float32(name, kwargs):
    rng = np.random.default_rng(1)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        for kind, target_dtype in (("index", None), ("soft", dtype), ("soft", torch.float32)):
            z, target, _, _ = problem(rng, (50, 7), kind, False)
            z, target = torch.tensor(z).to(dtype), tensor(target, target_dtype)
            loss = build(name, kwargs)
            for autocast in (False, True):
                with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                    got, dtype_expected = loss(z, target), F.cross_entropy(z, target).dtype
                assert got.dtype == dtype_expected, (dtype, target_dtype, autocast)
                exact = loss(z.double(), target if kind == "index" else target.double())
                tolerance = max(torch.finfo(got.dtype).eps, 1e-15) * 1.01
                if got.dtype in (torch.float32, torch.float64):
                    tolerance *= 20
                torch.testing.assert_close(got.double(), exact, rtol=tolerance, atol=tolerance)
    z = torch.randn(4, 3, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        build(name, kwargs)(z, torch.tensor([0, 1, 2, 0])).backward()
    assert z.grad.dtype == torch.bfloat16


def check_half(L):
    """5,000 losses of 20 pass float16's 65,504; their mean does not, and neither do we."""
    z = torch.zeros(5000, 2, dtype=torch.float16)
    z[:, 0] = 20
    target = torch.ones(5000, dtype=torch.int64)
    for loss in (L.CELoss(), L.SCELoss(1.0, 0.0), 1.0 * L.CELoss()):
        assert loss(z, target).dtype == torch.float16
        assert loss(z, target).item() == 20, loss
        with torch.autocast("cpu", torch.bfloat16):
            assert loss(z, target).dtype == torch.float32, loss


def test_half_precision_sums_do_not_overflow():
    check_half(L)


# --- numerics -------------------------------------------------------------------------------


def extreme_logits():
    """25 rows with gaps up to 2e4, and every place for the label."""
    rows, labels = [], []
    for gap in (17.0, 24.0, 50.0, 104.0, 1e3, 1e4):
        for label in (0, 1):
            rows.append([gap, 0.0, 0.0, 0.0])
            labels.append(label)
        rows.append([gap, -gap, -gap, gap])
        labels.append(1)
        rows.append([-gap, gap, 0.0, -gap])
        labels.append(1)
    return torch.tensor([*rows, [0.0] * 4]), torch.tensor([*labels, 2])


def random_parameters(name, rng):
    positive = float(10 ** rng.uniform(-6, 2))
    exponent = float(rng.choice([0.0, rng.uniform(-2, 4), 10 ** rng.uniform(-8, 0)]))
    offset = positive * rng.integers(2) if exponent > 0 else positive
    return {
        "RCELoss": {"A": -positive},
        "SCELoss": {"alpha": positive, "beta": float(rng.uniform(0, 10))},
        "GCELoss": {"q": float(10 ** rng.uniform(-8, 1.5))},
        "AGCELoss": {"a": offset, "q": exponent},
        "AULLoss": {"a": 1 + offset, "p": exponent},
        "AELLoss": {"a": float(10 ** rng.uniform(-30, 5))},
        "FocalLoss": {"gamma": float(rng.choice([0, 10 ** rng.uniform(-8, 1.5)]))},
        "NormalizedFocalLoss": {"gamma": float(10 ** rng.uniform(-3, 1))},
        "NormalizedGCELoss": {"q": float(10 ** rng.uniform(-3, 1))},
        "BiasedMAELoss": {"eps": float(rng.choice([0, 10 ** rng.uniform(-8, 1.9)]))},
        "AMSELoss": {"a": 1 + offset},
        "NNCELoss": {"p_min": float(10 ** rng.uniform(-40, -0.7))},
        "NNFLLoss": {
            "gamma": float(10 ** rng.uniform(-3, 1)), "p_min": float(10 ** rng.uniform(-40, -0.7))
        },
    }.get(name, {})  # fmt: skip


EXTREMES = {
    "AGCELoss": [
        {"a": a, "q": q}
        for a, q in ((1e-300, 0.5), (1e-38, 0.01), (1e30, 0.5), (1e30, 1.2), (1e-18, -1), (6, 40))
    ],
    "AULLoss": [
        {"a": a, "p": p}
        for a, p in (
            (1 + 2**-52, 0.5),
            (1 + 2**-52, -1.4),
            (1, 60),
            (1.01, 60),
            (1, 1e-8),
            (1e30, 1),
        )
    ],
    "AELLoss": [{"a": a} for a in (1e-300, 1e-40, 1e-20, 1e40)],
    "GCELoss": [{"q": q} for q in (1e-300, 1e-21, 1e-12, 300.0)],
    "FocalLoss": [{"gamma": gamma} for gamma in (1e-300, 1e-8, 300.0)],
    "NormalizedFocalLoss": [{"gamma": gamma} for gamma in (1e-8, 300.0)],
    "NormalizedGCELoss": [{"q": q} for q in (1e-8, 300.0)],
    "BiasedMAELoss": [{"eps": eps} for eps in (1e-300, 87.0)],
    "AMSELoss": [{"a": 1e18}],
    "NNCELoss": [{"p_min": p} for p in (1e-300, 0.49)],
    "NNFLLoss": [{"gamma": g, "p_min": p} for g, p in ((1e-8, 1e-300), (300.0, 0.49))],
}


def check_finite(L, name, cases=1000):
    rng = np.random.default_rng(7)
    z, target = extreme_logits()
    parameters = EXTREMES.get(name, []) + PARAMETERS.get(name, [{}])
    while len(parameters) * len(z) < cases and name in STRATEGIES:
        parameters.append(random_parameters(name, rng))
    for kwargs in parameters:
        loss = getattr(L, name)(**kwargs, reduction="none")
        for dtype in (torch.float32, torch.bfloat16):
            x = z.to(dtype).requires_grad_()
            value = loss(x, target)
            (gradient,) = torch.autograd.grad(value.sum(), x)
            assert value.isfinite().all(), (loss, dtype, value)
            assert gradient.isfinite().all(), (loss, dtype, gradient)
            assert value.min() >= -1e-5 * value.abs().max(), (loss, dtype, value)
            if value.dtype == torch.float32:
                representable = gradient.abs() < 6e4
        x = z.half().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x, target).float().sum(), x)
        assert gradient[representable].isfinite().all(), (loss, "float16")
    return len(parameters) * len(z)


@pytest.mark.parametrize("name", NAIVE)
def test_loss_and_gradient_are_finite_for_every_legal_parameter(name):
    cases = check_finite(L, name)
    assert cases >= (1000 if name in STRATEGIES else 25)


@pytest.mark.parametrize("name", [name for name in NAIVE if name not in STRATEGIES])
def test_loss_without_parameters_is_finite_on_random_logits(name):
    """The other 1,000 cases: losses without parameters vary in their logits only."""
    rng = np.random.default_rng(3)
    z = rng.standard_normal((1000, 6)) * 10 ** rng.uniform(-1, 4, (1000, 1))
    z = torch.tensor(np.clip(z, -1e4, 1e4))
    target = torch.tensor(rng.integers(0, 6, 1000))
    for dtype in (torch.float32, torch.bfloat16):
        x = z.to(dtype).requires_grad_()
        value = build(name, reduction="none")(x, target)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        assert value.isfinite().all() and gradient.isfinite().all()


def mp_slope(name, u, v, kwargs):
    """l'(u), v = 1 - u, in mpmath: written down by hand, apart from the code under test."""
    k = {key: mpmath.mpf(value) for key, value in kwargs.items()}
    return {
        "CELoss": lambda: -1 / u,
        "MAELoss": lambda: -2,
        "UnhingedLoss": lambda: -1,
        "RCELoss": lambda A=LOG_1E_4: A,
        "SCELoss": lambda alpha, beta, A=LOG_1E_4: (-alpha / u if alpha else 0) + beta * A,
        "GCELoss": lambda q: -(u ** (q - 1)),
        "AGCELoss": lambda a, q: -((a + u) ** (q - 1)),
        "AULLoss": lambda a, p: -((a - 1 + v) ** (p - 1)),
        "AELLoss": lambda a: -mpmath.exp(-u / a) / a,
        "FocalLoss": lambda gamma: gamma * v ** (gamma - 1) * mpmath.log(u) - v**gamma / u,
        "BiasedMAELoss": lambda eps: -2 * mpmath.exp(eps) / (v + mpmath.exp(eps) * u) ** 2,
    }[name](**k)


def check_gradient(L, name, kwargs):
    """The float32 gradient is right to 1e-4 wherever float32 can hold it: nothing goes flat."""
    for gap in (0.0, 1.0, 5.0, 12.0, 18.0, 25.0, 50.0, 80.0):
        for label in (0, 1):
            z = torch.tensor([[gap, 0.0, -1.0]], requires_grad=True)
            loss = getattr(L, name)(**kwargs)
            (got,) = torch.autograd.grad(loss(z, torch.tensor([label])), z)
            with mpmath.workdps(60):
                e = [mpmath.exp(x) for x in z[0].tolist()]
                u = e[label] / sum(e)
                v = sum(x for j, x in enumerate(e) if j != label) / sum(e)
                slope = mp_slope(name, u, v, kwargs)
                exact = [slope * u * (v if j == label else -e[j] / sum(e)) for j in range(3)]
            for j in range(3):
                if label == 0 and gap > 5 and (j == 0 or name == "FocalLoss"):
                    continue  # 1 - u_y itself is rounded away, as in F.cross_entropy
                if 1e-30 < abs(exact[j]) < 1e30:
                    assert got[0, j].item() == pytest.approx(float(exact[j]), rel=1e-4), (
                        loss, gap, label, j
                    )  # fmt: skip


@pytest.mark.parametrize("name, kwargs", [c for c in CASES if c[0] in POINTWISE])
def test_gradient_is_exact_where_float32_holds_it(name, kwargs):
    check_gradient(L, name, kwargs)


def check_edges(L):
    """Where l' is infinite at an end, the logit gradient there is its limit, 0."""
    for loss, label in (
        (L.AULLoss(1, 0.5), 0), (L.AULLoss(1, 0.1), 0), (L.FocalLoss(0.5), 0),
        (L.FocalLoss(0.01), 0), (L.AGCELoss(0, 0.5), 1), (L.GCELoss(0.5), 1),
    ):  # fmt: skip
        z = torch.tensor([[1e4, 0.0, 0.0]], requires_grad=True)
        value = loss(z, torch.tensor([label]))
        (gradient,) = torch.autograd.grad(value, z, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), z)
        assert value.isfinite() and (gradient == 0).all() and (second == 0).all(), (loss, gradient)
    # a single class has u = 1, however slowly the loss falls there
    assert L.AULLoss(1, 0.001)(torch.zeros(1, 1), torch.tensor([0])) == 0


def test_gradient_at_the_edges_is_the_limit():
    check_edges(L)


@pytest.mark.parametrize("soft", [False, True])
@all_cases
def test_gradcheck(name, kwargs, soft):
    z, target, weight, _ = problem(np.random.default_rng(5), (3, 3), "soft", True, scale=1.0)
    z = torch.tensor(z, requires_grad=True)
    target = torch.tensor(target, requires_grad=True) if soft else torch.tensor([0, 2, 1])
    loss = build(name, kwargs, weight=tensor(weight))
    assert torch.autograd.gradcheck(loss, (z, target))
    assert torch.autograd.gradgradcheck(loss, (z, target))


# --- l(u) and l'(u) --------------------------------------------------------------------------


def mp_value(name, u, kwargs):
    k = {key: mpmath.mpf(value) for key, value in kwargs.items()}

    def gap(x, y, q):
        return (x**q - y**q) / q if q else mpmath.log(x / y)

    return {
        "CELoss": lambda: -mpmath.log(u),
        "MAELoss": lambda: 2 - 2 * u,
        "UnhingedLoss": lambda: 1 - u,
        "RCELoss": lambda A=LOG_1E_4: -A * (1 - u),
        "SCELoss": lambda alpha, beta, A=LOG_1E_4: (
            (-alpha * mpmath.log(u) if alpha else 0) - beta * A * (1 - u)
        ),
        "GCELoss": lambda q: (1 - u**q) / q,
        "AGCELoss": lambda a, q: gap(a + 1, a + u, q),
        "AULLoss": lambda a, p: gap(a - u, a - 1, p),
        "AELLoss": lambda a: mpmath.exp(-u / a),
        "FocalLoss": lambda gamma: -((1 - u) ** gamma) * mpmath.log(u) if u != 1 else mpmath.mpf(0),
        "BiasedMAELoss": lambda eps: 2 - 2 / (1 + mpmath.exp(-eps) * (1 - u) / u) if u else 2,
    }[name](**k)


def check_ends(L, name, kwargs):
    """Exactly the double nearest to the true value at 0 and 1; infinities where they are."""
    loss = getattr(L, name)(**kwargs)
    infinite_loss = name in ("CELoss", "FocalLoss") or kwargs.get("alpha", 0) > 0
    a_q = (kwargs.get("a", 0.0), kwargs.get("q", 1.0))
    infinite_at_0 = infinite_loss or (
        name in ("GCELoss", "AGCELoss") and a_q[0] == 0 and a_q[1] < 1
    )
    infinite_at_1 = name == "AULLoss" and kwargs["a"] == 1 and kwargs["p"] < 1
    with mpmath.workdps(120):
        for u in (0, 1):
            if u == 0 and infinite_loss:
                value = math.inf
            else:
                value = float(mp_value(name, mpmath.mpf(u), kwargs))
            if (u == 0 and infinite_at_0) or (u == 1 and infinite_at_1):
                slope = -math.inf
            elif name == "FocalLoss":
                slope = -1.0 if kwargs["gamma"] == 0 else 0.0
            else:
                slope = float(mp_slope(name, mpmath.mpf(u), mpmath.mpf(1 - u), kwargs))
            assert loss.of_probability(u) == value, (loss, u, loss.of_probability(u), value)
            assert loss.slope(u) == slope, (loss, u, loss.slope(u), slope)


def test_ends_of_a_sum_are_correctly_rounded():
    parts = [("AGCELoss", {"a": 0.6, "q": 0.6}), ("AELLoss", {"a": 2.5}), ("MAELoss", {})]
    loss = L.LossSum((c, build(*part)) for c, part in zip((0.1, 0.3, 0.7), parts, strict=True))
    with mpmath.workdps(60):
        for u in (mpmath.mpf(0), mpmath.mpf(1)):
            for function, oracle in (
                (loss.of_probability, lambda name, k, u=u: mp_value(name, u, k)),
                (loss.slope, lambda name, k, u=u: mp_slope(name, u, 1 - u, k)),
            ):
                weighted = zip((0.1, 0.3, 0.7), parts, strict=True)
                assert function(int(u)) == float(
                    sum(mpmath.mpf(c) * oracle(*p) for c, p in weighted)
                )


@pytest.mark.parametrize("name", POINTWISE)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_ends_are_correctly_rounded(name, data):
    check_ends(L, name, data.draw(STRATEGIES.get(name, st.just({}))))


def check_inside(L, name, kwargs):
    loss = getattr(L, name)(**kwargs)
    u = np.array([1e-300, 1e-12, 0.1, 1 / 3, 0.5, 0.9, 1 - 1e-6, 1 - 2**-53])
    got, slope = loss.of_probability(u), loss.slope(u)
    with mpmath.workdps(400):
        value = np.array([float(mp_value(name, mpmath.mpf(x), kwargs)) for x in u])
        exact = np.array(
            [float(mp_slope(name, mpmath.mpf(x), 1 - mpmath.mpf(x), kwargs)) for x in u]
        )
    size = max(1.0, min(value.max(), 1e3))
    np.testing.assert_allclose(got, value, rtol=1e-13, atol=2e-14 * size, err_msg=repr(loss))
    np.testing.assert_allclose(slope, exact, rtol=1e-12, err_msg=repr(loss))


@pytest.mark.parametrize("name, kwargs", [c for c in CASES if c[0] in POINTWISE])
def test_of_probability_and_slope_between_the_ends(name, kwargs):
    check_inside(L, name, kwargs)
    check_ends(L, name, kwargs)


def test_of_probability_keeps_the_kind_of_its_argument():
    loss = L.AGCELoss(0.6, 0.6)
    assert type(loss.of_probability(0.5)) is float and type(loss.slope(0)) is float
    for dtype in (np.float32, np.float64):
        u = np.linspace(0, 1, 5, dtype=dtype)[::-1]
        for function in (loss.of_probability, loss.slope):
            assert function(u).dtype == dtype and function(u).shape == (5,)
            assert function(u)[1] == dtype(function(0.75))
            assert function(dtype(0.75)).dtype == dtype
            t = function(torch.tensor(u.copy()))
            assert (
                t.dtype == torch.tensor(u.copy()).dtype
                and t.numpy().tolist() == function(u).tolist()
            )
    assert loss.slope(np.array([0, 1])).dtype == np.float64
    slopes = torch.func.vmap(torch.func.grad(loss.of_probability))(torch.tensor([0.2, 0.7]))
    torch.testing.assert_close(slopes, loss.slope(torch.tensor([0.2, 0.7])))
    for bad in (-0.1, 1.1, math.nan, np.array([0.5, 2.0])):
        with pytest.raises(ValueError, match=r"u.*\[0, 1\]"):
            loss.of_probability(bad)
    with pytest.raises(TypeError, match=r"u: expected .*'half'"):
        loss.slope("half")


def test_only_functions_of_the_targets_probability_have_one():
    both = 2.0 * L.AELLoss(2.0) + 0.5 * L.AULLoss(1, 0.5)
    assert both.of_probability(0.3) == pytest.approx(2 * math.exp(-0.15) + 0.5 * 2 * 0.7**0.5)
    assert both.slope(1) == -math.inf and both.of_probability(1) == 2 * math.exp(-0.5)
    assert (L.MAELoss() + nn.CrossEntropyLoss()).of_probability(0) == math.inf
    for loss in (L.NCELoss(), L.NLNLLoss(), a_sum(), L.Normalized(L.MAELoss())):
        for function in (loss.of_probability, loss.slope):
            with pytest.raises(TypeError, match=r"^loss: expected a function of one probability"):
                function(0.5)


# --- normalised losses and the algebra -------------------------------------------------------


def check_normalized(L):
    """Normalised losses sum to one over the labels (symmetric); `Normalized` is general."""
    z = 3 * torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for loss in (
        L.NCELoss(reduction="none"),
        L.NormalizedFocalLoss(0.5, reduction="none"),
        L.NormalizedGCELoss(0.7, reduction="none"),
        L.Normalized(L.AULLoss(1, 0.5, reduction="none")),
        L.Normalized(2.0 * L.CELoss(reduction="none") + L.AELLoss(3, reduction="none")),
    ):
        total = sum(loss(z, torch.full((8,), k)) for k in range(5))
        torch.testing.assert_close(total, torch.ones_like(total), msg=repr(loss))
        total = loss(z, torch.full((8, 5), 1.0, dtype=torch.float64))
        torch.testing.assert_close(total, torch.ones_like(total), msg=repr(loss))
    target = torch.arange(8) % 5
    torch.testing.assert_close(
        L.NCELoss()(z, target), L.Normalized(nn.CrossEntropyLoss())(z, target)
    )


def test_normalized_losses():
    check_normalized(L)
    assert isinstance(L.NCELoss().loss, L.CELoss)
    assert L.NormalizedFocalLoss(2.0).loss.gamma == 2.0
    for bad in (L.NCELoss(), L.NLNLLoss(), L.CELoss(label_smoothing=0.1)):
        with pytest.raises(TypeError, match=r"^loss: expected a function of one probability"):
            L.Normalized(bad)


def check_algebra(L):
    nce, agce, ce = L.NCELoss(), L.AGCELoss(6, 1.5), nn.CrossEntropyLoss()
    z, target = torch.randn(9, 4), torch.randint(4, (9,))
    z.requires_grad_()
    mixed = 2 * (1.0 * nce + 4 * agce) + ce + agce * 0.5
    expected = 2 * nce(z, target) + 8 * agce(z, target) + ce(z, target) + 0.5 * agce(z, target)
    torch.testing.assert_close(mixed(z, target), expected)
    torch.testing.assert_close(
        torch.autograd.grad(mixed(z, target), z), torch.autograd.grad(expected, z)
    )
    assert [c for c, _ in mixed.terms] == [2.0, 8.0, 1.0, 0.5]
    assert mixed.terms[1][1] is agce
    torch.testing.assert_close((ce + nce)(z, target), ce(z, target) + nce(z, target))
    assert (0.0 * nce)(z, target) == 0
    silent = L.MAELoss() + 0.0 * L.CELoss()
    assert silent.of_probability(0) == 2 and silent.slope(0) == -2


def test_algebra():
    check_algebra(L)
    assert repr(1.0 * L.NCELoss() + 4.0 * L.AGCELoss(a=6, q=1.5)) == (
        "1.0 * NCELoss() + 4.0 * AGCELoss(a=6.0, q=1.5)"
    )
    assert repr(np.float64(2) * L.MAELoss()) == "2.0 * MAELoss()"


def test_terms_must_agree():
    w, v = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert (L.CELoss(weight=w) + L.MAELoss(weight=w.clone())).weight.tolist() == [1, 2]
    for options in ({"weight": w}, {"ignore_index": 3}, {"reduction": "sum"}):
        (name,) = options
        with pytest.raises(ValueError, match=f"^{name}: expected the same in all terms"):
            L.MAELoss(**options) + L.AELLoss(2.0)
        with pytest.raises(ValueError, match=f"^{name}: expected the same in all terms"):
            nn.CrossEntropyLoss(**options) + L.NCELoss()
    with pytest.raises(ValueError, match=r"^weight: expected the same"):
        L.CELoss(weight=w) + L.MAELoss(weight=v)
    with pytest.raises(ValueError, match="label_smoothing: expected 0 in sums and certificates"):
        L.MAELoss() + nn.CrossEntropyLoss(label_smoothing=0.1)
    for bad in ("x", None, True, torch.ones(())):
        with pytest.raises(TypeError):
            bad * L.MAELoss()
    for bad in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="coefficient"):
            bad * L.MAELoss()
    with pytest.raises(TypeError):
        L.MAELoss() + 1
    with pytest.raises(ValueError, match="terms"):
        L.LossSum([])


def check_reduction(L):
    z, target = torch.randn(3, 4), torch.tensor([0, 1, 3])
    loss = 0.5 * L.NCELoss() + L.AGCELoss(6, 1.5) + L.Normalized(L.MAELoss() + L.AELLoss(2))
    mean = loss(z, target)
    loss.reduction = "none"
    assert [term.reduction for _, term in loss.terms] == ["none"] * 3
    torch.testing.assert_close(loss(z, target).mean(), mean)
    loss.reduction = "sum"
    torch.testing.assert_close(loss(z, target) / 3, mean)


def test_reduction_is_set_once_for_the_whole_sum():
    check_reduction(L)
    for loss in (L.MAELoss(), a_sum(), L.NCELoss()):
        with pytest.raises(
            ValueError, match=r"^reduction: expected one of 'mean', 'sum', 'none', got 'average'"
        ):
            loss.reduction = "average"


def every_loss(**options):
    yield from (build(name, kwargs, **options) for name, kwargs in EXAMPLES)
    yield L.NLNLLoss(seed=3, **options)
    yield a_sum(**options)
    yield L.Normalized(2.0 * L.MAELoss(**options) + L.CELoss(**options))
    yield L.GCELoss(0.7, compat="official", **options) + 0.1 * L.SCELoss(1, 1, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"weight": torch.tensor([0.1, 2.0, 3.0]), "ignore_index": 1, "reduction": "sum"}],
)
def test_repr_pickle_copy_and_state_dict(options):
    z, target = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0])
    for loss in every_loss(**options):
        clones = [pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss)]
        clones += [L.loss_from_string(repr(loss)), eval(repr(loss), vars(L))]
        fresh = copy.deepcopy(loss)
        for buffer in fresh.buffers():
            buffer.zero_()
        buffer = io.BytesIO()
        torch.save(loss.state_dict(), buffer)
        buffer.seek(0)
        fresh.load_state_dict(torch.load(buffer, weights_only=True))
        value = loss(z, target)
        for clone in (*clones, fresh):
            assert repr(clone) == repr(loss)
            assert torch.equal(clone(z, target), value), loss


def test_loss_from_string_is_safe():
    assert repr(L.loss_from_string(" 2*(NCELoss()+AELLoss(3)) ")) == (
        "2.0 * NCELoss() + 2.0 * AELLoss(a=3.0)"
    )
    with pytest.raises(
        ValueError, match=r"^text: expected a loss of .*AGCELoss, AULLoss.*, got 'AGCE'"
    ):
        L.loss_from_string("AGCE(1, 2)")
    for bad in (
        "", "1.0", "NCELoss", "NCELoss() - AELLoss(1)", "3 * [1]", "NCELoss(", "a.b()",
        "__import__('os').system('true')", "(lambda: 1)()", "NCELoss() * NCELoss()",
    ):  # fmt: skip
        with pytest.raises(ValueError, match="text"):
            L.loss_from_string(bad)
    with pytest.raises(TypeError, match="text"):
        L.loss_from_string(3)


# --- compatibility with the authors' code ----------------------------------------------------


def official(name, z, target, gamma=0.5, q=0.7, alpha=0.1, beta=1.0, weight=None):
    """What the authors' code computes, clamps and all, written with a one-hot target."""
    p = F.softmax(z, 1)
    y = F.one_hot(target, z.shape[1]).to(z)
    log_u = (F.log_softmax(z, 1) * y).sum(1)
    clamped = p.clamp(1e-7, 1)
    focal = (1 - p.detach()) ** gamma * -F.log_softmax(z, 1)
    reverse = -(clamped * y.clamp(1e-4, 1).log()).sum(1)
    floored = F.log_softmax(z, 1).clamp(min=math.log(1e-7))
    negative = (1 - floored.detach().exp()) ** gamma * floored
    negative = negative - (1 - 1e-7) ** gamma * math.log(1e-7)
    return {
        "FocalLoss": lambda: (focal * y).sum(1),
        "NormalizedFocalLoss": lambda: (focal * y).sum(1) / focal.sum(1),
        "GCELoss": lambda: (1 - (clamped * y).sum(1) ** q) / q,
        "NormalizedGCELoss": lambda: (1 - (clamped * y).sum(1) ** q) / (1 - clamped**q).sum(1),
        "RCELoss": lambda: reverse,
        "SCELoss": lambda: beta * reverse - alpha * log_u,
        "NNFLLoss": lambda: 1 - (negative * y).sum(1) / negative.sum(1),
        "negative_learning": lambda: -(1 - p).clamp(1e-5, 1).log()[range(len(z)), target],
    }[name]().mean()


OFFICIAL = {
    "FocalLoss": {"gamma": 0.5},
    "NormalizedFocalLoss": {"gamma": 0.5},
    "GCELoss": {"q": 0.7},
    "NormalizedGCELoss": {"q": 0.7},
    "RCELoss": {},
    "SCELoss": {"alpha": 0.1, "beta": 1.0},
    "NNFLLoss": {"gamma": 0.5},
    "negative_learning": {},
}


def check_official(L, name):
    """compat="official" is the authors' gradient, and "formula" is visibly not."""
    generator = torch.Generator().manual_seed(0)
    z = 12 * torch.randn(40, 6, dtype=torch.float64, generator=generator)
    z[0] = torch.tensor([30.0, 0, 0, 0, 0, 0])
    target = torch.randint(6, (40,), generator=generator)
    target[0] = 0 if name == "negative_learning" else 1
    z.requires_grad_()
    gradients = []
    for compat in ("official", "formula"):
        if name == "negative_learning":
            value = L.negative_learning(z, target, compat=compat)
        else:
            value = getattr(L, name)(**OFFICIAL[name], compat=compat)(z, target)
        gradients.append(torch.autograd.grad(value, z)[0])
        if compat == "official":
            expected = official(name, z, target)
            torch.testing.assert_close(value, expected)
    (exact,) = torch.autograd.grad(expected, z)
    torch.testing.assert_close(gradients[0], exact, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(gradients[0], gradients[1], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_gradients(name):
    check_official(L, name)


def test_focal_official_gradient_is_short():
    """Detaching the factor leaves about 0.65 of the gradient's norm at gamma = 2."""
    z = torch.randn(4096, 10, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.arange(4096) % 10
    norms = [
        torch.autograd.grad(L.FocalLoss(2.0, compat=compat)(z, target), z)[0].norm()
        for compat in ("official", "formula")
    ]
    assert 0.55 < norms[0] / norms[1] < 0.75


def test_gce_keeps_its_gradient_beyond_the_official_clamp():
    z = torch.tensor([[17.0, 0.0]], requires_grad=True)
    target = torch.tensor([1])
    (flat,) = torch.autograd.grad(L.GCELoss(compat="official")(z, target), z)
    (kept,) = torch.autograd.grad(L.GCELoss()(z, target), z)
    assert (flat == 0).all() and kept[0, 0].item() == pytest.approx(math.exp(-0.7 * 17), rel=1e-5)


# --- negative learning ----------------------------------------------------------------------


def check_negative_learning(L):
    """-ln(1 - u_k) with its gradient, from u_k = 1e-20 to 1 - 1e-40 in float32."""
    for gap in (-46.0, -20.0, -8.0, -1.0, 0.0, 1.0, 8.0, 20.0, 46.0, 92.0):
        z = torch.tensor([[gap, 0.0, -1.0]], requires_grad=True)
        value = L.negative_learning(z, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(value, z)
        with mpmath.workdps(60):
            e = [mpmath.exp(x) for x in z[0].tolist()]
            total = sum(e)
            exact = float(-mpmath.log((e[1] + e[2]) / total))
            slope = [float(e[0] / total)]
            slope += [float(x / total - x / (e[1] + e[2])) for x in e[1:]]
        assert value.item() == pytest.approx(exact, rel=1e-5, abs=1e-25)
        assert gradient[0].tolist() == pytest.approx(slope, rel=1e-4)


def test_negative_learning():
    check_negative_learning(L)
    z, labels = torch.randn(6, 4, 3, dtype=torch.float64), torch.randint(4, (6, 3))
    labels[0, 0] = -100
    weight = torch.rand(4, dtype=torch.float64)
    matrix = -np.log(1 - softmax(z.numpy()))
    for red in ("mean", "sum", "none"):
        got = L.negative_learning(z, labels, weight=weight, reduction=red)
        expected = reduced(matrix, labels.numpy(), weight.numpy(), -100, red)
        np.testing.assert_allclose(got.numpy(), expected)
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 3, 1])
    assert torch.autograd.gradcheck(L.negative_learning, (x, labels))
    assert torch.autograd.gradgradcheck(L.negative_learning, (x, labels))
    big = torch.tensor([[1e4, -1e4, 0.0]] * 3, requires_grad=True)
    value = L.negative_learning(big, torch.arange(3))
    assert value.isfinite() and torch.autograd.grad(value, big)[0].isfinite().all()
    for bad, error in ((torch.rand(3, 4), TypeError), (torch.zeros(2).long(), ValueError)):
        with pytest.raises(error, match=r"^target: expected"):
            L.negative_learning(x, bad)
    with pytest.raises(ValueError, match=r"^input: expected at least 2 classes"):
        L.negative_learning(x[:, :1], torch.zeros(3).long())
    for loss in (L.NLNLLoss(), L.NLNLLoss() + L.MAELoss()):
        with pytest.raises(TypeError, match=r"^target: expected class indices"):
            loss(x, torch.rand(3, 4))


def check_nlnl(L):
    """One uniform wrong label per element from its own generator, whatever the reduction."""
    target = torch.randint(4, (30_000,), generator=torch.Generator().manual_seed(1))
    before = torch.get_rng_state()
    drawn = L.NLNLLoss(seed=5).draw(target, 4)
    assert torch.equal(before, torch.get_rng_state())
    offsets = torch.bincount((drawn - target) % 4, minlength=4)
    assert offsets[0] == 0
    assert ((offsets[1:] - 10_000) ** 2 / 10_000).sum() < 13.8  # chi-squared, 2 df, 1e-3
    z = torch.randn(30_000, 4)
    none = L.NLNLLoss(seed=5, reduction="none")(z, target)
    assert torch.equal(none, L.negative_learning(z, drawn, reduction="none"))
    torch.testing.assert_close(L.NLNLLoss(seed=5)(z, target), none.mean())
    torch.testing.assert_close(L.NLNLLoss(seed=5, reduction="sum")(z, target), none.sum())
    loss = L.NLNLLoss(seed=5, reduction="none")
    assert torch.equal(loss(z, target), none) and not torch.equal(loss(z, target), none)
    assert not torch.equal(L.NLNLLoss(seed=6, reduction="none")(z, target), none)
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for compat, divisor in (("formula", weight[target].sum()), ("official", len(target))):
        drawn = L.NLNLLoss(seed=5).draw(target, 4)
        terms = L.negative_learning(z, drawn, reduction="none", compat=compat)
        got = L.NLNLLoss(seed=5, weight=weight, compat=compat)(z, target)
        torch.testing.assert_close(got, (weight[target] * terms).sum() / divisor)


def test_nlnl():
    check_nlnl(L)


def test_nlnl_resumes_from_its_state_dict():
    z, target = torch.randn(50, 5), torch.randint(5, (50,))
    loss, other = L.NLNLLoss(seed=1, reduction="none"), L.NLNLLoss(seed=2, reduction="none")
    loss(z, target)
    other.load_state_dict(loss.state_dict())
    assert torch.equal(loss(z, target), other(z, target))


def test_nlnl_loads_what_another_machine_saved(monkeypatch):
    """With ``map_location="cuda"`` the state comes from a GPU; without a GPU, none fits."""
    moved, state = [], L.NLNLLoss(seed=1).state_dict()
    key = "_extra_state"
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: moved.append(x) or x)
    L.NLNLLoss().load_state_dict(state)
    assert moved[0] is state[key]["state"]
    loss = L.NLNLLoss(seed=2)
    loss.load_state_dict({key: state[key] | {"device": "nowhere:0"}})
    assert loss.generator.initial_seed() == 2


# --- drop-in anywhere ------------------------------------------------------------------------


def deterministic_losses(**options):
    return [loss for loss in every_loss(**options) if not isinstance(loss, L.NLNLLoss)]


def test_functorch():
    z, target = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    for loss in deterministic_losses():
        rows = torch.func.vmap(loss)(z, target)
        grads = torch.func.vmap(torch.func.grad(loss))(z, target)
        loss.reduction = "none"
        torch.testing.assert_close(rows, loss(z, target))
        x = z.clone().requires_grad_()
        torch.testing.assert_close(grads, torch.autograd.grad(loss(x, target).sum(), x)[0])
        loss.reduction = "mean"
        hessian = torch.func.hessian(loss)(z[0], target[0])
        torch.testing.assert_close(hessian, hessian.T)
    nlnl = torch.func.vmap(L.negative_learning)(z, target)
    torch.testing.assert_close(nlnl, L.negative_learning(z, target, reduction="none"))


def compiled_equals_eager(loss, backend):
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for target in (torch.tensor([0, 1, -100, 2]), F.softmax(torch.randn(4, 3), 1)):
        z = torch.randn(4, 3, requires_grad=True)
        got, expected = compiled(z, target), loss(z, target)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(torch.autograd.grad(got, z), torch.autograd.grad(expected, z))


def test_compile_has_no_graph_break():
    for loss in deterministic_losses(weight=torch.tensor([1.0, 2.0, 3.0])):
        compiled_equals_eager(loss, "eager")
    z, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    compiled = torch.compile(L.negative_learning, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z, target), L.negative_learning(z, target))
    with pytest.raises(torch._dynamo.exc.Unsupported):  # as its docstring says
        torch.compile(L.NLNLLoss(), fullgraph=True, backend="eager")(z, target)


def test_negative_learning_is_exported_with_labels_that_were_drawn_outside():
    class Core(nn.Module):
        def forward(self, z, drawn):
            return L.negative_learning(z, drawn)

    z, drawn = torch.randn(4, 3), L.NLNLLoss().draw(torch.tensor([0, 1, 2, 2]), 3)
    exported = torch.export.export(Core(), (z, drawn)).module()
    torch.testing.assert_close(exported(z, drawn), L.negative_learning(z, drawn))


@pytest.mark.slow
def test_compile_inductor():
    compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "g++")
    require(shutil.which(compiler) is not None, f"the C++ compiler {compiler}")
    for loss in (a_sum(), L.AULLoss(1, 0.5), L.FocalLoss(0.5)):
        compiled_equals_eager(loss, "inductor")


class NoHostSynchronisation(TorchDispatchMode):
    """Fail on every operation that waits for the device or that a CUDA graph cannot hold."""

    FORBIDDEN = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "unique",
                 "masked_select", "_assert_async", "lift_fresh")  # fmt: skip

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.overloadpacket.__name__ not in self.FORBIDDEN, function
        return function(*args, **(kwargs or {}))


def check_no_host_synchronisation(L, losses):
    z = torch.randn(4, 3, requires_grad=True)
    for loss in losses:
        for target in (torch.tensor([0, 1, -100, 2]), torch.full((4, 3), 1 / 3)):
            with NoHostSynchronisation():
                value = loss(z, target)
            meta = loss(torch.empty(4, 3, device="meta"), torch.empty_like(target, device="meta"))
            assert meta.shape == value.shape  # nothing in it needs the values at all
    target = torch.tensor([0, 1, -100, 2])
    with NoHostSynchronisation():
        L.NLNLLoss()(z, target)
    assert L.negative_learning(z.to("meta"), target.to("meta")).device.type == "meta"
    loss = L.NLNLLoss(seed=3)
    assert loss(z.to("meta"), target.to("meta")).device.type == "meta"
    assert torch.equal(loss.draw(target, 3), L.NLNLLoss(seed=3).draw(target, 3))  # none was drawn


def test_forward_never_waits_for_the_device():
    check_no_host_synchronisation(L, deterministic_losses())
    with pytest.raises(AssertionError), NoHostSynchronisation():
        torch.randn(3).sum().item()


def test_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        torch.manual_seed(0)
        net = nn.Linear(5, 3)
        ddp = nn.parallel.DistributedDataParallel(copy.deepcopy(net))
        x, target = torch.randn(8, 5), torch.randint(3, (8,))
        for loss in every_loss():
            ddp.zero_grad()
            net.zero_grad()
            twin = copy.deepcopy(loss)
            loss(ddp(x), target).backward()
            twin(net(x), target).backward()
            torch.testing.assert_close(ddp.module.weight.grad, net.weight.grad)
    finally:
        torch.distributed.destroy_process_group()


def test_moves_and_casts_like_a_module():
    loss = a_sum(weight=torch.ones(3)).to("meta")
    assert all(buffer.device.type == "meta" for buffer in loss.buffers())
    half = L.AELLoss(2.0, weight=torch.ones(3)).half()
    assert half(torch.randn(4, 3), torch.zeros(4).long()).dtype == torch.float32


def test_training_step_lowers_the_loss():
    torch.manual_seed(0)
    x, target = torch.randn(64, 5), torch.randint(3, (64,))
    for loss in deterministic_losses():
        net = nn.Linear(5, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
        before = loss(net(x), target)
        before.backward()
        optimizer.step()
        assert loss(net(x), target) < before, loss


def test_import_is_light():
    code = "import sys, alfs_utils.losses; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    rooms = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("alfs_utils")}
    assert rooms == {"alfs_utils", "alfs_utils._arguments", "alfs_utils.losses"}
    assert not loaded & {"torchvision", "pandas", "matplotlib", "scipy", "sklearn", "mpmath"}


# --- a loss owns its mathematics -------------------------------------------------------------


def check_mathematics(L, name, kwargs):
    """curvature and inverse_slope against finite differences of l."""
    loss, u = getattr(L, name)(**kwargs), np.linspace(0.05, 0.95, 19)
    h = 0.01
    l = [loss.of_probability(x) for x in (u - h, u, u + h)]
    bend = (l[0] - 2 * l[1] + l[2]) / np.maximum(np.abs(l[0] - l[2]), 1e-300)
    assert (np.sign(np.where(np.abs(bend) < 1e-10, 0, bend)) == loss.curvature()).all(), bend
    if loss.curvature() == 1 and hasattr(loss, "inverse_slope"):
        h = 1e-4
        pull = (loss.of_probability(u - h) - loss.of_probability(u + h)) / (2 * h)
        np.testing.assert_allclose(loss.inverse_slope(pull), u, atol=1e-4)


@pytest.mark.parametrize("name, kwargs", [case for case in CASES if case[0] in POINTWISE])
def test_curvature_and_inverse_slope(name, kwargs):
    check_mathematics(L, name, kwargs)


class SquaredLoss(L.PointwiseLoss):
    """l(u) = (a - u)^2, as CONTRIBUTING says to add a loss; AUL with p = 2 but for constants."""

    _arguments = ("a",)

    def __init__(self, a, **options):
        super().__init__(**options)
        self.a = a

    def _formula(self, u):
        return (int(self.a) - u) ** 2

    def _of_log_probability(self, log_u):
        return (self.a - log_u.exp()) ** 2

    def _derivative(self, u):
        return -2 * (int(self.a) - u)

    def curvature(self):
        return 1

    def inverse_slope(self, y):
        return self.a - y / 2


def test_a_new_loss_is_certified_without_touching_another_file():
    verdicts = []
    for eta in (0.2, 0.5, 0.8, 0.88):
        T = noise.symmetric(10, eta)
        ours, known = (certify(loss, T) for loss in (SquaredLoss(3), L.AULLoss(a=3, p=2)))
        assert (ours.verdict, ours.method) == (known.verdict, known.method)
        assert ours.ratio == pytest.approx(2 / 3, rel=1e-15)
        verdicts.append(ours.verdict)
    assert verdicts == ["asymmetric"] * 3 + ["not asymmetric"]
    w = [0.4, 0.35, 0.25]
    ours, known = (weighted_risk_minimiser(f, w) for f in (SquaredLoss(3), L.AULLoss(a=3, p=2)))
    assert ours.method == known.method == "water-filling"
    assert ours.u == pytest.approx(known.u, abs=1e-15)


class Bent(L.AGCELoss):
    """An AGCE whose formula was changed: convex, then concave; AGCE's own proof would be false."""

    def _formula(self, u):
        return (1 - u) * (2 - 3 * u * (1 - 2 * u))

    def _of_log_probability(self, log_u):
        return self._formula(log_u.exp())

    def _derivative(self, u):
        return -5 + 18 * u - 18 * u * u


def test_a_subclass_that_changes_the_formula_inherits_no_proof():
    w = [1.0, 0.99, 0.99]
    assert certify(L.AGCELoss(a=6, q=1.5), w).asymmetric is True
    for loss in (Bent(a=6, q=1.5), 0.1 * L.MAELoss() + Bent(a=6, q=1.5)):
        certificate = certify(loss, w)
        assert certificate.asymmetric is False and certificate.witness.gain > 0
        assert certificate.ratio is None and certify(loss, [9.0, 1.0, 1.0]).verdict == "undecided"


def test_signatures_show_what_every_loss_takes():
    common = ["weight", "ignore_index", "reduction"]
    for loss in L.LOSSES.values():
        if loss is not L.Normalized:
            names = list(inspect.signature(loss).parameters)
            assert names[-3:] == common or names == [*common, "label_smoothing"], loss
    assert list(inspect.signature(L.AGCELoss).parameters) == ["a", "q", *common]
    text = pydoc.plain(pydoc.render_doc(L.AGCELoss))
    own = text[: text.index("Methods inherited from torch.nn")]  # then come 1,000 lines
    own = re.sub(r"\(\n( \|      .*\n)+ \|  \)", "()", own)  # Python 3.13: a parameter a line
    assert "ignore_index: int = -100" in text and own.count("\n") < 115
    assert "`weight`, `ignore_index` and `reduction` are those of `F.cross_entropy`" in text
    assert text.count("are those of `F.cross_entropy`") == 1
    assert text.index("are those of") < text.index("Parameters\n")  # no part of a section


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, error, match",
    [
        (lambda: L.AGCELoss(-0.1, 1), ValueError, "^a: expected a number >= 0 for q > 0, got -0.1"),
        (lambda: L.AGCELoss(0, 0), ValueError, "^a: expected a number > 0 for q <= 0, got 0"),
        (lambda: L.AGCELoss(0, -1), ValueError, "^a: .*got 0"),
        (lambda: L.AGCELoss(1, math.nan), ValueError, "^q: expected a finite number, got nan"),
        (lambda: L.AGCELoss("1", 1), TypeError, "^a: .*got '1'"),
        (lambda: L.AGCELoss(1e-20, -2), ValueError, "^a, q: .*below 1e38"),
        (lambda: L.AGCELoss(6, 1000), ValueError, r"^a, q: .*got 7\*\*1000"),
        (lambda: L.AULLoss(0.9, 1), ValueError, "^a: expected a number >= 1 for p > 0, got 0.9"),
        (lambda: L.AULLoss(1, 0), ValueError, "^a: expected a number > 1 for p <= 0, got 1"),
        (lambda: L.AULLoss(1 + 1e-15, -3), ValueError, "^a, p: .*below 1e38"),
        (lambda: L.AULLoss(1, 1e-40), ValueError, "^a, p: .*below 1e38"),
        (lambda: L.AELLoss(0), ValueError, "^a: expected a number > 0, got 0"),
        (lambda: L.GCELoss(0), ValueError, "^q: .*CELoss.*, got 0"),
        (lambda: L.GCELoss(True), TypeError, "^q: .*got True"),
        (lambda: L.RCELoss(0), ValueError, "^A: expected a number < 0, got 0"),
        (lambda: L.RCELoss(4), ValueError, "^A: .*got 4"),
        (lambda: L.SCELoss(-1, 1), ValueError, "^alpha: .*got -1"),
        (lambda: L.SCELoss(1, math.inf), ValueError, "^beta: .*got inf"),
        (lambda: L.FocalLoss(-0.5), ValueError, "^gamma: .*got -0.5"),
        (lambda: L.NormalizedFocalLoss(-1), ValueError, "^gamma: .*got -1"),
        (lambda: L.NNFLLoss(-1), ValueError, "^gamma: .*got -1"),
        (lambda: L.NNFLLoss(p_min=1), ValueError, "^p_min: .*got 1"),
        (lambda: L.NNCELoss(0), ValueError, r"^p_min: expected a number in \(0, 1/2\), got 0"),
        (lambda: L.AMSELoss(0.9), ValueError, "^a: expected a number >= 1, got 0.9"),
        (lambda: L.AMSELoss(1e20), ValueError, "^a: .*below 1e38"),
        (lambda: L.BiasedMAELoss(-0.1), ValueError, "^eps: expected a number >= 0, got -0.1"),
        (lambda: L.BiasedMAELoss(100), ValueError, "^eps: .*below 1e38"),
        (lambda: L.GCELoss(compat="paper"), ValueError, "^compat: .*'official', got 'paper'"),
        (lambda: L.NLNLLoss(seed=-1), ValueError, "^seed: .*got -1"),
        (lambda: L.NLNLLoss(seed=0.5), TypeError, "^seed: .*got 0.5"),
        (lambda: L.MAELoss(reduction="avg"), ValueError, "^reduction: .*got 'avg'"),
        (lambda: L.MAELoss(ignore_index=1.5), TypeError, "^ignore_index: expected an int, got 1.5"),
        (lambda: L.MAELoss(weight=torch.ones(2, 2)), ValueError, r"^weight: .*got \(2, 2\)"),
        (lambda: L.MAELoss(weight=torch.ones(2).long()), TypeError, "^weight: .*got torch.int64"),
        (lambda: L.CELoss(label_smoothing=2), ValueError, "^label_smoothing: .*got 2"),
        (lambda: L.Normalized("CE"), TypeError, "^loss: .*got 'CE'"),
        (lambda: L.negative_learning(None, None, compat="x"), ValueError, "^compat: .*got 'x'"),
        (lambda: L.negative_learning(None, None, reduction="x"), ValueError, "^reduction: .*'x'"),
    ],
)  # fmt: skip
def test_illegal_parameters(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_illegal_calls():
    z, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    cases = [
        (z.numpy(), target, TypeError, "input: expected a tensor, got ndarray"),
        (z, [0, 1, 2, 0], TypeError, "target: expected a tensor, got list"),
        (z.long(), target, TypeError, "input: expected floating-point"),
        (z, target.int(), TypeError, "target: expected int64.*int32"),
        (z, target.float(), TypeError, "target: expected int64.*float32"),
        (z, z.long(), TypeError, "target: expected floating-point class prob.*int64"),
        (z, target[:3], ValueError, r"target: expected shape \(4,\).*got \(3,\)"),
        (z, target[:, None], ValueError, r"target.*got \(4, 1\)"),
        (z[0, 0], target[0], ValueError, "input: expected shape"),
    ]
    for loss in every_loss():
        for *call, error, match in cases:
            with pytest.raises(error, match=match):
                loss(*call)
        with pytest.raises(IndexError):
            loss(z, torch.tensor([0, 1, 2, 3]))
        with pytest.raises(IndexError):
            loss(z, torch.tensor([0, 1, 2, -1]))
        assert torch.equal(loss(z, target.byte()).isfinite(), torch.tensor(True))
    for loss in deterministic_losses(ignore_index=0):
        with pytest.raises(ValueError, match=r"^ignore_index: .*got 0"):
            loss(z, z.softmax(1))
    for loss in every_loss(weight=torch.ones(4)):
        with pytest.raises(ValueError, match=r"weight: expected shape \(3,\).*\(4,\)"):
            loss(z, target)
