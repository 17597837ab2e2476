"""Draw samples as pixels: images, slices of volumes, plots of signals, or the output of a user's function."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError

__all__ = ["cells_of", "check_range", "tile"]

_SLICES = 9  # of a volume
_PLOT = (160, 80)  # pixels of the plot of a signal
_FINER = 3  # lines are drawn at this multiple of the size, which makes them smooth
_MARGIN = 3  # pixels above and below the curves
# The default colors of matplotlib, so that a grid does not need matplotlib.
_COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"]
_CHUNK = 2**16  # values converted at a time; in double precision they fit into the cache of a CPU
_HIGHEST = {torch.uint8: 255.0, torch.bool: 1.0}  # the value of white
_GREY, _COLORED = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA")  # modes; Pillow clips the values of other modes


def check_range(sample_range: Any) -> tuple[float, float]:
    """Return (low, high) as floats; raise an ArgumentValueError unless they are finite and increase."""
    try:
        low, high = (float(bound) for bound in sample_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not (low < high and math.isfinite(high - low)):
        raise ArgumentValueError(
            f"sample_range (={shown(sample_range)}) must be two finite numbers (low, high), with low < high"
        )
    return low, high


def cells_of(samples: Any, sample_range: Any, render: Callable[[Tensor], Image.Image] | None) -> Tensor:
    """Draw each sample: (N, channels, height, width) uint8, with the channels of L, LA, RGB or RGBA."""
    low, high = check_range(sample_range)
    if not isinstance(samples, Tensor) or samples.layout != torch.strided or samples.is_meta:
        kind, hint = type(samples), ""
        if not isinstance(samples, Tensor):
            make = {np.ndarray: ": call torch.from_numpy", list: ": call torch.stack, or torch.tensor"}.get(kind, "")
            hint = f", but is a {kind.__module__}.{kind.__qualname__}{make}".replace("builtins.", "")
        raise ArgumentTypeError(f"samples (={shown(samples)}) must be a dense tensor{hint}")
    if samples.ndim == 0 or not samples.numel():
        raise ShapeError(f"samples {tuple(samples.shape)} must be at least one sample, with at least one value")
    if render is not None:
        return _rendered(samples.detach().to("cpu", copy=True), render)
    channels = samples.shape[1] if samples.ndim > 1 else 0
    if not 1 <= channels <= {3: len(_COLORS), 4: 4, 5: 4}.get(samples.ndim, 0):
        raise ShapeError(
            f"samples {tuple(samples.shape)} must be images (N, C, H, W) or volumes (N, C, D, H, W) with 1 to 4 "
            f"channels, or signals (N, C, L) with at most {len(_COLORS)}; for other samples pass render=, a function "
            "of one sample that returns a Pillow image"
        )
    if samples.is_complex():
        raise DTypeError(f"samples must be real, but their dtype is {samples.dtype}: pass samples.abs(), for example")
    if not samples.is_floating_point() and (low, high) == (-1, 1):
        if samples.dtype not in _HIGHEST:
            raise DTypeError(
                f"samples of {samples.dtype} need their sample_range, such as (0, 255); without it, "
                "torch.uint8 is from 0 to 255, and floating point from -1 to 1"
            )
        low, high = 0.0, _HIGHEST[samples.dtype]
    values = samples.detach().cpu()
    if samples.ndim == 3:
        return torch.stack([_plot(signal, -low / (high - low)) for signal in _shares(values, low, high)])
    pixels = torch.empty(values.shape, dtype=torch.uint8)
    for chunk, part in zip(values.flatten().split(_CHUNK), pixels.view(-1).split(_CHUNK), strict=True):
        part.copy_(_shares(chunk, low, high).mul_(255).round_())
    return pixels if samples.ndim == 4 else torch.stack([_slices(volume) for volume in pixels])


def tile(cells: Tensor, columns: int, padding: int) -> Tensor:
    """Arrange cells (N, C, H, W) in rows on a black sheet (C, height, width), with padding around each cell."""
    n, channels, height, width = cells.shape
    rows, down, right = math.ceil(n / columns), height + padding, width + padding
    sheet = torch.zeros(channels, rows * down + padding, columns * right + padding, dtype=torch.uint8)
    if channels in (2, 4):
        sheet[-1] = 255
    for index, cell in enumerate(cells):
        top, left = padding + index // columns * down, padding + index % columns * right
        sheet[:, top : top + height, left : left + width] = cell
    return sheet


def _shares(values: Tensor, low: float, high: float) -> Tensor:
    """Map values from [low, high] to [0, 1] in double precision, and clip them."""
    shares = values.to(torch.float64, copy=True).sub_(low).div_(high - low).clamp_(0, 1)
    if shares.sum().isnan():
        raise ArgumentValueError("samples contain NaN, which has no color: check whether the training has diverged")
    return shares


def _slices(volume: Tensor) -> Tensor:
    """Arrange up to 9 equally spaced slices of a volume (C, D, H, W) in rows."""
    depth = volume.shape[1]
    count = min(depth, _SLICES)
    chosen = volume[:, (2 * torch.arange(count) + 1) * depth // (2 * count)]
    return tile(chosen.movedim(1, 0), math.ceil(math.sqrt(count)), 1)


def _plot(signal: Tensor, zero: float) -> Tensor:
    """Plot a line for each channel of a signal (C, L) in [0, 1], and a gray line at zero."""
    width, height = (side * _FINER for side in _PLOT)
    margin = _MARGIN * _FINER
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    signal = signal if signal.shape[1] > 1 else signal.expand(-1, 2)  # a point would be invisible
    columns = torch.linspace(0, width - 1, signal.shape[1]).tolist()
    rows = (
        margin
        + (1 - torch.cat([torch.full_like(signal[:1], min(max(zero, -1), 2)), signal])) * (height - 1 - 2 * margin)
    ).tolist()
    for color, row in zip(["lightgrey", *_COLORS], rows, strict=False):
        draw.line([*zip(columns, row, strict=True)], fill=color, width=_FINER + 1)
    return torch.from_numpy(np.array(image.reduce(_FINER))).movedim(-1, 0)


def _rendered(samples: Tensor, render: Callable[[Tensor], Image.Image]) -> Tensor:
    """Render each sample, and convert all images to one mode and size, with black below and on the right."""
    images = [_render(sample, index, render) for index, sample in enumerate(samples)]
    alpha = any(image.has_transparency_data for image in images)
    mode = ("LA" if alpha else "L") if all(image.mode in _GREY for image in images) else "RGBA" if alpha else "RGB"
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    cells = []
    for image in images:
        cell = Image.new(mode, (width, height), "black")
        cell.paste(image.convert("L").convert(mode) if image.mode == "1" else image.convert(mode))
        cells.append(torch.from_numpy(np.array(cell)).view(height, width, -1))
    return torch.stack(cells).movedim(-1, 1)


def _render(sample: Tensor, index: int, render: Callable[[Tensor], Image.Image]) -> Image.Image:
    try:
        image = render(sample)
    except GanlibError:
        raise
    except Exception as error:  # the function belongs to the user
        raise ArgumentValueError(
            f"render (={shown(render)}) fails for sample {index} {tuple(sample.shape)}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(image, Image.Image):
        raise ArgumentTypeError(f"render (={shown(render)}) must return a Pillow image, but gives {shown(image)}")
    if image.mode not in (*_GREY, *_COLORED) or not all(image.size):
        raise ArgumentValueError(
            f"render (={shown(render)}) must return an image of mode L, LA, RGB or RGBA with at least one pixel, but "
            f"gives {image.mode} {image.size}"
        )
    return image
