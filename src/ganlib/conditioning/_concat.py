"""The adapters that put the condition beside something: the latent, the image's channels, the features."""

from torch import Tensor, nn

from ganlib.conditioning._adapter import call_module, keep_what_it_carries
from ganlib.conditioning._checks import check_encoder, require_condition
from ganlib.conditioning._join import join
from ganlib.errors import ShapeError
from ganlib.protocols import ConditionEncoder, DiscriminatorOutput, Logits

__all__ = ["ConcatChannels", "ConcatFeatures", "ConcatLatent"]


class ConcatLatent(nn.Module):
    r"""A generator that is given the condition beside its latent: :math:`G([z, e(y)])`.

    Where the encoder gives maps, the latent is repeated at each of their places.

    Args:
        module: takes latents of dim + encoder.features numbers (or channels).
        encoder: the condition's encoder.

    Raises:
        ArgumentTypeError: the encoder is none.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> generator = ConcatLatent(nn.Linear(110, 784), OneHot(10))
        >>> generator(torch.randn(4, 100), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 784])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, figure 1.
    """

    def __init__(self, module: nn.Module, encoder: ConditionEncoder) -> None:
        super().__init__()
        check_encoder(encoder)
        self.module = module
        self.encoder = encoder
        keep_what_it_carries(self, module=module, encoder=encoder)

    def forward(self, latent: Tensor, condition: Tensor | None = None) -> Tensor:
        """Generate.

        Args:
            latent: (N, dim), or (N, dim, *spatial).
            condition: what the encoder takes.

        Returns:
            What the module gives.

        Raises:
            ArgumentValueError: no condition, or one out of range.
            ShapeError: a condition of another length or shape.
            DTypeError: a condition of another dtype.
        """
        condition = require_condition(condition, self.encoder)
        encoding = self.encoder(condition)
        try:
            return call_module(self.module, join(latent, encoding, "latent"), condition)
        except ShapeError as error:
            raise ShapeError(
                f"latent {tuple(latent.shape)} with the encoded condition {tuple(encoding.shape)} beside it: {error}"
            ) from error


class ConcatChannels(nn.Module):
    r"""A network that is given the condition as planes beside its image's channels: :math:`D([x, e(y)])`.

    Args:
        module: takes images of channels + encoder.features channels.
        encoder: the condition's encoder; flat features fill whole planes, maps must have the image's size.

    Raises:
        ArgumentTypeError: the encoder is none.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> discriminator = ConcatChannels(nn.Conv2d(1 + 10, 1, 28), OneHot(10))
        >>> discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 1, 1, 1])

    References:
        Planes of a class: Reed et al., 2016, section 4; of maps: Isola et al., "Image-to-Image Translation with
        Conditional Adversarial Networks", 2017, equation 1.
    """

    def __init__(self, module: nn.Module, encoder: ConditionEncoder) -> None:
        super().__init__()
        check_encoder(encoder)
        self.module = module
        self.encoder = encoder
        keep_what_it_carries(self, module=module, encoder=encoder)

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Logits | DiscriminatorOutput:
        """Judge.

        Args:
            sample: (N, C, *spatial).
            condition: what the encoder takes.

        Returns:
            What the module gives.

        Raises:
            ArgumentValueError: no condition, or one out of range.
            ShapeError: a condition of another length or shape.
            DTypeError: a condition of another dtype.
        """
        condition = require_condition(condition, self.encoder)
        return call_module(self.module, join(sample, self.encoder(condition), "sample"), condition)


class ConcatFeatures(nn.Module):
    r"""A network that is given the condition beside the features of its backbone: :math:`h([\phi(x), e(y)])`.

    Features of spatial size 1 are flattened first; other maps of features get the encoding at each place.

    Args:
        backbone: from samples to features (N, F) or (N, F, \*spatial).
        encoder: the condition's encoder.
        head: from F + encoder.features numbers (or channels) to logits.

    Raises:
        ArgumentTypeError: the encoder is none.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import ClassEmbedding
        >>> backbone = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        >>> discriminator = ConcatFeatures(backbone, ClassEmbedding(10, 10), nn.Linear(20, 1))
        >>> discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 1])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, section 4.1: x and y are mapped apart
        before they are joined.
    """

    def __init__(self, backbone: nn.Module, encoder: ConditionEncoder, head: nn.Module) -> None:
        super().__init__()
        check_encoder(encoder)
        self.backbone = backbone
        self.encoder = encoder
        self.head = head

    def forward(self, sample: Tensor, condition: Tensor | None = None) -> Logits | DiscriminatorOutput:
        """Judge.

        Args:
            sample: what the backbone takes.
            condition: what the encoder takes.

        Returns:
            What the head gives.

        Raises:
            ArgumentValueError: no condition, or one out of range.
            ShapeError: a condition of another length or shape.
            DTypeError: a condition of another dtype.
        """
        condition = require_condition(condition, self.encoder)
        features = call_module(self.backbone, sample, condition)
        if features.shape[2:].numel() == 1:
            features = features.flatten(1)
        return self.head(join(features, self.encoder(condition), "the backbone's features"))
