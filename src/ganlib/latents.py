"""Distributions of latents, and the ways from one latent to another.

Example:
    >>> latent = Gaussian(100)
    >>> latent(4).shape
    torch.Size([4, 100])
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import Latent

__all__ = ["Gaussian", "Latent", "Uniform", "lerp", "slerp"]


@dataclass(frozen=True)
class Gaussian:
    """The standard normal distribution.

    Args:
        dim: size of a latent, at least 1.

    Raises:
        ArgumentValueError: dim is below 1.

    Example:
        >>> Gaussian(2)(3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])

    References:
        Radford et al., "Unsupervised Representation Learning with DCGAN", 2016, use the uniform one; the normal has
        been the field's default since.
    """

    dim: int

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: how many.
            device: where they are made.
            generator: source of random numbers, on that device; None is torch's own.

        Returns:
            (n, dim) float32.
        """
        return torch.randn(n, self.dim, device=device, generator=generator)


@dataclass(frozen=True)
class Uniform:
    """The uniform distribution on a cube.

    Args:
        dim: size of a latent, at least 1.
        low: lower end of every coordinate.
        high: upper end, above low.

    Raises:
        ArgumentValueError: dim is below 1, or low is not below high.

    Example:
        >>> bool(Uniform(100)(3).abs().max() <= 1)
        True
    """

    dim: int
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_dim(self.dim)
        if not self.low < self.high:
            raise ArgumentValueError(f"low (={self.low}) must be below high (={self.high})")

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: how many.
            device: where they are made.
            generator: source of random numbers, on that device; None is torch's own.

        Returns:
            (n, dim) float32.
        """
        return torch.empty(n, self.dim, device=device).uniform_(self.low, self.high, generator=generator)


def lerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""Go from a to b in a straight line: :math:`(1 - t) a + t b`.

    Args:
        a: (..., dim) float.
        b: the same shape.
        steps: how many points, both ends included; at least 2.

    Returns:
        (steps, ..., dim).

    Raises:
        ShapeError: a and b differ in shape.
        ArgumentValueError: fewer than 2 steps.

    Example:
        >>> lerp(torch.zeros(1), torch.ones(1), 3).flatten()
        tensor([0.0000, 0.5000, 1.0000])
    """
    return torch.lerp(a, b, _times(a, b, steps))


def slerp(a: Tensor, b: Tensor, steps: int) -> Tensor:
    r"""Go from a to b along a great circle, so that the norm does not shrink on the way.

    With :math:`\omega` the angle between a and b, :math:`\frac{\sin((1 - t) \omega)}{\sin \omega} a +
    \frac{\sin(t \omega)}{\sin \omega} b`. Where there is no such circle (a or b zero, or both on one line) it is
    :func:`lerp`.

    Args:
        a: (..., dim) float; the last dimension is the vector.
        b: the same shape.
        steps: how many points, both ends included; at least 2.

    Returns:
        (steps, ..., dim).

    Raises:
        ShapeError: a and b differ in shape.
        ArgumentValueError: fewer than 2 steps.

    Example:
        >>> middle = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3)[1]
        >>> round(middle.norm().item(), 6)
        1.0

    References:
        Shoemake, "Animating Rotation with Quaternion Curves", 1985; for latents: White, "Sampling Generative
        Networks", 2016.
    """
    t = _times(a, b, steps)
    # atan2 keeps its digits where acos of a cosine near 1 or -1 loses half of them.
    u, v = torch.nn.functional.normalize(a, dim=-1), torch.nn.functional.normalize(b, dim=-1)
    omega = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    # A zero vector has no angle; the formula would make it a right one.
    sine = omega.sin() * ((a != 0).any(-1, keepdim=True) & (b != 0).any(-1, keepdim=True))
    circle = (((1 - t) * omega).sin() * a + (t * omega).sin() * b) / sine
    return torch.where(sine.abs() > 1e-4, circle, torch.lerp(a, b, t))


def _check_dim(dim: int) -> None:
    if not (isinstance(dim, int) and dim >= 1):
        raise ArgumentValueError(f"dim (={dim}) must be a whole number of at least 1")


def _times(a: Tensor, b: Tensor, steps: int) -> Tensor:
    if a.shape != b.shape:
        raise ShapeError(f"a {tuple(a.shape)} and b {tuple(b.shape)} must have one shape")
    if steps < 2:
        raise ArgumentValueError(f"steps (={steps}) must be at least 2")
    return torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device).view(-1, *[1] * a.ndim)
