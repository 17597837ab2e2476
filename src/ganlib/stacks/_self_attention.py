"""Self-attention."""

from functools import partial

import torch
from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._logits import as_dtype, at_least_float32, without_autocast
from ganlib._recipe import rebuildable
from ganlib.stacks._checks import check_maps
from ganlib.stacks._layers import make_convolution

__all__ = ["SelfAttention"]


@rebuildable
class SelfAttention(nn.Module):
    r"""Attend from each position of a map to all positions (SAGAN).

    .. math::

        \beta_{ji} = \frac{\exp(f(x_i)^T g(x_j))}{\sum_k \exp(f(x_k)^T g(x_j))}, \qquad
        o_j = v\Bigl(\sum_i \beta_{ji} h(x_i)\Bigr), \qquad y_j = \gamma o_j + x_j

    The key :math:`f`, query :math:`g`, value :math:`h` and output :math:`v` are convolutions of kernel size 1 without a
    bias. The gate :math:`\gamma` is initialized to 0, so the layer starts as the identity. Keys and queries have
    ``channels // reduction`` channels, and values have ``channels // 2``, at least 1 each. In the paper the values have
    as many channels as the keys; in the authors' code, and here, they have half of the channels. The authors' code
    also pools keys and values.

    The attention weights :math:`\beta` are computed in float32 or float64, also under autocast. Time and memory grow
    with the square of the number of positions.

    Args:
        channels: channels of x, at least 1.
        spatial_dims: 1 to 3.
        reduction: the factor by which keys and queries have fewer channels, at least 1.
        spectral_norm: whether all convolutions have spectral normalization.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> attention = SelfAttention(16)
        >>> x = torch.randn(2, 16, 7, 7)
        >>> bool((attention(x) == x).all())
        True

    References:
        Zhang et al., "Self-Attention Generative Adversarial Networks" (SAGAN), 2019, arXiv:1805.08318, equations 1 to
        3.
    """

    def __init__(
        self, channels: int, *, spatial_dims: int = 2, reduction: int = 8, spectral_norm: bool = False
    ) -> None:
        super().__init__()
        check_sizes(channels=channels, reduction=reduction)
        check_option("spatial_dims", spatial_dims, (1, 2, 3))
        self.channels = channels
        self.spatial_dims = spatial_dims
        convolution = partial(make_convolution, spatial_dims, kernel_size=1, bias=False, spectral_norm=spectral_norm)
        self.key: nn.Module = convolution(channels, max(1, channels // reduction))
        self.query: nn.Module = convolution(channels, max(1, channels // reduction))
        self.value: nn.Module = convolution(channels, max(1, channels // 2))
        self.output: nn.Module = convolution(max(1, channels // 2), channels)
        # A bare parameter, so that weight initialization of the whole network keeps it at 0.
        self.gate: nn.Parameter = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Run the attention layer.

        Args:
            x: (N, channels, *spatial) float.

        Returns:
            The same shape.

        Raises:
            ShapeError: x has another shape.
        """
        check_maps(x, self.channels, self.spatial_dims)
        keys, queries, values = (part(x).flatten(2) for part in (self.key, self.query, self.value))
        # torch's fused attention kernels have no second derivative, which gradient penalties need. The weights are
        # computed in float32, because the products can overflow in float16.
        with without_autocast(x.device.type):
            attention = (at_least_float32(queries).mT @ at_least_float32(keys)).softmax(-1)
        attended = values @ as_dtype(attention, values.dtype).mT
        return x + self.gate * self.output(attended.unflatten(2, x.shape[2:]))
