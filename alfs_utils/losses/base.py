"""What all losses share: the call, the algebra of sums, the repr; and cross entropy."""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alfs_utils._arguments import array, integer, option, real, shown
from alfs_utils.losses.numerics import like, log, on_probability

# --- the call: from logits and targets to a reduced loss --------------------------------------

REDUCTIONS = ("mean", "sum", "none")
COMPATS = ("formula", "official")
# What a loss is made with, besides its `_arguments`, and what cannot be checked later.
FIXED = ("label_smoothing", "coefficients")
LOG_HALF = math.log(0.5)


def check_call(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> bool:
    """Check every shape, dtype and device; return whether the targets are class probabilities."""
    for name, tensor in (("input", input), ("target", target)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
        if tensor.layout != torch.strided:
            raise TypeError(f"{name}: expected a dense tensor, got {tensor.layout}")
    if not input.is_floating_point():
        raise TypeError(f"input: expected floating-point logits, got {input.dtype}")
    for name, tensor in (("target", target), ("weight", weight)):
        if tensor is not None and tensor.device != input.device:
            raise ValueError(f"{name}: expected one on {input.device}, got {tensor.device}")
    shape = tuple(input.shape)
    if not shape:
        raise ValueError("input: expected shape (C,), (N, C) or (N, C, d1, ...), got ()")
    classes = shape[:2][-1]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise ValueError(
            f"weight: expected shape ({classes},), one per class, got {tuple(weight.shape)}"
        )
    if target.shape == input.shape:
        if not target.is_floating_point():
            raise TypeError(
                f"target: expected floating-point class probabilities in the shape of input, "
                f"{shape}, got {target.dtype}"
            )
        if ignore_index >= 0:
            raise ValueError(
                "ignore_index: expected a negative number, as class probabilities have no index "
                f"to ignore, got {ignore_index}"
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


def class_weights(weight: Any) -> Tensor | None:
    """Check the weights of the classes; return a floating-point tensor (C,), or None."""
    if weight is None:
        return None
    if not isinstance(weight, Tensor):
        weight = torch.tensor(array("weight", weight, "C numbers", np.float64))
    if not weight.is_floating_point():
        raise TypeError(f"weight: expected a floating-point tensor, got {weight.dtype}")
    if weight.dim() != 1:
        raise ValueError(f"weight: expected shape (C,), got {tuple(weight.shape)}")
    return weight


def class_index(name: str, value: Any) -> int:
    """Check a class index, which may be negative: one to ignore."""
    value = integer(name, value)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name}: expected an int64, got {shown(value)}")
    return value


class Prediction:
    """Log-probabilities of a batch, seen from its targets.

    log_u is the log-probability of the target, (N, d1, ...), and 0 where the target is ignored: so
    a function of it is finite there, whatever the logits. It keeps the class axis if there is no
    target: with class probabilities, and in the sum of a normalised loss.
    """

    def __init__(
        self, log_probs: Tensor, target: Tensor | None = None, ignore_index: int = -100
    ) -> None:
        self.log_probs = log_probs
        self.target = target
        self.ignore_index = ignore_index
        self.log_u = self.pick(log_probs)

    def pick(self, values: Tensor) -> Tensor:
        if self.target is None:
            return values
        # nll_loss is torch's own gather: its errors, its ignore_index (0 there), its speed.
        minus = values.new_full(values.shape[1:2], -1.0)
        return F.nll_loss(
            values, self.target, minus, ignore_index=self.ignore_index, reduction="none"
        )

    def counted(self, values: Tensor) -> Tensor:
        """Return (N, d1, ...) values with 0 where the target is ignored: 0 * nan would be nan."""
        if self.target is None:
            return values
        return values.masked_fill(self.target == self.ignore_index, 0)

    def total(self, values: Tensor) -> Tensor:
        return values.sum(1, keepdim=self.target is None)

    def log_complement(self) -> Tensor:
        """Return log(1 - u), even where u rounds to 1: there it is the others' logsumexp."""
        if self.target is None:
            own = self.log_probs.argmax(1, keepdim=True)  # the only class that can be above 1/2
        else:
            own = torch.where(self.target == self.ignore_index, 0, self.target).unsqueeze(1)
        # logsumexp with one pass less over (N, C) in each direction.
        others = self.log_probs.scatter(1, own, -math.inf)
        shift = others.detach().amax(1, keepdim=True).nan_to_num()
        others = self.total(others.sub_(shift).exp_())
        # Finite in an ignored row of nan, and where all others are masked.
        others = torch.where(others > 0, others, torch.finfo(others.dtype).tiny).log()
        others = others + (shift if self.target is None else shift.squeeze(1))
        below = torch.log1p(-torch.exp(self.log_u.clamp(max=LOG_HALF)))
        return torch.where(self.log_u >= LOG_HALF, others, below)  # below has the nan of log_u


def dtypes(input: Tensor, target: Tensor, soft: bool) -> tuple[torch.dtype, torch.dtype]:
    """Return the dtype that `F.cross_entropy` returns, and the one to compute in: >= float32."""
    dtype = torch.promote_types(input.dtype, target.dtype) if soft else input.dtype
    if dtype.itemsize < 4 and torch.is_autocast_enabled(input.device.type):
        dtype = torch.float32
    return dtype, torch.promote_types(dtype, torch.float32)


def apply(
    per_example: Callable[[Prediction], Tensor],
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    *,
    mean_over_n: bool = False,
) -> Tensor:
    """Reduce ``per_example(prediction)`` as `F.cross_entropy` reduces its own terms."""
    soft = check_call(input, target, weight, ignore_index)
    dtype, compute = dtypes(input, target, soft)
    single = input.dim() == 1
    if single:
        input, target = input.unsqueeze(0), target.unsqueeze(0)
    if weight is not None:
        weight = weight.to(compute)

    log_probs = F.log_softmax(input, 1, dtype=compute)
    if soft:
        scale = target if weight is None else target * weight.view(-1, *[1] * (input.dim() - 2))
        loss = (per_example(Prediction(log_probs)) * scale).sum(1)
        if reduction == "mean":
            loss = loss.mean()
        elif reduction == "sum":
            loss = loss.sum()
    else:
        target = target.long()
        loss = per_example(Prediction(log_probs, target, ignore_index))
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


# --- base classes ---------------------------------------------------------------------------

Probability = TypeVar("Probability", float, np.ndarray, Tensor)


class LossOptions(TypedDict, total=False):
    """What every loss takes besides its own parameters, see `Loss`."""

    weight: Tensor | Sequence[float] | None
    ignore_index: int
    reduction: str


_AS_IN_TORCH = (
    "`weight`, `ignore_index` and `reduction` are those of `F.cross_entropy`, see `Loss`."
)


class Loss(nn.Module):
    """Base of all losses: the call, the algebra and the repr.

    The parameters of a loss are fixed, because they were checked together. For another value, make
    another loss. You may set `reduction`, `ignore_index` and `compat`; they are checked again. In a
    sum or a normalised loss, they are set for all parts: these are the losses that it was made of,
    not copies.

    Parameters
    ----------
    weight : Tensor or sequence of C floats, optional
        Weight of each class, as in `F.cross_entropy`.
    ignore_index : int
        Class index of the elements that do not count (class-index targets only).
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
    __array_ufunc__ = None  # array * loss is no array of losses, but a TypeError
    # Of losses of the target's probability alone; Decimal or float64 tensor in, the same out.
    _of_probability: ClassVar[Callable[..., Any]]
    _formula: ClassVar[Callable[..., Any]]
    _derivative: ClassVar[Callable[..., Any]]
    weight: Tensor | None
    compat: str
    provenance: str  # of `from_paper`
    reason: str

    def __init__(
        self,
        *,
        weight: Tensor | Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.register_buffer("weight", class_weights(weight))
        self.ignore_index = ignore_index
        self.reduction = reduction

    def __init_subclass__(cls) -> None:
        """Let `help` and `inspect.signature` show and explain what ``**options`` stands for."""
        if init := vars(cls).get("__init__"):
            signature, shown = inspect.signature(init), []
            for parameter in signature.parameters.values():
                known = parameter.annotation == Unpack[LossOptions]
                shown += _OPTIONS if known else [parameter]
            init.__signature__ = signature.replace(parameters=shown)
            if cls.__doc__ and len(shown) > len(signature.parameters):
                what, *sections = re.split(r"\n\n(?=\w+\n---)", inspect.cleandoc(cls.__doc__))
                cls.__doc__ = "\n\n".join([what, _AS_IN_TORCH, *sections]) + "\n"

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse another value of a parameter: the first one was checked together with the rest."""
        if name in vars(self) and name in (*self._arguments, *FIXED):
            raise AttributeError(
                f"{name}: expected to stay {getattr(self, name)!r}, got {shown(value)}: "
                f"make a new {type(self).__name__}"
            )
        if name == "compat":
            option(name, value, COMPATS)
        if name == "ignore_index":
            value = class_index(name, value)
        super().__setattr__(name, value)

    @property
    def reduction(self) -> str:
        return self._reduction

    @reduction.setter
    def reduction(self, value: str) -> None:
        self._reduction = option("reduction", value, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits, (C,), (N, C) or (N, C, d1, ...), as `F.cross_entropy` does.

        `target` has class indices (int64, without the class axis) or class probabilities (the
        shape and kind of `input`).
        """
        return apply(
            self._per_example, input, target, self.weight, self.ignore_index, self.reduction
        )

    def _per_example(self, prediction: Prediction) -> Tensor:
        """Return the unreduced loss, (N, d1, ...), or (N, C, d1, ...) if there is no target."""
        raise NotImplementedError

    def of_probability(self, u: Probability) -> Probability:
        """Return l(u), the loss of a target probability u in [0, 1].

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
        return on_probability(u, self._of_probability, self._formula)

    def slope(self, u: Probability) -> Probability:
        """Return l'(u) for u in [0, 1], as `of_probability` does; -inf where it is infinite."""
        self._require_pointwise()
        return on_probability(u, self._derivative, self._derivative)

    def _is_pointwise(self) -> bool:
        return False

    def for_labels(self, labels: Tensor, num_classes: int) -> "Loss":
        """Return this loss, or one of its kind that has seen the given labels of a training set."""
        return self

    def _require_pointwise(self):
        if not self._is_pointwise():
            raise TypeError(f"loss: expected a function of one probability, got {self!r}")

    def _terms(self) -> "tuple[tuple[float, Loss], ...]":
        return ((1.0, self),)

    def __mul__(self, factor: Any) -> "LossSum":
        if isinstance(factor, bool) or not isinstance(factor, Real):
            return NotImplemented
        return LossSum([(factor, self)])  # pyright: ignore[reportArgumentType]

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> "LossSum":
        return self * (1 / real("divisor", divisor, "a finite number > 0", lambda x: x > 0))

    def __add__(self, other: Any) -> "LossSum":
        if not isinstance(other, (Loss, nn.CrossEntropyLoss)):
            return NotImplemented
        return LossSum([(1.0, self), (1.0, other)])

    def __radd__(self, other: Any) -> "Loss":
        if type(other) is int and other == 0:  # where sum([loss, ...]) starts
            return self
        return as_loss(other) + self if isinstance(other, nn.CrossEntropyLoss) else NotImplemented

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


_OPTIONS = list(inspect.signature(Loss).parameters.values())


class PointwiseLoss(Loss):
    """A loss of the target's probability alone: L(u, y) = l(u_y).

    A subclass lists its parameters in `_arguments` (for the repr) and gives three methods:

    - ``_of_log_probability(log_u)``: l for a tensor of log u, with a sound value and gradient
      from log u = 0 down to -2e4. This is what trains.
    - ``_formula(u)``: l(u) as on paper; u is a `decimal.Decimal` (0 or 1).
    - ``_derivative(u)``: l'(u) as on paper; u is a `decimal.Decimal` or a float64 tensor.

    Two more say what `alfs_utils.asymmetry` may take as proven; without them it can only search.
    They count for the class that defines them, not for its subclasses, which may change l.

    - ``curvature()``: 1 if l is strictly convex on [0, 1], -1 if concave, 0 if affine.
    - ``inverse_slope(y)``: for convex l, the u with -l'(u) = y > 0 (an array, float64), where l'
      is continued beyond [0, 1].
    """

    _of_log_probability: ClassVar[Callable[..., Any]]

    def _per_example(self, prediction: Prediction) -> Tensor:
        return self._of_log_probability(prediction.log_u)

    def _is_pointwise(self) -> bool:
        return True

    def _of_probability(self, u):
        return self._of_log_probability(torch.log(u))


class Composite(Loss):
    """A loss made of others; its weight, ignore_index and reduction are theirs."""

    def __init__(self):
        nn.Module.__init__(self)

    def _parts(self) -> Sequence[Loss]:
        raise NotImplementedError

    @property
    def weight(self) -> Tensor | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._parts()[0].weight

    @property
    def ignore_index(self) -> int:
        return self._parts()[0].ignore_index

    @ignore_index.setter
    def ignore_index(self, value: int) -> None:
        for part in self._parts():
            part.ignore_index = value

    @property
    def reduction(self) -> str:
        return self._parts()[0].reduction

    @reduction.setter
    def reduction(self, value: str) -> None:
        for part in self._parts():
            part.reduction = value

    def _set_compat(self, value):
        for part in self._parts():
            if isinstance(part, Composite) or hasattr(part, "compat"):
                part.compat = value

    # To set only: the parts may differ.
    compat = property(fset=_set_compat)  # pyright: ignore[reportAssignmentType]


class LossSum(Composite):
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

    losses: Any  # a ModuleList of Loss

    def __init__(self, terms: Iterable[tuple[float, nn.Module]]) -> None:
        super().__init__()
        try:
            pairs = [(factor, loss) for factor, loss in terms]
        except (TypeError, ValueError) as error:
            raise TypeError(f"terms: expected pairs (c, loss), got {shown(terms)}") from error
        flat = []
        for factor, loss in pairs:
            factor = real("coefficient", factor, "a finite number >= 0", lambda c: c >= 0)
            flat += [(factor * c, part) for c, part in as_loss(loss)._terms()]
        if not flat:
            raise ValueError("terms: expected at least one (coefficient, loss), got none")
        for _, loss in flat:
            if getattr(loss, "label_smoothing", 0):
                raise ValueError(
                    f"label_smoothing: expected 0 in sums and certificates, got {loss!r}"
                )
        self.coefficients = tuple(c for c, _ in flat)
        self.losses = nn.ModuleList(loss for _, loss in flat)
        first = self.losses[0]
        for other in self.losses[1:]:
            _check_agreement(first, other)

    @property
    def terms(self) -> tuple[tuple[float, Loss], ...]:
        return tuple(zip(self.coefficients, self.losses, strict=True))

    def _terms(self) -> tuple[tuple[float, Loss], ...]:
        return self.terms

    def _parts(self) -> Sequence[Loss]:
        return self.losses

    def _per_example(self, prediction):
        (coefficient, loss), *rest = self.terms
        total = loss._per_example(prediction)
        if coefficient != 1:
            total = total * coefficient
        for coefficient, loss in rest:
            total = torch.add(total, loss._per_example(prediction), alpha=coefficient)
        return total

    def _is_pointwise(self) -> bool:
        return all(loss._is_pointwise() for loss in self.losses)

    def _combine(self, function, u):
        # A zero coefficient silences a term even where it is infinite.
        return sum(
            (like(u, c)[0] * getattr(loss, function)(u) for c, loss in self.terms if c), 0 * u
        )

    def _of_probability(self, u):
        return self._combine("_of_probability", u)

    def _formula(self, u):
        return self._combine("_formula", u)

    def _derivative(self, u):
        return self._combine("_derivative", u)

    def __repr__(self):
        return " + ".join(f"{c!r} * {loss!r}" for c, loss in self.terms)


def as_loss(loss: Any) -> Loss:
    if isinstance(loss, Loss):
        return loss
    if not isinstance(loss, nn.CrossEntropyLoss):
        raise TypeError(f"loss: expected a Loss or nn.CrossEntropyLoss, got {shown(loss)}")
    return CELoss(
        loss.weight, loss.ignore_index, loss.reduction, label_smoothing=loss.label_smoothing
    )


def _check_agreement(first, other):
    for name in ("ignore_index", "reduction"):
        a, b = getattr(first, name), getattr(other, name)
        if a != b:
            raise ValueError(f"{name}: expected the same in all terms, got {a!r} and {b!r}")
    a, b = first.weight, other.weight
    if (a is None) != (b is None) or (a is not None and not torch.equal(a.to(b), b)):
        raise ValueError(f"weight: expected the same in all terms, got {a} and {b}")


class CELoss(PointwiseLoss, nn.CrossEntropyLoss):  # pyright: ignore[reportIncompatibleVariableOverride]
    """Cross entropy, l(u) = -ln u: `nn.CrossEntropyLoss` itself, joined to the algebra.

    Label smoothing is not a function of u_y, so it is refused in sums and in `Normalized`.
    """

    def __init__(
        self,
        weight: Tensor | Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        *,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        smoothing = real(
            "label_smoothing", label_smoothing, "a number in [0, 1]", lambda x: 0 <= x <= 1
        )
        vars(self)["label_smoothing"] = smoothing  # torch's constructor has set it to 0

    def _formula(self, u):
        return -log(u)

    @property
    def _arguments(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return ("label_smoothing",) if self.label_smoothing else ()

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        soft = check_call(input, target, self.weight, self.ignore_index)
        dtype, compute = dtypes(input, target, soft)
        return F.cross_entropy(
            input.to(compute),
            target,
            None if self.weight is None else self.weight.to(compute),
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        ).to(dtype)

    def _is_pointwise(self) -> bool:
        return not self.label_smoothing

    def _of_log_probability(self, log_u):
        return -log_u

    def _derivative(self, u):
        return -1 / u

    def curvature(self) -> int:
        return 1

    def inverse_slope(self, y: np.ndarray) -> np.ndarray:
        return 1 / y
