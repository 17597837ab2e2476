"""Build the networks of R3GAN."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._logits import as_dtype, at_least_float32, without_autocast
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.conditioning._checks import check_lengths, encode
from ganlib.conditioning._concat import join
from ganlib.errors import ArgumentValueError
from ganlib.models._condition_encoder import encoder_of
from ganlib.models._resolutions import check_image_shape, check_widths, resolutions
from ganlib.protocols import Condition, ConditionEncoder
from ganlib.stacks import BilinearDownsample, BilinearUpsample, ConditionalSequential, InvertedBottleneck
from ganlib.stacks._checks import check_shape

__all__ = ["r3gan"]

LayerT = TypeVar("LayerT", nn.Conv2d, nn.Linear)


def r3gan(
    image_shape: Sequence[int],
    latent_dim: int,
    num_classes: int | None = None,
    *,
    encoder: ConditionEncoder | None = None,
    embedding_dim: int | None = None,
    widths: Sequence[int] | int | None = None,
    blocks: int = 2,
    expansion: int = 2,
    group_width: int = 16,
    kernel_size: int = 3,
) -> tuple[nn.Module, nn.Module]:
    r"""Build the networks of R3GAN: residual networks without norms, for a relativistic loss with R1 and R2.

    Both networks have the same resolutions: the size of the image and its halves, rounded up. A size is halved if its
    smaller side is at least 8: 28 becomes 14 and 7, and 32 becomes 16, 8 and 4. At each resolution there are ``blocks``
    residual blocks (:class:`ganlib.stacks.InvertedBottleneck`). Between them,
    :class:`ganlib.stacks.BilinearUpsample` and :class:`ganlib.stacks.BilinearDownsample` change the size, and a
    convolution of kernel size 1 changes the channels if they differ.

    The generator starts from a learned map for each channel, multiplied by a number that is linear in the latent. The
    discriminator ends with a depthwise convolution as large as its last maps, and a linear layer. A condition is
    embedded by a linear map :math:`e` of its encoding. The generator concatenates the embedding with the latent. The
    discriminator's logit is then the inner product of the embedding and the last layer's output :math:`\phi`:

    .. math:: G(z, y) = G([z, e_G(y)]), \qquad D(x, y) = \langle \phi(x), e_D(y) \rangle.

    Train them with :class:`ganlib.losses.RelativisticLoss`, :class:`ganlib.penalties.R1` and
    :class:`ganlib.penalties.R2`.

    Args:
        image_shape: (C, H, W).
        latent_dim: size of a latent, at least 1.
        num_classes: number of classes, at least 1, for a conditional GAN.
        encoder: encoder of vectors, for conditions that are not classes. The discriminator gets a copy. Pass
            ``num_classes``, ``encoder``, or neither of them.
        embedding_dim: size of the embedding of a condition, at least 1. None is ``latent_dim`` in the generator, and
            the width of the lowest resolution in the discriminator, as in the published networks.
        widths: channels at each resolution, from the lowest to the highest, or one number for all. None is 32 at the
            highest resolution and twice as many at each lower one, up to 512. The published networks are wider: 768 at
            32 x 32 pixels and below, and half as many at each higher resolution.
        blocks: number of residual blocks at each resolution, at least 1.
        expansion: the factor between the inner channels of a block and its width, at least 1.
        group_width: channels in each group of the grouped convolutions. ``expansion`` times each width must be a
            multiple of it.
        kernel_size: kernel size of the grouped convolutions, an odd number.

    Returns:
        A tuple (generator, discriminator). The generator maps latents (N, latent_dim) to samples (N, \*image_shape). It
        has no tanh, so nothing bounds the samples. The discriminator maps samples to logits (N, 1). With
        ``num_classes`` or ``encoder``, both take conditions as a second argument.

    Raises:
        ArgumentValueError: if an argument is out of its range, both ``num_classes`` and ``encoder`` are given, or the
            encoder returns maps.
        ArgumentTypeError: if the encoder is not a ConditionEncoder.

    Example:
        >>> generator, discriminator = r3gan((1, 28, 28), 64, num_classes=10, widths=(64, 32, 16))
        >>> labels = torch.tensor([3, 1, 4, 1])
        >>> discriminator(generator(torch.randn(4, 64), labels), labels).shape
        torch.Size([4, 1])

    References:
        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline" (R3GAN), 2024, arXiv:2501.05441,
        section 3, and the authors' code.
    """
    channels, height, width = check_image_shape(image_shape)
    check_sizes(latent_dim=latent_dim, blocks=blocks, expansion=expansion, group_width=group_width)
    sizes = resolutions(height, width)
    planes = check_widths("widths", widths, sizes)
    if any(expansion * plane % group_width for plane in planes):
        raise ArgumentValueError(
            f"widths (={shown(tuple(planes))}), multiplied by expansion (={shown(expansion)}), must be multiples of "
            f"group_width (={shown(group_width)})"
        )
    encoder = encoder_of(num_classes, encoder)
    if embedding_dim is not None:
        check_sizes(embedding_dim=embedding_dim)
        if encoder is None:
            raise ArgumentValueError(
                f"embedding_dim (={shown(embedding_dim)}) needs a condition: pass num_classes or an encoder too"
            )
    embedded = [latent_dim, planes[0]] if embedding_dim is None else [embedding_dim] * 2

    def stage(plane: int) -> list[nn.Module]:
        return [
            InvertedBottleneck(
                plane,
                expansion=expansion,
                group_width=group_width,
                kernel_size=kernel_size,
                depth=blocks * len(sizes),
            )
            for _ in range(blocks)
        ]

    up: list[nn.Module] = [LatentToMaps(latent_dim, planes[0], sizes[0], encoder, embedded[0]), *stage(planes[0])]
    for (small, large), size in zip(pairwise(planes), sizes[1:], strict=True):
        up += [*_pointwise(small, large), BilinearUpsample(size), *stage(large)]
    down: list[nn.Module] = [ImageToMaps((channels, height, width), planes[-1]), *stage(planes[-1])]
    for large, small in pairwise(reversed(planes)):
        down += [BilinearDownsample(), *_pointwise(large, small), *stage(small)]
    generator = ConditionalSequential(*up, MapsToImage(planes[-1], channels))
    head = MapsToLogit(planes[0], sizes[0], copy.deepcopy(encoder), embedded[1])
    discriminator = ConditionalSequential(*down, head)
    return generator, discriminator


@rebuildable
class ImageToMaps(nn.Module):
    """Map images (N, *image_shape) to maps (N, channels, H, W)."""

    def __init__(self, image_shape: Sequence[int], channels: int) -> None:
        super().__init__()
        self.image_shape = tuple(image_shape)
        (self.conv,) = _pointwise(self.image_shape[0], channels, always=True)

    def forward(self, sample: Tensor) -> Tensor:
        """Change the channels."""
        check_shape(sample, self.image_shape, "sample")
        return self.conv(sample)


@rebuildable
class MapsToImage(nn.Module):
    """Map maps (N, channels, H, W) to images (N, image_channels, H, W), in float32 also under autocast."""

    def __init__(self, channels: int, image_channels: int) -> None:
        super().__init__()
        (self.conv,) = _pointwise(channels, image_channels, always=True)

    def forward(self, x: Tensor) -> Tensor:
        """Change the channels."""
        # In bfloat16, samples would be rounded by up to a quarter of the step between two gray levels.
        with without_autocast(x.device.type):
            return self.conv(as_dtype(x, self.conv.weight.dtype))


@rebuildable
class LatentToMaps(nn.Module):
    """Multiply a learned map for each channel by a number that is linear in the latent and the embedded condition."""

    def __init__(
        self,
        in_features: int,
        channels: int,
        size: Sequence[int],
        encoder: ConditionEncoder | None = None,
        embedding_dim: int = 0,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.encoder = encoder
        self.needs_condition = encoder is not None
        self.embed: nn.Module | None = None if encoder is None else _linear(encoder.features, embedding_dim)
        self.linear: nn.Linear = _linear(in_features + (0 if encoder is None else embedding_dim), channels)
        self.maps: nn.Parameter = nn.Parameter(nn.init.normal_(torch.empty(channels, *size)))

    def forward(self, latent: Tensor, condition: Condition = None) -> Tensor:
        """Return (N, channels, *size)."""
        check_shape(latent, (self.in_features,), "latent")
        if self.encoder is not None and self.embed is not None:
            encoding = encode(condition, self.encoder)
            latent = join(latent, self.embed(as_dtype(encoding, latent.dtype)), "latent")
        gains = self.linear(latent)
        return gains[:, :, None, None] * as_dtype(self.maps, gains.dtype)


@rebuildable
class MapsToLogit(nn.Module):
    """Compute logits by a depthwise convolution of full size, a linear layer, and an inner product with a condition."""

    def __init__(
        self, channels: int, size: Sequence[int], encoder: ConditionEncoder | None = None, embedding_dim: int = 0
    ) -> None:
        super().__init__()
        height, width = size
        self.encoder = encoder
        self.needs_condition = encoder is not None
        self.conv: nn.Conv2d = _scaled(nn.Conv2d(channels, channels, (height, width), groups=channels, bias=False))
        self.linear: nn.Linear = _linear(channels, 1 if encoder is None else embedding_dim)
        self.embed: nn.Module | None = None
        if encoder is not None:
            self.embed = _linear(encoder.features, embedding_dim, gain=1 / math.sqrt(embedding_dim))

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Return logits (N, 1)."""
        features = self.linear(self.conv(x).flatten(1))  # the weights are scaled, so features are as large as x
        if self.encoder is None or self.embed is None:
            return features
        encoding = encode(condition, self.encoder)
        check_lengths(encoding, features)
        embedded = self.embed(as_dtype(encoding, features.dtype))
        return (at_least_float32(features) * at_least_float32(embedded)).sum(1, keepdim=True)


def _pointwise(in_channels: int, out_channels: int, *, always: bool = False) -> list[nn.Conv2d]:
    """Make a convolution of kernel size 1 if the channels differ."""
    if in_channels == out_channels and not always:
        return []
    return [_scaled(nn.Conv2d(in_channels, out_channels, 1, bias=False))]


def _linear(in_features: int, out_features: int, gain: float = 1.0) -> nn.Linear:
    return _scaled(nn.Linear(in_features, out_features, bias=False), gain)


def _scaled(layer: LayerT, gain: float = 1.0) -> LayerT:
    """Draw the weights such that outputs are as large as inputs, times the gain."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    return layer
