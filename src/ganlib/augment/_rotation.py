"""Turning."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.errors import ArgumentValueError, DTypeError, ShapeError

__all__ = ["RandomRotation"]


class RandomRotation(nn.Module):
    """Turns each sample about its middle by an angle of its own, with bilinear interpolation.

    Args:
        degrees: angles are drawn from U(-degrees, degrees); in [0, 180]; positive is counter-clockwise.
        fill: value of the corners that come into sight; -1 is the black of samples in [-1, 1].

    Raises:
        ArgumentValueError: degrees is not in [0, 180].

    Example:
        >>> RandomRotation(25)(torch.full((4, 1, 28, 28), -1.0)).min()
        tensor(-1.)
    """

    def __init__(self, degrees: float, *, fill: float = -1.0) -> None:
        super().__init__()
        if not 0 <= degrees <= 180:
            raise ArgumentValueError(f"degrees (={degrees}) must be in [0, 180]")
        self.degrees = degrees
        self.fill = fill

    def forward(self, samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rotate.

        Args:
            samples: (N, C, H, W) float.
            generator: source of random numbers, on the samples' device; None is torch's own.

        Returns:
            The same shape.

        Raises:
            ShapeError: samples that are no images.
            DTypeError: samples that are not floating point.
        """
        if samples.ndim != 4:
            raise ShapeError(f"samples {tuple(samples.shape)} must be (N, C, H, W)")
        if not samples.is_floating_point():
            raise DTypeError(f"samples must be floating point, but their dtype is {samples.dtype}")
        n, _, height, width = samples.shape
        drawn = torch.rand(n, device=samples.device, dtype=samples.dtype, generator=generator)
        angle = (2 * drawn - 1) * math.radians(self.degrees)
        cosine, sine = angle.cos(), angle.sin()
        zero = torch.zeros_like(angle)
        # Coordinates run from -1 to 1 on both axes, so a turn of an oblong image must undo their ratio.
        theta = torch.stack(
            [
                torch.stack([cosine, -sine * height / width, zero], 1),
                torch.stack([sine * width / height, cosine, zero], 1),
            ],
            1,
        )
        grid = F.affine_grid(theta, list(samples.shape), align_corners=False)
        return F.grid_sample(samples - self.fill, grid, align_corners=False) + self.fill

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return f"degrees={self.degrees}, fill={self.fill}"
