"""Plans, conditions and runs of the conditional DCGAN, for its tests."""

import pytest
import torch
from torch import nn

from ganlib import latents, losses, training
from ganlib.conditioning import ClassEmbedding, FiLM, OneHot, TagEmbedding, VectorEmbedding
from ganlib.stacks import StackPlan, Stage

__all__ = ["CONDITIONS", "FLAT", "LABELS", "PLANS", "TALL", "all_plans", "conditional_norms", "make_trainer", "noisy"]

TALL = StackPlan((1, 12, 8), [Stage(4), Stage(8)])
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


def make_trainer(generator, discriminator, **options):
    """A trainer of the players, with Adam and the non-saturating loss unless told otherwise."""
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.Adam(generator.parameters(), lr=1e-2),
        torch.optim.Adam(discriminator.parameters(), lr=1e-2),
        **{"loss": losses.NonSaturatingLoss(), "latent": latents.Gaussian(6)} | options,
    )
