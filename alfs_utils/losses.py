"""Loss functions for learning with noisy labels, as drop-in replacements of `nn.CrossEntropyLoss`.

Every loss is called as ``loss(input, target)`` with logits of shape ``(C,)``, ``(N, C)`` or
``(N, C, d1, ...)`` and either class indices (``int64``, the shape of `input` without the class
axis) or class probabilities (the shape of `input`). With probabilities y the loss is the
expectation E_y[L(u, y)]. ``weight``, ``ignore_index`` and ``reduction`` mean what they mean in
`torch.nn.functional.cross_entropy`; ``reduction`` may be set later. Half-precision logits are
computed and reduced in float32; the result has the dtype `F.cross_entropy` would give it.
No forward pass waits for the device, so all of them can be captured in a CUDA graph.

Notation: u is the softmax of the logits, u_y its entry at the target, l a loss of u_y alone.
Losses add up: ``1.0 * NCELoss() + 4.0 * AGCELoss(a=6, q=1.5)`` is a loss again.

Equations, theorems and tables are those of Zhou, Liu, Jiang, Gao and Ji, "Asymmetric Loss
Functions for Learning with Noisy Labels", ICML 2021.

A new loss of u_y alone is a `PointwiseLoss` with three short methods; see there.
"""

import ast
import decimal
import math
from decimal import Decimal
from numbers import Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "AELLoss",
    "AGCELoss",
    "AULLoss",
    "CELoss",
    "FocalLoss",
    "GCELoss",
    "Loss",
    "LossSum",
    "MAELoss",
    "NCELoss",
    "NLNLLoss",
    "Normalized",
    "NormalizedFocalLoss",
    "NormalizedGCELoss",
    "PointwiseLoss",
    "RCELoss",
    "SCELoss",
    "UnhingedLoss",
    "loss_from_string",
    "negative_learning",
]

REDUCTIONS = ("mean", "sum", "none")
COMPATS = ("formula", "official")
LOG_1E_4 = math.log(1e-4)
LOG_HALF = math.log(0.5)
# Below this |q| the power law and its logarithmic limit agree to the last bit of a float64.
TINY_EXPONENT = 1e-20


# --- checks of arguments --------------------------------------------------------------------


