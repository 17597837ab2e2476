"""Plans, conditions and runs of the conditional DCGAN, and generators to be saved."""

from collections import OrderedDict
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from ganlib import latents, losses, training
from ganlib.conditioning import (
    ClassEmbedding,
    ConcatLatent,
    ConditionalBatchNorm,
    FiLM,
    OneHot,
    TagEmbedding,
    Unconditional,
    VectorEmbedding,
)
from ganlib.models import conditional_dcgan, dcgan, mlp_gan, r3gan, sngan
from ganlib.stacks import (
    ConditionalSequential,
    ConvTransposeStack,
    InvertedBottleneck,
    LinearStack,
    PixelNorm,
    ResidualUpBlock,
    SelfAttention,
    StackPlan,
    Stage,
    UpsampleConv,
)

__all__ = [
    "CONDITIONS",
    "FLAT",
    "FORMAT_1",
    "GENERATORS",
    "LABELS",
    "PLANS",
    "TALL",
    "UNEVEN",
    "Counted",
    "all_plans",
    "assert_same_state",
    "by_hand_conditional",
    "conditional_norms",
    "draw",
    "make_trainer",
    "metadata_of",
    "noisy",
    "opened",
]

TALL = StackPlan((1, 12, 8), [Stage(4), Stage(8)])
UNEVEN = StackPlan((1, 12, 8), [Stage(4, kernel_size=(4, 2), padding=(1, 0)), Stage(8)])
FLAT = StackPlan((1, 8, 8), [Stage(4), Stage(8, kernel_size=4, stride=1, padding=0)])
PLANS = {
    "spatial top": TALL,
    "flat top": FLAT,
    "one dimension": StackPlan((2, 10), [Stage(4), Stage(6)]),
    "one dimension, flat top": StackPlan((1, 8), [Stage(4), Stage(6, kernel_size=4, stride=1, padding=0)]),
    "three dimensions": StackPlan((1, 5, 4, 6), [Stage(4)]),
    "three dimensions, flat top": StackPlan((1, 4, 4, 4), [Stage(3), Stage(4, kernel_size=2, stride=1, padding=0)]),
}
CONDITIONS = {
    "classes": (OneHot(5), torch.tensor([3, 1, 4, 1])),
    "embedded": (ClassEmbedding(5, 3), torch.tensor([3, 1, 4, 1])),
    "tags": (TagEmbedding(6, 3), torch.eye(4, 6)),
    "vectors": (VectorEmbedding(7, 3), torch.linspace(-1, 1, 28).view(4, 7)),
}
LABELS = torch.tensor([3, 1, 4, 1])
FORMAT_1 = Path(__file__).with_name("format_1")  # written by the version before
all_plans = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def conditional_norms(network):
    """The conditional part of each norm of a network, in order."""
    return [module for module in network.modules() if isinstance(module, FiLM)]


def noisy(network):
    """The network, with conditional norms that have left their zeros."""
    for film in conditional_norms(network):
        nn.init.normal_(film.gain)
        nn.init.normal_(film.bias)
    return network


def opened(network):
    """The network, with residual blocks that have left their zeros."""
    for module in network.modules():
        if isinstance(module, InvertedBottleneck):
            nn.init.normal_(module.conv3.weight, std=0.1)
    return network


def make_trainer(generator, discriminator, **options):
    """A trainer of the players, with Adam and the non-saturating loss unless told otherwise."""
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=1e-2),
        torch.optim.Adam(discriminator.parameters(), lr=1e-2),
        **{"loss": losses.NonSaturatingLoss(), "latent": latents.Gaussian(6)} | options,
    )


def _by_hand():
    """A generator of ganlib's stacks and torch's layers in an adapter."""
    sizes = torch.Size([8, 3, 2])
    layers = OrderedDict(
        start=LinearStack([6 + 5, 48], norm="batch", last_activation=nn.PReLU()),
        shape=nn.Unflatten(1, sizes),
        stack=ConvTransposeStack(UNEVEN, norm=partial(nn.GroupNorm, 2), activation=lambda: nn.LeakyReLU(0.3)),
        attention=SelfAttention(1, reduction=1),
        last=nn.Conv2d(1, 1, 3, padding="same", padding_mode="reflect"),
        range=nn.Sequential(nn.Tanh(), nn.Identity()),
    )
    generator = ConcatLatent(nn.Sequential(layers), OneHot(5))
    generator.sample_range = (0.0, 1.0)
    return generator


def by_hand_conditional():
    """A generator whose encoder is in an adapter, and in the norms that a function makes."""
    encoder = TagEmbedding(4, 3)
    blocks = ConditionalSequential(
        nn.Linear(6 + 3, 4 * 2 * 2),
        nn.Unflatten(1, [4, 2, 2]),
        ResidualUpBlock(4, 4, norm=lambda channels: ConditionalBatchNorm(channels, encoder), spectral_norm=True),
        PixelNorm(1e-3),
        UpsampleConv(4, 1),
        FiLM(1, encoder),
    )
    return noisy(ConcatLatent(blocks, encoder))


