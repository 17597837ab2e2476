"""Many images as one."""

import math

import torch
from PIL import Image
from torch import Tensor

from ganlib.errors import ArgumentValueError, DTypeError, ShapeError

__all__ = ["image_grid"]


def image_grid(
    samples: Tensor, *, columns: int | None = None, sample_range: tuple[float, float] = (-1.0, 1.0), padding: int = 2
) -> Image.Image:
    """Arrange images in rows, from left to right.

    Args:
        samples: (N, C, H, W) float with 1 (grey) or 3 (RGB) channels.
        columns: images in a row, at least 1; None is the square root of N, rounded up.
        sample_range: (low, high), the values of black and white; other values are clipped.
        padding: black pixels around each image, at least 0.

    Returns:
        A Pillow image, mode ``L`` or ``RGB``.

    Raises:
        ShapeError: samples are not images.
        DTypeError: samples are not floating point.
        ArgumentValueError: another argument is out of its range.

    Example:
        >>> image_grid(torch.zeros(10, 1, 28, 28), columns=5).size
        (152, 62)
    """
    if samples.ndim != 4 or samples.shape[1] not in (1, 3) or not len(samples):
        raise ShapeError(
            f"samples {tuple(samples.shape)} must be (N, C, H, W) with 1 or 3 channels and N of at least 1"
        )
    if not samples.is_floating_point():
        raise DTypeError(f"samples must be floating point, but their dtype is {samples.dtype}")
    columns = math.ceil(math.sqrt(len(samples))) if columns is None else columns
    low, high = sample_range
    if columns < 1 or padding < 0 or not low < high:
        raise ArgumentValueError(
            f"columns (={columns}) must be at least 1, padding (={padding}) at least 0, and sample_range "
            f"(={sample_range}) must increase"
        )
    n, channels, height, width = samples.shape
    rows = math.ceil(n / columns)
    pixels = ((samples.detach().float().cpu() - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8)
    cells = torch.zeros(rows * columns, channels, height + padding, width + padding, dtype=torch.uint8)
    cells[:n, :, :height, :width] = pixels
    sheet = (
        cells.reshape(rows, columns, *cells.shape[1:])
        .permute(0, 3, 1, 4, 2)
        .reshape(rows * (height + padding), columns * (width + padding), channels)
    )
    framed = torch.nn.functional.pad(sheet, (0, 0, padding, 0, padding, 0))
    mode = "L" if channels == 1 else "RGB"
    return Image.frombytes(mode, (framed.shape[1], framed.shape[0]), bytes(framed.contiguous().flatten().tolist()))
