"""Pixel norm."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_positive
from ganlib._logits import at_least_float32
from ganlib._recipe import rebuildable
from ganlib.errors import ArgumentTypeError, DTypeError, ShapeError
from ganlib.stacks._exporting import add_small

__all__ = ["PixelNorm"]


@rebuildable
class PixelNorm(nn.Module):
    r"""Scale the channels at each pixel to unit root mean square.

    .. math:: \frac{x_c}{\sqrt{\frac{1}{C} \sum_{c'} x_{c'}^2 + \epsilon}}

    It has no weights, and is computed in float32 or float64. In a stack, use ``norm="pixel"``.

    Args:
        eps: :math:`\epsilon`, above 0.

    Raises:
        ArgumentValueError: ``eps`` is not above 0.

    Example:
        >>> PixelNorm()(torch.tensor([[1.0, -7.0]]))
        tensor([[ 0.2000, -1.4000]])

    References:
        Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018,
        arXiv:1710.10196, section 4.2.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        check_positive("eps", eps)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize x.

        Args:
            x: (N, C, *spatial) float, or (N, C).

        Returns:
            The same shape and dtype.

        Raises:
            ArgumentTypeError, DTypeError: x is not a tensor, or not floating point.
            ShapeError: x has no channels.
        """
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"x must be a tensor, but is a {type(x).__name__}")
        if not x.is_floating_point():
            raise DTypeError(f"x must be floating point, but its dtype is {x.dtype}")
        if x.ndim < 2:
            raise ShapeError(f"x {tuple(x.shape)} must have shape (N, C, *spatial)")
        # Squares overflow in half precision, and eps rounds to 0 in float16.
        wide = at_least_float32(x)
        return (wide * torch.rsqrt(add_small(wide.square().mean(1, keepdim=True), self.eps))).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"eps={self.eps}"
