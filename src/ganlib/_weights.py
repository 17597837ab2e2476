"""Weights that are numbers, or 0-dim tensors that change during training."""

from collections.abc import Callable, MutableMapping
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from ganlib._checks import check_number
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError

__all__ = ["check_weight", "checks_of", "keep_check", "show_weight", "weighted"]

Check: TypeAlias = Callable[[str, Any], object]

# The checks of those who read a tensor, by the reader's name of it, for a schedule that writes into the tensor.
_CHECKS: MutableMapping[Tensor, dict[str, Check]] = WeakTensorKeyDictionary()


def check_weight(name: str, value: Any, check: Check = check_number) -> None:
    """Raise an ArgumentValueError unless the value is a number or a 0-dim tensor that passes a check.

    The check skips tensors on a GPU, because reading their values would wait for the GPU. Later values of a tensor have
    to pass it too: see :func:`checks_of`.
    """
    if not isinstance(value, Tensor):
        check(name, value)
        return
    # A module would register a parameter or a buffer, and replace it by another tensor when the module is moved.
    plain = not (value.requires_grad or isinstance(value, nn.Parameter | nn.Buffer))
    if not (plain and value.ndim == 0 and value.is_floating_point()):
        raise ArgumentValueError(
            f"{name} (={shown(value)}) must be a number, or a plain floating-point tensor of no dimensions without "
            "gradients"
        )
    if value.device.type == "cpu":
        check(name, value.item())
    keep_check(value, name, check)


def keep_check(tensor: Tensor, name: str, check: Check) -> None:
    """Remember that each value of a tensor has to pass a check, under the name that its reader gives it."""
    _CHECKS.setdefault(tensor, {})[name] = check


def checks_of(tensor: Tensor) -> dict[str, Check]:
    """Return the checks that each value of a tensor has to pass, by name.

    Example:
        >>> import torch
        >>> weight = torch.tensor(1.0)
        >>> check_weight("weight", weight)
        >>> [*checks_of(weight)]
        ['weight']
    """
    return dict(_CHECKS.get(tensor, {}))


def weighted(weight: float | Tensor, value: Tensor) -> Tensor:
    """Return weight times value, in the dtype of the value."""
    if isinstance(weight, Tensor):
        weight = weight.to(value.dtype)  # two 0-dim tensors would be promoted to the wider dtype
    return weight * value


def show_weight(weight: Any) -> str:
    """Return the text of a weight for ``repr``, without reading a value from a GPU."""
    if not isinstance(weight, Tensor):
        return str(weight)
    if weight.device.type == "cpu":
        return str(float(f"{weight.item():.6g}"))  # 0.3 as written, without the rounding error of float32
    return f"<on {weight.device}>"