def _real(name, value, legal="a finite number", accept=lambda value: True):
    """`value` as a float, or an error that names the argument and what is legal."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}={value!r}: expected {legal}")
    if not math.isfinite(value) or not accept(value):
        raise ValueError(f"{name}={value!r}: expected {legal}")
    return float(value)


def _option(name, value, options):
    if value not in options:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, options))}")
    return value


def _in_float32_range(loss, *powers):
    """Reject parameters whose loss or slope no float32 can hold; powers are (base, exponent)."""
    for base, exponent in powers:
        if base > 0 and exponent * math.log(base) > math.log(1e38):
            raise ValueError(f"{loss!r}: the loss or its slope reaches {base:g}**{exponent:g}")


def _check_call(input, target, weight, ignore_index):
    """Whether the targets are class probabilities, after every check of shape and dtype."""
    for name, tensor in (("input", input), ("target", target)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if not input.is_floating_point():
        raise TypeError(f"input: expected floating-point logits, got {input.dtype}")
    shape = tuple(input.shape)
    if not shape:
        raise ValueError("input: expected shape (C,), (N, C) or (N, C, d1, ...), got ()")
    classes = shape[1] if len(shape) > 1 else shape[0]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ValueError(
            f"weight: expected shape ({classes},), one per class, got {tuple(weight.shape)}"
        )
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise TypeError(
                f"target: the shape of input, {shape}, means class probabilities, which must be "
                f"floating-point; got {target.dtype}"
            )
        if ignore_index >= 0:
            raise ValueError(
                f"ignore_index={ignore_index}: class-probability targets have no index to ignore"
            )
        return True
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if tuple(target.shape) != expected:
        raise ValueError(
            f"target: expected shape {expected} (class indices) or {shape} (class probabilities) "
            f"for logits of shape {shape}, got {tuple(target.shape)}"
        )
    if target.dtype not in (torch.int64, torch.uint8):
        raise TypeError(f"target: expected int64 class indices, got {target.dtype}")
    return False


# --- the core: logits and targets to a reduced loss -----------------------------------------


class _Prediction:
    """Log-probabilities of a batch, seen from its targets.

    log_u has the target's log-probability, (N, d1, ...). Where all classes are candidates (no
    target: class probabilities, or the sum of a normalised loss) it keeps the class axis.
    """

    def __init__(self, log_probs, target=None, ignore_index=-100):
        self.log_probs = log_probs
        self.target = target
        self.ignore_index = ignore_index
        self.log_u = self.pick(log_probs)

    def pick(self, values):
        if self.target is None:
            return values
        # nll_loss is torch's own gather: its errors, its ignore_index (0 there), its speed.
        minus = values.new_full(values.shape[1:2], -1.0)
        return F.nll_loss(
            values, self.target, minus, ignore_index=self.ignore_index, reduction="none"
        )

    def total(self, values):
        return values.sum(1, keepdim=self.target is None)

    def log_complement(self):
        """log(1 - u), also where u rounds to 1: there it is the logsumexp of the other classes."""
        if self.target is None:
            own = self.log_probs.argmax(1, keepdim=True)  # the only class that can be above 1/2
        else:
            own = torch.where(self.target == self.ignore_index, 0, self.target).unsqueeze(1)
        # logsumexp with one pass less over (N, C) in each direction.
        others = self.log_probs.scatter(1, own, -math.inf)
        shift = others.detach().amax(1, keepdim=True)
        others = self.total(others.sub_(shift).exp_()).log()
        others = others + (shift if self.target is None else shift.squeeze(1))
        below = torch.log1p(-torch.exp(self.log_u.clamp(max=LOG_HALF)))
        return torch.where(self.log_u < LOG_HALF, below, others)


def _dtypes(input, target, soft):
    """The dtype `F.cross_entropy` returns, and the one to compute in: float32 at least."""
    dtype = torch.promote_types(input.dtype, target.dtype) if soft else input.dtype
    if dtype.itemsize < 4 and torch.is_autocast_enabled(input.device.type):
        dtype = torch.float32
    return dtype, torch.promote_types(dtype, torch.float32)


def _apply(per_example, input, target, weight, ignore_index, reduction, *, mean_over_n=False):
    """Reduce ``per_example(prediction)`` as `F.cross_entropy` reduces its own terms."""
    soft = _check_call(input, target, weight, ignore_index)
    dtype, compute = _dtypes(input, target, soft)
    single = input.dim() == 1
    if single:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    if weight is not None:
        weight = weight.to(compute)

    log_probs = F.log_softmax(input, 1, dtype=compute)
    if soft:
        scale = target if weight is None else target * weight.view(-1, *[1] * (input.dim() - 2))
        loss = (per_example(_Prediction(log_probs)) * scale).sum(1)
        if reduction == "mean":
            loss = loss.mean()
        elif reduction == "sum":
            loss = loss.sum()
    else:
        target = target.long()
        loss = per_example(_Prediction(log_probs, target, ignore_index))
        valid = target != ignore_index
        scale = valid.to(compute)
        if weight is not None:
            scale = scale * weight[torch.where(valid, target, 0)]
        if reduction == "none":
            loss = loss * scale
        elif reduction == "mean" and loss.numel() == 0:
            loss = loss.mean()
        else:
            if reduction == "mean":
                scale = scale / (valid if mean_over_n else scale).sum()
            # dot is the shortest way there and back; sum adds up long tensors more exactly.
            loss = torch.dot(loss, scale) if loss.dim() == 1 else (loss * scale).sum()
    if single and reduction == "none":
        loss = loss.squeeze(0)
    return loss.to(dtype)


def _power_gap(x, q, log_scale, extreme, sign=1.0):
    """sign (e^{q (x + log_scale)} - e^{q log_scale}) / q, or sign x for q -> 0.

    x lies between 0 and `extreme`. expm1 keeps the value where q x is small, but its derivative
    (result + 1) dies where e^{q x} does; exp keeps the derivative there. The clamp keeps the
    branch not taken finite.
    """
    if abs(q) < TINY_EXPONENT:
        return sign * x
    scale, y = sign * math.exp(q * log_scale) / q, q * x
    if abs(q * extreme) <= 2:
        return torch.expm1(y) * scale
    if abs(q) >= 0.1 and q * extreme < 0:
        return torch.rsub(torch.exp(y), -scale, alpha=-scale)
    near = torch.expm1(y.clamp(-1, 1)) * scale
    far = torch.exp(y + q * log_scale) * (sign / q) - scale
    return torch.where(y.abs() < 1, near, far)


# --- the functions of u on [0, 1], in float64 -----------------------------------------------


def _like(u, *parameters):
    """Parameters in the arithmetic of u: exact decimals, or floats for tensors."""
    return [Decimal(p) if isinstance(u, Decimal) else p for p in parameters]


def _log(x):
    return x.ln() if isinstance(x, Decimal) else torch.log(x)


def _exp(x):
    return x.exp() if isinstance(x, Decimal) else torch.exp(x)


def _pow(x, exponent):
    return x**exponent if exponent else x * 0 + 1


def _at_end(exact, u):
    """exact(u) for u = 0 or 1 to 60 digits, rounded once; infinities as IEEE has them."""
    context = decimal.Context(prec=60, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])
    with decimal.localcontext(context):
        return float(exact(Decimal(u)))


def _on_probability(u, function, exact):
    """`function` of a float64 tensor, for u a float, NumPy array or tensor; the same kind out.

    u = 0 and u = 1 take the correctly rounded value of `exact` instead.
    """
    if isinstance(u, Tensor):
        x = u.double()
        y = torch.where(x == 1, _at_end(exact, 1), function(x))
        y = torch.where(x == 0, _at_end(exact, 0), y)
        return y.to(u.dtype) if u.is_floating_point() else y
    if hasattr(u, "__array__"):
        kind = u.dtype if u.dtype.kind == "f" else "float64"
        x = torch.as_tensor(u.astype("float64"))
        if not bool(((x >= 0) & (x <= 1)).all()):
            raise ValueError("u: expected probabilities in [0, 1]")
        return _on_probability(x, function, exact).numpy().astype(kind)[()]
    u = _real("u", u, "a probability in [0, 1]", lambda u: 0 <= u <= 1)
    if u in (0.0, 1.0):
        return _at_end(exact, int(u))
    return function(torch.tensor(u, dtype=torch.float64)).item()


# --- base classes ---------------------------------------------------------------------------


class Loss(nn.Module):
    """Base of all losses: the call, the algebra and the repr.

    Parameters
    ----------
    weight : Tensor or sequence of C floats, optional
        Weight of each class, as in `F.cross_entropy`.
    ignore_index : int
        Class index whose elements count nothing (class-index targets only).
    reduction : {"mean", "sum", "none"}
        As in `F.cross_entropy`: "mean" divides by the summed weights of the targets (class
        indices) or by the number of elements (class probabilities).

    Raises
    ------
    TypeError, ValueError
        For illegal parameters, and in the call for illegal shapes and dtypes. Class indices out
        of range give what torch gives: IndexError on the CPU, a device assertion on CUDA.
    """

    _arguments: tuple[str, ...] = ()

    def __init__(self, *, weight=None, ignore_index=-100, reduction="mean"):
        super().__init__()
        if weight is not None:
            if not isinstance(weight, Tensor):
                weight = torch.as_tensor(weight, dtype=torch.float64)
            if not weight.is_floating_point():
                raise TypeError(f"weight: expected a floating-point tensor, got {weight.dtype}")
            if weight.dim() != 1:
                raise ValueError(f"weight: expected shape (C,), got {tuple(weight.shape)}")
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, int):
            raise TypeError(f"ignore_index={ignore_index!r}: expected an int")
        self.register_buffer("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = reduction

    @property
    def reduction(self):
        return self._reduction

    @reduction.setter
    def reduction(self, value):
        self._reduction = _option("reduction", value, REDUCTIONS)

    def forward(self, input, target):
        return _apply(
            self._per_example, input, target, self.weight, self.ignore_index, self.reduction
        )

    def _per_example(self, prediction):
        """Unreduced loss, (N, d1, ...); (N, C, d1, ...) where all classes are candidates."""
        raise NotImplementedError

    def of_probability(self, u):
        """l(u), the loss of a target probability u in [0, 1].

        Parameters
        ----------
        u : float, numpy.ndarray or Tensor
            Probabilities; computed in float64. Values in a tensor are not checked.

        Returns
        -------
        The same kind and dtype. Correctly rounded at 0 and 1; +inf where l(0) is infinite.

        Raises
        ------
        TypeError
            If the loss depends on more than the target's probability.
        """
        self._require_pointwise()
        return _on_probability(u, self._of_probability, self._formula)

    def slope(self, u):
        """l'(u) for u in [0, 1]; as `of_probability`, with -inf where it is infinite."""
        self._require_pointwise()
        return _on_probability(u, self._derivative, self._derivative)

    def _is_pointwise(self):
        return False

    def _require_pointwise(self):
        if not self._is_pointwise():
            raise TypeError(f"{self!r} is not a function of the target's probability alone")

    def _terms(self):
        return ((1.0, self),)

    def __mul__(self, factor):
        if isinstance(factor, bool) or not isinstance(factor, Real):
            return NotImplemented
        return LossSum([(factor, self)])

    __rmul__ = __mul__

    def __add__(self, other):
        if not isinstance(other, (Loss, nn.CrossEntropyLoss)):
            return NotImplemented
        return LossSum([(1.0, self), (1.0, other)])

    def __radd__(self, other):
        return _as_loss(other) + self if isinstance(other, nn.CrossEntropyLoss) else NotImplemented

    def __repr__(self):
        arguments = {name: getattr(self, name) for name in self._arguments}
        if getattr(self, "compat", "formula") != "formula":
            arguments["compat"] = self.compat
        if self.weight is not None:
            arguments["weight"] = self.weight.tolist()
        if self.ignore_index != -100:
            arguments["ignore_index"] = self.ignore_index
        if self.reduction != "mean":
            arguments["reduction"] = self.reduction
        inner = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{type(self).__name__}({inner})"


