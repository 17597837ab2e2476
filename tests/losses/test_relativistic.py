"""Tests of what is special to the relativistic losses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.losses import NonSaturatingLoss, RelativisticAverageLoss, RelativisticLoss
from tests import strategies

both = pytest.mark.parametrize("loss", [RelativisticLoss(), RelativisticAverageLoss()])


@st.composite
def pairs(draw, shape=None):
    """Real and fake logits of one shape, in float64."""
    shape = draw(strategies.shapes) if shape is None else shape
    return tuple(draw(strategies.logits(20, shape, torch.float64)) for _ in range(2))


@both
@given(pair=pairs())
def test_the_generator_plays_the_discriminators_game_with_the_sides_exchanged(loss, pair):
    """The generator's loss is the discriminator's with real and fake exchanged."""
    real, fake = pair

    assert torch.allclose(loss.discriminator(fake, real), loss.generator(fake, real))


@both
@given(pair=pairs(), constant=st.floats(-100, 100))
def test_only_differences_count(loss, pair, constant):
    """A constant added to all logits changes neither loss."""
    real, fake = pair
    expected = torch.stack([loss.discriminator(real, fake), loss.generator(fake, real)])

    real, fake = real + constant, fake + constant

    assert torch.allclose(expected, torch.stack([loss.discriminator(real, fake), loss.generator(fake, real)]))


@both
def test_the_generators_gradient_reaches_both_sides(loss):
    """The generator's loss rises with real logits as it falls with fake ones: their gradients sum to 0."""
    real, fake = torch.randn(4, 1, requires_grad=True), torch.randn(4, 1, requires_grad=True)
    loss.generator(fake, real).backward()

    assert real.grad.min() > 0
    assert fake.grad.max() < 0
    assert torch.allclose(-fake.grad.sum(), real.grad.sum())


@given(strategies.logits(20, dtype=torch.float64))
def test_against_a_fake_logit_of_zero_pairing_is_the_usual_loss(logits):
    """Against logits of 0 the pairing loss is the non-saturating generator's: -mean log sigmoid."""
    expected = NonSaturatingLoss().generator(logits)

    assert torch.allclose(expected, RelativisticLoss().discriminator(logits, torch.zeros_like(logits)))


@given(pairs((1, 1)))
def test_of_one_pair_the_average_loss_is_twice_the_pairing_loss(pair):
    """In a batch of one each logit is its side's mean, so that both parts are the pairing loss."""
    real, fake = pair

    assert torch.allclose(
        2 * RelativisticLoss().discriminator(real, fake), RelativisticAverageLoss().discriminator(real, fake)
    )


def test_pairs_belong_together_and_averages_do_not():
    """Another order of the fakes changes the pairing loss, and leaves the average one."""
    real, fake = torch.tensor([[5.0], [-5.0]]), torch.tensor([[4.0], [-4.0]])

    assert not torch.allclose(
        RelativisticLoss().discriminator(real, fake), RelativisticLoss().discriminator(real, fake.flip(0))
    )
    assert torch.allclose(
        RelativisticAverageLoss().discriminator(real, fake), RelativisticAverageLoss().discriminator(real, fake.flip(0))
    )


def test_known_numbers():
    """On two pairs the losses are what one can write down: sums of log(1 + e^x) of the differences."""
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([0.0, 2.0])
    pairing = (math.log1p(math.exp(-3)) + math.log1p(math.exp(1))) / 2
    # The means are 2 (real) and 1 (fake).
    average = (math.log1p(math.exp(-2)) + math.log1p(math.exp(0)) + math.log1p(math.exp(-2)) + math.log1p(1)) / 2

    assert pytest.approx(pairing) == RelativisticLoss().discriminator(real, fake).item()
    assert pytest.approx(average) == RelativisticAverageLoss().discriminator(real, fake).item()


def test_the_averages_are_taken_over_places_and_per_scale():
    """The mean of a map is over samples and places; that of one scale does not enter another's loss."""
    real, fake = torch.randn(2, 1, 2, 3), torch.randn(2, 1, 2, 3)
    loss = RelativisticAverageLoss()

    flat = loss.discriminator(real.flatten(), fake.flatten())
    shifted = loss.discriminator((real, real + 100), (fake, fake + 100))

    assert torch.allclose(flat, loss.discriminator(real, fake))
    assert torch.allclose(2 * flat, shifted, rtol=1e-4)
