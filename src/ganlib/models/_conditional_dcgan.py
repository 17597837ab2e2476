"""Build a conditional DCGAN."""

import copy
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

from torch import nn

from ganlib import init as initializers
from ganlib._checks import check_option, check_sizes
from ganlib._shown import shown
from ganlib.conditioning import (
    AuxiliaryClassifierHead,
    ClassEmbedding,
    ConcatChannels,
    ConcatFeatures,
    ConcatLatent,
    ConditionalBatchNorm,
    Maps,
    OneHot,
    Projection,
)
from ganlib.errors import ArgumentValueError
from ganlib.models._dcgan import SAMPLE_RANGE, Init, backbone, initialized, to_logit, upwards
from ganlib.protocols import ConditionEncoder
from ganlib.stacks import Activation, LinearStack, Norm, StackPlan
from ganlib.stacks._plan import check_plan

__all__ = ["conditional_dcgan"]


_CONDITIONINGS = ("projection", "channels", "features", "auxiliary", "projection+auxiliary")


def conditional_dcgan(
    plan: StackPlan,
    latent_dim: int,
    num_classes: int | None = None,
    *,
    encoder: ConditionEncoder | None = None,
    conditioning: Literal["projection", "channels", "features", "auxiliary", "projection+auxiliary"] = "projection",
    generator_conditioning: Literal["latent", "batch_norm"] = "latent",
    norm: Norm = "batch",
    discriminator_norm: Norm | None = None,
    activation: Activation = None,
    discriminator_activation: Activation = None,
    bias: bool | None = None,
    dropout: float = 0.0,
    spectral_norm: bool = False,
    init: Init = initializers.dcgan_,
) -> tuple[nn.Module, nn.Module]:
    r"""Build a conditional DCGAN: its discriminator scores each sample together with its condition.

    You choose separately how the generator and the discriminator use the condition.

    Args:
        plan: the shapes of both networks.
        latent_dim: size of a latent, at least 1.
        num_classes: number of classes, at least 1. Pass either ``num_classes`` or ``encoder``.
        encoder: encoder of vectors, for conditions that are not classes. The discriminator gets a copy.
        conditioning: how the discriminator uses the condition. ``"projection"`` adds the inner product of the encoded
            condition and the features. ``"channels"`` concatenates it to the channels of the image. ``"features"``
            concatenates it to the features, before a small MLP. With ``"auxiliary"`` the discriminator does not get the
            condition and predicts it (AC-GAN); train it with :class:`ganlib.losses.AuxiliaryClassifier` as an auxiliary
            loss. ``"projection+auxiliary"`` does both, and needs this loss too.
        generator_conditioning: how the generator uses the condition. ``"latent"`` concatenates it to the latent.
            ``"batch_norm"`` computes the gain and bias of every batch norm from it, with one shared encoder.
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
        A tuple (generator, discriminator). The generator maps latents (N, latent_dim) and conditions to samples (N,
        \*image_shape) in [-1, 1]. The discriminator maps samples and conditions to logits (N, 1). With ``"auxiliary"``
        or ``"projection+auxiliary"`` it returns a :class:`ganlib.protocols.DiscriminatorOutput` with class logits.

    Raises:
        ArgumentValueError: if an argument is out of its range, both or neither of ``num_classes`` and ``encoder`` are
            given, the encoder returns maps, or two arguments exclude each other.

    Example:
        >>> import torch
        >>> from ganlib.stacks import Stage
        >>> generator, discriminator = conditional_dcgan(StackPlan((1, 28, 28), [Stage(32), Stage(64)]), 100, 10)
        >>> labels = torch.tensor([3, 1, 4, 1])
        >>> discriminator(generator(torch.randn(4, 100), labels), labels).shape
        torch.Size([4, 1])

    References:
        Mirza and Osindero, "Conditional Generative Adversarial Nets", 2014, arXiv:1411.1784.

        Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"
        (DCGAN), 2016, arXiv:1511.06434.

        Miyato and Koyama, "cGANs with Projection Discriminator", 2018, arXiv:1802.05637.

        Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, arXiv:1610.09585.
    """
    check_plan(plan)
    check_sizes(latent_dim=latent_dim)
    check_option("conditioning", conditioning, _CONDITIONINGS)
    check_option("generator_conditioning", generator_conditioning, ("latent", "batch_norm"))
    if (num_classes is None) == (encoder is None):
        raise ArgumentValueError(
            f"pass either num_classes (={shown(num_classes)}) or encoder (={shown(encoder)}), and not both"
        )
    if isinstance(encoder, Maps):
        raise ArgumentValueError(
            f"encoder (={shown(encoder)}) gives maps, but this generator starts from a vector; wrap networks "
            "of your own in ConcatChannels"
        )
    of_generator: Any = OneHot(num_classes) if num_classes is not None else encoder
    up = partial(upwards, plan, activation=activation, bias=bias)
    generator = initialized(init, _generator(plan, latent_dim, of_generator, generator_conditioning, norm, up))
    down = partial(
        backbone,
        plan,
        norm=norm if discriminator_norm is None else discriminator_norm,
        activation=activation if discriminator_activation is None else discriminator_activation,
        bias=bias,
        dropout=dropout,
        spectral_norm=spectral_norm,
    )
    discriminator = _discriminator(plan, down, of_generator, num_classes, conditioning, spectral_norm)
    discriminator = initialized(init, discriminator)
    if isinstance(discriminator, Projection) and num_classes is not None:
        # With N(0, 1) embeddings, inner products of hundreds of features would be much larger than the linear logit.
        own_encoder: Any = discriminator.encoder
        nn.init.normal_(own_encoder.embedding.weight, std=0.02)
    vars(generator)["sample_range"] = SAMPLE_RANGE
    return generator, discriminator


