"""Minibatch standard deviation."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._logits import at_least_float32
from ganlib._recipe import rebuildable
from ganlib.errors import ArgumentTypeError, DTypeError, ShapeError
from ganlib.stacks._exporting import add_small, is_exporting

__all__ = ["MinibatchStdDev"]

_EPS = 1e-8


@rebuildable
class MinibatchStdDev(nn.Module):
    r"""Append the standard deviation over a group of samples to each sample, as a constant map.

    The discriminator can then detect mode collapse, because it sees how much the samples of a batch differ. For the
    :math:`G` samples of group :math:`m`, the :math:`F` features and the :math:`P` positions, with
    :math:`\epsilon = 10^{-8}`,

    .. math:: s_m = \frac{1}{F P} \sum_{f, p} \sqrt{\frac{1}{G} \sum_{i \in m} (x_{ifp} - \mu_{mfp})^2 + \epsilon}.

    It is computed in float32 or float64.

    The logit of a sample depends on the other samples of its group, also in evaluation mode. Sample :math:`i` of
    :math:`N` is in group :math:`i \bmod (N / G)`. In multi-GPU training, each process forms groups of its own samples,
    as in StyleGAN2's code. The groups then differ from those of a single process with the whole batch.

    Args:
        group_size: number of samples in a group, at least 1. If it does not divide N, the largest smaller divisor of N
            is used.
        channels: number of maps to append, at least 1. Each map is the mean over an equal part of the features.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> MinibatchStdDev()(torch.randn(8, 16, 4, 4)).shape
        torch.Size([8, 17, 4, 4])

    References:
        Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018,
        arXiv:1710.10196, section 3.

        Groups of 4: the authors' code of Karras et al., "Analyzing and Improving the Image Quality of StyleGAN"
        (StyleGAN2), 2020, arXiv:1912.04958.
    """

    def __init__(self, group_size: int = 4, channels: int = 1) -> None:
        super().__init__()
        check_sizes(group_size=group_size, channels=channels)
        self.group_size = group_size
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Append the maps.

        Args:
            x: (N, C, *spatial) float, or (N, C); C must be divisible by ``channels``.

        Returns:
            (N, C + channels, *spatial).

        Raises:
            ArgumentTypeError, DTypeError: x is not a tensor, or not floating point.
            ShapeError: x has another shape.
        """
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"x must be a tensor, but is a {type(x).__name__}")
        if not x.is_floating_point():
            raise DTypeError(f"x must be floating point, but its dtype is {x.dtype}")
        if x.ndim < 2 or x.shape[1] == 0 or x.shape[1] % self.channels:
            raise ShapeError(
                f"x {tuple(x.shape)} must have shape (N, C, *spatial) with C divisible by channels (={self.channels})"
            )
        wide = at_least_float32(x)
        deviation = self._of_any_number(wide) if is_exporting() else self._in_groups(wide)
        maps = deviation.to(x.dtype).reshape(x.shape[0], self.channels, *[1] * (x.ndim - 2))
        return torch.cat([x, maps.expand(-1, -1, *x.shape[2:])], 1)

    def _in_groups(self, x: Tensor) -> Tensor:
        """Return the deviations (N, channels) of x (N, C, *spatial)."""
        n, c = x.shape[:2]
        group = max((size for size in range(1, min(self.group_size, n) + 1) if n % size == 0), default=1)
        grouped = x.reshape(group, n // group, self.channels, c // self.channels, x.shape[2:].numel())
        # Without eps, the square root has an infinite slope at 0, when all samples of a group are equal.
        return (grouped.var(0, correction=0) + _EPS).sqrt().mean((2, 3)).repeat(group, 1)

    def _of_any_number(self, x: Tensor) -> Tensor:
        """Compute the same in an exported model, where N and the group size are unknown until it runs."""
        sizes = torch.arange(1, self.group_size + 1, device=x.device)
        positions = torch.arange(x.shape[0], device=x.device)
        n = torch.full_like(sizes, x.shape[0])
        group = (sizes * (n % sizes == 0)).amax(0)
        # The members of each sample's group, (group_size, N); surplus members of smaller groups have weight 0.
        members = x[(positions + ((sizes - 1) * (n // group)).unsqueeze(1)) % n[:1]]
        shares = ((sizes <= group) / group).to(x.dtype).reshape(-1, *[1] * x.ndim)
        variance = (shares * (members - (shares * members).sum(0)).square()).sum(0)
        return add_small(variance, _EPS).sqrt().reshape(x.shape[0], self.channels, -1).mean(2)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"group_size={self.group_size}, channels={self.channels}"
