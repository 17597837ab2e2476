"""Checks of the arguments of stacks and blocks."""

from collections.abc import Sequence

from torch import Tensor

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = [
    "Sizes",
    "check_maps",
    "check_shape",
    "per_dimension",
]

Sizes = int | Sequence[int]


def per_dimension(
    name: str, value: Sizes, dimensions: int, least: int, error: type[ArgumentValueError] = ArgumentValueError
) -> tuple[int, ...]:
    """Return one number per dimension; the value is a number for all dimensions, or a sequence of numbers."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * dimensions
    if len(sizes) != dimensions or not all(isinstance(size, int) and size >= least for size in sizes):
        raise error(f"{name} (={shown(value)}) must be a whole number of at least {least}, or {dimensions} of them")
    return sizes


def check_shape(x: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Raise an error unless x is a tensor (N, *shape)."""
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"{name} must be a tensor, but it is a {type(x).__name__}; of a Batch, give its sample")
    if tuple(x.shape[1:]) != shape:
        raise ShapeError(f"{name} {tuple(x.shape)} must have shape (N, {', '.join(map(str, shape))})")


def check_maps(x: Tensor, channels: int, spatial_dims: int, name: str = "x", least: int = 1) -> None:
    """Raise an error unless x is a tensor (N, channels, *spatial) with sizes of at least ``least``."""
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"{name} must be a tensor, but it is a {type(x).__name__}")
    if x.ndim != spatial_dims + 2 or x.shape[1] != channels:
        raise ShapeError(
            f"{name} {tuple(x.shape)} must have shape (N, {channels}, *spatial) with {spatial_dims} spatial dimensions"
        )
    if min(x.shape[2:]) < least:
        raise ShapeError(f"{name} {tuple(x.shape)} must have a size of at least {least} in every spatial dimension")