def _generator(
    plan: StackPlan, latent_dim: int, encoder: Any, conditioning: str, norm: Norm, up: Callable[..., nn.Module]
) -> nn.Module:
    if conditioning == "latent":
        return ConcatLatent(up(latent_dim + encoder.features, norm=norm), encoder)
    if norm != "batch":
        raise ArgumentValueError(f"generator_conditioning (='batch_norm') needs norm (={shown(norm)}) to be 'batch'")
    conditional = partial(ConditionalBatchNorm, encoder=encoder, spatial_dims=plan.spatial_dims)
    generator: Any = up(latent_dim, norm=conditional)
    if not generator.needs_condition:
        raise ArgumentValueError(
            "generator_conditioning (='batch_norm') needs a batch norm, but the generator of a plan with one stage and "
            f"a top of spatial size 1 has none: top_shape (={plan.top_shape})"
        )
    return generator


def _discriminator(
    plan: StackPlan, down: Any, of_generator: Any, num_classes: int | None, conditioning: str, spectral_norm: bool
) -> nn.Module:
    features, readable = prod(plan.top_shape), None
    if "auxiliary" in conditioning:
        readable = getattr(of_generator, "num_classes", getattr(of_generator, "num_tags", None))
        if readable is None:
            raise ArgumentValueError(
                f"conditioning (={conditioning!r}) reads classes or tags, which encoder (={shown(of_generator)}) does "
                "not encode"
            )
        if conditioning == "auxiliary":
            return AuxiliaryClassifierHead(nn.Sequential(down(), nn.Flatten()), features, readable)
    if "projection" in conditioning:
        encoder = copy.deepcopy(of_generator) if num_classes is None else ClassEmbedding(num_classes, features)
        return Projection(nn.Sequential(down(), nn.Flatten()), encoder, features, readable)
    encoder = copy.deepcopy(of_generator)
    if conditioning == "channels":
        planes = plan.image_shape[0] + encoder.features
        return ConcatChannels(nn.Sequential(*to_logit(plan, partial(down, image_channels=planes))), encoder)
    head = LinearStack([features + encoder.features, plan.top_shape[0], 1], spectral_norm=spectral_norm)
    return ConcatFeatures(nn.Sequential(down(), nn.Flatten()), encoder, head)
