"""Minibatch standard deviation: shows the discriminator how much the samples of a batch differ."""

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
    r"""Appends to each sample the standard deviation of the features within its group, as a constant map.

    .. math:: s_m = \frac{1}{F P} \sum_{f, p} \sqrt{\frac{1}{G} \sum_{i \in m} (x_{ifp} - \mu_{mfp})^2 + \epsilon}

    over the :math:`G` samples of group :math:`m`, the :math:`F` features and the :math:`P` positions, with
    :math:`\epsilon = 10^{-8}`. A generator that always makes the same sample is then easy to detect. It is computed
    in float32 or better.

    It couples the samples of a batch, in evaluation too: the logit of one depends on the others of its group. Sample
    :math:`i` of :math:`N` is in group :math:`i \bmod (N / G)`. Over several processes groups lie within one, as in
    StyleGAN2's code: sample :math:`i` of a process's own :math:`n` is in its group :math:`i \bmod (n / G)`, with
    other samples than in one process with the whole batch.

    Args:
        group_size: samples in a group, at least 1; where it does not divide N, the largest divisor of N below it is
            taken.
        channels: how many maps are appended, at least 1; each is the mean over its share of the features.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> MinibatchStdDev()(torch.randn(8, 16, 4, 4)).shape
        torch.Size([8, 17, 4, 4])

    References:
        Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018, section 3;
        groups of 4: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020, its code.
    """

    def __init__(self, group_size: int = 4, channels: int = 1) -> None:
        super().__init__()
        check_sizes(group_size=group_size, channels=channels)
        self.group_size = group_size
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Append the maps.

        Args:
            x: (N, C, *spatial) float, or (N, C); C must be divisible by channels.

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
        """(N, C, *spatial) -> (N, channels)."""
        n, c = x.shape[:2]
        group = max((size for size in range(1, min(self.group_size, n) + 1) if n % size == 0), default=1)
        grouped = x.reshape(group, n // group, self.channels, c // self.channels, x.shape[2:].numel())
        # Without eps the root has no finite slope at 0, where all samples of a group agree.
        return (grouped.var(0, correction=0) + _EPS).sqrt().mean((2, 3)).repeat(group, 1)

    def _of_any_number(self, x: Tensor) -> Tensor:
        """The same where N, and with it the size of a group, is known only when what is exported runs."""
        sizes = torch.arange(1, self.group_size + 1, device=x.device)
        positions = torch.arange(x.shape[0], device=x.device)
        n = torch.full_like(sizes, x.shape[0])
        group = (sizes * (n % sizes == 0)).amax(0)
        # Those of the group of each sample, (group_size, N); where a group has fewer, the others count as 0.
        members = x[(positions + ((sizes - 1) * (n // group)).unsqueeze(1)) % n[:1]]
        shares = ((sizes <= group) / group).to(x.dtype).reshape(-1, *[1] * x.ndim)
        variance = (shares * (members - (shares * members).sum(0)).square()).sum(0)
        return add_small(variance, _EPS).sqrt().reshape(x.shape[0], self.channels, -1).mean(2)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"group_size={self.group_size}, channels={self.channels}"
