"""What every loss does first with its logits."""

import torch
from torch import Tensor

from ganlib.errors import DTypeError

__all__ = ["at_least_float32"]


def at_least_float32(logits: Tensor, name: str) -> Tensor:
    """Logits in float32 or better, so that a loss under bf16 autocast is as exact as without.

    Args:
        logits: float tensor of any shape.
        name: what the caller calls it, for the error.

    Returns:
        The same logits; half-precision ones widened to float32.

    Raises:
        DTypeError: the logits are not floating point.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16), "fake_logits").dtype
        torch.float32
    """
    if not logits.is_floating_point():
        raise DTypeError(f"{name} must be floating point, but its dtype is {logits.dtype}")
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
