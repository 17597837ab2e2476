"""Grid sampling with derivatives of any order."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["grid_sample"]

# The codes of the modes in torch's backward.
_MODES = {"bilinear": 0, "nearest": 1}


def grid_sample(images: Tensor, grid: Tensor, mode: Literal["bilinear", "nearest"]) -> Tensor:
    """Return the values (N, C, *) of images (N, C, H, W) at positions (N, *, 2) in [-1, 1], and 0 outside."""
    if images.requires_grad:
        return _Read.apply(images, grid, mode)
    return F.grid_sample(images, grid, mode=mode, align_corners=False)


class _Read(torch.autograd.Function):
    """Read values at positions; the backward pass writes."""

    @staticmethod
    def forward(images: Tensor, grid: Tensor, mode: str) -> Tensor:
        return F.grid_sample(images, grid, mode=mode, align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        images, grid, ctx.mode = inputs
        ctx.size = images.shape[2:]
        ctx.save_for_backward(grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Write.apply(gradients[0], grid, ctx.mode, ctx.size), None, None


class _Write(torch.autograd.Function):
    """Add each value to the pixels that it was read from, of images of a size; the backward pass reads."""

    @staticmethod
    def forward(gradient: Tensor, grid: Tensor, mode: str, size: torch.Size) -> Tensor:
        if torch.are_deterministic_algorithms_enabled():
            return _written(gradient, grid, mode, size)
        # torch's backward uses only the shape of the images.
        shape = (*gradient.shape[:2], *size)
        images = gradient if gradient.shape == shape else gradient.new_zeros(()).expand(shape)
        written, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient, images, grid, _MODES[mode], 0, False, (True, False)
        )
        return written

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, grid, ctx.mode, _ = inputs
        ctx.save_for_backward(grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = ctx.saved_tensors
        return grid_sample(gradients[0], grid, ctx.mode), None, None, None


def _written(gradient: Tensor, grid: Tensor, mode: str, size: torch.Size) -> Tensor:
    """Write by ``index_put_``, which is deterministic on CUDA, but 10 to 70 times as slow on two cores."""
    n, channels = gradient.shape[:2]
    height, width = size
    x, y = (((grid[..., axis] + 1) * size - 1) / 2 for axis, size in enumerate((width, height)))  # in pixels
    if mode == "nearest":
        corners = [(x.round(), y.round(), torch.ones_like(x))]
    else:
        columns, rows = (((low, 1 - (at - low)), (low + 1, at - low)) for at, low in ((x, x.floor()), (y, y.floor())))
        corners = [(column, row, one * other) for column, one in columns for row, other in rows]
    written = gradient.new_zeros(n * height * width, channels)
    first = torch.arange(n, device=gradient.device).view(n, 1, 1) * (height * width)  # pixel of each image
    for column, row, weight in corners:
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        index = first + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        values = (gradient * (weight * inside).unsqueeze(1)).movedim(1, -1)
        written.index_put_((index.flatten(),), values.reshape(-1, channels), accumulate=True)
    return written.view(n, height, width, channels).movedim(-1, 1).contiguous()
