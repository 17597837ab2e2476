"""Inverted bottleneck with grouped convolutions."""

import math

from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError
from ganlib.stacks._checks import check_maps

__all__ = ["InvertedBottleneck"]

_SLOPE = 0.2
_GAIN = math.sqrt(2 / (1 + _SLOPE**2))
_LAYERS = 3


@rebuildable
class InvertedBottleneck(nn.Module):
    r"""Transform maps in a residual block without norms (R3GAN).

    .. math:: y = x + W_3 * \sigma(b_2 + W_2 * \sigma(b_1 + W_1 * x))

    :math:`W_1` and :math:`W_3` have kernel size 1. :math:`W_1` multiplies the channels by ``expansion``, and
    :math:`W_3` restores them. :math:`W_2` is a grouped convolution, and :math:`\sigma` is LeakyReLU(0.2). The block
    keeps the shape of the maps.

    :math:`W_3` is initialized to 0, so the block starts as the identity. The other weights are drawn from normal
    distributions with mean 0 and standard deviation

    .. math:: \sqrt{\frac{2}{1 + 0.2^2}} \; L^{-1/4} \; \text{fan\_in}^{-1/2},

    where :math:`L` is the number of blocks in the network. So the first updates change the output of a deep network as
    much as the output of a shallow one. An initialization of the whole network by :mod:`ganlib.init` replaces all of
    this.

    Args:
        channels: channels of x, at least 1.
        expansion: the factor between the inner channels and ``channels``, at least 1.
        group_width: inner channels in each group, at least 1. It must divide ``expansion * channels``.
        kernel_size: kernel size of the grouped convolution, an odd number.
        depth: the number of blocks in the network, at least 1.
        spatial_dims: 1 to 3.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> InvertedBottleneck(64)(torch.randn(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])

    References:
        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), 2024, arXiv:2501.05441,
        section 3.

        The initialization: Zhang et al., "Fixup Initialization: Residual Learning Without Normalization", 2019,
        arXiv:1901.09321.
    """

    def __init__(
        self,
        channels: int,
        *,
        expansion: int = 2,
        group_width: int = 16,
        kernel_size: int = 3,
        depth: int = 1,
        spatial_dims: int = 2,
    ) -> None:
        super().__init__()
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        check_sizes(
            channels=channels, expansion=expansion, group_width=group_width, kernel_size=kernel_size, depth=depth
        )
        if kernel_size % 2 == 0:
            raise ArgumentValueError(f"kernel_size (={shown(kernel_size)}) must be odd, to keep the size")
        kernel_size = int(kernel_size)  # torch keeps a NumPy number, which a file of the network has not
        inner = expansion * channels
        if inner % group_width:
            raise ArgumentValueError(
                f"group_width (={shown(group_width)}) must divide the inner channels, expansion * channels = "
                f"{expansion} * {channels} = {inner}"
            )
        self.channels = channels
        self.spatial_dims = spatial_dims
        convolution = getattr(nn, f"Conv{spatial_dims}d")
        groups = inner // group_width
        self.conv1: nn.Module = convolution(channels, inner, 1)
        self.activation1: nn.Module = nn.LeakyReLU(_SLOPE, inplace=True)
        self.conv2: nn.Module = convolution(inner, inner, kernel_size, padding=kernel_size // 2, groups=groups)
        self.activation2: nn.Module = nn.LeakyReLU(_SLOPE, inplace=True)
        self.conv3: nn.Module = convolution(inner, channels, 1, bias=False)
        gain = _GAIN * depth ** (-1 / (2 * _LAYERS - 2))
        for weight, bias in (self.conv1.parameters(), self.conv2.parameters()):
            nn.init.normal_(weight, std=gain / math.sqrt(weight[0].numel()))
            nn.init.zeros_(bias)
        for weight in self.conv3.parameters():
            nn.init.zeros_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Run the block.

        Args:
            x: (N, channels, *spatial) float.

        Returns:
            The same shape.

        Raises:
            ShapeError: x has another shape.
        """
        check_maps(x, self.channels, self.spatial_dims)
        h = self.activation1(self.conv1(x))
        # In this order, the sum has the memory format of the convolutions, whatever that of x.
        return self.conv3(self.activation2(self.conv2(h))) + x
