"""Adapters that concatenate the condition with the latent, the image or the features."""

import torch
from torch import Tensor, nn

from ganlib._condition import call
from ganlib._logits import as_dtype
from ganlib._recipe import rebuildable
from ganlib.conditioning._adapter import copy_sample_range
from ganlib.conditioning._checks import check_encoder, check_input, check_network, encode
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import Condition, ConditionEncoder, DiscriminatorOutput, Logits

__all__ = ["ConcatChannels", "ConcatFeatures", "ConcatLatent", "join"]


class _Concat(nn.Module):
    """Concatenate the input of a module with the encoded condition."""

    def __init__(self, module: nn.Module, encoder: ConditionEncoder) -> None:
        super().__init__()
        check_network("module", module)
        check_encoder(encoder)
        self.module = module
        self.encoder = encoder
        copy_sample_range(self, module)


@rebuildable
class ConcatLatent(_Concat):
    r"""Concatenate the latent of a generator with the encoded condition: :math:`G([z, e(y)])`.

    If the encoder returns maps, the latent is repeated at each of their positions.

    Args:
        module: a generator of latents with ``dim + encoder.features`` numbers (or channels).
        encoder: the encoder of the condition.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder, or a class was passed instead of a network.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> generator = ConcatLatent(nn.Linear(110, 784), OneHot(10))
        >>> generator(torch.randn(4, 100), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 784])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784, figure 1.
    """

    def forward(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Generate samples.

        Args:
            latent: (N, dim), or (N, dim, *spatial).
            condition: the input of the encoder.

        Returns:
            The output of the module.

        Raises:
            ArgumentValueError: the condition is missing or out of range.
            ShapeError: the condition has the wrong length or shape.
            DTypeError: the condition has the wrong dtype.
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
        """Return a hint for errors: the expected size of the latent without the features of the condition."""
        first = self.module[0] if isinstance(self.module, nn.Sequential) and len(self.module) else self.module
        size = getattr(first, "in_features", None) or next(iter(getattr(first, "in_shape", ())), None)
        own = size - self.encoder.features if isinstance(size, int) else 0
        wrong = own > 0 and latent.ndim > 1 and latent.shape[1] != own
        return f"; the latent alone must have size {own}, not {latent.shape[1]}" if wrong else ""


@rebuildable
class ConcatChannels(_Concat):
    r"""Concatenate the channels of an image with the encoded condition: :math:`D([x, e(y)])`.

    Args:
        module: a network for images with ``channels + encoder.features`` channels.
        encoder: the encoder of the condition. Vectors are repeated at every pixel; maps must have the size of the
            image.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder, or a class was passed instead of a network.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import OneHot
        >>> discriminator = ConcatChannels(nn.Conv2d(1 + 10, 1, 28), OneHot(10))
        >>> discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 1, 1, 1])

    References:
        Repeated vectors: Reed et al., "Generative Adversarial Text to Image Synthesis", 2016, arXiv:1605.05396, section
        4.

        Maps: Isola et al., "Image-to-Image Translation with Conditional Adversarial Networks" (pix2pix), 2017,
        arXiv:1611.07004, equation 1.
    """

    def forward(self, sample: Tensor, condition: Condition = None) -> Logits | DiscriminatorOutput:
        """Run the network, usually a discriminator.

        Args:
            sample: (N, C, *spatial).
            condition: the input of the encoder.

        Returns:
            The output of the module.

        Raises:
            ArgumentValueError: the condition is missing or out of range.
            ShapeError: the condition has the wrong length or shape.
            DTypeError: the condition has the wrong dtype.
        """
        return call(self.module, join(sample, encode(condition, self.encoder), "sample"), condition)


@rebuildable
class ConcatFeatures(nn.Module):
    r"""Concatenate inner features of a discriminator with the encoded condition: :math:`h([\phi(x), e(y)])`.

    Features of spatial size 1 are flattened first. For other feature maps, the encoded condition is repeated at each
    position.

    Args:
        backbone: a network from samples to features (N, F) or (N, F, \*spatial).
        encoder: the encoder of the condition.
        head: a network from ``F + encoder.features`` numbers (or channels) to logits.

    Raises:
        ArgumentTypeError: the encoder is not a ConditionEncoder, or a class was passed instead of a network.

    Example:
        >>> import torch
        >>> from ganlib.conditioning import ClassEmbedding
        >>> backbone = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        >>> discriminator = ConcatFeatures(backbone, ClassEmbedding(10, 10), nn.Linear(20, 1))
        >>> discriminator(torch.randn(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])).shape
        torch.Size([4, 1])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784, section 4.1.
    """

    def __init__(self, backbone: nn.Module, encoder: ConditionEncoder, head: nn.Module) -> None:
        super().__init__()
        check_network("backbone", backbone)
        check_encoder(encoder)
        check_network("head", head)
        self.backbone = backbone
        self.encoder = encoder
        self.head = head

    def forward(self, sample: Tensor, condition: Condition = None) -> Logits | DiscriminatorOutput:
        """Compute the logits.

        Args:
            sample: the input of the backbone.
            condition: the input of the encoder.

        Returns:
            The output of the head.

        Raises:
            ArgumentValueError: the condition is missing or out of range.
            ShapeError: the condition has the wrong length or shape.
            DTypeError: the condition has the wrong dtype.
        """
        encoding = encode(condition, self.encoder)
        features = call(self.backbone, sample, condition)
        check_input("the backbone's output", features)
        if features.shape[2:].numel() == 1:
            features = features.flatten(1)
        return self.head(join(features, encoding, "the backbone's features"))


def join(x: Tensor, encoding: Tensor, name: str) -> Tensor:
    """Concatenate along dimension 1; a vector is repeated at every position of a map."""
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
