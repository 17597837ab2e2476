"""The layers with weights that stacks and blocks are made of."""

from collections.abc import Callable
from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrizations

from ganlib.stacks._checks import Sizes

__all__ = ["make_convolution", "normalise_spectrally"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

_CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


def make_convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: Sizes,
    *,
    stride: Sizes = 1,
    padding: Sizes = 0,
    bias: bool = True,
    spectral_norm: bool = False,
) -> nn.Module:
    """torch's convolution in so many dimensions.

    Args:
        spatial_dims: 1 to 3.
        in_channels: channels of what it takes.
        out_channels: channels of what it gives.
        kernel_size: int, or one per dimension.
        stride: likewise.
        padding: likewise; on both sides, with zeros.
        bias: whether it has one.
        spectral_norm: whether its weight is divided by its largest singular value.

    Returns:
        The layer.
    """
    layer = _CONVOLUTIONS[spatial_dims](in_channels, out_channels, kernel_size, stride, padding, bias=bias)
    return normalise_spectrally(layer) if spectral_norm else layer


def normalise_spectrally(module: ModuleT) -> ModuleT:
    """Divide the weight of each convolution and linear layer by its largest singular value.

    Args:
        module: one such layer, or a module that holds some; changed in place.

    Returns:
        The same module.

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    # A list, because each parametrization adds modules to those that are gone through.
    for layer in list(module.modules()):
        if isinstance(layer, _LAYERS):
            parametrizations.spectral_norm(layer)
    return module
