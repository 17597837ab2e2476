"""The uniform distribution on a cube."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.latents._dim import check_dim

__all__ = ["Uniform"]


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
        check_dim(self.dim)
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
