"""A loss from its repr, without evaluating anything."""

import ast

from alfs_utils._arguments import shown
from alfs_utils.losses import asymmetric, base, baselines, negative, normalised, successors
from alfs_utils.losses.base import Loss, LossSum, PointwiseLoss


def loss_from_string(text: str) -> Loss:
    """Make the loss that `repr` wrote, e.g. ``"1.0 * NCELoss() + 4.0 * AGCELoss(a=6, q=1.5)"``.

    Only losses of this module, numbers, strings, lists, None, ``*``, ``+`` and brackets are
    understood; nothing is evaluated.

    Raises
    ------
    ValueError
        For anything else, naming it (and the known losses, for an unknown name).
    TypeError, ValueError
        For arguments that the loss itself refuses.
    """
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {shown(text)}")
    try:
        loss = _build(ast.parse(text.strip(), mode="eval").body, text)
    except SyntaxError as error:
        raise ValueError(f"text: expected a loss, got {shown(text)}: {error.msg}") from None
    except (RecursionError, MemoryError):  # the parser's own limit is a MemoryError, too
        raise ValueError(f"text: expected fewer terms or signs, got {shown(text)}") from None
    if not isinstance(loss, Loss):
        raise ValueError(f"text: expected a loss, got {shown(text)}")
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
                raise ValueError(f"text: expected a loss of {', '.join(LOSSES)}, got {name!r}")
            options = {str(keyword.arg): _build(keyword.value, text) for keyword in keywords}
            return LOSSES[name](*(_build(arg, text) for arg in args), **options)
    try:
        return ast.literal_eval(node)
    except ValueError:
        wrong = f"{shown(ast.unparse(node))} in {shown(text)}"
        raise ValueError(f"text: expected a loss or a literal, got {wrong}") from None


LOSSES = {
    name: value
    for room in (base, baselines, asymmetric, normalised, negative, successors)
    for name, value in vars(room).items()
    if isinstance(value, type)
    and issubclass(value, Loss)
    and not name.startswith("_")
    and value not in (Loss, PointwiseLoss, LossSum, base.Composite)
}
