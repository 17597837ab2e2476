"""Feature-wise linear modulation, alone and after batch norm."""

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
    r"""Feature-wise linear modulation: a gain and a bias for each channel, linear in the encoded condition.

    .. math:: (1 + W_\gamma e(y)) \cdot x + W_\beta e(y)

    :math:`W_\gamma` and :math:`W_\beta` are 0 at first, so that it starts as the identity. It can be used anywhere in a
    network; in a stack it is a norm that does not normalize: ``norm=lambda channels: FiLM(channels, encoder)``.

    Args:
        channels: channels of x, at least 1.
        encoder: the condition's encoder, giving (N, features); it may be shared between layers.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.
        ArgumentValueError: channels is below 1.

    Example:
        >>> from ganlib.conditioning import TagEmbedding
        >>> film = FiLM(64, TagEmbedding(5, 16))
        >>> film(torch.randn(2, 64, 7, 7), torch.tensor([[1.0, 0, 0, 1, 0], [0, 1.0, 0, 0, 0]])).shape
        torch.Size([2, 64, 7, 7])

    References:
        Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", 2018, equations 1 and 2 (with
        its gain written as 1 plus a learned part).
    """

    needs_condition = True

    def __init__(self, channels: int, encoder: ConditionEncoder) -> None:
        super().__init__()
        check_sizes(channels=channels)
        check_encoder(encoder)
        self.encoder = encoder
        # Bare parameters, so that an initialization of the whole network does not change their zeros.
        self.gain: nn.Parameter = nn.Parameter(torch.zeros(encoder.features, channels))
        self.bias: nn.Parameter = nn.Parameter(torch.zeros(encoder.features, channels))

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Modulate.

        Args:
            x: (N, channels) or (N, channels, *spatial).
            condition: what the encoder takes.

        Returns:
            The same shape.

        Raises:
            ArgumentValueError: no condition, or one out of range.
            ShapeError: x of other channels, a condition of another length or shape, or an encoder that gives maps.
            DTypeError: a condition of another dtype.
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
    r"""Batch norm with a gain and bias that are linear in the encoded condition.

    .. math:: (1 + W_\gamma e(y)) \cdot \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} + W_\beta e(y)

    :math:`W_\gamma` and :math:`W_\beta` are 0 at first, so that it starts as plain batch norm. In a stack:
    ``ConvTransposeStack(plan, norm=lambda channels: ConditionalBatchNorm(channels, encoder))``, which is then called
    with (latent, condition).

    Args:
        channels: channels of x, at least 1.
        encoder: the condition's encoder, giving (N, features); it may be shared between layers.
        spatial_dims: 0 (vectors) to 3.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> norm = ConditionalBatchNorm(64, OneHot(10))
        >>> norm(torch.randn(4, 64, 7, 7), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 64, 7, 7])

    References:
        De Vries et al., "Modulating early visual processing by language", 2017, section 3; in generators: Miyato and
        Koyama, 2018; the 1 + of the gain: Brock et al., "Large Scale GAN Training", 2019, appendix B.
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
        """The condition's encoder."""
        return self.film.encoder

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Normalize.

        Args:
            x: (N, channels, *spatial).
            condition: what the encoder takes.

        Returns:
            The same shape.

        Raises:
            ArgumentValueError: no condition, or one out of range.
            ShapeError: a condition of another length or shape, or an encoder that gives maps.
            DTypeError: a condition of another dtype.
        """
        check_input("x", x)
        channels, dims = self.film.gain.shape[1], x.ndim - 2
        if x.shape[1] != channels or (dims != self.spatial_dims and max(dims, self.spatial_dims) > 1):
            raise ShapeError(
                f"x {tuple(x.shape)} must have {channels} channels, and spatial_dims (={self.spatial_dims}) dimensions "
                "after them"
            )
        return self.film(self.norm(x), condition)
