"""Vector quantization."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._checks import check_number, check_sizes
from ganlib._logits import at_least_float32, without_autocast
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.stacks._exporting import is_exporting

__all__ = ["Quantized", "VectorQuantizer"]


class Quantized(NamedTuple):
    """Collect the outputs of a :class:`VectorQuantizer`.

    Args:
        maps: (N, features, *spatial), entries of the codebook. Their gradient flows to the encoder unchanged.
        indices: (N, *spatial) int64, the indices of the entries (tokens).
        loss: a scalar, float32 or float64, to add to the loss of the encoder.

    Example:
        >>> VectorQuantizer(64, 8)(torch.randn(2, 8, 7, 7)).indices.shape
        torch.Size([2, 7, 7])
    """

    maps: Tensor
    indices: Tensor
    loss: Tensor


@rebuildable
class VectorQuantizer(nn.Module):
    r"""Replace the vector at each position of a map by the nearest entry of a learned codebook (VQ-VAE).

    With :math:`z` a vector of the encoder, :math:`e` the nearest entry, and sg the stop-gradient operator,

    .. math:: q = \operatorname{sg}(e) + z - \operatorname{sg}(z), \qquad
        \mathcal{L} = \operatorname{mean} (\operatorname{sg}(z) - e)^2
        + \beta \operatorname{mean} (z - \operatorname{sg}(e))^2.

    The value of :math:`q` is exactly the entry, in the dtype of :math:`z`. Its gradient flows unchanged to the encoder
    (straight-through estimator), and not to the codebook. The first part of the loss moves the entries toward the
    vectors. The second part keeps the encoder close to its entries. The code of taming-transformers
    (https://github.com/CompVis/taming-transformers) has :math:`\beta` at the first part instead, unless its
    ``VectorQuantizer2`` has ``legacy=False``.

    Entries that are far from all vectors are never the nearest, so they do not move, and part of the codebook may
    remain unused. Monitor the loss and the perplexity of the indices (the exponential of their entropy). A norm before
    the quantizer helps, because it keeps the scale of the vectors constant.

    Distances are sums of squared differences in float32 or float64, also under autocast. Half precision or a matrix
    product would confuse entries that are close to each other.

    Args:
        num_codes: number of entries of the codebook, at least 1.
        features: length of an entry, and channels of the maps, at least 1.
        commitment: :math:`\beta`, finite, at least 0; 0.25 in the paper.

    Attributes:
        codebook: (num_codes, features), initialized uniformly in :math:`\pm 1 / \text{num\_codes}`.

    Raises:
        ArgumentValueError: an argument is out of range.

    Example:
        >>> quantizer = VectorQuantizer(num_codes=64, features=8)
        >>> maps, indices, loss = quantizer(torch.randn(2, 8, 7, 7))
        >>> maps.shape, indices.shape, loss.shape
        (torch.Size([2, 8, 7, 7]), torch.Size([2, 7, 7]), torch.Size([]))
        >>> bool((quantizer.look_up(indices) == maps).all())
        True

    References:
        van den Oord et al., "Neural Discrete Representation Learning" (VQ-VAE), 2017, arXiv:1711.00937, equations 1 to
        3.

        With a discriminator: Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (VQGAN), 2021,
        arXiv:2012.09841, section 3.1.
    """

    def __init__(self, num_codes: int, features: int, *, commitment: float = 0.25) -> None:
        super().__init__()
        check_sizes(num_codes=num_codes, features=features)
        check_number("commitment", commitment)
        self.num_codes = num_codes
        self.features = features
        self.commitment = commitment
        self.codebook: nn.Parameter = nn.Parameter(
            torch.empty(num_codes, features).uniform_(-1 / num_codes, 1 / num_codes)
        )

    def forward(self, x: Tensor) -> Quantized:
        """Quantize x.

        Args:
            x: (N, features, *spatial) float, with any number of spatial dimensions, or vectors (N, features).

        Returns:
            The entries, their indices, and the loss.

        Raises:
            ArgumentTypeError, DTypeError: x is not a tensor, or not floating point.
            ShapeError: x has another shape, or is empty.
        """
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"x (={shown(x)}) must be a tensor")
        if not x.is_floating_point():
            raise DTypeError(f"x must be floating point, but its dtype is {x.dtype}")
        if x.ndim < 2 or x.shape[1] != self.features or x.numel() == 0:
            raise ShapeError(f"x {tuple(x.shape)} must have shape (N, {self.features}, *spatial), and not be empty")
        vectors = at_least_float32(x).movedim(1, -1)
        indices = self._nearest(vectors.detach())
        entries = F.embedding(indices, self.codebook).to(vectors.dtype)
        codebook_loss = (entries - vectors.detach()).square().mean()
        commitment_loss = (vectors - entries.detach()).square().mean()
        # x + (entry - x) would not be exactly the entry. x comes first, because it determines the memory layout.
        maps = (x - x.detach()) + entries.detach().movedim(-1, 1).to(x.dtype)
        return Quantized(maps, indices, codebook_loss + self.commitment * commitment_loss)

    def look_up(self, indices: Tensor) -> Tensor:
        """Return the codebook entries of indices, for the decoder.

        Args:
            indices: (N, *spatial) int64 in [0, num_codes).

        Returns:
            (N, features, *spatial), with a graph to the codebook.

        Raises:
            ArgumentTypeError, DTypeError: the indices are not a tensor, or not int64.
            ShapeError: the indices are a single number.
            ArgumentValueError: an index is out of range (checked on the CPU only).
        """
        if not isinstance(indices, Tensor):
            raise ArgumentTypeError(f"indices (={shown(indices)}) must be a tensor")
        if indices.dtype != torch.int64:
            raise DTypeError(f"indices must be int64, but their dtype is {indices.dtype}")
        if indices.device.type == "cpu" and indices.numel() and not torch.compiler.is_compiling():
            low, high = (int(end) for end in indices.aminmax())
            if low < 0 or high >= self.num_codes:
                raise ArgumentValueError(
                    f"indices hold {low if low < 0 else high}, but must be from 0 to num_codes (={self.num_codes}) - 1"
                )
        if indices.ndim < 1:
            raise ShapeError(f"indices {tuple(indices.shape)} must have shape (N, *spatial)")
        return F.embedding(indices, self.codebook).movedim(-1, 1).contiguous()

    @torch.no_grad()
    def _nearest(self, vectors: Tensor) -> Tensor:
        """Return the index of the nearest entry of each vector (..., features)."""
        with without_autocast(vectors.device.type):
            entries = self.codebook.to(vectors.dtype)
            if is_exporting():  # ONNX has no cdist
                return (vectors.unsqueeze(-2) - entries).square().sum(-1).argmin(-1)
            # A matrix product would lose digits by cancellation, and TF32 would round it.
            exact = "donot_use_mm_for_euclid_dist"
            return torch.cdist(vectors.flatten(0, -2), entries, compute_mode=exact).argmin(-1).view(vectors.shape[:-1])

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"num_codes={self.num_codes}, features={self.features}, commitment={self.commitment}"
