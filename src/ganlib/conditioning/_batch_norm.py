"""Batch norm whose gain and bias follow the condition."""

from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib.conditioning._film import FiLM
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Condition, ConditionEncoder

__all__ = ["ConditionalBatchNorm"]


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
        if spatial_dims not in (0, 1, 2, 3):
            raise ArgumentValueError(f"spatial_dims (={spatial_dims}) must be in [0, 3]")
        self.norm = getattr(nn, f"BatchNorm{max(1, spatial_dims)}d")(channels, affine=False)
        self.film = FiLM(channels, encoder)

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
        return self.film(self.norm(x), condition)
