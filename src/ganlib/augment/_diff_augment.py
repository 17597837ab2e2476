"""DiffAugment: one random augmentation of real and fake samples alike."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ganlib.augment._read_places import read_places
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError

__all__ = ["DiffAugment"]


class DiffAugment(nn.Module):
    r"""Changes the colours of each sample, shifts it and cuts a piece out, by random amounts of its own.

    Given to the discriminator with real and with fake samples, in both players' updates, it keeps a discriminator
    from learning a small data set by heart; as the generator's gradients flow through it, the changes do not leak
    into what is generated. For samples in [-1, 1], the words of the policy are:

    - ``"color"``: with :math:`\bar x` the mean over the channels at each place and :math:`\bar{\bar x}` the mean of
      the whole sample, brightness :math:`x + U(-0.5, 0.5)`, then saturation :math:`\bar x + U(0, 2) (x - \bar x)`,
      then contrast :math:`\bar{\bar x} + U(0.5, 1.5) (x - \bar{\bar x})`.
    - ``"translation"``: by whole pixels, up to an eighth of the height and of the width (rounded), evenly drawn.
    - ``"cutout"``: a rectangle of half the height and half the width (rounded up), its middle anywhere in the image,
      so that part of it may lie outside.

    All of it is affine in the samples and can be differentiated by them any number of times, so that a gradient
    penalty works through it.

    Args:
        policy: words, in the order in which they are applied: one string, separated by commas, or a sequence of
            strings. ``"colour"`` is understood too.
        fill: value of what comes into sight, and of what is cut out; finite. 0 is the grey of samples in [-1, 1].

    Raises:
        ArgumentValueError: a policy that is empty or has an unknown word, or a fill that is not finite.
        ArgumentTypeError: a policy that is neither a string nor a sequence of strings.

    Example:
        >>> augment = DiffAugment("translation,cutout")
        >>> augment(torch.ones(4, 3, 32, 32)).shape
        torch.Size([4, 3, 32, 32])

    References:
        Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020, section 3; the ranges
        are those of its published code.
    """

    def __init__(self, policy: str | Sequence[str] = "color,translation,cutout", *, fill: float = 0.0) -> None:
        super().__init__()
        self.policy = ",".join(_read(policy))
        if not (isinstance(fill, int | float) and math.isfinite(fill)):
            raise ArgumentValueError(f"fill (={fill}) must be a finite number")
        self.fill = fill

    def forward(self, samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Augment.

        Args:
            samples: (N, C, H, W) float.
            generator: source of random numbers, on the samples' device; None is torch's own.

        Returns:
            The same shape and dtype.

        Raises:
            ShapeError: samples that are no images.
            DTypeError: samples that are not floating point.
        """
        if samples.ndim != 4:
            raise ShapeError(f"samples {tuple(samples.shape)} must be (N, C, H, W)")
        if not samples.is_floating_point():
            raise DTypeError(f"samples must be floating point, but their dtype is {samples.dtype}")
        for word in self.policy.split(","):
            samples = _STEPS[word](samples, self.fill, generator)
        return samples

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return f"policy={self.policy!r}, fill={self.fill}"


def _read(policy: str | Sequence[str]) -> list[str]:
    words = policy.split(",") if isinstance(policy, str) else policy
    if not (isinstance(words, Sequence) and all(isinstance(word, str) for word in words)):
        raise ArgumentTypeError(f"policy (={policy!r}) must be a string or a sequence of strings")
    read = ["color" if word.strip() == "colour" else word.strip() for word in words]
    if not read or any(word not in _STEPS for word in read):
        raise ArgumentValueError(f"policy (={policy!r}) must be of the words {', '.join(map(repr, _STEPS))}")
    return read


def _color(samples: Tensor, fill: float, generator: torch.Generator | None) -> Tensor:
    drawn = torch.rand(3, len(samples), 1, 1, 1, device=samples.device, dtype=samples.dtype, generator=generator)
    brightness, saturation, contrast = drawn.unbind()
    samples = samples + (brightness - 0.5)
    samples = torch.lerp(samples.mean(1, keepdim=True), samples, 2 * saturation)
    return torch.lerp(samples.mean((1, 2, 3), keepdim=True), samples, contrast + 0.5)


def _translation(samples: Tensor, fill: float, generator: torch.Generator | None) -> Tensor:
    height, width = samples.shape[2:]
    y = _count_from(_draw(-_reach(height), _reach(height), samples, generator), height)
    x = _count_from(_draw(-_reach(width), _reach(width), samples, generator), width)
    # Places in half precision could round to the pixel next door.
    dtype = torch.promote_types(samples.dtype, torch.float32)
    rows, columns = (((2 * place + 1).to(dtype) / size - 1) for place, size in ((y, height), (x, width)))
    places = torch.stack(torch.broadcast_tensors(columns.unsqueeze(1), rows.unsqueeze(2)), -1)
    # The fill is put, not added, where nothing is read, so that pixels keep their very values.
    read = read_places(samples.to(dtype), places, "nearest").to(samples.dtype)
    return torch.where(_rectangle(y, x, height, width), read, fill)


def _cutout(samples: Tensor, fill: float, generator: torch.Generator | None) -> Tensor:
    height, width = samples.shape[2:]
    high, wide = (height + 1) // 2, (width + 1) // 2
    # An even length has its middle between two pixels, where there is one place more.
    top = _draw(0, height - high % 2, samples, generator) - high // 2
    left = _draw(0, width - wide % 2, samples, generator) - wide // 2
    return torch.where(_rectangle(_count_from(top, height), _count_from(left, width), high, wide), fill, samples)


def _reach(size: int) -> int:
    return (size + 4) // 8


def _draw(low: int, high: int, samples: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randint(low, high + 1, (len(samples), 1), device=samples.device, generator=generator)


def _count_from(start: Tensor, size: int) -> Tensor:
    return torch.arange(size, device=start.device) - start


def _rectangle(y: Tensor, x: Tensor, height: int, width: int) -> Tensor:
    inside = ((y >= 0) & (y < height)).unsqueeze(2) & ((x >= 0) & (x < width)).unsqueeze(1)
    return inside.unsqueeze(1)


_STEPS: dict[str, Callable[[Tensor, float, torch.Generator | None], Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}
