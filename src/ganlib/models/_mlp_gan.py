"""Build a fully connected GAN."""

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
    r"""Build a fully connected GAN from two multilayer perceptrons (MLPs).

    Args:
        image_shape: (C, \*spatial), or any other shape of a sample.
        latent_dim: size of a latent, at least 1.
        hidden: sizes of the generator's hidden layers, starting at the latent.
        discriminator_hidden: sizes of the discriminator's hidden layers, starting at the sample. None is ``hidden`` in
            reverse order.
        encoder: encoder of vectors, for a conditional GAN. The encoded condition is concatenated with the latent, and
            with the sample in the discriminator, which gets a copy of the encoder. None is an unconditional GAN.
        norm: norm after the generator's hidden layers: ``"batch"``, ``"group"``, ``"pixel"``, ``"none"``, or a function
            from the number of features to a module. The discriminator has no norm.
        activation: activation between the layers of both networks. None is LeakyReLU(0.2).
        dropout: dropout probability after the hidden layers of both networks, in [0, 1).
        init: function that initializes a network. None keeps torch's initialization.

    Returns:
        A tuple (generator, discriminator). The generator maps latents (N, latent_dim) to samples (N, \*image_shape) in
        [-1, 1]. The discriminator maps samples to logits (N, 1). With an encoder, both take conditions as a second
        argument.

    Raises:
        ArgumentValueError: if an argument is out of its range, or the encoder returns maps.
        ArgumentTypeError: if the encoder is not a ConditionEncoder.

    Example:
        >>> import torch
        >>> generator, discriminator = mlp_gan((1, 28, 28), latent_dim=100, hidden=(32, 64, 128))
        >>> discriminator(generator(torch.randn(4, 100))).shape
        torch.Size([4, 1])

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, section 5.

        With an encoder: Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784, figure 1.
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
    encoded = getattr(encoder, "features", 0)  # ConcatLatent raises an error if it is not an encoder
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
