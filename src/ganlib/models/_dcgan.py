"""Build a DCGAN from one plan, and the parts that the conditional DCGAN shares."""

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
    r"""Build a deep convolutional GAN (DCGAN); the discriminator mirrors the generator.

    If the top of the plan has spatial size 1, the latent is used as its channels, and the discriminator's last
    convolution outputs the logit. Otherwise each network has a linear layer there.

    Args:
        plan: the shapes of both networks.
        latent_dim: size of a latent, at least 1.
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"pixel"``, ``"none"``, or a function from the number of
            channels to a module.
        discriminator_norm: norm of the discriminator; None is ``norm``.
        activation: activation between the layers of both networks. None is ReLU in the generator and LeakyReLU(0.2) in
            the discriminator.
        discriminator_activation: activation of the discriminator; None is ``activation``.
        bias: whether convolutions have a bias. None adds a bias only if no norm, or a pixel norm, follows.
        dropout: dropout probability of the discriminator, in [0, 1).
        spectral_norm: whether to use spectral normalization in the discriminator.
        init: function that initializes a network. None keeps torch's initialization.

    Returns:
        A tuple (generator, discriminator). The generator maps latents (N, latent_dim) to samples (N, \*image_shape) in
        [-1, 1]. The discriminator maps samples to logits (N, 1).

    Raises:
        ArgumentValueError: if an argument is out of its range.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> plan = StackPlan((3, 32, 32), [Stage(64), Stage(128), Stage(256)])
        >>> generator, discriminator = dcgan(plan, latent_dim=100)
        >>> discriminator(generator(torch.randn(4, 100))).shape
        torch.Size([4, 1])

    References:
        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434.
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
    """Build the body of a generator, from a flat latent to the image.

    Args:
        plan: the shapes.
        inputs: size of a latent, plus the size of an encoded condition that is concatenated with it.
        norm: see :func:`dcgan`; with a conditional norm the body takes (latent, condition).
        activation: None is ReLU.
        bias: whether convolutions have a bias; None lets their norms decide.

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
    """Build the body of a discriminator, from the image to the features or, if ``top_channels`` is 1, to the logit.

    Args:
        plan: the shapes of the network.
        norm: see :func:`dcgan`.
        activation: None is LeakyReLU(0.2).
        bias: whether convolutions have a bias; None lets their norms decide.
        dropout: probability in [0, 1).
        spectral_norm: whether to use spectral normalization in every convolution.
        image_channels: replaces the number of image channels.
        top_channels: replaces the number of top channels, and removes the last activation.

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
    """Build the layers of an unconditional discriminator.

    Args:
        plan: the shapes.
        down: function that builds the :func:`backbone`.

    Returns:
        Layers from the image to (N, 1).
    """
    if plan.top_is_flat:
        return [down(top_channels=1), nn.Flatten()]
    return [down(), nn.Flatten(), nn.Linear(prod(plan.top_shape), 1)]


def initialized(init: Init, network: nn.Module) -> nn.Module:
    """Initialize a network.

    Args:
        init: a function of :mod:`ganlib.init` or your own, or None.
        network: the network, changed in place.

    Returns:
        The network.
    """
    return network if init is None else init(network)
