"""Reading images at any places, with derivatives of any order."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["read_places"]

# The numbers by which torch's own backward knows the modes.
_MODES = {"bilinear": 0, "nearest": 1}


def read_places(images: Tensor, places: Tensor, mode: Literal["bilinear", "nearest"]) -> Tensor:
    """What images show at each of the places given, and 0 outside them.

    It is torch's ``grid_sample``, linear in the images, and can be differentiated by them any number of times, as a
    gradient penalty does; of ``grid_sample`` itself only newer torches know a second derivative.

    Args:
        images: (N, C, H, W) float.
        places: (N, H, W, 2) of the same dtype: (x, y) from -1 to 1, from the outer edge of the first pixel to that of
            the last; no gradient flows back into them.
        mode: how values between the pixels' middles are made.

    Returns:
        (N, C, H, W).

    Example:
        >>> x = torch.tensor([-0.5, 0.5]).expand(1, 1, 2)
        >>> mirrored = torch.stack([-x, torch.zeros(1, 1, 2)], -1)
        >>> read_places(torch.tensor([[[[1.0, 2.0]]]]), mirrored, "bilinear")
        tensor([[[[2., 1.]]]])
    """
    if images.requires_grad:
        return _Read.apply(images, places, mode)
    return F.grid_sample(images, places, mode=mode, align_corners=False)


class _Read(torch.autograd.Function):
    """Reading, whose backward is writing."""

    @staticmethod
    def forward(images: Tensor, places: Tensor, mode: str) -> Tensor:
        return F.grid_sample(images, places, mode=mode, align_corners=False)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, places, ctx.mode = inputs
        ctx.save_for_backward(places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return _Write.apply(gradients[0], places, ctx.mode), None, None


class _Write(torch.autograd.Function):
    """The transposed map: adds each value to where it was read. Its backward is reading."""

    @staticmethod
    def forward(gradient: Tensor, places: Tensor, mode: str) -> Tensor:
        if torch.are_deterministic_algorithms_enabled():
            return _written(gradient, places, mode)
        # Of the images torch's backward needs only the shape, which is the gradient's.
        written, _ = torch.ops.aten.grid_sampler_2d_backward(
            gradient, gradient, places, _MODES[mode], 0, False, (True, False)
        )
        return written

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, places, ctx.mode = inputs
        ctx.save_for_backward(places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return read_places(gradients[0], places, ctx.mode), None, None


def _written(gradient: Tensor, places: Tensor, mode: str) -> Tensor:
    """The same by ``index_put_``, which has a deterministic kernel on CUDA, unlike torch's own backward.

    On two cores it takes 10 to 70 times as long as that, so it is used only where determinism is asked for.
    """
    n, channels, height, width = gradient.shape
    x, y = (((places[..., axis] + 1) * size - 1) / 2 for axis, size in enumerate((width, height)))  # in pixels
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
