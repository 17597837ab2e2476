"""Build the residual networks of SNGAN."""

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ganlib import init
from ganlib._checks import check_count, check_flag
from ganlib._logits import as_dtype, at_least_float32
from ganlib._recipe import rebuildable
from ganlib._shown import shown
from ganlib.conditioning import ConditionalBatchNorm
from ganlib.conditioning._checks import check_lengths, encode
from ganlib.conditioning._heads import in_float32
from ganlib.errors import ArgumentValueError
from ganlib.models._condition_encoder import encoder_of
from ganlib.models._dcgan import SAMPLE_RANGE
from ganlib.models._resolutions import Size, check_image_shape, check_widths, halved, resolutions
from ganlib.protocols import Condition, ConditionEncoder
from ganlib.stacks import ConditionalSequential, LinearStack, Norm, ResidualDownBlock, ResidualUpBlock, SelfAttention
from ganlib.stacks._layers import normalize_spectrally

__all__ = ["sngan"]

_LAST = 8  # the discriminator does not halve maps with a smaller side up to this


def sngan(
    image_shape: Sequence[int],
    latent_dim: int,
    num_classes: int | None = None,
    *,
    encoder: ConditionEncoder | None = None,
    widths: Sequence[int] | int | None = None,
    discriminator_widths: Sequence[int] | int | None = None,
    attention: Sequence[int] = (),
    spectral_norm: bool = True,
) -> tuple[nn.Module, nn.Module]:
    r"""Build the residual networks of SNGAN, for the hinge loss; with a condition, a projection discriminator.

    The generator's resolutions are the size of the image and its halves, rounded up. A size is halved if its smaller
    side is at least 8: 28 becomes 14 and 7, and 32 becomes 16, 8 and 4. A linear layer makes the maps of the lowest
    resolution. Each :class:`ganlib.stacks.ResidualUpBlock` doubles the size. Batch norm, ReLU, a convolution and tanh
    follow.

    The discriminator has as many residual blocks as there are resolutions. A
    :class:`ganlib.stacks.ResidualDownBlock` halves the size if the smaller side is above 8. The features :math:`\phi`
    are summed over all positions, and a linear layer gives the logit.

    A condition sets the gain and bias of the batch norms in the generator's blocks
    (:class:`ganlib.conditioning.ConditionalBatchNorm`). The discriminator adds an inner product to the logit:

    .. math:: D(x, y) = w^\top \phi(x) + b + \langle W e(y), \phi(x) \rangle.

    With ``widths=256`` and ``discriminator_widths=128``, the networks for 32 x 32 pixels are those of the paper, but
    for one detail: in the generator, a skip connection has a convolution only if the channels differ. In the authors'
    code it always has one.

    Args:
        image_shape: (C, H, W). With a condition, the smaller side must be at least 8.
        latent_dim: size of a latent, at least 1.
        num_classes: number of classes, at least 1, for a conditional GAN.
        encoder: encoder of vectors, for conditions that are not classes. The discriminator gets a copy. Pass
            ``num_classes``, ``encoder``, or neither of them.
        widths: channels of the generator at each resolution, from the lowest to the highest, or one number for all.
            None is 32 at the highest resolution and twice as many at each lower one, up to 512.
        discriminator_widths: the output channels of the discriminator's blocks, from the last to the first, or one
            number for all. None is ``widths``.
        attention: smaller sides of the maps that :class:`ganlib.stacks.SelfAttention` follows in both networks. For
            example, (16,) means 16 x 16 pixels of square images.
        spectral_norm: whether all layers of the discriminator have spectral normalization.

    Returns:
        A tuple (generator, discriminator). The generator maps latents (N, latent_dim) to samples (N, \*image_shape) in
        [-1, 1]. The discriminator maps samples to logits (N, 1). It sums over positions, so it accepts images of other
        sizes too. With ``num_classes`` or ``encoder``, both take conditions as a second argument.

    Raises:
        ArgumentValueError: if an argument is out of its range, both ``num_classes`` and ``encoder`` are given, the
            encoder returns maps, or the image is too small for a condition.
        ArgumentTypeError: if the encoder is not a ConditionEncoder, or ``spectral_norm`` is not a bool.

    Example:
        >>> import torch
        >>> generator, discriminator = sngan((3, 32, 32), 128, num_classes=10, widths=32, attention=(16,))
        >>> labels = torch.tensor([3, 1, 4, 1])
        >>> discriminator(generator(torch.randn(4, 128), labels), labels).shape
        torch.Size([4, 1])

    References:
        Miyato et al., "Spectral Normalization for Generative Adversarial Networks" (SNGAN), 2018, arXiv:1802.05957,
        appendix B.4.

        With a condition: Miyato and Koyama, "cGANs with Projection Discriminator", 2018, arXiv:1802.05637.

        With attention: Zhang et al., "Self-Attention Generative Adversarial Networks" (SAGAN), 2019, arXiv:1805.08318.
    """
    channels, *largest = check_image_shape(image_shape)
    latent_dim = check_count("latent_dim", latent_dim, least=1)
    sizes = resolutions(*largest)
    planes = check_widths("widths", widths, sizes)
    down = planes if discriminator_widths is None else check_widths("discriminator_widths", discriminator_widths, sizes)
    spectral_norm = check_flag("spectral_norm", spectral_norm)
    encoder = encoder_of(num_classes, encoder)
    if encoder is not None and len(sizes) == 1:
        raise ArgumentValueError(
            f"image_shape (={shown(tuple(image_shape))}) must have a smaller side of at least 8 for a condition, which "
            "the generator's residual blocks use"
        )
    attention = _check_attention(attention, sizes)
    generator = _generator(channels, latent_dim, encoder, sizes, planes, attention)
    discriminator = _discriminator(channels, copy.deepcopy(encoder), sizes, down, attention, spectral_norm)
    for network in (generator, discriminator):
        _initialize(network)
    vars(generator)["sample_range"] = SAMPLE_RANGE
    return generator, discriminator


