"""The standard normal distribution."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.latents._dim import check_dim

__all__ = ["Gaussian"]


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
        check_dim(self.dim)

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
