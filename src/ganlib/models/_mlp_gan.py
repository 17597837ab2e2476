"""The fully connected GAN."""

import copy
from collections.abc import Callable, Iterable, Sequence
from math import prod

from torch import nn

from ganlib._shown import shown
from ganlib.conditioning import ConcatFeatures, ConcatLatent, Maps
from ganlib.errors import ArgumentValueError
from ganlib.models._dcgan import SAMPLE_RANGE
from ganlib.protocols import ConditionEncoder
from ganlib.stacks import Activation, LinearStack, Norm

__all__ = ["mlp_gan"]


def mlp_gan(
    image_shape: Sequence[int],
    latent_dim: int,
    hidden: Sequence[int] = (128, 256, 512),
    *,
    discriminator_hidden: Sequence[int] | None = None,
    encoder: ConditionEncoder | None = None,
    norm: Norm = "none",
    activation: Activation = None,
    dropout: float = 0.0,
    init: Callable[[nn.Module], nn.Module] | None = None,
) -> tuple[nn.Module, nn.Module]:
    r"""Two multi-layer perceptrons; unless you say otherwise, the second's hidden layers are the first's in reverse.

    Args:
        image_shape: (C, \*spatial), or any shape of a sample.
        latent_dim: size of a latent, at least 1.
        hidden: sizes of the generator's hidden layers, from the latent on.
        discriminator_hidden: sizes of the discriminator's hidden layers, from the sample on; None is ``hidden`` in
            reverse.
        encoder: any encoder of vectors, for a conditional GAN: the encoded condition is concatenated with the latent,
            and with the discriminator's sample; the discriminator gets a copy. None is unconditional.
        norm: after the generator's hidden layers: ``"batch"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from
            features to a module. The discriminator has none.
        activation: between the layers of both; None is LeakyReLU(0.2).
        dropout: after the hidden layers of both, probability in [0, 1).
        init: initializes each network; None keeps torch's own.

    Returns:
        (generator, discriminator): latents (N, latent_dim) -> samples (N, \*image_shape) in [-1, 1] -> logits (N, 1);
        with an encoder each takes conditions too.

    Raises:
        ArgumentValueError: an argument is out of its range, or the encoder gives maps.
        ArgumentTypeError: the encoder is not a ConditionEncoder.

    Example:
        >>> import torch
        >>> generator, discriminator = mlp_gan((1, 28, 28), latent_dim=100, hidden=(32, 64, 128))
        >>> discriminator(generator(torch.randn(4, 100))).shape
        torch.Size([4, 1])

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, section 5; with an encoder, Mirza and Osindero,
        "Conditional Generative Adversarial Nets", 2014, figure 1.
    """
    image_shape, hidden = _sizes("image_shape", image_shape), _sizes("hidden", hidden)
    downwards = hidden[::-1] if discriminator_hidden is None else _sizes("discriminator_hidden", discriminator_hidden)
    for name, sizes in (
        ("image_shape", image_shape),
        ("latent_dim", (latent_dim,)),
        ("hidden", hidden),
        ("discriminator_hidden", downwards),
    ):
        if not all(isinstance(size, int) and size >= 1 for size in sizes):
            raise ArgumentValueError(f"{name} (={shown(sizes)}) must be whole numbers of at least 1")
    if isinstance(encoder, Maps):
        raise ArgumentValueError(f"encoder (={shown(encoder)}) gives maps, but these networks take vectors")
    encoded = getattr(encoder, "features", 0)  # ConcatLatent refuses what is not an encoder
    within = {"dropout": dropout} if activation is None else {"dropout": dropout, "activation": activation}
    generator: nn.Module = LinearStack(
        [latent_dim + encoded, *hidden, prod(image_shape)],
        out_shape=image_shape,
        norm=norm,
        last_activation=nn.Tanh,
        **within,
    )
    discriminator: nn.Module = LinearStack([prod(image_shape) + encoded, *downwards, 1], **within)
    if encoder is not None:
        generator = ConcatLatent(generator, encoder)
        discriminator = ConcatFeatures(nn.Flatten(), copy.deepcopy(encoder), discriminator)
    if init is not None:
        init(generator)
        init(discriminator)
    vars(generator)["sample_range"] = SAMPLE_RANGE
    return generator, discriminator


def _sizes(name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(sizes, Iterable):
        raise ArgumentValueError(f"{name} (={shown(sizes)}) must be whole numbers of at least 1, in a tuple or list")
    return tuple(sizes)
