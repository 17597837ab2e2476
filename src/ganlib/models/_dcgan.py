"""DCGAN, unconditional and conditional, from one plan."""

import copy
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

from torch import nn

from ganlib import init as initialisers
from ganlib.conditioning import ClassEmbedding, ConcatChannels, ConcatFeatures, ConcatLatent, Maps, OneHot, Projection
from ganlib.errors import ArgumentValueError
from ganlib.models._recipe import carry
from ganlib.protocols import ConditionEncoder
from ganlib.stacks import (
    Activation,
    ConvStack,
    ConvTransposeStack,
    LinearStack,
    Norm,
    StackPlan,
    make_activation,
    make_norm,
)

__all__ = ["conditional_dcgan", "dcgan"]

Init = Callable[[nn.Module], nn.Module] | None
Players = tuple[nn.Module, nn.Module]


def dcgan(
    plan: StackPlan,
    latent_dim: int,
    *,
    norm: Norm = "batch",
    discriminator_norm: Norm | None = None,
    activation: Activation = None,
    dropout: float = 0.0,
    spectral_norm: bool = False,
    init: Init = initialisers.dcgan_,
) -> Players:
    r"""A deep convolutional GAN whose discriminator is its generator read backwards.

    A plan whose top has spatial size 1 takes the latent as its channels, and gives the logit as its channel; any other
    gets a linear layer between.

    Args:
        plan: the shapes of both.
        latent_dim: size of a latent, at least 1.
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"none"``, or a function from channels to a module.
        discriminator_norm: the discriminator's, where it differs.
        activation: between the layers of both; None is ReLU in the generator, LeakyReLU(0.2) in the discriminator.
        dropout: in the discriminator, probability in [0, 1).
        spectral_norm: whether the discriminator's convolutions are spectrally normalised.
        init: initialises each network; None keeps torch's own.

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
    _check_latent_dim(latent_dim)
    generator = _upwards(plan, latent_dim, norm, activation)
    down = partial(
        _backbone,
        plan,
        norm=norm if discriminator_norm is None else discriminator_norm,
        activation=activation,
        dropout=dropout,
        spectral_norm=spectral_norm,
    )
    generator, discriminator = _initialised(init, generator), _initialised(init, nn.Sequential(*_to_logit(plan, down)))
    carry(generator, "dcgan", {"plan": plan, "latent_dim": latent_dim}, norm=norm, activation=activation)
    return generator, discriminator


def conditional_dcgan(
    plan: StackPlan,
    latent_dim: int,
    num_classes: int | None = None,
    *,
    encoder: ConditionEncoder | None = None,
    conditioning: Literal["projection", "channels", "features"] = "projection",
    norm: Norm = "batch",
    discriminator_norm: Norm | None = None,
    activation: Activation = None,
    dropout: float = 0.0,
    spectral_norm: bool = False,
    init: Init = initialisers.dcgan_,
) -> Players:
    r"""A DCGAN whose generator is asked for something, and whose discriminator judges the sample together with that.

    The generator is given the encoded condition beside its latent (:class:`~ganlib.conditioning.ConcatLatent`), the
    discriminator by the ``conditioning`` of your choice.

    Args:
        plan: the shapes of both.
        latent_dim: size of a latent, at least 1.
        num_classes: how many classes, at least 1; or give an encoder.
        encoder: any encoder of vectors, for conditions that are not classes; the discriminator gets a copy.
        conditioning: of the discriminator: ``"projection"`` (an inner product with its features), ``"channels"``
            (planes beside the image's channels), or ``"features"`` (beside its features, before a small MLP).
        norm: ``"batch"``, ``"instance"``, ``"group"``, ``"none"``, or a function from channels to a module.
        discriminator_norm: the discriminator's, where it differs.
        activation: between the layers of both; None is ReLU in the generator, LeakyReLU(0.2) in the discriminator.
        dropout: in the discriminator, probability in [0, 1).
        spectral_norm: whether the discriminator's convolutions are spectrally normalised.
        init: initialises each network; None keeps torch's own.

    Returns:
        (generator, discriminator): latents (N, latent_dim) and conditions -> samples (N, \*image_shape) in [-1, 1];
        samples and conditions -> logits (N, 1).

    Raises:
        ArgumentValueError: an argument is out of its range, both or neither of num_classes and encoder are given, or
            the encoder gives maps.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> generator, discriminator = conditional_dcgan(StackPlan((1, 28, 28), [Stage(32), Stage(64)]), 100, 10)
        >>> labels = torch.tensor([3, 1, 4, 1])
        >>> discriminator(generator(torch.randn(4, 100), labels), labels).shape
        torch.Size([4, 1])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014; Radford et al., 2016; Miyato and Koyama,
        "cGANs with Projection Discriminator", 2018.
    """
    _check_latent_dim(latent_dim)
    if (num_classes is None) == (encoder is None):
        raise ArgumentValueError(f"give either num_classes (={num_classes}) or encoder (={encoder}), and not both")
    if isinstance(encoder, Maps):
        raise ArgumentValueError(
            f"encoder (={encoder}) gives maps, but this generator starts from a vector; put ConcatChannels around "
            "networks of your own"
        )
    of_generator: Any = OneHot(num_classes) if num_classes is not None else encoder
    generator: nn.Module = ConcatLatent(
        _upwards(plan, latent_dim + of_generator.features, norm, activation), of_generator
    )
    down = partial(
        _backbone,
        plan,
        norm=norm if discriminator_norm is None else discriminator_norm,
        activation=activation,
        dropout=dropout,
        spectral_norm=spectral_norm,
    )
    features = prod(plan.top_shape)
    if conditioning == "projection":
        judge: Any = ClassEmbedding(num_classes, features) if num_classes is not None else copy.deepcopy(encoder)
        discriminator: nn.Module = Projection(nn.Sequential(down(), nn.Flatten()), judge, features)
    elif conditioning == "channels":
        judge = copy.deepcopy(of_generator)
        planes = plan.image_shape[0] + judge.features
        discriminator = ConcatChannels(nn.Sequential(*_to_logit(plan, partial(down, image_channels=planes))), judge)
    elif conditioning == "features":
        judge = copy.deepcopy(of_generator)
        head = LinearStack([features + judge.features, plan.top_shape[0], 1], spectral_norm=spectral_norm)
        discriminator = ConcatFeatures(nn.Sequential(down(), nn.Flatten()), judge, head)
    else:
        raise ArgumentValueError(f"conditioning (={conditioning!r}) must be 'projection', 'channels' or 'features'")
    generator, discriminator = _initialised(init, generator), _initialised(init, discriminator)
    if isinstance(discriminator, Projection) and num_classes is not None:
        # Inner products of N(0, 1) codes with hundreds of features would drown the linear logit at first.
        nn.init.normal_(judge.embedding.weight, std=0.02)
    carry(
        generator,
        "conditional_dcgan",
        {"plan": plan, "latent_dim": latent_dim, "num_classes": num_classes},
        encoder=encoder,
        norm=norm,
        activation=activation,
    )
    return generator, discriminator


def _upwards(plan: StackPlan, inputs: int, norm: Norm, activation: Activation) -> nn.Module:
    """From a flat latent to the image."""
    activation = nn.ReLU if activation is None else activation
    if plan.top_is_flat:
        return ConvTransposeStack(plan, top_channels=inputs, norm=norm, activation=activation)
    return nn.Sequential(
        LinearStack([inputs, prod(plan.top_shape)], out_shape=plan.top_shape, bias=norm == "none"),
        make_norm(norm, plan.top_shape[0], plan.spatial_dims),
        make_activation(activation),
        ConvTransposeStack(plan, norm=norm, activation=activation),
    )


def _backbone(
    plan: StackPlan,
    *,
    norm: Norm,
    activation: Activation,
    dropout: float,
    spectral_norm: bool,
    image_channels: int | None = None,
    top_channels: int | None = None,
) -> ConvStack:
    """From the image to the top: features, or the logit where that is the one top channel."""
    activation = nn.LeakyReLU(0.2) if activation is None else activation
    return ConvStack(
        plan,
        image_channels=image_channels,
        top_channels=top_channels,
        norm=norm,
        activation=activation,
        last_activation=None if top_channels else activation,
        last_norm=not plan.top_is_flat,  # a batch norm of single features would mix the samples' logits
        dropout=dropout,
        spectral_norm=spectral_norm,
    )


def _to_logit(plan: StackPlan, down: Callable[..., ConvStack]) -> list[nn.Module]:
    if plan.top_is_flat:
        return [down(top_channels=1), nn.Flatten()]
    return [down(), nn.Flatten(), nn.Linear(prod(plan.top_shape), 1)]


def _initialised(init: Init, network: nn.Module) -> nn.Module:
    return network if init is None else init(network)


def _check_latent_dim(latent_dim: int) -> None:
    if not (isinstance(latent_dim, int) and latent_dim >= 1):
        raise ArgumentValueError(f"latent_dim (={latent_dim}) must be a whole number of at least 1")
