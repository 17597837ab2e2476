"""Arrange samples in one image."""

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
    """Arrange samples in rows in one image, from left to right.

    A pixel of an image is ``255 (x - low) / (high - low)``, rounded. A volume is shown as up to nine equally spaced
    slices along D, in rows. A signal is a plot of 160 x 80 pixels, with one line for each channel and a gray line at
    0. The vertical axis of all plots goes from low to high.

    Args:
        samples: images (N, C, H, W) or volumes (N, C, D, H, W) with 1 (grayscale), 2 (grayscale and alpha), 3 (RGB) or
            4 (RGBA) channels, or signals (N, C, L) with at most 10 channels. The dtype is floating point,
            ``torch.uint8`` (0 is black, 255 is white), ``torch.bool``, or another integer dtype if ``sample_range`` is
            given. With ``render``, any (N, ...).
        columns: samples per row, at least 1; values above N mean N. None is the square root of N, rounded up.
        sample_range: (low, high), the values of black and white, or of transparent and opaque. Other values are
            clipped.
        padding: black pixels around each sample, at least 0.
        scale: factor to enlarge the grid, at least 1; each pixel becomes scale x scale pixels. Use it for tiny images.
        render: function that draws one sample (C, ...), on the CPU, as a Pillow image, for other kinds of samples. If
            the images differ in size, smaller images are padded with black below and on the right.

    Returns:
        A Pillow image in mode ``L``, ``LA``, ``RGB`` or ``RGBA``.

    Raises:
        ShapeError: if samples have another shape, and there is no ``render``.
        DTypeError: if samples are complex, or integers without a range.
        ArgumentTypeError: if samples are not a tensor, or ``render`` is not a function that returns an image.
        ArgumentValueError: if another argument is out of its range, samples contain NaN, ``render`` fails, or the image
            would have more than 2**28 pixels.

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
            f"the grid of {size[0]} x {size[1]} pixels, enlarged by scale (={scale}), has more than 2**28 pixels"
        )
    planes = [Image.fromarray(plane) for plane in tile(cells, columns, padding).numpy()]
    image = Image.merge(_MODES[channels], planes)
    return image if scale == 1 else image.resize((size[0] * scale, size[1] * scale), Image.Resampling.NEAREST)


def check_layout(columns: Any, padding: Any, scale: Any, render: Any) -> tuple[int | None, int, int]:
    """Check the layout arguments of ``image_grid``, and return the numbers as ints."""
    if render is not None and not callable(render):
        raise ArgumentTypeError(
            f"render (={shown(render)}) must be a function of one sample that returns a Pillow image"
        )
    columns = None if columns is None else check_count("columns", columns, least=1)
    return columns, check_count("padding", padding, least=0), check_count("scale", scale, least=1)
