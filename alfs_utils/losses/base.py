"""What all losses share: the call, the algebra of sums, the repr; and cross entropy."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, TypedDict, TypeVar, Unpack

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alfs_utils._arguments import integer, option, real
from alfs_utils.losses.core import REDUCTIONS, Prediction, apply, check_call, dtypes
from alfs_utils.losses.numerics import like, log, on_probability

Probability = TypeVar("Probability", float, np.ndarray, Tensor)


class LossOptions(TypedDict, total=False):
    """What every loss takes besides its own parameters, see `Loss`."""

    weight: Tensor | Sequence[float] | None
    ignore_index: int
    reduction: str


class Loss(nn.Module):
    """Base of all losses: the call, the algebra and the repr.

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
        if weight is not None:
            if not isinstance(weight, Tensor):
                weight = torch.as_tensor(weight, dtype=torch.float64)
            if not weight.is_floating_point():
                raise TypeError(f"weight: expected a floating-point tensor, got {weight.dtype}")
            if weight.dim() != 1:
                raise ValueError(f"weight: expected shape (C,), got {tuple(weight.shape)}")
        self.register_buffer("weight", weight)
        self.ignore_index = integer("ignore_index", ignore_index)
        self.reduction = reduction

    def __init_subclass__(cls) -> None:
        """Let `help` and `inspect.signature` show what ``**options`` stands for."""
        if init := vars(cls).get("__init__"):
            signature, shown = inspect.signature(init), []
            for parameter in signature.parameters.values():
                known = parameter.annotation == Unpack[LossOptions]
                shown += _OPTIONS if known else [parameter]
            init.__signature__ = signature.replace(parameters=shown)

    @property
    def reduction(self) -> str:
        return self._reduction

    @reduction.setter
    def reduction(self, value: str) -> None:
        self._reduction = option("reduction", value, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
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
        return LossSum([(float(factor), self)])

    __rmul__ = __mul__

    def __add__(self, other: Any) -> "LossSum":
        if not isinstance(other, (Loss, nn.CrossEntropyLoss)):
            return NotImplemented
        return LossSum([(1.0, self), (1.0, other)])

    def __radd__(self, other: Any) -> "LossSum":
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

    @property
    def reduction(self) -> str:
        return self._parts()[0].reduction

    @reduction.setter
    def reduction(self, value: str) -> None:
        for part in self._parts():
            part.reduction = value


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
        flat = []
        for factor, loss in terms:
            factor = real("coefficient", factor, "a finite number >= 0", lambda c: c >= 0)
            flat += [(factor * c, part) for c, part in as_loss(loss)._terms()]
        if not flat:
            raise ValueError("terms: expected at least one (coefficient, loss), got none")
        for _, loss in flat:
            if getattr(loss, "label_smoothing", 0):
                raise ValueError(f"label_smoothing: expected 0 in a sum, got {loss!r}")
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
        raise TypeError(f"loss: expected a Loss or nn.CrossEntropyLoss, got {loss!r}")
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
        self.label_smoothing = real(
            "label_smoothing", label_smoothing, "a number in [0, 1]", lambda x: 0 <= x <= 1
        )

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
