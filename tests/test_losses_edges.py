"""Losses at the edge: ignored rows of nan, masked classes, parameters set late, odd operands."""

import math

import pytest
import torch

from alfs_utils import losses as L

EVERY = [
    L.CELoss(),
    L.MAELoss(),
    L.RCELoss(),
    L.RCELoss(compat="official"),
    L.SCELoss(0.1, 1.0),
    L.SCELoss(0.1, 1.0, compat="official"),
    L.GCELoss(0.7),
    L.FocalLoss(0.5),
    L.AGCELoss(0.6, 0.6),
    L.AGCELoss(0, 0.3),
    L.AULLoss(5.5, 3),
    L.AULLoss(1, 0.5),
    L.AULLoss(1.005, 2),
    L.AELLoss(2.5),
    L.NCELoss(),
    L.NormalizedFocalLoss(0.5),
    L.NormalizedFocalLoss(2.0, compat="official"),
    L.NormalizedGCELoss(0.7),
    L.NormalizedGCELoss(0.7, compat="official"),
    L.Normalized(L.AELLoss(2.5)),
    L.Normalized(L.AULLoss(1, 0.5)),
    L.Normalized(L.AULLoss(1.005, 2)),
    L.Normalized(L.SCELoss(0.1, 1.0) + L.AELLoss(3)),
    L.NCELoss() + 4.0 * L.AGCELoss(6, 1.5),
    L.NLNLLoss(),
    L.NLNLLoss(compat="official"),
    L.AMSELoss(30),
    L.NCELoss() + L.AMSELoss(30),
    L.NNCELoss(),
    L.NNFLLoss(2.0, p_min=1e-3),
    L.NNFLLoss(0.5, compat="official"),
    L.BiasedMAELoss(2),
]
every_loss = pytest.mark.parametrize("loss", EVERY, ids=repr)
# "official" clamps the probability of every class, those of masked ones too.
masking = [loss for loss in EVERY if not isinstance(loss, L.NLNLLoss)]
masking = [loss for loss in masking if "official" not in repr(loss) or "Focal" in repr(loss)]


def value_and_gradient(loss, logits, target):
    logits = logits.clone().requires_grad_()
    value = loss(logits, target)
    return value.detach(), torch.autograd.grad(value, logits)[0]


def normal(*shape):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=generator)


def seeded(loss, reduction="mean"):
    """The loss in its first state: each call of NLNL draws."""
    for part in loss.modules():
        if isinstance(part, L.NLNLLoss):
            part.generator.manual_seed(part.seed)
    loss.reduction = reduction
    return loss


# --- ignored rows ----------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_an_ignored_row_does_not_count_whatever_its_logits(loss, broken):
    logits, target = normal(4, 5), torch.tensor([0, -100, 2, 3])
    expected = {red: seeded(loss, red)(logits, target) for red in ("mean", "sum", "none")}
    logits[1] = broken  # softmax makes nan of each of the three
    for reduction, value in expected.items():
        torch.testing.assert_close(seeded(loss, reduction)(logits, target), value)
    logits = logits.clone().requires_grad_()
    seeded(loss)(logits, target).backward()
    assert logits.grad[[0, 2, 3]].isfinite().all()


@every_loss
def test_nan_in_a_row_that_counts_is_not_hidden(loss):
    logits = normal(4, 5)
    logits[1] = math.nan
    assert seeded(loss)(logits, torch.tensor([0, 1, 2, 3])).isnan()
    logits[1, :] = 0
    logits[1, 4] = math.nan  # its softmax is nan everywhere
    assert seeded(loss)(logits, torch.tensor([0, 1, 2, 3])).isnan()


def test_negative_learning_ignores_rows_too():
    logits, labels = normal(4, 5), torch.tensor([0, -100, 2, 3])
    for compat in ("formula", "official"):
        expected = L.negative_learning(logits, labels, compat=compat)
        broken = logits.clone()
        broken[1] = math.nan
        torch.testing.assert_close(L.negative_learning(broken, labels, compat=compat), expected)


def test_a_drawn_class_may_be_the_ignored_index():
    loss, target = L.NLNLLoss(seed=1, ignore_index=0, reduction="none"), torch.ones(200).long()
    assert (loss(normal(200, 3), target) > 0).all()


# --- masked classes --------------------------------------------------------------------------