class PointwiseLoss(Loss):
    """A loss of the target's probability alone: L(u, y) = l(u_y).

    A subclass lists its parameters in `_arguments` (for the repr) and gives three methods:

    - ``_of_log_probability(log_u)``: l for a tensor of log u, with a sound value and gradient
      from log u = 0 down to -2e4. This is what trains.
    - ``_formula(u)``: l(u) as on paper; u is a `decimal.Decimal` (0 or 1).
    - ``_derivative(u)``: l'(u) as on paper; u is a `decimal.Decimal` or a float64 tensor.
    """

    def _per_example(self, prediction):
        return self._of_log_probability(prediction.log_u)

    def _is_pointwise(self):
        return True

    def _of_probability(self, u):
        return self._of_log_probability(torch.log(u))


class _Composite(Loss):
    """A loss made of others, from which it has weight, ignore_index and reduction."""

    def __init__(self):
        nn.Module.__init__(self)

    def _parts(self):
        raise NotImplementedError

    @property
    def weight(self):
        return self._parts()[0].weight

    @property
    def ignore_index(self):
        return self._parts()[0].ignore_index

    @property
    def reduction(self):
        return self._parts()[0].reduction

    @reduction.setter
    def reduction(self, value):
        for part in self._parts():
            part.reduction = value


