"""FiLM and conditional batch norm."""

import torch
from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._recipe import rebuildable
from ganlib.conditioning._checks import check_encoder, check_input, encode
from ganlib.errors import ShapeError
from ganlib.protocols import Condition, ConditionEncoder

__all__ = ["ConditionalBatchNorm", "FiLM"]


@rebuildable
class FiLM(nn.Module):
    r"""Scale and shift each channel, linearly in the encoded condition (feature-wise linear modulation).

    .. math:: (1 + W_\gamma e(y)) \cdot x + W_\beta e(y)

    :math:`W_\gamma` and :math:`W_\beta` are initialized to 0, so the layer starts as the identity. You can use it
    anywhere in a network. In a stack, use ``norm=lambda channels: FiLM(channels, encoder)``, which modulates without
    normalization.

    Args:
        channels: channels of x, at least 1.
        encoder: the encoder of the condition, with outputs (N, features). Several layers can share it.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.
        ArgumentValueError: ``channels`` is below 1.

    Example:
        >>> from ganlib.conditioning import TagEmbedding
        >>> layer = FiLM(64, TagEmbedding(5, 16))
        >>> layer(torch.randn(2, 64, 7, 7), torch.tensor([[1.0, 0, 0, 1, 0], [0, 1.0, 0, 0, 0]])).shape
        torch.Size([2, 64, 7, 7])

    References:
        Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", 2018, arXiv:1709.07871, equations 1
        and 2. The gain is written here as 1 plus a learned part.
    """

    needs_condition = True

    def __init__(self, channels: int, encoder: ConditionEncoder) -> None:
        super().__init__()
        check_sizes(channels=channels)
        check_encoder(encoder)
        self.encoder = encoder
        # Bare parameters, so that weight initialization of the whole network keeps them at 0.
        self.gain: nn.Parameter = nn.Parameter(torch.zeros(encoder.features, channels))
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(encoder.features, channels))

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Modulate x.

        Args:
            x: (N, channels) or (N, channels, *spatial).
            condition: the input of the encoder.

        Returns:
            The same shape.

        Raises:
            ArgumentValueError: the condition is missing or out of range.
            ShapeError: x has other channels, the condition has the wrong length or shape, or the encoder returns maps.
            DTypeError: the condition has the wrong dtype.
        """
        check_input("x", x)
        encoding = encode(condition, self.encoder).to(self.gain.dtype)
        if encoding.ndim != 2 or encoding.shape[0] != x.shape[0]:
            raise ShapeError(
                f"the condition's encoding {tuple(encoding.shape)} must be ({len(x)}, features), since x "
                f"{tuple(x.shape)} has {len(x)} samples"
            )
        if x.shape[1] != self.gain.shape[1]:
            raise ShapeError(f"x {tuple(x.shape)} must have {self.gain.shape[1]} channels")
        shape = (x.shape[0], -1, *[1] * (x.ndim - 2))
        return (1 + (encoding @ self.gain).view(shape)) * x + (encoding @ self.bias).view(shape)


@rebuildable
class ConditionalBatchNorm(nn.Module):
    r"""Apply batch norm with a gain and a bias that are linear in the encoded condition.

    .. math:: (1 + W_\gamma e(y)) \cdot \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + W_\beta e(y)

    :math:`W_\gamma` and :math:`W_\beta` are initialized to 0, so the layer starts as plain batch norm. In a stack, use
    ``ConvTransposeStack(plan, norm=lambda channels: ConditionalBatchNorm(channels, encoder))``. Call this stack with
    (latent, condition).

    Args:
        channels: channels of x, at least 1.
        encoder: the encoder of the condition, with outputs (N, features). Several layers can share it.
        spatial_dims: the number of spatial dimensions, 0 (vectors) to 3.

    Attributes:
        encoder: the encoder of the condition.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.
        ArgumentValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> norm = ConditionalBatchNorm(64, OneHot(10))
        >>> norm(torch.randn(4, 64, 7, 7), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 64, 7, 7])

    References:
        De Vries et al., "Modulating early visual processing by language", 2017, arXiv:1707.00683, section 3.

        In generators: Miyato and Koyama, "cGANs with Projection Discriminator", 2018, arXiv:1802.05637.

        Gain of 1 plus a learned part: Brock et al., "Large Scale GAN Training for High Fidelity Natural Image
        Synthesis" (BigGAN), 2019, arXiv:1809.11096, appendix B.
    """

    needs_condition = True

    def __init__(self, channels: int, encoder: ConditionEncoder, *, spatial_dims: int = 2) -> None:
        super().__init__()
        check_sizes(channels=channels)
        check_option("spatial_dims", spatial_dims, (0, 1, 2, 3))
        self.spatial_dims = spatial_dims
        self.norm: nn.Module = getattr(nn, f"BatchNorm{max(1, spatial_dims)}d")(channels, affine=False)
        self.film: FiLM = FiLM(channels, encoder)

    @property
    def encoder(self) -> ConditionEncoder:
        """Return the encoder of the condition."""
        return self.film.encoder

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Normalize and modulate x.

        Args:
            x: (N, channels, *spatial).
            condition: the input of the encoder.

        Returns:
            The same shape.

        Raises:
            ArgumentValueError: the condition is missing or out of range.
            ShapeError: x or the condition has the wrong shape, or the encoder returns maps.
            DTypeError: the condition has the wrong dtype.
        """
        check_input("x", x)
        channels, dims = self.film.gain.shape[1], x.ndim - 2
        if x.shape[1] != channels or (dims != self.spatial_dims and max(dims, self.spatial_dims) > 1):
            raise ShapeError(
                f"x {tuple(x.shape)} must have {channels} channels, and spatial_dims (={self.spatial_dims}) dimensions "
                "after them"
            )
        return self.film(self.norm(x), condition)
