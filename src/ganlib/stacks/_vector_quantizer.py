"""The bottleneck of a tokenizer: each position of a map becomes the nearest entry of a codebook."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._checks import check_number, check_sizes
from ganlib._logits import at_least_float32, without_autocast
from ganlib.errors import DTypeError, ShapeError

__all__ = ["Quantized", "VectorQuantizer"]


class Quantized(NamedTuple):
    """What a :class:`VectorQuantizer` returns.

    Args:
        maps: (N, features, *spatial), entries of the codebook, through which the gradient passes unchanged.
        indices: (N, *spatial) int64, which entries; the tokens.
        loss: a scalar, float32 or better, to add to what the encoder minimizes.

    Example:
        >>> VectorQuantizer(64, 8)(torch.randn(2, 8, 7, 7)).indices.shape
        torch.Size([2, 7, 7])
    """

    maps: Tensor
    indices: Tensor
    loss: Tensor


class VectorQuantizer(nn.Module):
    r"""Replaces the vector at each position of a map by the nearest entry of a learned codebook.

    With :math:`z` a vector of the encoder, :math:`e` the nearest entry, and sg the stopped gradient,

    .. math:: q = \operatorname{sg}(e) + z - \operatorname{sg}(z), \qquad
        \mathcal{L} = \operatorname{mean} (\operatorname{sg}(z) - e)^2
        + \beta \operatorname{mean} (z - \operatorname{sg}(e))^2.

    The value of :math:`q` is the entry, to the bit. Its gradient goes to the encoder unchanged (straight through), and
    not to the codebook. The first part of the loss moves the entries to the vectors, the second keeps the encoder close
    to its entries. (The first code of taming-transformers has :math:`\beta` at the wrong one of the two; its
    ``VectorQuantizer2`` still does, unless it is given ``legacy=False``.)

    Distances are computed in float32 or better, also under autocast: in half precision many entries would be equally
    near.

    Args:
        num_codes: entries of the codebook, at least 1.
        features: the length of an entry, and the channels of the maps, at least 1.
        commitment: :math:`\beta`, finite, at least 0; 0.25 in the paper.

    Attributes:
        codebook: (num_codes, features), uniform in :math:`\pm 1 / \text{num\_codes}` at first.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> quantizer = VectorQuantizer(num_codes=64, features=8)
        >>> maps, indices, loss = quantizer(torch.randn(2, 8, 7, 7))
        >>> maps.shape, indices.shape, loss.shape
        (torch.Size([2, 8, 7, 7]), torch.Size([2, 7, 7]), torch.Size([]))
        >>> bool((quantizer.look_up(indices) == maps).all())
        True

    References:
        van den Oord et al., "Neural Discrete Representation Learning" (VQ-VAE), 2017, arXiv:1711.00937, equations 1 to
        3; with a discriminator: Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (VQGAN), 2021,
        arXiv:2012.09841, section 3.1.
    """

    def __init__(self, num_codes: int, features: int, *, commitment: float = 0.25) -> None:
        super().__init__()
        check_sizes(num_codes=num_codes, features=features)
        check_number("commitment", commitment)
        self.num_codes = num_codes
        self.features = features
        self.commitment = commitment
        self.codebook = nn.Parameter(torch.empty(num_codes, features).uniform_(-1 / num_codes, 1 / num_codes))

    def forward(self, x: Tensor) -> Quantized:
        """Quantize.

        Args:
            x: (N, features, *spatial) float, with any number of spatial dimensions; vectors (N, features) have none.

        Returns:
            The entries, their indices, and the loss.

        Raises:
            ShapeError: maps of another shape.
        """
        if x.ndim < 2 or x.shape[1] != self.features:
            raise ShapeError(f"x {tuple(x.shape)} must have shape (N, {self.features}, *spatial)")
        vectors = at_least_float32(x).movedim(1, -1)
        indices = self._nearest(vectors.detach())
        entries = F.embedding(indices, self.codebook).to(vectors.dtype)
        codebook_loss = (entries - vectors.detach()).square().mean()
        commitment_loss = (vectors - entries.detach()).square().mean()
        # Not x + (entry - x), which rounds to something near the entry.
        maps = entries.detach().movedim(-1, 1).to(x.dtype) + (x - x.detach())
        return Quantized(maps, indices, codebook_loss + self.commitment * commitment_loss)

    def look_up(self, indices: Tensor) -> Tensor:
        """Return the entries of tokens, for the decoder.

        Args:
            indices: (N, *spatial) int64 in [0, num_codes).

        Returns:
            (N, features, *spatial), with a graph to the codebook.

        Raises:
            DTypeError: indices that are not int64.
        """
        if indices.dtype != torch.int64:
            raise DTypeError(f"indices must be int64, but their dtype is {indices.dtype}")
        return F.embedding(indices, self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def _nearest(self, vectors: Tensor) -> Tensor:
        """Return the index of the nearest entry of each vector (..., features)."""
        with without_autocast(vectors.device.type):
            # Around the middle of the codebook, as what all entries have in common would cost precision.
            entries = self.codebook.to(vectors.dtype)
            middle = entries.mean(0)
            entries = entries - middle
            # Half of ||z - e||^2 - ||z||^2, since the last is the same for all entries.
            distances = entries.square().sum(1) / 2 - (vectors - middle) @ entries.T
        return distances.argmin(-1)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"num_codes={self.num_codes}, features={self.features}, commitment={self.commitment}"
