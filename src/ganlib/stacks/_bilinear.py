"""Resampling by a factor of 2 with a bilinear filter."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlib._checks import check_option
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, DTypeError, ShapeError
from ganlib.stacks._checks import Sizes, per_dimension

__all__ = ["BilinearDownsample", "BilinearUpsample"]


@rebuildable
class BilinearDownsample(nn.Module):
    r"""Halve the size of maps with a bilinear filter.

    In each dimension, with :math:`x_j = 0` outside of the map,

    .. math:: y_i = \tfrac{1}{8} (x_{2i - 1} + 3 x_{2i} + 3 x_{2i + 1} + x_{2i + 2}).

    This is the average of pairs of pixels after the filter [1, 2, 1] / 4. An odd size is rounded up. The layer has no
    parameters. It multiplies the maps by a small matrix in each dimension. With the second derivatives of R1 and R2,
    this is faster than a depthwise convolution.

    Args:
        spatial_dims: 1 to 3.

    Raises:
        ArgumentValueError: ``spatial_dims`` is out of range.

    Example:
        >>> BilinearDownsample()(torch.randn(2, 8, 28, 15)).shape
        torch.Size([2, 8, 14, 8])

    References:
        Zhang, "Making Convolutional Networks Shift-Invariant Again", 2019, arXiv:1904.11486.

        In a GAN: Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), 2024,
        arXiv:2501.05441, section 3, and the authors' code.
    """

    def __init__(self, *, spatial_dims: int = 2) -> None:
        super().__init__()
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        self.spatial_dims = spatial_dims

    def forward(self, x: Tensor) -> Tensor:
        """Halve the size.

        Args:
            x: (N, C, *spatial) float.

        Returns:
            (N, C, *smaller), half of each size, rounded up.

        Raises:
            ArgumentTypeError: x is not a tensor.
            DTypeError: x is not floating point.
            ShapeError: x has another shape.
        """
        _check(x, self.spatial_dims)
        return _multiplied(x, [_filter(large, -(-large // 2), x) for large in x.shape[2:]])

    def extra_repr(self) -> str:
        """Return the argument, for ``repr``."""
        return f"spatial_dims={self.spatial_dims}"


@rebuildable
class BilinearUpsample(nn.Module):
    r"""Double the size of maps with a bilinear filter.

    In each dimension, with :math:`x_j = 0` outside of the map,

    .. math::

        y_{2i} = \tfrac{1}{4} (x_{i - 1} + 3 x_i), \qquad y_{2i + 1} = \tfrac{1}{4} (3 x_i + x_{i + 1}).

    This is bilinear interpolation, except at the border, where torch repeats the last pixel. In each dimension it is
    twice the transpose of :class:`BilinearDownsample`. The layer has no parameters.

    Args:
        size: the spatial size of the output, one number or one per dimension: twice the size of the input, or one less.
            None is twice the size of the input.
        spatial_dims: 1 to 3.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> BilinearUpsample()(torch.randn(2, 8, 7, 7)).shape
        torch.Size([2, 8, 14, 14])
        >>> BilinearUpsample(size=(14, 15))(torch.randn(2, 8, 7, 8)).shape
        torch.Size([2, 8, 14, 15])

    References:
        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), 2024, arXiv:2501.05441,
        section 3, and the authors' code.
    """

    def __init__(self, size: Sizes | None = None, *, spatial_dims: int = 2) -> None:
        super().__init__()
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        self.size: tuple[int, ...] | None = None if size is None else per_dimension("size", size, spatial_dims, 1)
        self.spatial_dims = spatial_dims

    def forward(self, x: Tensor) -> Tensor:
        """Double the size.

        Args:
            x: (N, C, *spatial) float.

        Returns:
            (N, C, *larger), twice each size, or ``size``.

        Raises:
            ArgumentTypeError: x is not a tensor.
            DTypeError: x is not floating point.
            ShapeError: x has another shape, or ``size`` is not twice its size or one less.
        """
        _check(x, self.spatial_dims)
        small = x.shape[2:]
        size: Sequence[int] = [2 * length for length in small] if self.size is None else self.size
        if any(-(-large // 2) != length for large, length in zip(size, small, strict=True)):
            raise ShapeError(f"x {tuple(x.shape)} must have half of each size (={shown(size)}), rounded up")
        return _multiplied(x, [2 * _filter(*lengths, x).mT for lengths in zip(size, small, strict=True)])

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"size={self.size}, spatial_dims={self.spatial_dims}"


def _check(x: Tensor, spatial_dims: int) -> None:
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"x must be a tensor, but it is a {type(x).__name__}")
    if x.ndim != spatial_dims + 2:
        raise ShapeError(f"x {tuple(x.shape)} must have shape (N, C, *spatial) with {spatial_dims} spatial dimensions")
    if not x.is_floating_point():
        raise DTypeError(f"x must be floating point, but its dtype is {x.dtype}")


def _filter(large: int, small: int, like: Tensor) -> Tensor:
    """Return the matrix (small, large) of the filter, in the dtype and on the device of a tensor."""
    # It is computed on the device in each call: a CUDA graph cannot copy it from the host, and a buffer would be saved.
    centers = torch.arange(small, device=like.device).unsqueeze(1) * 2 + 0.5
    distances = (torch.arange(large, device=like.device) - centers).abs()
    return ((2 - distances).clamp(min=0) / 4).to(like.dtype)


def _multiplied(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply x by one matrix in each spatial dimension."""
    channels_last = x.stride(1) == 1  # then the result is in that memory format too, and nothing is copied
    x = x.movedim(1, -1) if channels_last else x
    for axis, matrix in enumerate(matrices, start=1 if channels_last else 2):
        rest = x.shape[axis + 1 :]
        x = (matrix @ x.flatten(axis + 1)).unflatten(-1, rest) if rest else x @ matrix.mT
    return x.movedim(-1, 1) if channels_last else x
