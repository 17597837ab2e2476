"""Convolutions and spectral normalization."""

from typing import TypeVar

from torch import nn
from torch.nn.utils import parametrizations

from ganlib._checks import check_flag
from ganlib.stacks._checks import Sizes

__all__ = ["make_convolution", "normalize_spectrally"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)

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
    """Make a convolution for 1 to 3 spatial dimensions."""
    layer = getattr(nn, f"Conv{spatial_dims}d")(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
    return normalize_spectrally(layer) if check_flag("spectral_norm", spectral_norm) else layer


def normalize_spectrally(module: ModuleT) -> ModuleT:
    """Apply spectral normalization to each convolution and linear layer, in place."""
    # A list, because each parametrization adds modules while the loop runs.
    for layer in list(module.modules()):
        if isinstance(layer, _LAYERS):
            parametrizations.spectral_norm(layer)
    return module
