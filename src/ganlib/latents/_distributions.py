"""Normal, truncated normal and uniform latents."""

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
    """Draw latents from the standard normal distribution.

    Args:
        dim: size of a latent, at least 1.

    Raises:
        ArgumentValueError: ``dim`` is below 1.

    Example:
        >>> Gaussian(2)(3, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3, 2])
    """

    dim: int

    def __post_init__(self) -> None:
        check_sizes(dim=self.dim)

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: the number of latents, at least 0.
            device: the device of the latents; None uses torch's default.
            generator: source of random numbers on that device; None uses torch's default.

        Returns:
            (n, dim), in torch's default dtype.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        return torch.randn(n, self.dim, device=device, generator=generator)


@dataclass(frozen=True)
class TruncatedGaussian:
    r"""Draw latents from the standard normal distribution, truncated to coordinates within a threshold.

    Use it to generate samples (the truncation trick). A generator that was trained with :class:`Gaussian` makes better
    but less diverse samples from truncated latents. A lower threshold strengthens both effects.

    Each coordinate has the density :math:`\varphi(z) / (2 \Phi(\tau) - 1)` for :math:`|z| \le \tau`, and 0 elsewhere.
    It is computed as :math:`z = \Phi^{-1}(u)` with :math:`u` uniform between :math:`\Phi(-\tau)` and
    :math:`\Phi(\tau)`.

    Args:
        dim: size of a latent, at least 1.
        threshold: :math:`\tau`, the largest absolute value of a coordinate, above 0. Values above 5.4 are never drawn,
            because the uniform numbers are float32.

    Raises:
        ArgumentValueError: ``dim`` is below 1, or ``threshold`` is not above 0.

    Example:
        >>> bool(TruncatedGaussian(100, threshold=0.5)(3).abs().max() <= 0.5)
        True

    References:
        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (BigGAN), 2019,
        arXiv:1809.11096, section 3.1.
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
            n: the number of latents, at least 0.
            device: the device of the latents; None uses torch's default.
            generator: source of random numbers on that device; None uses torch's default.

        Returns:
            (n, dim), in torch's default dtype.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        root_half = math.sqrt(0.5)
        half = math.erf(self.threshold * root_half)
        # If torch's default dtype is half precision, it would round the last number below 1 to 1.
        dtype = torch.promote_types(torch.get_default_dtype(), torch.float32)
        drawn = torch.empty(n, self.dim, device=device, dtype=dtype).uniform_(-half, half, generator=generator)
        # erfinv is infinite at -1, which uniform_ can return if ``half`` rounds to 1.
        drawn = drawn.clamp_(-_LAST_BELOW_ONE, _LAST_BELOW_ONE).erfinv_() / root_half
        return drawn.clamp_(-self.threshold, self.threshold).to(torch.get_default_dtype())


@dataclass(frozen=True)
class Uniform:
    """Draw latents whose coordinates are uniform between two numbers.

    Args:
        dim: size of a latent, at least 1.
        low: lower bound of every coordinate, finite.
        high: upper bound, finite, above ``low``.

    Raises:
        ArgumentValueError: ``dim`` is below 1, a bound is not finite, or ``low`` is not below ``high``.

    Example:
        >>> bool(Uniform(100)(3).abs().max() <= 1)
        True

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434.
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
            n: the number of latents, at least 0.
            device: the device of the latents; None uses torch's default.
            generator: source of random numbers on that device; None uses torch's default.

        Returns:
            (n, dim), in torch's default dtype.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        return torch.empty(n, self.dim, device=device).uniform_(self.low, self.high, generator=generator)
