"""Resolutions and widths of networks that halve the image's size."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from ganlib._shown import shown
from ganlib.errors import ArgumentValueError

__all__ = ["Size", "check_image_shape", "check_widths", "halved", "resolutions"]

Size = tuple[int, int]

_LEAST_HALVED = 8  # sizes with a smaller side below this are not halved
_WIDTH, _MOST = 32, 512


def check_image_shape(image_shape: Sequence[int]) -> tuple[int, int, int]:
    """Return (C, H, W) as ints; raise an ArgumentValueError for other values."""
    sizes: Any = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
    if len(sizes) != 3 or not all(_is_size(size) for size in sizes):
        raise ArgumentValueError(
            f"image_shape (={shown(image_shape)}) must be (C, H, W), three whole numbers of at least 1"
        )
    channels, height, width = map(int, sizes)
    return channels, height, width


def halved(size: Size) -> Size:
    """Return half of a size, rounded up."""
    height, width = size
    return -(-height // 2), -(-width // 2)


def resolutions(height: int, width: int) -> list[Size]:
    """Return the sizes (H, W) from the lowest to the highest; each is half of the next, rounded up."""
    sizes = [(height, width)]
    while min(sizes[0]) >= _LEAST_HALVED:
        sizes.insert(0, halved(sizes[0]))
    return sizes


def check_widths(name: str, widths: Any, sizes: list[Size]) -> list[int]:
    """Return the channels at each resolution.

    Args:
        name: the name of the argument, for the error.
        widths: one number for all resolutions, or a number for each. None is 32 at the highest resolution, and twice as
            many at each lower one, up to 512.
        sizes: the result of :func:`resolutions`.

    Returns:
        One number for each resolution.

    Raises:
        ArgumentValueError: there is another number of widths, or they are not whole numbers of at least 1.
    """
    count = len(sizes)
    if widths is None:
        return [min(_MOST, _WIDTH * 2**halvings) for halvings in reversed(range(count))]
    channels: Any = tuple(widths) if isinstance(widths, Sequence) else (widths,) * count
    if len(channels) != count or not all(_is_size(width) for width in channels):
        raise ArgumentValueError(
            f"{name} (={shown(widths)}) must be a whole number of at least 1, or {count} of them, one for each "
            f"resolution: {', '.join(f'{height}x{width}' for height, width in sizes)}"
        )
    return [int(width) for width in channels]


def _is_size(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1
