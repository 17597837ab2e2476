"""Convolutions and spectral normalization."""

from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from ganlib._checks import check_flag
from ganlib.stacks._checks import Sizes

__all__ = ["make_convolution", "make_transposed_convolution", "normalize_spectrally"]

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
    whole: bool = False,
) -> nn.Module:
    """Make a convolution for 1 to 3 spatial dimensions; ``whole`` says that its kernel covers the whole input."""
    kind: Any = WHOLE[spatial_dims][0] if whole else getattr(nn, f"Conv{spatial_dims}d")
    layer = kind(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
    return normalize_spectrally(layer) if check_flag("spectral_norm", spectral_norm) else layer


def make_transposed_convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: Sizes,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    *,
    bias: bool,
    whole: bool,
) -> nn.Module:
    """Make a transposed convolution; ``whole`` says that its input has one position, so the kernel is the output."""
    kind: Any = WHOLE[spatial_dims][1] if whole else getattr(nn, f"ConvTranspose{spatial_dims}d")
    layer: nn.Module = kind(in_channels, out_channels, kernel_size, stride, padding, output_padding, bias=bias)
    return layer


class _Whole(nn.modules.conv._ConvNd):
    """Compute a convolution whose kernel covers the whole input, with a matrix product where that is faster.

    A forward pass reads the weight once, because a parametrization computes it at each access.
    """

    def _is_product(self, x: Tensor, size: tuple[int, ...]) -> bool:
        """Return whether the output is one product of matrices, for inputs of this spatial size."""
        simple = set(self.padding) == set(self.output_padding) == {0} and set(self.dilation) == {1} == {self.groups}
        # On the CPU, a product takes a half to a sixth of the time. GPUs were not measured.
        return x.device.type == "cpu" and simple and tuple(x.shape[2:]) == size


def _order(weight: Tensor) -> list[int]:
    """Return the dims of a weight in the order of its memory."""
    dims = list(range(weight.ndim))
    return dims if weight.is_contiguous() else [0, *dims[2:], 1]


class _WholeConv(_Whole):
    def forward(self, input: Tensor) -> Tensor:
        """Convolve maps (N, in_channels, *kernel_size) to (N, out_channels, 1, ...)."""
        if not self._is_product(input, self.kernel_size):
            return super().forward(input)
        weight = self.weight
        order = _order(weight)
        y = F.linear(input.permute(order).flatten(1), weight.permute(order).flatten(1), self.bias)
        return y.unflatten(1, (-1, *[1] * (weight.ndim - 2)))


class _WholeConvTranspose(_Whole):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve maps (N, in_channels, 1, ...) to (N, out_channels, *kernel_size)."""
        if output_size is not None or not self._is_product(input, (1,) * len(self.kernel_size)):
            return super().forward(input, output_size)
        weight = self.weight
        order = _order(weight)
        weight = weight.permute(order)
        y = F.linear(input.flatten(1), weight.flatten(1).t()).unflatten(1, weight.shape[1:])
        y = y.permute([order.index(dim) for dim in range(weight.ndim)])
        return y if self.bias is None else y + self.bias.to(y.dtype).view(-1, *[1] * (weight.ndim - 2))


class WholeConv1d(_WholeConv, nn.Conv1d):
    """Convolve signals as long as the kernel."""


class WholeConv2d(_WholeConv, nn.Conv2d):
    """Convolve maps as large as the kernel."""


class WholeConv3d(_WholeConv, nn.Conv3d):
    """Convolve volumes as large as the kernel."""


class WholeConvTranspose1d(_WholeConvTranspose, nn.ConvTranspose1d):
    """Convolve signals of one position."""


class WholeConvTranspose2d(_WholeConvTranspose, nn.ConvTranspose2d):
    """Convolve maps of one position."""


class WholeConvTranspose3d(_WholeConvTranspose, nn.ConvTranspose3d):
    """Convolve volumes of one position."""


WHOLE = {
    1: (WholeConv1d, WholeConvTranspose1d),
    2: (WholeConv2d, WholeConvTranspose2d),
    3: (WholeConv3d, WholeConvTranspose3d),
}


def normalize_spectrally(module: ModuleT) -> ModuleT:
    """Apply spectral normalization to each convolution and linear layer, in place."""
    # A list, because each parametrization adds modules while the loop runs.
    for layer in list(module.modules()):
        if isinstance(layer, _LAYERS):
            parametrizations.spectral_norm(layer)
    return module
