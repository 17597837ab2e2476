"""The normal distribution without its tails."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.latents._dim import check_dim

__all__ = ["TruncatedGaussian"]


@dataclass(frozen=True)
class TruncatedGaussian:
    r"""The standard normal distribution, of which every coordinate is kept within a threshold.

    Each coordinate has the density :math:`\varphi(z) / (2 \Phi(\tau) - 1)` for :math:`|z| \le \tau` and 0 beyond: what
    is left when those outside are drawn again until they are inside. Here it is drawn at once, as
    :math:`z = \Phi^{-1}(u)` with u uniform between :math:`\Phi(-\tau)` and :math:`\Phi(\tau)`, so that nothing waits
    for the device. A generator trained with the whole normal distribution gives better but less varied samples from
    this one, the more so the lower the threshold.

    Args:
        dim: size of a latent, at least 1.
        threshold: :math:`\tau`, the largest absolute value of a coordinate, above 0; the numbers that float32 can
            tell apart end at 5.4 in any case.

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
        check_dim(self.dim)
        if not (isinstance(self.threshold, int | float) and self.threshold > 0):
            raise ArgumentValueError(f"threshold (={self.threshold}) must be a number above 0")

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
        root_half = math.sqrt(0.5)
        half = math.erf(self.threshold * root_half)
        drawn = torch.empty(n, self.dim, device=device).uniform_(-half, half, generator=generator)
        # At -1, which uniform_ may give where half rounds to 1, erfinv is infinite.
        drawn = drawn.clamp_(-_LAST_BELOW_ONE, _LAST_BELOW_ONE).erfinv_() / root_half
        return drawn.clamp_(-self.threshold, self.threshold)


_LAST_BELOW_ONE = 1 - 2**-24
