"""Gaussian mixture latents."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ganlib._checks import check_count
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError

__all__ = ["GaussianMixture"]


class GaussianMixture:
    r"""Draw latents from a mixture of isotropic normal distributions.

    .. math:: p(z) = \sum_k w_k \, \mathcal{N}(z; \mu_k, \sigma_k^2 I)

    Use it for data with separate modes. A generator is continuous, so it cannot split the single mode of
    :class:`Gaussian` cleanly. The parameters are fixed.

    Args:
        means: :math:`\mu`, (K, dim), a tensor or rows of numbers; finite.
        std: :math:`\sigma`, one number for all components or K numbers; finite, at least 0.
        weights: K numbers proportional to the probabilities :math:`w` of the components; finite, at least 0, and not
            all 0. None gives all components the same probability.

    Attributes:
        dim: size of a latent.

    Raises:
        ShapeError: ``means`` is not (K, dim), or is empty.
        ArgumentValueError: a number is out of range, or ``std`` or ``weights`` does not match ``means`` in length.
        ArgumentTypeError: a value is not a number.

    Example:
        >>> eight = torch.arange(8) * torch.pi / 4
        >>> ring = GaussianMixture(torch.stack([eight.cos(), eight.sin()], 1), std=0.05)
        >>> ring
        GaussianMixture(means=(8, 2), std=0.05, weights=None)
        >>> ring(16).shape
        torch.Size([16, 2])

    References:
        Ben-Yosef and Weinshall, "Gaussian Mixture Generative Adversarial Networks for Diverse Datasets, and the
        Unsupervised Clustering of Images", 2018, arXiv:1808.10356.

        With learned means and deviations: Gurumurthy et al., "DeLiGAN: Generative Adversarial Networks for Diverse and
        Limited Data", 2017, arXiv:1706.02071.
    """

    def __init__(
        self,
        means: Tensor | Sequence[Sequence[float]],
        std: float | Tensor | Sequence[float] = 1.0,
        weights: Tensor | Sequence[float] | None = None,
    ) -> None:
        self._means = _numbers("means", means)
        if self._means.ndim != 2 or not self._means.numel():
            raise ShapeError(f"means {tuple(self._means.shape)} must be (K, dim), with K and dim of at least 1")
        k = len(self._means)
        self._std = _numbers("std", std)
        if self._std.shape not in ((), (k,)) or (self._std < 0).any():
            raise ArgumentValueError(
                f"std (={shown(std)}) must be one number of at least 0, or one for each of {k} means"
            )
        self._weights = None if weights is None else _numbers("weights", weights)
        if self._weights is not None and (
            self._weights.shape != (k,) or (self._weights < 0).any() or not self._weights.any()
        ):
            raise ArgumentValueError(
                f"weights (={shown(weights)}) must be one number of at least 0 for each of {k} means, and not all 0"
            )
        self._tables: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    @property
    def dim(self) -> int:
        """Return the size of a latent."""
        return self._means.shape[1]

    def __call__(
        self, n: int, *, device: torch.device | str | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw n latents.

        Args:
            n: the number of latents, at least 0.
            device: the device of the latents.
            generator: source of random numbers on that device; None uses torch's default.

        Returns:
            (n, dim) float32.

        Raises:
            ArgumentValueError: n is not a whole number of at least 0.
        """
        n = check_count("n", n, least=0)
        position = torch.rand(n, device=device, dtype=torch.float32, generator=generator)
        noise = torch.randn(n, self.dim, device=device, dtype=torch.float32, generator=generator)
        ends, means, std = self._on(position.device)
        component = torch.bucketize(position, ends, right=True)
        return torch.addcmul(means[component], std[component], noise)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        # Cached for each device, because a copy for every batch would wait for the device.
        """Return the cumulative weights, means and deviations on a device."""
        if device not in self._tables:
            k = len(self._means)
            shares = (
                torch.ones(k, dtype=torch.float64, device="cpu") if self._weights is None else self._weights
            ).cumsum(0)
            tables = (shares / shares[-1])[:-1], self._means, self._std.expand(k).unsqueeze(1)
            ends, means, std = (table.to(device, torch.float32) for table in tables)
            self._tables[device] = ends, means, std
        return self._tables[device]

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the cache, which a process without that device cannot read.
        return GaussianMixture, (self._means, self._std, self._weights)

    def __repr__(self) -> str:
        if not hasattr(self, "_weights"):  # not fully initialized
            return "GaussianMixture()"
        weights = None if self._weights is None else self._weights.tolist()
        return f"GaussianMixture(means={tuple(self._means.shape)}, std={self._std.tolist()}, weights={weights})"


def _numbers(name: str, value: Any) -> Tensor:
    """Return a copy on the CPU in float64, so that it cannot change and ``repr`` shows the numbers as given."""
    if isinstance(value, Tensor) and (value.is_meta or value.is_complex() or value.dtype == torch.bool):
        raise ArgumentTypeError(f"{name} must be real numbers, but are {value.dtype} on {value.device}")
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64, device="cpu").detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentTypeError(f"{name} (={shown(value)}) must be numbers, with rows of equal length") from error
    if not numbers.float().isfinite().all():
        raise ArgumentValueError(f"{name} (={shown(value)}) must be finite")
    return numbers
