"""What an argument of a stack or block must look like, said with the values that were given."""

from collections.abc import Sequence

from torch import Tensor

from ganlib.errors import ArgumentValueError, ShapeError

__all__ = [
    "Sizes",
    "check_dropout",
    "check_maps",
    "check_shape",
    "check_sizes",
    "check_spatial_dims",
    "per_dimension",
]

Sizes = int | Sequence[int]


def check_dropout(dropout: float) -> None:
    """Refuse a dropout that is no probability below 1.

    Args:
        dropout: must be in [0, 1).

    Raises:
        ArgumentValueError: it is not.
    """
    if not 0 <= dropout < 1:
        raise ArgumentValueError(f"dropout (={dropout!r}) must be in [0, 1)")


def check_sizes(**sizes: int) -> None:
    """Refuse sizes that are no whole numbers of at least 1.

    Args:
        sizes: by the names of the arguments.

    Raises:
        ArgumentValueError: naming the first that is wrong.
    """
    for name, size in sizes.items():
        if not (isinstance(size, int) and size >= 1):
            raise ArgumentValueError(f"{name} (={size!r}) must be a whole number of at least 1")


def check_spatial_dims(spatial_dims: int) -> None:
    """Refuse a number of spatial dimensions that torch has no convolution for.

    Args:
        spatial_dims: must be 1, 2 or 3.

    Raises:
        ArgumentValueError: it is not.
    """
    if spatial_dims not in (1, 2, 3):
        raise ArgumentValueError(f"spatial_dims (={spatial_dims}) must be 1, 2 or 3")


def per_dimension(
    name: str, value: Sizes, dimensions: int, least: int, error: type[ArgumentValueError] = ArgumentValueError
) -> tuple[int, ...]:
    """One number a dimension, from one number for all or from one each.

    Args:
        name: what the caller calls the value, for the error.
        value: a whole number, or a sequence of them.
        dimensions: how many dimensions there are.
        least: the smallest number that is allowed.
        error: which error is raised.

    Returns:
        As many numbers as there are dimensions.

    Raises:
        ArgumentValueError: another count of numbers, or one that is below the least or not whole.
    """
    sizes = tuple(value) if isinstance(value, Sequence) else (value,) * dimensions
    if len(sizes) != dimensions or not all(isinstance(size, int) and size >= least for size in sizes):
        raise error(f"{name} (={value!r}) must be a whole number of at least {least}, or {dimensions} of them")
    return sizes


def check_shape(x: Tensor, shape: tuple[int, ...], name: str) -> None:
    """Refuse a batch whose samples have another shape.

    Args:
        x: (N, ...).
        shape: the shape of one sample.
        name: what the caller calls x, for the error.

    Raises:
        ShapeError: the shapes differ.
    """
    if tuple(x.shape[1:]) != shape:
        raise ShapeError(f"{name} {tuple(x.shape)} must have shape (N, {', '.join(map(str, shape))})")


def check_maps(x: Tensor, channels: int, spatial_dims: int, name: str = "x", least: int = 1) -> None:
    """Refuse what are not maps with so many channels and spatial dimensions.

    Args:
        x: must be (N, channels, *spatial).
        channels: how many channels.
        spatial_dims: how many spatial dimensions.
        name: what the caller calls x, for the error.
        least: the smallest size that a spatial dimension may have.

    Raises:
        ShapeError: another shape, or a smaller one.
    """
    if x.ndim != spatial_dims + 2 or x.shape[1] != channels:
        raise ShapeError(
            f"{name} {tuple(x.shape)} must have shape (N, {channels}, *spatial) with {spatial_dims} spatial dimensions"
        )
    if min(x.shape[2:]) < least:
        raise ShapeError(f"{name} {tuple(x.shape)} must have a size of at least {least} in every spatial dimension")
