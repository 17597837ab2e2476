"""Tests of what is special to the non-saturating loss."""

import torch
from hypothesis import given

from ganlib.losses import LabelSmoothing, MinimaxLoss, NonSaturatingLoss
from tests import strategies


@given(strategies.logits(), strategies.logits())
def test_the_discriminators_loss_is_the_minimax_loss(real, fake):
    """The discriminator's loss is MinimaxLoss's, with and without smoothing."""
    smoothing = LabelSmoothing(real=0.8, fake=0.1)

    assert torch.equal(MinimaxLoss().discriminator(real, fake), NonSaturatingLoss().discriminator(real, fake))
    assert torch.equal(
        MinimaxLoss(smoothing).discriminator(real, fake), NonSaturatingLoss(smoothing).discriminator(real, fake)
    )


@given(strategies.logits())
def test_the_generators_gradient_is_that_of_the_formula_at_any_logits(fake):
    """Up to 1e4 the generator's gradient is -sigmoid(-f) / numel."""
    fake.requires_grad_()
    NonSaturatingLoss().generator(fake).backward()

    assert torch.allclose(-(-fake).sigmoid() / fake.numel(), fake.grad)


def test_the_generators_gradient_does_not_vanish_where_it_loses():
    """At a logit of -1e4 the loss is 1e4 and its gradient -1; at 1e4 both are 0."""
    fake = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = 2 * NonSaturatingLoss().generator(fake)
    loss.backward()

    assert torch.tensor(1e4) == loss
    assert torch.equal(torch.tensor([-1.0, 0.0]), fake.grad)


@given(strategies.logits())
def test_smoothing_does_not_reach_the_generator(fake):
    """The generator's loss is the same with any smoothing."""
    smoothing = LabelSmoothing(real=0.7, fake=0.2, jitter=0.3, flip=0.5)

    assert torch.equal(NonSaturatingLoss().generator(fake), NonSaturatingLoss(smoothing).generator(fake))


def test_its_smoothing_can_be_read():
    """The smoothing that was given is an attribute, and shows in the repr."""
    smoothing = LabelSmoothing(real=0.8)

    assert NonSaturatingLoss().smoothing is None
    assert NonSaturatingLoss(smoothing).smoothing is smoothing
    assert repr(NonSaturatingLoss()) == "NonSaturatingLoss()"
    assert "real=0.8" in repr(NonSaturatingLoss(smoothing))
