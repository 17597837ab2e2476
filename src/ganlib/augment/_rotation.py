"""Random rotation."""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ganlib._checks import check_finite, check_number, check_option
from ganlib._shown import shown
from ganlib.augment._grid_sample import grid_sample
from ganlib.augment._samples import check_images
from ganlib.errors import ArgumentValueError

__all__ = ["RandomRotation"]


class RandomRotation(nn.Module):
    """Rotate each sample about its center by a random angle.

    The rotation can be differentiated any number of times, so gradient penalties work with it.

    Args:
        degrees: the angle is drawn from U(-degrees, degrees); in [0, 180]. Positive angles are counter-clockwise.
        fill: value of the empty corners, finite; -1 is black for samples in [-1, 1].
        interpolation: ``"bilinear"``, or ``"nearest"``, which keeps hard edges and is torchvision's default.

    Raises:
        ArgumentValueError: ``degrees`` is not in [0, 180], ``fill`` is not finite, or ``interpolation`` is unknown.

    Example:
        >>> RandomRotation(25)(torch.full((4, 1, 28, 28), -1.0)).min()
        tensor(-1.)
    """

    def __init__(
        self, degrees: float, *, fill: float = -1.0, interpolation: Literal["bilinear", "nearest"] = "bilinear"
    ) -> None:
        super().__init__()
        check_option("interpolation", interpolation, ("bilinear", "nearest"))
        self.degrees: float = check_number("degrees", degrees)
        if self.degrees > 180:
            raise ArgumentValueError(f"degrees (={shown(degrees)}) must be in [0, 180]")
        self.fill: float = check_finite("fill", fill)
        self.interpolation = interpolation

    def forward(self, samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rotate the samples.

        Args:
            samples: (N, C, H, W) float.
            generator: source of random numbers on the device of the samples; None uses torch's default.

        Returns:
            The same shape.

        Raises:
            ShapeError: the samples are not images.
            ArgumentTypeError: the samples are not a tensor.
            DTypeError: the samples are not floating point.
        """
        check_images(samples)
        n, _, height, width = samples.shape
        # bfloat16 positions would be off by a large part of a pixel.
        dtype = torch.promote_types(samples.dtype, torch.float32)
        drawn = torch.rand(n, device=samples.device, dtype=dtype, generator=generator).view(-1, 1, 1)
        angle = (2 * drawn - 1) * math.radians(self.degrees)
        cosine, sine = angle.cos(), angle.sin()
        y, x = (
            (torch.arange(1 - size, size, 2, device=samples.device, dtype=dtype) / size).view(shape)
            for size, shape in ((height, (-1, 1)), (width, (1, -1)))
        )
        # Coordinates run from -1 to 1 on both axes, so the rotation must correct for the aspect ratio. affine_grid uses
        # a matrix product, which autocast would compute in bfloat16.
        grid = torch.stack([cosine * x - sine * height / width * y, sine * width / height * x + cosine * y], -1)
        samples_, read = samples.to(dtype), partial(grid_sample, grid=grid, mode=self.interpolation)
        if self.interpolation == "nearest":  # adding and subtracting the fill would round values
            turned = read(samples_).where(read(torch.ones_like(samples_)) > 0, self.fill)
        else:
            turned = read(samples_ - self.fill) + self.fill
        return turned.to(samples.dtype)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"degrees={self.degrees}, fill={self.fill}, interpolation={self.interpolation!r}"
