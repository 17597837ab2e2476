"""Checks of conditions and encoders."""

from typing import Any

import torch
from torch import Tensor

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import Condition, ConditionEncoder

__all__ = [
    "check_classes",
    "check_device",
    "check_encoder",
    "check_floats",
    "check_input",
    "check_lengths",
    "check_network",
    "encode",
]

_INDICES = (torch.int64, torch.int8, torch.int16, torch.int32, torch.uint8)


def encode(condition: Condition, encoder: ConditionEncoder) -> Tensor:
    """Return the encoding of a condition that must not be None."""
    if condition is None:
        raise ArgumentValueError(f"condition (=None) is missing: this network is conditional, through {encoder}")
    return encoder(condition)


def check_lengths(encoding: Tensor, sample: Tensor) -> None:
    """Raise a ShapeError unless there is an encoding for each sample."""
    if encoding.shape[0] != sample.shape[0]:  # an export keeps its sizes free, and fixes a len()
        raise ShapeError(f"condition has {len(encoding)} entries, but sample has {len(sample)}")


def check_encoder(encoder: object) -> None:
    """Raise an ArgumentTypeError unless the encoder is callable, is not a class, and has an int ``features``."""
    if isinstance(encoder, type) or not callable(encoder) or not isinstance(getattr(encoder, "features", None), int):
        raise ArgumentTypeError(
            f"encoder (={shown(encoder)}) must be an encoder of conditions, such as OneHot(10): a callable with the "
            "attribute features, a whole number"
        )


def check_network(name: str, network: object) -> None:
    """Raise an ArgumentTypeError unless the network is callable, and is not a class."""
    if isinstance(network, type) or not callable(network):
        hint = f", not a class: create it, as {network.__name__}(...)" if isinstance(network, type) else ""
        raise ArgumentTypeError(f"{name} (={shown(network)}) must be a network{hint}")


def check_classes(condition: Any, num_classes: int) -> None:
    """Raise an error unless the condition is (N,) class indices; values are checked only on the CPU."""
    _check_tensor(condition)
    if condition.dtype not in _INDICES:
        raise DTypeError(
            f"condition must be class indices, of dtype torch.int64 for example, but its dtype is {condition.dtype}"
        )
    if condition.ndim != 1:
        raise ShapeError(f"condition {tuple(condition.shape)} must be class indices of shape (N,)")
    if condition.device.type == "cpu" and not torch.compiler.is_compiling() and len(condition):
        low, high = (int(value) for value in condition.long().aminmax())
        if low < 0 or high >= num_classes:
            raise ArgumentValueError(
                f"condition holds the class {low if low < 0 else high}, which is not in [0, num_classes) "
                f"with num_classes (={num_classes})"
            )


def check_floats(condition: Any, features: int, *, maps: bool, what: str) -> None:
    """Raise an error unless the condition is float (N, features) or maps; values are checked only on the CPU."""
    _check_tensor(condition)
    dense = condition.layout is torch.strided and condition.dtype.itemsize > 1
    if not (condition.is_floating_point() and dense):
        raise DTypeError(
            f"condition must be {what} of a floating-point dtype, but its dtype is {condition.dtype}"
            + ("" if condition.layout is torch.strided else f", and its layout {condition.layout}")
        )
    if (condition.ndim < 3 if maps else condition.ndim != 2) or condition.shape[1] != features:
        shape = f"(N, {features}, *spatial)" if maps else f"(N, {features})"
        raise ShapeError(f"condition {tuple(condition.shape)} must be {what} of shape {shape}")
    if condition.device.type == "cpu" and not torch.compiler.is_compiling() and not condition.isfinite().all():
        raise ArgumentValueError(f"condition holds {what} that are not finite")


def check_device(condition: Tensor, weight: Tensor) -> None:
    """Raise an ArgumentValueError unless the condition is on the device of the weight."""
    if condition.device != weight.device:
        raise ArgumentValueError(f"condition is on {condition.device}, but its encoder on {weight.device}")


def check_input(name: str, x: Any) -> None:
    """Raise an error unless x is a tensor (N, C, ...)."""
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"{name} must be a tensor, but is a {type(x).__name__}")
    if x.ndim < 2:
        raise ShapeError(f"{name} {tuple(x.shape)} must have shape (N, C), or (N, C, *spatial)")


def _check_tensor(condition: Any) -> None:
    if not isinstance(condition, Tensor):
        raise ArgumentTypeError(f"condition (={shown(condition)}) must be a tensor")
