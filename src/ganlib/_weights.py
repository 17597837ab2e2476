"""Weights and the like: numbers, or tensors of no dimensions that change during training."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ganlib._checks import check_number
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError

__all__ = ["check_weight", "show_weight", "weighted"]


def check_weight(name: str, value: Any, check: Callable[[str, Any], object] = check_number) -> None:
    """Raise an ArgumentValueError unless the value is a number, or a 0-dim tensor that holds one, which passes a check.

    The tensor may change later, and its owner keeps it. On a device its value is not read, as that would wait.
    """
    if not isinstance(value, Tensor):
        check(name, value)
        return
    # A module would register a parameter or a buffer, and put another tensor in its place when it is moved.
    plain = not (value.requires_grad or isinstance(value, nn.Parameter | nn.Buffer))
    if not (plain and value.ndim == 0 and value.is_floating_point()):
        raise ArgumentValueError(
            f"{name} (={shown(value)}) must be a number, or a plain floating-point tensor of no dimensions without "
            "gradients"
        )
    if value.device.type == "cpu":
        check(name, value.item())


def weighted(weight: float | Tensor, value: Tensor) -> Tensor:
    """Return weight times value, in the dtype of the value."""
    if isinstance(weight, Tensor):
        weight = weight.to(value.dtype)  # two tensors of no dimensions would take the wider of their dtypes
    return weight * value


def show_weight(weight: Any) -> str:
    """Return a weight as ``repr`` shows it; on a device its value is not read, as that would wait."""
    if not isinstance(weight, Tensor):
        return str(weight)
    if weight.device.type == "cpu":
        return str(float(f"{weight.item():.6g}"))  # as it was written: 0.3, and not what float32 makes of it
    return f"<on {weight.device}>"
