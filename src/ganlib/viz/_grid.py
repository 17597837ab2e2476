"""Many samples as one image."""

import math
from collections.abc import Callable
from typing import Any

from PIL import Image
from torch import Tensor

from ganlib._checks import check_count
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.viz._cells import cells_of, tile

__all__ = ["check_layout", "image_grid"]

_MOST = 2**28  # pixels
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by the number of channels


def image_grid(
    samples: Tensor,
    *,
    columns: int | None = None,
    sample_range: tuple[float, float] = (-1.0, 1.0),
    padding: int = 2,
    scale: int = 1,
    render: Callable[[Tensor], Image.Image] | None = None,
) -> Image.Image:
    """Arrange samples in rows, from left to right.

    A pixel of an image is ``255 (x - low) / (high - low)``, rounded. A volume is at most nine of its slices along D, at
    equal distances, in rows. A signal is a plot of 160 x 80 pixels with a line for each channel and a grey one at 0.
    Its axis of values goes from low to high in all plots.

    Args:
        samples: images (N, C, H, W) or volumes (N, C, D, H, W) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)
            channels, or signals (N, C, L) with at most 10. They are floating point, of ``torch.uint8`` (black is 0,
            white 255), of ``torch.bool``, or other integers with their ``sample_range``. With ``render`` they are
            anything (N, ...).
        columns: samples in a row, at least 1, and at most N are; None is the square root of N, rounded up.
        sample_range: (low, high), the values of black and white, or of none and all of alpha; other values are clipped.
        padding: black pixels around each sample, at least 0.
        scale: pixels of a side that each pixel of the grid becomes, at least 1: large enough to look at tiny images.
        render: draws a sample (C, ...) on the CPU as a Pillow image, for samples of other kinds. Where the images
            differ in size, smaller ones have black below and at their right.

    Returns:
        A Pillow image, mode ``L``, ``LA``, ``RGB`` or ``RGBA``.

    Raises:
        ShapeError: samples are of another kind, and there is no ``render``.
        DTypeError: samples are complex, or integers without a range.
        ArgumentTypeError: samples are not a tensor, or ``render`` is not a function that returns an image.
        ArgumentValueError: another argument is out of its range, samples hold NaN, ``render`` fails, or the image would
            have more than 2**28 pixels.

    Example:
        >>> import torch
        >>> image_grid(torch.zeros(10, 1, 28, 28), columns=5).size
        (152, 62)
        >>> image_grid(torch.zeros(10, 1, 28, 28), columns=5, scale=4).size
        (608, 248)
        >>> rows = torch.zeros(3, 5)  # of a table
        >>> image_grid(rows, render=lambda row: Image.new("L", (len(row), 1)), columns=1, padding=0).size
        (5, 3)
    """
    columns, padding, scale = check_layout(columns, padding, scale, render)
    cells = cells_of(samples, sample_range, render)
    n, channels, height, width = cells.shape
    columns = min(n, columns or math.ceil(math.sqrt(n)))
    size = (columns * (width + padding) + padding, math.ceil(n / columns) * (height + padding) + padding)
    if math.prod(size) * scale**2 > _MOST:
        raise ArgumentValueError(
            f"the grid has {size[0]} x {size[1]} pixels, and scale (={scale}) times as many a side: more than 2**28"
        )
    planes = [Image.fromarray(plane) for plane in tile(cells, columns, padding).numpy()]
    image = Image.merge(_MODES[channels], planes)
    return image if scale == 1 else image.resize((size[0] * scale, size[1] * scale), Image.Resampling.NEAREST)


def check_layout(columns: Any, padding: Any, scale: Any, render: Any) -> tuple[int | None, int, int]:
    """Raise an error unless each can be what ``image_grid`` takes; return the numbers as ints."""
    if render is not None and not callable(render):
        raise ArgumentTypeError(
            f"render (={shown(render)}) must be a function of one sample that returns a Pillow image"
        )
    columns = None if columns is None else check_count("columns", columns, least=1)
    return columns, check_count("padding", padding, least=0), check_count("scale", scale, least=1)