@pytest.mark.parametrize("loss", masking, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_masked_class_is_no_class(loss, dtype):
    """Value and gradient are those of the logits without the class, in float64."""
    keep, target = [0, 2, 3, 4], torch.tensor([0, 2, 3, 4])
    logits = normal(4, 5)
    expected, slope = value_and_gradient(seeded(loss), logits[:, keep], torch.arange(4))
    logits[:, 1] = -math.inf
    value, gradient = value_and_gradient(loss, logits.to(dtype), target)
    close = (
        {"rtol": 1e-9, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-6}
    )
    torch.testing.assert_close(value.double(), expected, **close)
    torch.testing.assert_close(gradient[:, keep].double(), slope, **close)
    assert (gradient[:, 1] == 0).all()


@pytest.mark.parametrize("loss", [x for x in masking if x._is_pointwise()], ids=repr)
def test_it_is_the_limit_of_ever_smaller_logits(loss):
    """A normalised loss has another limit (0, for NCE): there a class that is left counts."""
    target, logits = torch.tensor([0, 2, 3, 4]), normal(4, 5)
    results = []
    for low in (-700.0, -math.inf):
        logits[:, 1] = low
        results.append(value_and_gradient(loss, logits, target))
    for near, at in zip(*results, strict=True):
        torch.testing.assert_close(near, at)


@pytest.mark.parametrize("loss", masking, ids=repr)
def test_a_class_alone_has_nothing_to_lose(loss):
    logits = torch.full((2, 3), -math.inf)
    logits[:, 1] = 5.0
    value, gradient = value_and_gradient(loss, logits, torch.tensor([1, 1]))
    only, _ = value_and_gradient(loss, torch.zeros(2, 1), torch.tensor([0, 0]))
    torch.testing.assert_close(value, only)
    assert (gradient == 0).all()


# --- parameters that are set later -----------------------------------------------------------


def test_parameters_stay_as_they_were_checked():
    for loss, name, value in (
        (L.AGCELoss(1, 0.5), "a", -5.0),
        (L.AGCELoss(1, 0.5), "q", 2.0),
        (L.AULLoss(2, 3), "p", math.nan),
        (L.AELLoss(2), "a", 0),
        (L.GCELoss(), "q", 0),
        (L.FocalLoss(), "gamma", "x"),
        (L.SCELoss(1, 1), "alpha", -1),
        (L.RCELoss(), "A", 4),
        (L.NLNLLoss(), "seed", 3),
        (L.AMSELoss(5), "a", 0.5),
        (L.NNCELoss(), "p_min", 0.7),
        (L.BiasedMAELoss(1), "eps", -1),
        (L.CELoss(), "label_smoothing", 0.1),
        (L.MAELoss() + L.CELoss(), "coefficients", (-1.0, 1.0)),
    ):
        before = repr(loss)
        with pytest.raises(AttributeError, match=rf"^{name}: expected to stay .*, got"):
            setattr(loss, name, value)
        assert repr(loss) == before
    with pytest.raises(AttributeError, match=r"^gamma: expected to stay 0.5, got 7"):
        L.NormalizedFocalLoss().loss.gamma = 7


def test_what_can_be_set_later_is_checked():
    loss = L.GCELoss(0.7, weight=torch.ones(3))
    for name, value, error in (
        ("compat", "paper", ValueError),
        ("ignore_index", 1.5, TypeError),
        ("ignore_index", 2**63, ValueError),
        ("reduction", "avg", ValueError),
        ("weight", "heavy", TypeError),
    ):
        with pytest.raises(error, match=name):
            setattr(loss, name, value)
    loss.compat, loss.ignore_index, loss.reduction = "official", 2, "sum"
    assert repr(loss) == (
        "GCELoss(q=0.7, compat='official', weight=[1.0, 1.0, 1.0], ignore_index=2, reduction='sum')"
    )


def test_what_is_set_later_is_set_for_all_parts():
    loss = L.NormalizedFocalLoss() + L.RCELoss() + L.AGCELoss(1, 0.5)
    loss.compat, loss.ignore_index, loss.reduction = "official", 2, "sum"
    options = {"ignore_index": 2, "reduction": "sum"}
    made = L.NormalizedFocalLoss(compat="official", **options)
    made += L.RCELoss(compat="official", **options) + L.AGCELoss(1, 0.5, **options)
    assert repr(loss) == repr(made)
    for name, value, error in (("compat", "paper", ValueError), ("ignore_index", 1.5, TypeError)):
        with pytest.raises(error, match=name):
            setattr(loss, name, value)


# --- the algebra, as one writes it -----------------------------------------------------------


def test_sum_and_division():
    nce, agce = L.NCELoss(), L.AGCELoss(6, 1.5)
    assert repr(sum([nce, 4 * agce])) == repr(nce + 4 * agce)
    assert sum([nce]) is nce
    assert repr(nce / 2) == "0.5 * NCELoss()" and repr((nce + agce) / 4).startswith("0.25 * NCE")
    z, target = normal(4, 3), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close((agce / 8)(z, target), agce(z, target) / 8)
    for bad in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"^divisor: expected a finite number > 0, got"):
            nce / bad
    for bad in ("2", None, True, agce):
        with pytest.raises(TypeError):
            nce / bad
    for bad in (1, 0.0, False, None):
        with pytest.raises(TypeError):
            bad + nce
    with pytest.raises(ValueError, match=r"^coefficient: expected a finite number >= 0, got 1000"):
        10**400 * nce


@pytest.mark.parametrize("bad", [{0: 1}, {1.0}, "ab", [None], [[1], [1, 2]], object()])
def test_class_weights_that_are_none(bad):
    for make in (L.CELoss, L.NLNLLoss, L.NCELoss):
        with pytest.raises(TypeError, match=r"^weight: expected C numbers, got"):
            make(weight=bad)
    with pytest.raises(ValueError, match=r"^weight: expected C numbers, got"):
        L.CELoss(weight=[10**400])


def test_class_weights_as_people_have_them():
    for weight in ([1, 2, 3], (1.0, 2.0, 3.0), torch.tensor([1.0, 2.0, 3.0]).numpy(), range(1, 4)):
        assert L.CELoss(weight=weight).weight.tolist() == [1, 2, 3]


@pytest.mark.parametrize("loss", [L.CELoss(), L.NCELoss(), L.AGCELoss(a=1, q=0.5), L.NLNLLoss()])
def test_what_lies_on_another_device_is_named(loss):
    here, there = torch.zeros(2, 2), torch.empty(2, 2, device="meta")
    index = torch.tensor([0, 1])
    for input, target, message in (
        (there, index, "target: expected one on meta, got cpu"),
        (here, index.to("meta"), "target: expected one on cpu, got meta"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            loss(input, target)
    with pytest.raises(ValueError, match=r"^weight: expected one on meta, got cpu$"):
        L.AGCELoss(a=1, q=0.5, weight=[1.0, 2.0])(there, index.to("meta"))
