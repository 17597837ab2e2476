"""Tests of the non-saturating loss."""

import pytest
import torch
from hypothesis import given
from torch import nn

from ganlib.errors import DTypeError
from ganlib.losses import AdversarialLoss, LabelSmoothing, MinimaxLoss, NonSaturatingLoss
from tests import strategies

REAL = torch.tensor([-5.0, 1.4, 12.5, 2.7])
FAKE = torch.tensor([10.0, 4.4, -5.5, 3.6])


@given(strategies.logits(largest=20, dtype=torch.float64))
def test_the_generators_loss_is_the_formula_of_the_paper(fake):
    """The generator's loss equals -mean log sigmoid in float64, for logits of any shape."""
    assert torch.allclose(-fake.sigmoid().log().mean(), NonSaturatingLoss().generator(fake), atol=1e-6)


def test_known_numbers():
    """On eight fixed logits the losses are the numbers computed by hand and by TF-GAN."""
    assert pytest.approx(5.83387, abs=1e-5) == NonSaturatingLoss().discriminator(REAL, FAKE).item()
    assert pytest.approx(1.38582, abs=1e-5) == NonSaturatingLoss().generator(FAKE).item()


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
    """Up to 1e4 the loss is finite, and its gradient is -sigmoid(-f) / numel."""
    fake.requires_grad_()
    loss = NonSaturatingLoss().generator(fake)
    loss.backward()

    assert loss.isfinite()
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


def test_under_bf16_autocast_losses_are_float32():
    """Logits that autocast made bf16 give the very losses that the same logits in float32 give."""
    layer, loss = nn.Linear(3, 1), NonSaturatingLoss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(torch.randn(5, 3))
        discriminator, generator = loss.discriminator(logits, -logits), loss.generator(logits)

    assert torch.float32 == discriminator.dtype == generator.dtype
    assert torch.equal(loss.discriminator(logits.float(), -logits.float()), discriminator)
    assert torch.equal(loss.generator(logits.float()), generator)


def test_it_is_an_adversarial_loss_that_needs_no_real_logits():
    """It is an AdversarialLoss and asks for no real logits in the generator's update."""
    assert isinstance(NonSaturatingLoss(), AdversarialLoss)
    assert not getattr(NonSaturatingLoss(), "needs_real_logits", False)
    assert torch.equal(NonSaturatingLoss().generator(FAKE), NonSaturatingLoss().generator(FAKE, REAL))


def test_logits_that_are_not_floating_point_are_refused():
    """Integer logits raise an error that names which of them it was."""
    whole = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(DTypeError, match=r"real_logits .*int64"):
        NonSaturatingLoss().discriminator(whole, FAKE)
    with pytest.raises(DTypeError, match=r"fake_logits .*int64"):
        NonSaturatingLoss().generator(whole)


def test_its_smoothing_can_be_read():
    """The smoothing that was given is an attribute, and shows in the repr."""
    smoothing = LabelSmoothing(real=0.8)

    assert NonSaturatingLoss().smoothing is None
    assert NonSaturatingLoss(smoothing).smoothing is smoothing
    assert repr(NonSaturatingLoss()) == "NonSaturatingLoss()"
    assert "real=0.8" in repr(NonSaturatingLoss(smoothing))
