"""Upsampling without checkerboard patterns."""

from typing import Literal

from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._recipe import rebuildable
from ganlib.errors import ArgumentValueError
from ganlib.stacks._checks import Sizes, check_maps, per_dimension
from ganlib.stacks._layers import make_convolution

__all__ = ["UpsampleConv"]

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@rebuildable
class UpsampleConv(nn.Module):
    r"""Upsample maps by interpolation, and convolve the result.

    This avoids the checkerboard patterns of transposed convolutions, because all outputs depend on the same number of
    kernel taps.

    Args:
        in_channels: at least 1.
        out_channels: at least 1.
        kernel_size: an odd number, or one per dimension. The convolution pads with zeros and keeps the size.
        scale_factor: upsampling factor, a whole number of at least 1, or one per dimension.
        size: the spatial size after upsampling, one number or one per dimension; replaces ``scale_factor``.
        mode: ``"nearest"``, or ``"linear"`` (bilinear in two dimensions, trilinear in three).
        spatial_dims: 1 to 3.
        bias: whether the convolution has a bias.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> UpsampleConv(8, 4)(torch.randn(2, 8, 7, 7)).shape
        torch.Size([2, 4, 14, 14])

    References:
        Odena et al., "Deconvolution and Checkerboard Artifacts", 2016, doi:10.23915/distill.00003.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: Sizes = 3,
        scale_factor: Sizes = 2,
        size: Sizes | None = None,
        mode: Literal["nearest", "linear"] = "nearest",
        spatial_dims: int = 2,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels)
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        kernel = per_dimension("kernel_size", kernel_size, spatial_dims, 1)
        if any(k % 2 == 0 for k in kernel):
            raise ArgumentValueError(f"kernel_size (={kernel_size}) must be odd, so that the size stays the same")
        check_option("mode", mode, ("nearest", "linear"))
        scales = per_dimension("scale_factor", scale_factor, spatial_dims, 1)
        self.in_channels = in_channels
        self.spatial_dims = spatial_dims
        self.upsample: nn.Upsample = nn.Upsample(
            size=None if size is None else per_dimension("size", size, spatial_dims, 1),
            scale_factor=scales if size is None else None,
            mode=mode if mode == "nearest" else _LINEAR[spatial_dims],
        )
        self.conv: nn.Module = make_convolution(
            spatial_dims, in_channels, out_channels, kernel, padding=[k // 2 for k in kernel], bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        """Upsample and convolve x.

        Args:
            x: (N, in_channels, *spatial) float.

        Returns:
            (N, out_channels, *larger).

        Raises:
            ShapeError: x has another shape.
        """
        check_maps(x, self.in_channels, self.spatial_dims)
        return self.conv(self.upsample(x))
