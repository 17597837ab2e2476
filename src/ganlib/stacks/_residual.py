"""Residual blocks with upsampling and downsampling."""

from functools import partial

from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._condition import call, check_condition, needs_condition
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Condition
from ganlib.stacks._blocks import Activation, Norm, make_activation, make_norm, needs_bias
from ganlib.stacks._checks import check_maps
from ganlib.stacks._layers import make_convolution

__all__ = ["ResidualDownBlock", "ResidualUpBlock"]


class _ResidualBlock(nn.Module):
    """Make the layers of a residual block: two times norm, activation and convolution, and a skip connection."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        spatial_dims: int,
        scale: int,
        norm: Norm,
        activation: Activation,
        spectral_norm: bool,
        enlarges: bool,
        first: bool = False,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, out_channels=out_channels, scale=scale)
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        convolution = partial(make_convolution, spatial_dims, spectral_norm=spectral_norm)
        self.in_channels = in_channels
        self.spatial_dims = spatial_dims
        self.scale = scale
        self.norm1: nn.Module = make_norm("none" if first else norm, in_channels, spatial_dims)
        self.activation1: nn.Module = _make_activation(None if first else activation)
        if enlarges:
            self.upsample: nn.Module = nn.Identity() if scale == 1 else nn.Upsample(scale_factor=scale)
        self.conv1: nn.Module = convolution(in_channels, out_channels, 3, padding=1, bias=needs_bias(norm))
        self.norm2: nn.Module = make_norm(norm, out_channels, spatial_dims)
        self.activation2: nn.Module = _make_activation(activation)
        self.conv2: nn.Module = convolution(out_channels, out_channels, 3, padding=1)
        if not enlarges:
            self.pool: nn.Module = nn.Identity() if scale == 1 else getattr(nn, f"AvgPool{spatial_dims}d")(scale)
        same = in_channels == out_channels and (enlarges or scale == 1)
        self.skip: nn.Module = nn.Identity() if same else convolution(in_channels, out_channels, 1)
        self.needs_condition: bool = needs_condition(self.norm1, self.norm2)


@rebuildable
class ResidualUpBlock(_ResidualBlock):
    """Upsample maps in a residual block, for generators.

    The layers are norm, activation, upsampling, convolution, norm, activation, convolution. Upsampling repeats the
    nearest pixel. The convolutions have kernel size 3. If the channels differ, the skip connection has a convolution of
    kernel size 1.

    Args:
        in_channels: at least 1.
        out_channels: at least 1.
        spatial_dims: 1 to 3.
        scale: upsampling factor, at least 1.
        norm: see :func:`make_norm`. With a conditional norm, call the block with (x, condition).
        activation: a module to copy, or a function that returns one; in-place activations are not allowed.
        spectral_norm: whether all convolutions have spectral normalization.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> ResidualUpBlock(8, 4)(torch.randn(2, 8, 7, 7)).shape
        torch.Size([2, 4, 14, 14])

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (SNGAN), 2018, arXiv:1802.05957,
        appendix B.4.

        With conditional norms: Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis"
        (BigGAN), 2019, arXiv:1809.11096, appendix B.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        spatial_dims: int = 2,
        scale: int = 2,
        norm: Norm = "batch",
        activation: Activation = nn.ReLU,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            spatial_dims=spatial_dims,
            scale=scale,
            norm=norm,
            activation=activation,
            spectral_norm=spectral_norm,
            enlarges=True,
        )

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Run the block.

        Args:
            x: (N, in_channels, *spatial) float.
            condition: for conditional norms, if there are any.

        Returns:
            (N, out_channels, *larger), with spatial sizes multiplied by ``scale``.

        Raises:
            ShapeError: x has another shape.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        check_condition(self, condition)
        check_maps(x, self.in_channels, self.spatial_dims)
        h = self.conv1(self.upsample(self.activation1(call(self.norm1, x, condition))))
        h = self.conv2(self.activation2(call(self.norm2, h, condition)))
        # The papers upsample first. A convolution of kernel size 1 returns the same and is cheaper at the smaller size.
        return h + self.upsample(self.skip(x))


@rebuildable
class ResidualDownBlock(_ResidualBlock):
    """Downsample maps in a residual block, for discriminators.

    The layers are norm, activation, convolution, norm, activation, convolution, average pooling. The convolutions have
    kernel size 3. If the channels or the size change, the skip connection has a convolution of kernel size 1. The first
    convolution has ``out_channels`` output channels, as in BigGAN; in SNGAN it has ``in_channels``. If ``scale`` does
    not divide a size, pooling drops the remaining pixels, as in torch.

    Args:
        in_channels: at least 1.
        out_channels: at least 1.
        spatial_dims: 1 to 3.
        scale: downsampling factor, at least 1.
        norm: see :func:`make_norm`. With a conditional norm, call the block with (x, condition).
        activation: a module to copy, or a function that returns one; in-place activations are not allowed.
        spectral_norm: whether all convolutions have spectral normalization.
        first: whether the input is the image. The first convolution then has no norm and no activation before it,
            because a ReLU would remove the dark pixels.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> ResidualDownBlock(3, 8, first=True)(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 8, 16, 16])

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (SNGAN), 2018, arXiv:1802.05957,
        appendix B.4.

        Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis" (BigGAN), 2019,
        arXiv:1809.11096, appendix B.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        spatial_dims: int = 2,
        scale: int = 2,
        norm: Norm = "none",
        activation: Activation = nn.ReLU,
        spectral_norm: bool = False,
        first: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            spatial_dims=spatial_dims,
            scale=scale,
            norm=norm,
            activation=activation,
            spectral_norm=spectral_norm,
            enlarges=False,
            first=first,
        )

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Run the block.

        Args:
            x: (N, in_channels, *spatial) float, each size at least ``scale``.
            condition: for conditional norms, if there are any.

        Returns:
            (N, out_channels, *smaller), with spatial sizes ``size // scale``.

        Raises:
            ShapeError: x has another shape, or is too small to be pooled.
            ArgumentValueError: no layer takes the given condition, or a layer needs a condition that is missing.
        """
        check_condition(self, condition)
        check_maps(x, self.in_channels, self.spatial_dims, least=self.scale)
        h = self.conv1(self.activation1(call(self.norm1, x, condition)))
        h = self.conv2(self.activation2(call(self.norm2, h, condition)))
        # The papers pool first only in the first block. Pooling and a convolution of kernel size 1 commute, and this
        # order is cheaper.
        return self.pool(h) + self.skip(self.pool(x))


def _make_activation(activation: Activation) -> nn.Module:
    """Make an activation that does not work in place."""
    made = make_activation(activation)
    if any(getattr(part, "inplace", False) for part in made.modules()):
        raise ArgumentValueError(
            f"activation (={shown(made)}) must not work in place, because the skip connection needs its input"
        )
    return made
