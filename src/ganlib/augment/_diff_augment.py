"""Differentiable augmentation (DiffAugment)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ganlib._checks import check_finite
from ganlib.augment._grid_sample import grid_sample
from ganlib.augment._policy import read_policy
from ganlib.augment._samples import check_images

__all__ = ["DiffAugment"]


class DiffAugment(nn.Module):
    r"""Augment real and fake samples with random colors, translations and cutouts (DiffAugment).

    Use it to train with little data: it keeps the discriminator from memorizing the data set. Pass it to the trainer as
    ``augment``. The discriminator then sees augmented samples in the updates of both players. The generator's gradients
    flow through the augmentation, so the changes do not leak into the generated samples.

    Samples are in [-1, 1]. The random parameters are drawn for each sample. The options of the policy are:

    - ``"color"``: change brightness, :math:`x + U(-0.5, 0.5)`, then saturation,
      :math:`\bar x + U(0, 2) (x - \bar x)`, then contrast, :math:`\bar{\bar x} + U(0.5, 1.5) (x - \bar{\bar x})`. Here
      :math:`\bar x` is the mean over the channels at each pixel, and :math:`\bar{\bar x}` is the mean of the sample.
    - ``"translation"``: shift by whole pixels, up to an eighth of the height and of the width (rounded).
    - ``"cutout"``: cut out a rectangle of half the height and half the width (rounded up). Its center is anywhere in
      the image, so part of the rectangle can be outside.

    All operations can be differentiated any number of times, so gradient penalties work with them.

    Args:
        policy: options in the order of their application: a string, separated by commas, or a sequence of strings.
            ``"colour"`` is accepted too.
        fill: value of empty and of cut-out pixels, finite. 0 is gray for samples in [-1, 1].

    Raises:
        ArgumentValueError: the policy is empty or has an unknown option, or ``fill`` is not finite.
        ArgumentTypeError: the policy is neither a string nor a sequence of strings.

    Example:
        >>> augment = DiffAugment("translation,cutout")
        >>> augment(torch.ones(4, 3, 32, 32)).shape
        torch.Size([4, 3, 32, 32])

    References:
        Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020, arXiv:2006.10738, section 3.
        The ranges follow the authors' code.
    """

    def __init__(self, policy: str | Sequence[str] = "color,translation,cutout", *, fill: float = 0.0) -> None:
        super().__init__()
        self.policy: str = ",".join(read_policy(policy, _STEPS))
        self.fill: float = check_finite("fill", fill)

    def forward(self, samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment the samples.

        Args:
            samples: (N, C, H, W) float.
            generator: source of random numbers on the device of the samples; None uses torch's default.

        Returns:
            The same shape and dtype.

        Raises:
            ShapeError: the samples are not images.
            ArgumentTypeError: the samples are not a tensor.
            DTypeError: the samples are not floating point.
        """
        check_images(samples)
        for option in self.policy.split(","):
            samples = _STEPS[option](samples, self.fill, generator)
        return samples

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"policy={self.policy!r}, fill={self.fill}"


def _color(samples: Tensor, fill: float, generator: torch.Generator | None) -> Tensor:
    # Half precision has few distinct random amounts, and each step would round the samples.
    dtype = torch.promote_types(samples.dtype, torch.float32)
    drawn = torch.rand(3, len(samples), 1, 1, 1, device=samples.device, dtype=dtype, generator=generator)
    brightness, saturation, contrast = drawn.unbind()
    bright = samples.to(dtype) + (brightness - 0.5)
    saturated = torch.lerp(bright.mean(1, keepdim=True), bright, 2 * saturation)
    return torch.lerp(saturated.mean((1, 2, 3), keepdim=True), saturated, contrast + 0.5).to(samples.dtype)


def _translation(samples: Tensor, fill: float, generator: torch.Generator | None) -> Tensor:
    """Shift samples by whole pixels."""
    height, width = samples.shape[2:]
    y = _count_from(_draw(-_reach(height), _reach(height), samples, generator), height)
    x = _count_from(_draw(-_reach(width), _reach(width), samples, generator), width)
    # In half precision a position could round to the next pixel.
    dtype = torch.promote_types(samples.dtype, torch.float32)
    rows, columns = (((2 * index + 1).to(dtype) / size - 1) for index, size in ((y, height), (x, width)))
    grid = torch.stack(torch.broadcast_tensors(columns.unsqueeze(1), rows.unsqueeze(2)), -1)
    # torch.where keeps the exact values of pixels; adding and subtracting the fill would round them.
    read = grid_sample(samples.to(dtype), grid, "nearest").to(samples.dtype)
    return torch.where(_rectangle(y, x, height, width), read, fill)


def _cutout(samples: Tensor, fill: float, generator: torch.Generator | None) -> Tensor:
    height, width = samples.shape[2:]
    high, wide = (height + 1) // 2, (width + 1) // 2
    # An even length has its center between two pixels, which allows one more position.
    top = _draw(0, height - high % 2, samples, generator) - high // 2
    left = _draw(0, width - wide % 2, samples, generator) - wide // 2
    return torch.where(_rectangle(_count_from(top, height), _count_from(left, width), high, wide), fill, samples)


def _reach(size: int) -> int:
    return (size + 4) // 8


def _draw(low: int, high: int, samples: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randint(low, high + 1, (len(samples), 1), device=samples.device, generator=generator)


def _count_from(start: Tensor, size: int) -> Tensor:
    """Return the indices of a dimension minus the start, (N, size)."""
    return torch.arange(size, device=start.device) - start


def _rectangle(y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    inside = ((y >= 0) & (y < height)).unsqueeze(2) & ((x >= 0) & (x < width)).unsqueeze(1)
    return inside.unsqueeze(1)


_STEPS: dict[str, Callable[[Tensor, float, torch.Generator | None], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
