"""From logits and targets to a reduced loss: shapes, dtypes, weights, `ignore_index`."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ("mean", "sum", "none")
COMPATS = ("formula", "official")
LOG_HALF = math.log(0.5)


def check_call(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> bool:
    """Check every shape and dtype; return whether the targets are class probabilities."""
    for name, tensor in (("input", input), ("target", target)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if not input.is_floating_point():
        raise TypeError(f"input: expected floating-point logits, got {input.dtype}")
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


class Prediction:
    """Log-probabilities of a batch, seen from its targets.

    log_u is the log-probability of the target, (N, d1, ...). It keeps the class axis if there is no
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
        shift = others.detach().amax(1, keepdim=True)
        others = self.total(others.sub_(shift).exp_()).log()
        others = others + (shift if self.target is None else shift.squeeze(1))
        below = torch.log1p(-torch.exp(self.log_u.clamp(max=LOG_HALF)))
        return torch.where(self.log_u < LOG_HALF, below, others)


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
