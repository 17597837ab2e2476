"""Tests of what is special to the Wasserstein loss."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.losses import WassersteinLoss
from tests import strategies

logits = strategies.logits(largest=100, dtype=torch.float64)


@given(logits, logits, st.floats(-100, 100))
def test_a_constant_added_to_the_critic_does_not_matter(real, fake, constant):
    """The critic's loss knows differences alone: adding a constant to all values leaves it."""
    expected = WassersteinLoss().discriminator(real, fake)

    assert torch.allclose(expected, WassersteinLoss().discriminator(real + constant, fake + constant))


@given(logits, logits, st.floats(-10, 10))
def test_it_is_linear_in_the_critic(real, fake, factor):
    """A critic that is scaled scales both losses, which is why its slope must be held."""
    loss = WassersteinLoss()

    assert torch.allclose(factor * loss.discriminator(real, fake), loss.discriminator(factor * real, factor * fake))
    assert torch.allclose(factor * loss.generator(fake), loss.generator(factor * fake))


def test_the_best_critic_of_two_points_has_their_distance():
    """For one real point at 3 and one fake at 1 the critic D(x) = x attains minus their distance."""
    assert WassersteinLoss().discriminator(torch.tensor([3.0]), torch.tensor([1.0])).item() == -2.0
