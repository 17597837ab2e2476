"""The bottleneck of a tokenizer: each position of a map becomes the nearest entry of a codebook."""

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


@rebuildable
class VectorQuantizer(nn.Module):
    r"""Replaces the vector at each position of a map by the nearest entry of a learned codebook.

    With :math:`z` a vector of the encoder, :math:`e` the nearest entry, and sg the stopped gradient,

    .. math:: q = \operatorname{sg}(e) + z - \operatorname{sg}(z), \qquad
        \mathcal{L} = \operatorname{mean} (\operatorname{sg}(z) - e)^2
        + \beta \operatorname{mean} (z - \operatorname{sg}(e))^2.

    The value of :math:`q` is the entry, to the bit, in the dtype of :math:`z`. Its gradient goes to the encoder
    unchanged (straight through), and not to the codebook. The first part of the loss moves the entries to the vectors,
    the second keeps the encoder close to its entries. (The first code of taming-transformers has :math:`\beta` at the
    wrong one of the two; its ``VectorQuantizer2`` still does, unless it is given ``legacy=False``.)

    Often only some of the entries are used: those that are far from all vectors are never the nearest, and do not move.
    Watch how many are (the exponential of the entropy of their use) and the loss. A norm before it, which keeps the
    vectors of one scale, helps.

    Distances are computed in float32 or better, also under autocast, and as sums of squared differences: in half
    precision, or by a matrix product, entries that are close to each other would be taken for one another.

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
        self.codebook: nn.Parameter = nn.Parameter(
            torch.empty(num_codes, features).uniform_(-1 / num_codes, 1 / num_codes)
        )

    def forward(self, x: Tensor) -> Quantized:
        """Quantize.

        Args:
            x: (N, features, *spatial) float, with any number of spatial dimensions; vectors (N, features) have none.

        Returns:
            The entries, their indices, and the loss.

        Raises:
            ArgumentTypeError, DTypeError: maps that are not a tensor, or not floating point.
            ShapeError: maps of another shape, or empty ones.
        """
        if not isinstance(x, Tensor):
            raise ArgumentTypeError(f"x (={shown(x)}) must be a tensor")
        if not x.is_floating_point():
            raise DTypeError(f"x must be floating point, but its dtype is {x.dtype}")
        if x.ndim < 2 or x.shape[1] != self.features or x.numel() == 0:
            raise ShapeError(
                f"x {tuple(x.shape)} must have shape (N, {self.features}, *spatial), and hold some vectors"
            )
        vectors = at_least_float32(x).movedim(1, -1)
        indices = self._nearest(vectors.detach())
        entries = F.embedding(indices, self.codebook).to(vectors.dtype)
        codebook_loss = (entries - vectors.detach()).square().mean()
        commitment_loss = (vectors - entries.detach()).square().mean()
        # Not x + (entry - x), which rounds to something near the entry. With x first, which gives the memory layout.
        maps = (x - x.detach()) + entries.detach().movedim(-1, 1).to(x.dtype)
        return Quantized(maps, indices, codebook_loss + self.commitment * commitment_loss)

    def look_up(self, indices: Tensor) -> Tensor:
        """Return the entries of tokens, for the decoder.

        Args:
            indices: (N, *spatial) int64 in [0, num_codes).

        Returns:
            (N, features, *spatial), with a graph to the codebook.

        Raises:
            ArgumentTypeError, DTypeError: indices that are not a tensor, or not int64.
            ShapeError: a single index.
            ArgumentValueError: indices out of range (read on the CPU only).
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
            # Not by a matrix product, which cancels what entries have in common, and which TF32 would round.
            exact = "donot_use_mm_for_euclid_dist"
            return torch.cdist(vectors.flatten(0, -2), entries, compute_mode=exact).argmin(-1).view(vectors.shape[:-1])

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"num_codes={self.num_codes}, features={self.features}, commitment={self.commitment}"