class LossSum(_Composite):
    """Weighted sum of losses; what ``2.0 * loss`` and ``loss + loss`` give (Theorem 5).

    The softmax is computed once for all terms. `terms` is a flat tuple of (coefficient, loss).

    Parameters
    ----------
    terms : iterable of (float, loss)
        Coefficients >= 0; nested sums are multiplied out. `nn.CrossEntropyLoss` (without label
        smoothing) may be a term.

    Raises
    ------
    ValueError
        If there is no term, or if terms differ in weight, ignore_index or reduction.
    """

    def __init__(self, terms):
        super().__init__()
        flat = []
        for factor, loss in terms:
            factor = _real("coefficient", factor, "a finite number >= 0", lambda c: c >= 0)
            flat += [(factor * c, part) for c, part in _as_loss(loss)._terms()]
        if not flat:
            raise ValueError("terms: expected at least one (coefficient, loss)")
        for _, loss in flat:
            if getattr(loss, "label_smoothing", 0):
                raise ValueError(f"{loss!r}: expected label_smoothing=0 in a sum")
        self.coefficients = tuple(c for c, _ in flat)
        self.losses = nn.ModuleList(loss for _, loss in flat)
        first = self.losses[0]
        for other in self.losses[1:]:
            _check_agreement(first, other)

    @property
    def terms(self):
        return tuple(zip(self.coefficients, self.losses, strict=True))

    def _terms(self):
        return self.terms

    def _parts(self):
        return self.losses

    def _per_example(self, prediction):
        (coefficient, loss), *rest = self.terms
        total = loss._per_example(prediction)
        if coefficient != 1:
            total = total * coefficient
        for coefficient, loss in rest:
            total = torch.add(total, loss._per_example(prediction), alpha=coefficient)
        return total

    def _is_pointwise(self):
        return all(loss._is_pointwise() for loss in self.losses)

    def _combine(self, function, u):
        # A zero coefficient silences a term even where it is infinite.
        return sum(
            (_like(u, c)[0] * getattr(loss, function)(u) for c, loss in self.terms if c), 0 * u
        )

    def _of_probability(self, u):
        return self._combine("_of_probability", u)

    def _formula(self, u):
        return self._combine("_formula", u)

    def _derivative(self, u):
        return self._combine("_derivative", u)

    def __repr__(self):
        return " + ".join(f"{c!r} * {loss!r}" for c, loss in self.terms)


def _as_loss(loss):
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, nn.CrossEntropyLoss):
        raise TypeError(f"expected a loss of this module or nn.CrossEntropyLoss, got {loss!r}")
    return CELoss(
        loss.weight, loss.ignore_index, loss.reduction, label_smoothing=loss.label_smoothing
    )


def _check_agreement(first, other):
    for name in ("ignore_index", "reduction"):
        a, b = getattr(first, name), getattr(other, name)
        if a != b:
            raise ValueError(f"{name}: terms of a sum must agree, got {a!r} and {b!r}")
    a, b = first.weight, other.weight
    if (a is None) != (b is None) or (a is not None and not torch.equal(a.to(b), b)):
        raise ValueError(f"weight: terms of a sum must agree, got {a} and {b}")


# --- losses of the target's probability -----------------------------------------------------


class CELoss(PointwiseLoss, nn.CrossEntropyLoss):
    """Cross entropy, l(u) = -ln u: `nn.CrossEntropyLoss` itself, joined to the algebra.

    Label smoothing is not a function of u_y, so it is refused in sums and in `Normalized`.
    """

    def __init__(self, weight=None, ignore_index=-100, reduction="mean", *, label_smoothing=0.0):
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.label_smoothing = _real(
            "label_smoothing", label_smoothing, "a number in [0, 1]", lambda x: 0 <= x <= 1
        )

    @property
    def _arguments(self):
        return ("label_smoothing",) if self.label_smoothing else ()

    def forward(self, input, target):
        soft = _check_call(input, target, self.weight, self.ignore_index)
        dtype, compute = _dtypes(input, target, soft)
        return F.cross_entropy(
            input.to(compute),
            target,
            None if self.weight is None else self.weight.to(compute),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        ).to(dtype)

    def _is_pointwise(self):
        return not self.label_smoothing

    def _of_log_probability(self, log_u):
        return -log_u

    def _formula(self, u):
        return -_log(u)

    def _derivative(self, u):
        return -1 / u


class _LinearLoss(PointwiseLoss):
    """l(u) = scale (1 - u)."""

    scale: float

    def _of_log_probability(self, log_u):
        # Not expm1: its derivative loses u below 1e-7.
        return torch.rsub(torch.exp(log_u), self.scale, alpha=self.scale)

    def _formula(self, u):
        (scale,) = _like(u, self.scale)
        return scale * (1 - u)

    _of_probability = _formula

    def _derivative(self, u):
        (scale,) = _like(u, self.scale)
        return -scale + 0 * u


