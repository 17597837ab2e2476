"""Distributions whose coordinates are independent: the normal one, with and without its tails, and the uniform one."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ganlib._checks import check_count, check_sizes
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError

__all__ = ["Gaussian", "TruncatedGaussian", "Uniform"]

_LAST_BELOW_ONE = 1 - 2**-24
_LARGEST = torch.finfo(torch.float32).max


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
        check_sizes(dim=self.dim)

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: how many, at least 0.
            device: the device of the latents.
            generator: source of random numbers, on that device; None is torch's default.

        Returns:
            (n, dim) float32, or whatever torch's default dtype is.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        return torch.randn(n, self.dim, device=device, generator=generator)


@dataclass(frozen=True)
class TruncatedGaussian:
    r"""The standard normal distribution, truncated to coordinates within a threshold.

    Each coordinate has the density :math:`\varphi(z) / (2 \Phi(\tau) - 1)` for :math:`|z| \le \tau` and 0 beyond, as
    if coordinates outside were drawn again until they are inside. Here it is drawn at once, as
    :math:`z = \Phi^{-1}(u)` with u uniform between :math:`\Phi(-\tau)` and :math:`\Phi(\tau)`, so that nothing waits
    for the device. A generator trained with the whole normal distribution gives better and less varied samples from
    this one; a lower threshold strengthens both effects.

    Args:
        dim: size of a latent, at least 1.
        threshold: :math:`\tau`, the largest absolute value of a coordinate, above 0. The draw itself ends at 5.4, as
            its uniform numbers are float32.

    Raises:
        ArgumentValueError: dim is below 1, or threshold is not above 0.

    Example:
        >>> bool(TruncatedGaussian(100, threshold=0.5)(3).abs().max() <= 0.5)
        True

    References:
        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, section 3.1 (the
        truncation trick).
    """

    dim: int
    threshold: float = 2.0

    def __post_init__(self) -> None:
        check_sizes(dim=self.dim)
        threshold: Any = self.threshold
        if isinstance(threshold, bool) or not (isinstance(threshold, Real) and float(threshold) > 0):
            raise ArgumentValueError(f"threshold (={shown(self.threshold)}) must be a number above 0")

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: how many, at least 0.
            device: the device of the latents.
            generator: source of random numbers, on that device; None is torch's default.

        Returns:
            (n, dim) float32, or whatever torch's default dtype is.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        root_half = math.sqrt(0.5)
        half = math.erf(self.threshold * root_half)
        # Half precision, where it is torch's default, rounds the last number below 1 to 1.
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        drawn = torch.empty(n, self.dim, device=device, dtype=dtype).uniform_(-half, half, generator=generator)
        # At -1, which uniform_ may give where half rounds to 1, erfinv is infinite.
        drawn = drawn.clamp_(-_LAST_BELOW_ONE, _LAST_BELOW_ONE).erfinv_() / root_half
        return drawn.clamp_(-self.threshold, self.threshold).to(torch.get_default_dtype())


@dataclass(frozen=True)
class Uniform:
    """The uniform distribution on a cube.

    Args:
        dim: size of a latent, at least 1.
        low: lower end of every coordinate, finite.
        high: upper end, finite, above low.

    Raises:
        ArgumentValueError: dim is below 1, or an end is not finite, or low is not below high.

    Example:
        >>> bool(Uniform(100)(3).abs().max() <= 1)
        True
    """

    dim: int
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_sizes(dim=self.dim)
        ends: dict[str, Any] = {"low": self.low, "high": self.high}
        for name, end in ends.items():
            if isinstance(end, bool) or not (isinstance(end, Real) and abs(float(end)) <= _LARGEST):
                raise ArgumentValueError(f"{name} (={shown(end)}) must be a finite number in the range of float32")
        if not self.low < self.high:
            raise ArgumentValueError(f"low (={self.low}) must be below high (={self.high})")

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: how many, at least 0.
            device: the device of the latents.
            generator: source of random numbers, on that device; None is torch's default.

        Returns:
            (n, dim) float32, or whatever torch's default dtype is.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        return torch.empty(n, self.dim, device=device).uniform_(self.low, self.high, generator=generator)
