"""Adapters that concatenate the condition with the latent, the channels of the image, or features."""

import torch
from torch import Tensor, nn

from ganlib._condition import call
from ganlib._logits import as_dtype
from ganlib._recipe import rebuildable
from ganlib.conditioning._adapter import copy_sample_range
from ganlib.conditioning._checks import check_encoder, check_input, encode
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import Condition, ConditionEncoder, DiscriminatorOutput, Logits

__all__ = ["ConcatChannels", "ConcatFeatures", "ConcatLatent", "join"]


class _Concat(nn.Module):
    """A module whose input is concatenated with the encoded condition."""

    def __init__(self, module: nn.Module, encoder: ConditionEncoder) -> None:
        super().__init__()
        check_encoder(encoder)
        self.module = module
        self.encoder = encoder
        copy_sample_range(self, module)


@rebuildable
class ConcatLatent(_Concat):
    r"""A generator whose latent is concatenated with the condition: :math:`G([z, e(y)])`.

    Where the encoder gives maps, the latent is repeated at each of their positions.

    Args:
        module: takes latents of dim + encoder.features numbers (or channels).
        encoder: the condition's encoder.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> generator = ConcatLatent(nn.Linear(110, 784), OneHot(10))
        >>> generator(torch.randn(4, 100), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 784])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, figure 1.
    """

    def forward(self, latent: Tensor, condition: Condition = None) -> Tensor:
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
        encoding = encode(condition, self.encoder)
        try:
            return call(self.module, join(latent, encoding, "latent"), condition)
        except ShapeError as error:
            raise ShapeError(
                f"latent {tuple(latent.shape)} with the encoded condition {tuple(encoding.shape)}: {error}"
                f"{self._own_size(latent)}"
            ) from error

    def _own_size(self, latent: Tensor) -> str:
        """The size that the user knows, without the condition's features, where the latent has another one."""
        first = self.module[0] if isinstance(self.module, nn.Sequential) and len(self.module) else self.module
        size = getattr(first, "in_features", None) or next(iter(getattr(first, "in_shape", ())), None)
        own = size - self.encoder.features if isinstance(size, int) else 0
        wrong = own > 0 and latent.ndim > 1 and latent.shape[1] != own
        return f"; the latent alone must have size {own}, not {latent.shape[1]}" if wrong else ""


@rebuildable
class ConcatChannels(_Concat):
    r"""A network whose image is concatenated with planes of the condition: :math:`D([x, e(y)])`.

    Args:
        module: takes images of channels + encoder.features channels.
        encoder: the condition's encoder; flat features fill whole planes, maps must have the image's size.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.

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

    def forward(self, sample: Tensor, condition: Condition = None) -> Logits | DiscriminatorOutput:
        """Discriminate.

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
        return call(self.module, join(sample, encode(condition, self.encoder), "sample"), condition)


@rebuildable
class ConcatFeatures(nn.Module):
    r"""A network whose inner features are concatenated with the condition: :math:`h([\phi(x), e(y)])`.

    Features of spatial size 1 are flattened first; other maps of features get the encoding at each position.

    Args:
        backbone: from samples to features (N, F) or (N, F, \*spatial).
        encoder: the condition's encoder.
        head: from F + encoder.features numbers (or channels) to logits.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder.

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

    def forward(self, sample: Tensor, condition: Condition = None) -> Logits | DiscriminatorOutput:
        """Discriminate.

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
        encoding = encode(condition, self.encoder)
        features = call(self.backbone, sample, condition)
        check_input("the backbone's output", features)
        if features.shape[2:].numel() == 1:
            features = features.flatten(1)
        return self.head(join(features, encoding, "the backbone's features"))


def join(x: Tensor, encoding: Tensor, name: str) -> Tensor:
    """Concatenate along dimension 1; a flat tensor is repeated at every position of the other."""
    check_input(name, x)
    if x.device != encoding.device:
        raise ArgumentValueError(f"condition's encoding is on {encoding.device}, but {name} on {x.device}")
    if x.shape[0] != encoding.shape[0]:
        raise ShapeError(f"condition has {len(encoding)} entries, but {name} {tuple(x.shape)} has {len(x)} samples")
    if x.ndim == 2 and encoding.ndim > 2:
        return torch.cat([_repeat(x, encoding), as_dtype(encoding, x.dtype)], 1)
    if encoding.ndim == 2 and x.ndim > 2:
        encoding = _repeat(encoding, x)
    if x.shape[2:] != encoding.shape[2:]:
        raise ShapeError(
            f"condition's maps have spatial sizes {tuple(encoding.shape[2:])}, but {name} has {tuple(x.shape[2:])}"
        )
    return torch.cat([x, as_dtype(encoding, x.dtype)], 1)


def _repeat(flat: Tensor, like: Tensor) -> Tensor:
    return flat.reshape(*flat.shape, *[1] * (like.ndim - 2)).expand(-1, -1, *like.shape[2:])