class MAELoss(_LinearLoss):
    """Mean absolute error between u and the one-hot target, l(u) = 2 - 2u. Symmetric."""

    scale = 2.0


class UnhingedLoss(_LinearLoss):
    """Unhinged loss, l(u) = 1 - u: half of MAE, and AUL with p = 1 for every a."""

    scale = 1.0


class RCELoss(_LinearLoss):
    """Reverse cross entropy, l(u) = -A (1 - u), where A stands for ln 0.

    Parameters
    ----------
    A : float < 0
        ln(1e-4) = -9.21 in the code behind every published table, although the literature
        writes A = -4; A = -2 is MAE.
    compat : {"formula", "official"}
        "official" clamps every probability at 1e-7 from below, as the authors' code does, which
        drops the gradient of smaller ones; `of_probability` stays the formula's.
    """

    _arguments = ("A",)

    def __init__(self, A=LOG_1E_4, *, compat="formula", **options):
        super().__init__(**options)
        self.A = _real("A", A, "a number < 0", lambda A: A < 0)
        self.compat = _option("compat", compat, COMPATS)

    @property
    def scale(self):
        return -self.A

    def _per_example(self, prediction):
        if self.compat == "formula":
            return super()._per_example(prediction)
        u = prediction.log_probs.exp().clamp(min=1e-7)
        return self.scale * (prediction.total(u) - prediction.pick(u))


class SCELoss(PointwiseLoss):
    """Symmetric cross entropy, alpha CE + beta RCE: l(u) = -alpha ln u - beta A (1 - u).

    Parameters
    ----------
    alpha, beta : float >= 0
        Published settings: (0.01, 1) for MNIST, (0.1, 1) for CIFAR-10, (6, 0.1) for CIFAR-100.
    A : float < 0
        ln(1e-4) in the code behind every published table (the literature writes -4).
    compat : {"formula", "official"}
        "official" clamps the probabilities of the RCE part, see `RCELoss`.
    """

    _arguments = ("alpha", "beta", "A")

    def __init__(self, alpha, beta, A=LOG_1E_4, *, compat="formula", **options):
        super().__init__(**options)
        self.alpha = _real("alpha", alpha, "a number >= 0", lambda x: x >= 0)
        self.beta = _real("beta", beta, "a number >= 0", lambda x: x >= 0)
        self.A = _real("A", A, "a number < 0", lambda A: A < 0)
        self.compat = _option("compat", compat, COMPATS)

    def _per_example(self, prediction):
        if self.compat == "formula":
            return super()._per_example(prediction)
        u = prediction.log_probs.exp().clamp(min=1e-7)
        reverse = -self.A * (prediction.total(u) - prediction.pick(u))
        return torch.sub(self.beta * reverse, prediction.log_u, alpha=self.alpha)

    def _of_log_probability(self, log_u):
        scale = -self.beta * self.A
        linear = torch.rsub(torch.exp(log_u), scale, alpha=scale)
        return torch.sub(linear, log_u, alpha=self.alpha)

    def _formula(self, u):
        alpha, beta, A = _like(u, self.alpha, self.beta, self.A)
        linear = -beta * A * (1 - u)
        return linear - alpha * _log(u) if alpha else linear

    def _derivative(self, u):
        alpha, beta, A = _like(u, self.alpha, self.beta, self.A)
        linear = beta * A + 0 * u
        return linear - alpha / u if alpha else linear


class GCELoss(PointwiseLoss):
    """Generalized cross entropy, l(u) = (1 - u^q) / q; CE for q -> 0, half of MAE at q = 1.

    Parameters
    ----------
    q : float > 0
        0.7 in the paper.
    compat : {"formula", "official"}
        "official" clamps u at 1e-7, as the authors' code does: no gradient below. "formula"
        keeps the gradient wherever u^q can be represented.
    """

    _arguments = ("q",)

    def __init__(self, q=0.7, *, compat="formula", **options):
        super().__init__(**options)
        self.q = _real("q", q, "a number > 0 (q -> 0 is CELoss)", lambda q: q > 0)
        self.compat = _option("compat", compat, COMPATS)

    def _of_log_probability(self, log_u):
        if self.compat == "official":
            log_u = log_u.clamp(min=math.log(1e-7))
        return _power_gap(log_u, self.q, 0.0, -math.inf, sign=-1.0)

    def _formula(self, u):
        (q,) = _like(u, self.q)
        return (1 - u**q) / q

    def _derivative(self, u):
        (q,) = _like(u, self.q)
        return -_pow(u, q - 1)


