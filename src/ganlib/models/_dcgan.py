"""DCGAN from one plan, and its parts, of which the conditional DCGAN is made too."""

from collections.abc import Callable
from functools import partial
from math import prod

from torch import nn

from ganlib import init as initializers
from ganlib._checks import check_sizes
from ganlib.stacks import (
    Activation,
    ConditionalSequential,
    ConvStack,
    ConvTransposeStack,
    LinearStack,
    Norm,
    StackPlan,
    make_activation,
    make_norm,
    needs_bias,
)
from ganlib.stacks._plan import check_plan

__all__ = ["SAMPLE_RANGE", "Init", "backbone", "dcgan", "initialized", "to_logit", "upwards"]

Init = Callable[[nn.Module], nn.Module] | None

SAMPLE_RANGE = -1.0, 1.0


def dcgan(
    plan: StackPlan,
    latent_dim: int,
    *,
    norm: Norm = "batch",
    discriminator_norm: Norm | None = None,
    activation: Activation = None,
    discriminator_activation: Activation = None,
    bias: bool | None = None,
    dropout: float = 0.0,
    spectral_norm: bool = False,
    init: Init = initializers.dcgan_,
) -> tuple[nn.Module, nn.Module]:
    r"""A deep convolutional GAN whose discriminator is its generator read backwards.

    A plan whose top has spatial size 1 takes the latent as its channels, and gives the logit as its channel; any other
    gets a linear layer between.

    Args:
        plan: the shapes of both.
        latent_dim: size of a latent, at least 1.
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from channels to a
            module.
        discriminator_norm: the discriminator's, where it differs.
        activation: between the layers of both; None is ReLU in the generator, LeakyReLU(0.2) in the discriminator.
        discriminator_activation: the discriminator's, where it differs.
        bias: whether convolutions have one; None means just those before no norm, or before pixel norm, which has none.
        dropout: in the discriminator, probability in [0, 1).
        spectral_norm: whether the discriminator's convolutions are spectrally normalized.
        init: initializes each network; None keeps torch's own.

    Returns:
        (generator, discriminator): latents (N, latent_dim) -> samples (N, \*image_shape) in [-1, 1] -> logits (N, 1).

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((3, 32, 32), [Stage(64), Stage(128), Stage(256)])
        >>> generator, discriminator = dcgan(plan, latent_dim=100)
        >>> discriminator(generator(torch.randn(4, 100))).shape
        torch.Size([4, 1])

    References:
        Radford et al., "Unsupervised Representation Learning with DCGAN", 2016.
    """
    check_plan(plan)
    check_sizes(latent_dim=latent_dim)
    generator = upwards(plan, latent_dim, norm, activation, bias)
    down = partial(
        backbone,
        plan,
        norm=norm if discriminator_norm is None else discriminator_norm,
        activation=activation if discriminator_activation is None else discriminator_activation,
        bias=bias,
        dropout=dropout,
        spectral_norm=spectral_norm,
    )
    generator, discriminator = initialized(init, generator), initialized(init, nn.Sequential(*to_logit(plan, down)))
    vars(generator)["sample_range"] = SAMPLE_RANGE
    return generator, discriminator


def upwards(plan: StackPlan, inputs: int, norm: Norm, activation: Activation, bias: bool | None = None) -> nn.Module:
    """From a flat latent to the image: the body of a generator.

    Args:
        plan: the shapes.
        inputs: numbers in a latent (and in an encoded condition that is concatenated with it).
        norm: see :func:`dcgan`; a conditional one makes the body take (latent, condition).
        activation: None is ReLU.
        bias: whether convolutions have one; None leaves it to their norms.

    Returns:
        A module from (N, inputs) to (N, *image_shape).
    """
    activation = nn.ReLU if activation is None else activation
    if plan.top_is_flat:
        return ConvTransposeStack(plan, top_channels=inputs, norm=norm, activation=activation, bias=bias)
    return ConditionalSequential(
        LinearStack([inputs, prod(plan.top_shape)], out_shape=plan.top_shape, bias=needs_bias(norm)),
        make_norm(norm, plan.top_shape[0], plan.spatial_dims),
        make_activation(activation),
        ConvTransposeStack(plan, norm=norm, activation=activation, bias=bias),
    )


def backbone(
    plan: StackPlan,
    *,
    norm: Norm,
    activation: Activation,
    bias: bool | None,
    dropout: float,
    spectral_norm: bool,
    image_channels: int | None = None,
    top_channels: int | None = None,
) -> ConvStack:
    """From the image to the top: features, or the logit where that is the one top channel.

    Args:
        plan: the shapes.
        norm: see :func:`dcgan`.
        activation: None is LeakyReLU(0.2).
        bias: whether convolutions have one; None leaves it to their norms.
        dropout: probability in [0, 1).
        spectral_norm: whether every convolution is spectrally normalized.
        image_channels: replaces the image's.
        top_channels: replaces the top's; then there is no last activation.

    Returns:
        The body of a discriminator.
    """
    activation = nn.LeakyReLU(0.2) if activation is None else activation
    return ConvStack(
        plan,
        image_channels=image_channels,
        top_channels=top_channels,
        norm=norm,
        activation=activation,
        last_activation=None if top_channels else activation,
        bias=bias,
        last_norm=not plan.top_is_flat,  # a batch norm of single features would mix the samples' logits
        dropout=dropout,
        spectral_norm=spectral_norm,
    )


def to_logit(plan: StackPlan, down: Callable[..., ConvStack]) -> list[nn.Module]:
    """The layers of an unconditional discriminator.

    Args:
        plan: the shapes.
        down: makes the :func:`backbone`.

    Returns:
        Layers from the image to (N, 1).
    """
    if plan.top_is_flat:
        return [down(top_channels=1), nn.Flatten()]
    return [down(), nn.Flatten(), nn.Linear(prod(plan.top_shape), 1)]


def initialized(init: Init, network: nn.Module) -> nn.Module:
    """A network, initialized.

    Args:
        init: a function of :mod:`ganlib.init`, one of your own, or None.
        network: changed in place.

    Returns:
        The network.
    """
    return network if init is None else init(network)
