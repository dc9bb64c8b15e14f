"""bfloat16 on a CPU without units for it: rounded operands, products in float32.

There torch convolves and multiplies in bfloat16 some ten times slower than in float32. What such a
unit computes can be had at float32's speed: round both operands to bfloat16, multiply and add in
float32, round the result. The gradients follow by the same rule. Only the order of the sums, which
differs between units too, is another.
"""

import contextlib
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

PRODUCTS = {torch.conv2d, torch.nn.functional.linear}


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager:
    """Make the context in which a network computes in `dtype`; for float32 it changes nothing."""
    stack = contextlib.ExitStack()
    if dtype == torch.float32:
        return stack
    if dtype == torch.bfloat16 and _is_slow(device):
        stack.enter_context(_Rounded())
    stack.enter_context(torch.autocast(device.type, dtype))
    return stack


def _is_slow(device):
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"


class _Rounded(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in PRODUCTS:
            return func(*args, **(kwargs or {}))
        operands = [x.bfloat16().float() if torch.is_tensor(x) else x for x in args]
        with torch.autocast("cpu", enabled=False):
            return func(*operands, **(kwargs or {})).bfloat16()