class AGCELoss(PointwiseLoss):
    """Asymmetric generalized cross entropy, l(u) = ((a + 1)^q - (a + u)^q) / q (Corollary 1).

    q = 0 is the limit ln((a + 1) / (a + u)); a = 0 is GCE. At a = 0, q < 1, where l'(0) is
    infinite, the gradient in the logits tends to 0 with u and is computed without a NaN.
    An a below the smallest normal number of the dtype counts as 0.

    Parameters
    ----------
    a : float
        >= 0 if q > 0, else > 0.
    q : float
        (a, q) of Tables 1 and 2: MNIST (4, 0.2), CIFAR-10 (0.6, 0.6); with NCE: CIFAR-10
        (6, 1.5), CIFAR-100 (1.8, 3).

    Raises
    ------
    ValueError
        For illegal parameters, or where the loss or its slope exceeds 1e38.
    """

    _arguments = ("a", "q")

    def __init__(self, a, q, **options):
        super().__init__(**options)
        self.q = _real("q", q)
        if self.q > 0:
            self.a = _real("a", a, "a number >= 0 for q > 0", lambda a: a >= 0)
        else:
            self.a = _real("a", a, "a number > 0 for q <= 0", lambda a: a > 0)
        zero = (self.a, self.q - 1) if self.q <= 0 else (1.0, 0.0)
        _in_float32_range(self, (self.a + 1, self.q), zero)

    def _of_log_probability(self, log_u):
        a = self.a if self.a >= torch.finfo(log_u.dtype).tiny else 0.0
        # x = log((a + u) / (a + 1)) without cancellation, for small and for large a.
        if a == 0:
            x, extreme = log_u, -math.inf
        else:
            u, extreme = torch.exp(log_u), -math.log1p(1 / a)
            if a < 0.1:
                x = torch.log(u + a) - math.log1p(a)
            else:
                x = torch.log1p(torch.rsub(u, -1 / (a + 1), alpha=-1 / (a + 1)))
        return _power_gap(x, self.q, math.log1p(a), extreme, sign=-1.0)

    def _formula(self, u):
        a, q = _like(u, self.a, self.q)
        if abs(q) < TINY_EXPONENT and a + u > 0:
            return _log((a + 1) / (a + u))
        return ((a + 1) ** q - (a + u) ** q) / q

    def _derivative(self, u):
        a, q = _like(u, self.a, self.q)
        return -_pow(a + u, q - 1)


class AULLoss(PointwiseLoss):
    """Asymmetric unhinged loss, l(u) = ((a - u)^p - (a - 1)^p) / p (Corollary 2).

    p = 0 is the limit ln((a - u) / (a - 1)); p = 1 is the unhinged loss for every a. At a = 1,
    p < 1, where l'(1) is infinite, the gradient in the logits is of order (1 - u)^p and tends
    to 0 as u -> 1; it is computed without a NaN, and close to a = 1 from log(1 - u), so that it
    is not lost where u rounds to 1.

    Parameters
    ----------
    a : float
        >= 1 if p > 0, else > 1.
    p : float
        (a, p) of Tables 1 and 2: MNIST (3, 0.1), CIFAR-10 (5.5, 3); with NCE: CIFAR-10
        (6.3, 1.5), CIFAR-100 (6, 3).

    Raises
    ------
    ValueError
        For illegal parameters, or where the loss or (but for a = 1) its slope exceeds 1e38.
    """

    _arguments = ("a", "p")

    def __init__(self, a, p, **options):
        super().__init__(**options)
        self.p = _real("p", p)
        if self.p > 0:
            self.a = _real("a", a, "a number >= 1 for p > 0", lambda a: a >= 1)
        else:
            self.a = _real("a", a, "a number > 1 for p <= 0", lambda a: a > 1)
        one = (self.p, -1.0) if self.a == 1 else (self.a - 1, self.p - 1)
        _in_float32_range(self, (self.a, self.p), one)

    def _near_one(self):
        return self.a < 1.01

    def _per_example(self, prediction):
        if not self._near_one():
            return super()._per_example(prediction)
        if prediction.log_probs.shape[1] == 1:  # nothing but u = 1
            return 0 * prediction.log_u
        return self._of_log_complement(prediction.log_complement())

    def _of_log_probability(self, log_u):
        if self._near_one():
            return self._of_log_complement(torch.log(-torch.expm1(log_u)))
        b = self.a - 1
        return self._of_ratio(torch.rsub(torch.exp(log_u), 1 / b, alpha=1 / b))

    def _of_log_complement(self, log_v):
        if self.a == 1:
            return torch.exp(self.p * log_v) / self.p
        return self._of_ratio(torch.exp(log_v) / (self.a - 1))

    def _of_ratio(self, ratio):
        """The loss as a function of (1 - u) / (a - 1)."""
        b = self.a - 1
        return _power_gap(torch.log1p(ratio), self.p, math.log(b), math.log1p(1 / b))

    def _formula(self, u):
        a, p = _like(u, self.a, self.p)
        if abs(p) < TINY_EXPONENT and a > 1:
            return _log((a - u) / (a - 1))
        return ((a - u) ** p - (a - 1) ** p) / p

    def _derivative(self, u):
        a, p = _like(u, self.a, self.p)
        return -_pow(a - u, p - 1)


class AELLoss(PointwiseLoss):
    """Asymmetric exponential loss, l(u) = e^{-u/a} (Corollary 3).

    Parameters
    ----------
    a : float > 0
        Tables 1 and 2: MNIST 3.5, CIFAR-10 2.5; with NCE: CIFAR-10 5, CIFAR-100 1.5.
    """

    _arguments = ("a",)

    def __init__(self, a, **options):
        super().__init__(**options)
        self.a = _real("a", a, "a number > 0", lambda a: a > 0)

    def _of_log_probability(self, log_u):
        if self.a > 1e-12:
            return torch.exp(torch.exp(log_u) * (-1 / self.a))
        # Capped where the loss has long been 0: u / a may overflow.
        return torch.exp(-torch.exp((log_u - math.log(self.a)).clamp(max=50.0)))

    def _formula(self, u):
        (a,) = _like(u, self.a)
        return _exp(-u / a)

    def _derivative(self, u):
        (a,) = _like(u, self.a)
        return -_exp(-u / a) / a


