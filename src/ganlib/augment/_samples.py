"""Checks of samples and fill values."""

from typing import Any

from torch import Tensor

from ganlib.errors import ArgumentTypeError, DTypeError, ShapeError

__all__ = ["check_images", "check_tensor"]


def check_tensor(name: str, value: Any) -> None:
    """Raise an ArgumentTypeError unless the value is a tensor."""
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(f"{name} must be a tensor, but it is a {type(value).__name__}")


def check_images(samples: Any) -> None:
    """Raise an error unless the samples are float images (N, C, H, W) with at least one pixel."""
    check_tensor("samples", samples)
    if samples.ndim != 4 or 0 in samples.shape[2:]:
        raise ShapeError(f"samples {tuple(samples.shape)} must be (N, C, H, W), with H and W of at least 1")
    if not samples.is_floating_point():
        raise DTypeError(f"samples must be floating point, but their dtype is {samples.dtype}")