_MINUS_1_TO_1 = -1.0, 1.0
GENERATORS = {
    "dcgan": (lambda: dcgan(UNEVEN, 6)[0], None, _MINUS_1_TO_1),
    "flat dcgan": (lambda: dcgan(FLAT, 6, norm="group")[0], None, _MINUS_1_TO_1),
    "conditional": (lambda: conditional_dcgan(UNEVEN, 6, 5)[0], LABELS[:3], _MINUS_1_TO_1),
    "channels": (
        lambda: conditional_dcgan(FLAT, 6, 5, conditioning="channels", spectral_norm=True)[0],
        LABELS[:3],
        _MINUS_1_TO_1,
    ),
    "embedding": (lambda: conditional_dcgan(UNEVEN, 6, encoder=ClassEmbedding(5, 3))[0], LABELS[:3], _MINUS_1_TO_1),
    "tags": (lambda: conditional_dcgan(FLAT, 6, encoder=TagEmbedding(4, 3))[0], torch.eye(3, 4), _MINUS_1_TO_1),
    "vectors": (
        lambda: conditional_dcgan(FLAT, 6, encoder=VectorEmbedding(2, 3))[0],
        torch.ones(3, 2),
        _MINUS_1_TO_1,
    ),
    "conditional norms": (
        lambda: noisy(conditional_dcgan(UNEVEN, 6, 5, generator_conditioning="batch_norm")[0]),
        LABELS[:3],
        _MINUS_1_TO_1,
    ),
    "a shared encoder": (
        lambda: noisy(conditional_dcgan(FLAT, 6, encoder=TagEmbedding(4, 3), generator_conditioning="batch_norm")[0]),
        torch.eye(3, 4),
        _MINUS_1_TO_1,
    ),
    "mlp": (lambda: mlp_gan((1, 4, 5), 6, (8,), norm="batch", dropout=0.1)[0], None, _MINUS_1_TO_1),
    "r3gan": (lambda: opened(r3gan((1, 9, 11), 6, blocks=1, widths=(16, 8))[0]), None, None),
    "conditional r3gan": (lambda: opened(r3gan((1, 9, 11), 6, 5, blocks=1, widths=8)[0]), LABELS[:3], None),
    "r3gan of tags": (
        lambda: opened(r3gan((1, 8, 8), 6, encoder=TagEmbedding(4, 3), embedding_dim=2, blocks=1, widths=8)[0]),
        torch.eye(3, 4),
        None,
    ),
    "sngan": (lambda: sngan((1, 18, 19), 6, widths=4, attention=(9,))[0], None, _MINUS_1_TO_1),
    "conditional sngan": (lambda: noisy(sngan((1, 9, 11), 6, 5, widths=4)[0]), LABELS[:3], _MINUS_1_TO_1),
    "sngan of tags": (
        lambda: noisy(sngan((1, 8, 8), 6, encoder=TagEmbedding(4, 3), widths=4)[0]),
        torch.eye(3, 4),
        _MINUS_1_TO_1,
    ),
    "without bias": (lambda: dcgan(UNEVEN, 6, bias=False)[0], None, _MINUS_1_TO_1),
    "conditional mlp": (
        lambda: mlp_gan((1, 4, 5), 6, (8,), encoder=TagEmbedding(4, 3))[0],
        torch.eye(3, 4),
        _MINUS_1_TO_1,
    ),
    "unconditional": (lambda: Unconditional(dcgan(UNEVEN, 6)[0]), LABELS[:3], _MINUS_1_TO_1),
    "concat": (lambda: ConcatLatent(mlp_gan((1, 4, 5), 11, (8,))[0], OneHot(5)), LABELS[:3], _MINUS_1_TO_1),
    "a norm of a function": (
        lambda: dcgan(UNEVEN, 6, norm=lambda channels: nn.GroupNorm(2, channels, eps=0.1))[0],
        None,
        _MINUS_1_TO_1,
    ),
    "classes": (lambda: dcgan(FLAT, 6, norm=nn.BatchNorm2d, activation=nn.PReLU)[0], None, _MINUS_1_TO_1),
    "an activation": (lambda: conditional_dcgan(UNEVEN, 6, 5, activation=nn.PReLU())[0], LABELS[:3], _MINUS_1_TO_1),
    "functions in an mlp": (
        lambda: mlp_gan((1, 4, 5), 6, (8, 7), norm=nn.LayerNorm, activation=lambda: nn.ELU(0.5))[0],
        None,
        _MINUS_1_TO_1,
    ),
    "spectral norm": (lambda: LinearStack([6, 5, 4], out_shape=(2, 2), spectral_norm=True), None, None),
    "by hand": (_by_hand, LABELS[:3], (0.0, 1.0)),
    "by hand, a shared encoder": (by_hand_conditional, torch.eye(3, 4), None),
    "layers of torch": (lambda: nn.Sequential(nn.Linear(6, 4), nn.SiLU(), nn.Unflatten(-1, (2, -1))), None, None),
}


def draw(generator, condition):
    """What the generator makes of three latents."""
    latent = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator(latent) if condition is None else generator(latent, condition)


def assert_same_state(one, other):
    """Both states have the same names, and the same tensors to the bit."""
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert (tensor.dtype, tensor.shape) == (other[name].dtype, other[name].shape), name
        assert torch.equal(tensor, other[name]), name


def metadata_of(path):
    """The metadata of a file."""
    with safe_open(path, "pt") as file:
        return file.metadata()


class Counted(nn.Linear):
    """A layer of a user's."""