class FocalLoss(PointwiseLoss):
    """Focal loss, l(u) = -(1 - u)^gamma ln u; CE at gamma = 0.

    For 0 < gamma < 1 the power has an infinite slope at u = 1, where the loss's own slope is 0;
    that limit is the gradient there, not NaN.

    Parameters
    ----------
    gamma : float >= 0
        0.5 in the paper.
    compat : {"formula", "official"}
        "official" holds (1 - u)^gamma constant in the gradient, as the authors' code does.
    """

    _arguments = ("gamma",)

    def __init__(self, gamma=0.5, *, compat="formula", **options):
        super().__init__(**options)
        self.gamma = _real("gamma", gamma, "a number >= 0", lambda gamma: gamma >= 0)
        self.compat = _option("compat", compat, COMPATS)

    def _of_log_probability(self, log_u):
        v = 1 - torch.exp(log_u)
        if self.compat == "official":
            v = v.detach()
        # Far below the resolution of u: keeps 0 * inf out of both derivatives at u = 1.
        v = v.clamp(min=torch.finfo(v.dtype).eps ** 2)
        # The compiler has no shortcut of its own for the square root.
        return -log_u * (v.sqrt() if self.gamma == 0.5 else v**self.gamma)

    def _of_probability(self, u):
        return -torch.log(u) * (1 - u) ** self.gamma

    def _formula(self, u):
        (gamma,) = _like(u, self.gamma)
        return -_pow(1 - u, gamma) * _log(u) if u != 1 else u * 0

    def _derivative(self, u):
        (gamma,) = _like(u, self.gamma)
        if isinstance(u, Decimal) and u == 1:
            return -_pow(1 - u, gamma)
        steep = gamma * _pow(1 - u, gamma - 1) * _log(u) if gamma else 0
        return steep - _pow(1 - u, gamma) / u


# --- normalised losses ----------------------------------------------------------------------


class Normalized(_Composite):
    """L(u, y) / sum_k L(u, k): a loss in [0, 1] that sums to one over the labels (Ma et al. 2020).

    Symmetric for every base loss. Not a function of u_y alone.

    Parameters
    ----------
    loss : PointwiseLoss, sum of them, or nn.CrossEntropyLoss
        The base loss, kept as `loss`; weight, ignore_index and reduction are its own.
    """

    def __init__(self, loss):
        super().__init__()
        loss = _as_loss(loss)
        if not loss._is_pointwise():
            raise TypeError(f"loss={loss!r}: expected a function of the target's probability")
        self.loss = loss

    def _parts(self):
        return (self.loss,)

    def _per_example(self, prediction):
        all_classes = self.loss._per_example(_Prediction(prediction.log_probs))
        # The sum is 0 only where it underflows or C = 1; the loss is 0 there, as CE is for C = 1.
        total = prediction.total(all_classes).clamp(min=torch.finfo(all_classes.dtype).tiny)
        return prediction.pick(all_classes) / total

    def __repr__(self):
        return f"{type(self).__name__}({self.loss!r})"


class _NormalizedShort(Normalized):
    """A normalised loss under its own name, whose repr shows the base loss's arguments."""

    def __repr__(self):
        return type(self).__name__ + repr(self.loss).removeprefix(type(self.loss).__name__)


class NCELoss(_NormalizedShort):
    """Normalised cross entropy, ln u_y / sum_k ln u_k (Ma et al. 2020)."""

    def __init__(self, **options):
        super().__init__(CELoss(**options))

    def _per_example(self, prediction):
        if prediction.log_probs.shape[1] == 1:
            return -prediction.log_u
        return prediction.log_u / prediction.total(prediction.log_probs)


class NormalizedFocalLoss(_NormalizedShort):
    """Normalised focal loss; parameters as in `FocalLoss`."""

    def __init__(self, gamma=0.5, **options):
        super().__init__(FocalLoss(gamma, **options))


class NormalizedGCELoss(_NormalizedShort):
    """Normalised generalized cross entropy; parameters as in `GCELoss`."""

    def __init__(self, q=0.7, **options):
        super().__init__(GCELoss(q, **options))


# --- negative learning ----------------------------------------------------------------------


def _negative(prediction, compat):
    """-ln(1 - u_k) for the target k of `prediction`."""
    if prediction.target is None:
        raise TypeError("target: negative learning needs class indices, not class probabilities")
    if prediction.log_probs.shape[1] < 2:
        raise ValueError("input: negative learning needs at least 2 classes")
    if compat == "official":
        return -torch.log((1 - torch.exp(prediction.log_u)).clamp(min=1e-5))
    return -prediction.log_complement()


