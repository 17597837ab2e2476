"""Images at the positions that affine maps give: copied pixel by pixel, or resampled with little aliasing."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ganlib.augment._grid_sample import grid_sample
from ganlib.augment._wavelet import TAPS, downsampling, period, reflected, upsampling

__all__ = ["copied", "resampled"]


def copied(images: Tensor, maps: Tensor) -> Tensor:
    """Copy each pixel from the position that a map (n, 3, 3) gives, which is a pixel; outside, images are reflected."""
    sizes = images.shape[2:]
    steps = [torch.arange(size, device=maps.device) for size in sizes]
    # With an odd and an even size, a quarter of a turn ends between two pixels; all samples then use the lower one.
    rows, columns = (
        reflected((at + 0.25).floor_(), size) for at, size in zip(_positions(maps, sizes, steps), sizes, strict=True)
    )
    return _read(images, rows, columns, "nearest")


def resampled(images: Tensor, maps: Tensor, taps: Tensor) -> Tensor:
    """Read images at the positions that maps (n, 3, 3) give; outside, images are reflected.

    The images are interpolated at twice the resolution, and a wavelet filter doubles and halves it. The filter is
    orthogonal, so the identity returns the images.
    """
    sizes = images.shape[2:]
    (up_y, up_x), (down_y, down_x) = ([make(size, taps) for size in sizes] for make in (upsampling, downsampling))
    large = up_y @ (images @ up_x.T)
    # Half a pixel apart; the first one is outside by half of the length of the filter.
    steps = [torch.arange(one.shape[1], device=maps.device) / 2 - (TAPS - 2) / 4 for one in (down_y, down_x)]
    # The larger image is one period of the reflected image, so positions are taken modulo the period.
    scales = [1 / period(size) for size in sizes]
    rows, columns = (
        at.sub_(at.floor()).mul_(2 * period(size))
        for at, size in zip(_positions(maps, sizes, steps, scales), sizes, strict=True)
    )
    return down_y @ (_read(large, rows, columns, "bilinear") @ down_x.T)


def _positions(
    maps: Tensor, sizes: Sequence[int], steps: Sequence[Tensor], scales: Sequence[float] = (1, 1)
) -> Iterator[Tensor]:
    """Return the y and the x (n, rows, columns), in pixels times a scale, to which maps take rows and columns."""
    rows, columns = (step - (size - 1) / 2 for step, size in zip(steps, sizes, strict=True))  # from the center
    from_x, from_y, moved = maps[:, :2, :, None, None].unbind(2)
    across, down = from_x * columns, from_y * rows.unsqueeze(1) + moved
    for axis, size, scale in zip((1, 0), sizes, scales, strict=True):
        # Scaled before the sum, which is much larger.
        yield across[:, axis] * scale + (down[:, axis] + (size - 1) / 2) * scale


def _read(images: Tensor, rows: Tensor, columns: Tensor, mode: Literal["bilinear", "nearest"]) -> Tensor:
    """Return the values of images at positions in pixels."""
    height, width = images.shape[2:]
    grid = rows.new_empty(*rows.shape, 2)  # on the CPU, torch.stack would be several times as slow
    for axis, at, size in ((0, columns, width), (1, rows, height)):
        torch.add(at.mul_(2 / size), 1 / size - 1, out=grid.select(-1, axis))
    return grid_sample(images, grid, mode)
