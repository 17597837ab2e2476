"""Random parameters of transforms, which are applied to each sample with a probability."""

import torch
from torch import Tensor

__all__ = ["Draws"]


class Draws:
    """Draw random parameters (n,) for the samples of a batch.

    Args:
        n: number of samples.
        p: the probability of each transform, a tensor (); nothing reads its value on the host.
        dtype: of the parameters.
        generator: source of random numbers on the device of ``p``; None uses torch's default.
    """

    def __init__(self, n: int, p: Tensor, dtype: torch.dtype, generator: torch.Generator | None) -> None:
        self._shape = (n,)
        self._p = p.to(dtype)
        self._generator = generator

    def chosen(self) -> Tensor:
        """Choose samples with the probability p: 1 or 0 each."""
        return (self.uniform() < self._p).to(self._p.dtype)

    def chosen_by_one_of_two(self) -> Tensor:
        """Choose samples so that one of two calls chooses each with the probability p: 1 or 0 each."""
        return (self.uniform() < 1 - (1 - self._p).clamp(0, 1).sqrt()).to(self._p.dtype)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw from U(low, high)."""
        drawn = torch.rand(self._shape, device=self._p.device, dtype=self._p.dtype, generator=self._generator)
        return drawn * (high - low) + low

    def below(self, count: int) -> Tensor:
        """Draw whole numbers from 0 to count - 1, with equal probabilities."""
        return self.uniform(0, count).floor().clamp_max(count - 1)  # the product may be rounded to the count

    def normal(self, deviation: float) -> Tensor:
        """Draw from a normal distribution with mean 0."""
        drawn = torch.randn(self._shape, device=self._p.device, dtype=self._p.dtype, generator=self._generator)
        return drawn * deviation