def negative_learning(
    input,
    complementary,
    *,
    weight=None,
    ignore_index=-100,
    reduction="mean",
    compat="formula",
):
    """-ln(1 - u_k) for a complementary label k, "the class is not k" (Kim et al. 2019).

    The deterministic core of `NLNLLoss`.

    Parameters
    ----------
    input : Tensor
        Logits, (C,), (N, C) or (N, C, d1, ...) with C >= 2.
    complementary : Tensor of int64
        Complementary labels, the shape of `input` without the class axis. `weight` and
        `ignore_index` refer to them.
    weight, ignore_index, reduction
        As in `F.cross_entropy`.
    compat : {"formula", "official"}
        "official" clamps 1 - u at 1e-5, as the authors' code does: no gradient below.
        "formula" takes log(1 - u) from the other logits, exact up to u = 1.

    Raises
    ------
    TypeError
        For class-probability targets.
    ValueError
        For a single class.
    """
    _option("reduction", reduction, REDUCTIONS)
    _option("compat", compat, COMPATS)
    return _apply(
        lambda prediction: _negative(prediction, compat),
        input,
        complementary,
        weight,
        ignore_index,
        reduction,
    )


class NLNLLoss(Loss):
    """Negative learning: -ln(1 - u_k) for a wrong label k drawn uniformly (NLNL, stage 1).

    Every call draws one complementary label per element, whatever the reduction, from the
    loss's own generator, whose state is part of `state_dict`. The zero positive-learning term
    of the published code, NaN since torch 1.11, is not there.

    Parameters
    ----------
    seed : int >= 0
        Seed of `generator`, which is made anew when the device changes. Give each process of a
        distributed run its own, and register the generator with a CUDA graph that draws.
    compat : {"formula", "official"}
        "official" clamps 1 - u at 1e-5 (see `negative_learning`) and, with `weight`, divides
        the mean by the number of elements instead of their weights (outside sums).

    Raises
    ------
    TypeError
        In the call, for class-probability targets.
    """

    _arguments = ("seed",)

    def __init__(self, seed=0, *, compat="formula", **options):
        super().__init__(**options)
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise TypeError(f"seed={seed!r}: expected an int >= 0")
        if seed < 0:
            raise ValueError(f"seed={seed!r}: expected an int >= 0")
        self.seed = seed
        self.compat = _option("compat", compat, COMPATS)
        self.generator = torch.Generator().manual_seed(seed)

    def forward(self, input, target):
        return _apply(
            self._per_example,
            input,
            target,
            self.weight,
            self.ignore_index,
            self.reduction,
            mean_over_n=self.compat == "official",
        )

    def draw(self, target, num_classes):
        """Complementary labels, uniform over the classes other than `target`, in its shape."""
        if self.generator.device != target.device:
            self.generator = torch.Generator(target.device).manual_seed(self.seed)
        k = torch.randint(
            num_classes - 1, target.shape, generator=self.generator, device=target.device
        )
        return k + (k >= target)

    def _per_example(self, prediction):
        if prediction.target is not None and prediction.log_probs.shape[1] > 1:
            drawn = self.draw(prediction.target, prediction.log_probs.shape[1])
            prediction = _Prediction(prediction.log_probs, drawn)
        return _negative(prediction, self.compat)

    def get_extra_state(self):
        return {"device": str(self.generator.device), "state": self.generator.get_state()}

    def set_extra_state(self, state):
        self.generator = torch.Generator(state["device"])
        self.generator.set_state(state["state"])


# --- text -----------------------------------------------------------------------------------


def loss_from_string(text):
    """The loss that `repr` wrote, e.g. ``"1.0 * NCELoss() + 4.0 * AGCELoss(a=6, q=1.5)"``.

    Only losses of this module, numbers, strings, lists, None, ``*``, ``+`` and brackets are
    understood; nothing is evaluated.

    Raises
    ------
    ValueError
        For anything else, naming it (and the known losses, for an unknown name).
    """
    if not isinstance(text, str):
        raise TypeError(f"text={text!r}: expected a string")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ValueError(f"text={text!r}: {error.msg}") from None
    loss = _build(tree, text)
    if not isinstance(loss, Loss):
        raise ValueError(f"text={text!r}: expected a loss")
    return loss


def _build(node, text):
    match node:
        case ast.BinOp(left=left, op=ast.Mult() | ast.Add() as op, right=right):
            left, right = _build(left, text), _build(right, text)
            if isinstance(op, ast.Add) and isinstance(left, Loss) and isinstance(right, Loss):
                return left + right
            if isinstance(op, ast.Mult) and isinstance(left, Loss) != isinstance(right, Loss):
                return left * right
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            if name not in LOSSES:
                raise ValueError(f"text: unknown loss {name!r}; known: {', '.join(LOSSES)}")
            options = {keyword.arg: _build(keyword.value, text) for keyword in keywords}
            return LOSSES[name](*(_build(arg, text) for arg in args), **options)
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise ValueError(f"text={text!r}: cannot read {ast.unparse(node)!r}") from None


LOSSES = {
    name: value
    for name, value in ((name, globals()[name]) for name in __all__)
    if isinstance(value, type) and value not in (Loss, LossSum, PointwiseLoss)
}
