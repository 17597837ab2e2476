"""Random horizontal flip."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_fraction
from ganlib.augment._samples import check_tensor
from ganlib.errors import ShapeError

__all__ = ["RandomHorizontalFlip"]


class RandomHorizontalFlip(nn.Module):
    """Flip each sample horizontally with a given probability.

    Args:
        p: the probability, in [0, 1].

    Raises:
        ArgumentValueError: ``p`` is not in [0, 1].

    Example:
        >>> RandomHorizontalFlip(p=1.0)(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
        tensor([[[[3., 2., 1.]]]])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        check_fraction("p", p)
        self.p = p

    def forward(self, samples: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Flip the samples.

        Args:
            samples: (N, C, *spatial), finite; the last dimension is mirrored.
            generator: source of random numbers on the device of the samples; None uses torch's default.

        Returns:
            The same shape.

        Raises:
            ArgumentTypeError: the samples are not a tensor.
            ShapeError: the samples have no spatial dimensions.
        """
        check_tensor("samples", samples)
        if samples.ndim < 3:
            raise ShapeError(f"samples {tuple(samples.shape)} must be (N, C, *spatial)")
        drawn = torch.rand(len(samples), device=samples.device, generator=generator)
        flips = (drawn < self.p).view(-1, *[1] * (samples.ndim - 1))
        if samples.dtype not in (torch.float32, torch.float64):
            return torch.where(flips, samples.flip(-1), samples)
        # torch.lerp is exact at 0 and 1, and several times faster on the CPU than torch.where with a broadcast mask. In
        # half precision the difference of two large values would be infinite.
        return torch.lerp(samples, samples.flip(-1), flips.to(samples.dtype))

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"p={self.p}"