def _generator(
    channels: int,
    latent_dim: int,
    encoder: ConditionEncoder | None,
    sizes: list[Size],
    planes: list[int],
    attention: Sequence[int],
) -> ConditionalSequential:
    def batch_norm(plane: int) -> nn.Module:
        return nn.BatchNorm2d(plane) if encoder is None else ConditionalBatchNorm(plane, encoder)

    norm: Norm = "batch" if encoder is None else batch_norm
    shape = planes[0], *sizes[0]
    layers: list[nn.Module] = [LinearStack([latent_dim, prod(shape)], out_shape=shape)]
    if min(sizes[0]) in attention:
        layers.append(SelfAttention(planes[0]))
    for (before, after), size in zip(pairwise(planes), sizes[1:], strict=True):
        layers.append(ResidualUpBlock(before, after, norm=norm))
        layers += _padding(size, -1)
        if min(size) in attention:
            layers.append(SelfAttention(after))
    return ConditionalSequential(*layers, nn.BatchNorm2d(planes[-1]), nn.ReLU(), MapsToTanh(planes[-1], channels))


def _discriminator(
    channels: int,
    encoder: ConditionEncoder | None,
    sizes: list[Size],
    planes: list[int],
    attention: Sequence[int],
    spectral_norm: bool,
) -> ConditionalSequential:
    layers: list[nn.Module] = []
    size = sizes[-1]
    for index, (before, after) in enumerate(pairwise([channels, *reversed(planes)])):
        halves = min(size) > _LAST
        layers += _padding(size, 1) if halves else []
        scale = 2 if halves else 1
        layers.append(ResidualDownBlock(before, after, scale=scale, first=index == 0, spectral_norm=spectral_norm))
        if halves:
            size = halved(size)
            layers += [SelfAttention(after, spectral_norm=spectral_norm)] if min(size) in attention else []
    return ConditionalSequential(*layers, SumToLogit(planes[0], encoder, spectral_norm=spectral_norm))


def _padding(size: Size, sign: int) -> list[nn.Module]:
    """Make a layer that pads odd sizes by 1 at their end, or crops them with sign -1; even sizes need no layer."""
    height, width = (sign * (length % 2) for length in size)
    return [nn.ZeroPad2d((0, width, 0, height))] if height or width else []


def _initialize(network: nn.Module) -> None:
    """Draw the weights of layers as the authors' code does, but not those of the encoder."""
    encoders = [getattr(part, "encoder", None) for part in network.modules()]
    kept = {id(part) for encoder in encoders if isinstance(encoder, nn.Module) for part in encoder.modules()}
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear) and id(part) not in kept:
            init.xavier_(part, math.sqrt(2) if name.endswith(("conv1", "conv2")) else 1.0)


def _check_attention(attention: Sequence[int], sizes: list[Size]) -> Sequence[int]:
    """Return the argument if both networks have maps of these sizes; raise an ArgumentValueError otherwise."""
    options = [min(halved(size)) for size in reversed(sizes) if min(size) > _LAST]
    if not isinstance(attention, Sequence) or not all(side in options for side in attention):
        raise ArgumentValueError(
            f"attention (={shown(attention)}) must be a tuple of smaller sides of maps, from {tuple(options)}"
        )
    return attention


@rebuildable
class MapsToTanh(nn.Module):
    """Map maps (N, channels, H, W) to images (N, image_channels, H, W) in [-1, 1]."""

    def __init__(self, channels: int, image_channels: int) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(channels, image_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, and compute the tanh in float32 under autocast."""
        x = self.conv(x)
        # In half precision a tanh can round to 1, which has no gradient.
        return (at_least_float32(x) if torch.is_autocast_enabled(x.device.type) else x).tanh()


@rebuildable
class SumToLogit(nn.Module):
    """Compute logits of features summed over positions: a linear layer, plus an inner product with the condition."""

    def __init__(self, features: int, encoder: ConditionEncoder | None = None, *, spectral_norm: bool = True) -> None:
        super().__init__()
        self.encoder = encoder
        self.needs_condition = encoder is not None
        self.activation: nn.Module = nn.ReLU()
        self.linear: nn.Module = nn.Linear(features, 1)
        self.embed: nn.Module | None = None if encoder is None else nn.Linear(encoder.features, features, bias=False)
        if spectral_norm:
            for layer in (self.linear, self.embed):
                if layer is not None:
                    normalize_spectrally(layer)  # not the layers of the encoder, which is the user's

    def forward(self, x: Tensor, condition: Condition = None) -> Tensor:
        """Return logits (N, 1), in float32 or better."""
        features = at_least_float32(self.activation(x)).sum((2, 3))
        logits = in_float32(self.linear, features)
        if self.encoder is None or self.embed is None:
            return logits
        encoding = encode(condition, self.encoder)
        check_lengths(encoding, features)
        return logits + (in_float32(self.embed, as_dtype(encoding, features.dtype)) * features).sum(1, keepdim=True)
