"""Residual blocks that enlarge in a generator, and reduce in a discriminator."""

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
    """The parts of both blocks: two convolutions, each after a norm and an activation, and a skip path around them."""

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
    """Norm, activation, upsampling, convolution, norm, activation, convolution; and a skip path around them.

    Upsampling repeats the nearest pixel. The convolutions have kernel 3; on the skip path there is one of kernel 1
    where the channels differ.

    Args:
        in_channels: at least 1.
        out_channels: at least 1.
        spatial_dims: 1 to 3.
        scale: how many times larger the maps become, at least 1.
        norm: see :func:`make_norm`; a conditional one makes the block take (x, condition).
        activation: a module to copy, or a function that makes one; not one that works in place.
        spectral_norm: whether every convolution is spectrally normalized.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> ResidualUpBlock(8, 4)(torch.randn(2, 8, 7, 7)).shape
        torch.Size([2, 4, 14, 14])

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, appendix B.4; with
        conditional norms: Brock et al., "Large Scale GAN Training", 2019, appendix B.
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
        """Enlarge.

        Args:
            x: (N, in_channels, *spatial) float.
            condition: for conditional norms, where there are any.

        Returns:
            (N, out_channels, *larger), scale times the size.

        Raises:
            ShapeError: x has another shape.
            ArgumentValueError: a condition that no part takes, or a missing one that a part needs.
        """
        check_condition(self, condition)
        check_maps(x, self.in_channels, self.spatial_dims)
        h = self.conv1(self.upsample(self.activation1(call(self.norm1, x, condition))))
        h = self.conv2(self.activation2(call(self.norm2, h, condition)))
        # The papers upsample first; a convolution of single pixels gives the same, at the smaller size.
        return h + self.upsample(self.skip(x))


@rebuildable
class ResidualDownBlock(_ResidualBlock):
    """Norm, activation, convolution, norm, activation, convolution, average pooling; and a skip path around them.

    The convolutions have kernel 3; on the skip path there is one of kernel 1 where the channels or the size change.
    The first convolution already has ``out_channels`` (BigGAN's choice; SNGAN's has ``in_channels``). Pooling leaves
    out what is over where the scale does not divide a size, as torch does.

    Args:
        in_channels: at least 1.
        out_channels: at least 1.
        spatial_dims: 1 to 3.
        scale: how many times smaller the maps become, at least 1.
        norm: see :func:`make_norm`; a conditional one makes the block take (x, condition).
        activation: a module to copy, or a function that makes one; not one that works in place.
        spectral_norm: whether every convolution is spectrally normalized.
        first: whether it is given the image, so that no norm or activation comes before the first convolution: a ReLU
            would remove the dark pixels.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> ResidualDownBlock(3, 8, first=True)(torch.randn(2, 3, 32, 32)).shape
        torch.Size([2, 8, 16, 16])

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018, appendix B.4; Brock et al.,
        "Large Scale GAN Training", 2019, appendix B.
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
        """Reduce.

        Args:
            x: (N, in_channels, *spatial) float, each size at least the scale.
            condition: for conditional norms, where there are any.

        Returns:
            (N, out_channels, *smaller), the size // scale.

        Raises:
            ShapeError: x has another shape, or is too small to be pooled.
            ArgumentValueError: a condition that no part takes, or a missing one that a part needs.
        """
        check_condition(self, condition)
        check_maps(x, self.in_channels, self.spatial_dims, least=self.scale)
        h = self.conv1(self.activation1(call(self.norm1, x, condition)))
        h = self.conv2(self.activation2(call(self.norm2, h, condition)))
        # The papers pool first only in the first block. Averages and sums of single pixels commute, and this order is
        # the cheaper one.
        return self.pool(h) + self.skip(self.pool(x))


def _make_activation(activation: Activation) -> nn.Module:
    """Make an activation that does not work in place."""
    made = make_activation(activation)
    if any(getattr(part, "inplace", False) for part in made.modules()):
        raise ArgumentValueError(
            f"activation (={shown(made)}) must not work in place, because the skip path reads what it would change"
        )
    return made
