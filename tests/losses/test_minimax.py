"""Tests of the minimax loss."""

import math

import pytest
import torch
from hypothesis import given
from torch import nn

from ganlib.errors import DTypeError
from ganlib.losses import AdversarialLoss, LabelSmoothing, MinimaxLoss
from tests import strategies

REAL = torch.tensor([-5.0, 1.4, 12.5, 2.7])
FAKE = torch.tensor([10.0, 4.4, -5.5, 3.6])


@given(strategies.logits(largest=20, dtype=torch.float64), strategies.logits(largest=20, dtype=torch.float64))
def test_both_losses_are_the_formulas_of_the_paper(real, fake):
    """The losses equal their formulas in float64, for real and fake logits of any shapes."""
    expected_discriminator = -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean()
    expected_generator = (1 - fake.sigmoid()).log().mean()

    assert torch.allclose(expected_discriminator, MinimaxLoss().discriminator(real, fake), atol=1e-6)
    assert torch.allclose(expected_generator, MinimaxLoss().generator(fake), atol=1e-6)


def test_known_numbers():
    """On eight fixed logits the losses are the sums of log(1 + e^x) that one can write down."""
    real = sum(math.log1p(math.exp(-x)) for x in REAL.tolist()) / 4
    fake = sum(math.log1p(math.exp(x)) for x in FAKE.tolist()) / 4

    discriminator, generator = MinimaxLoss().discriminator(REAL, FAKE).item(), MinimaxLoss().generator(FAKE).item()

    assert pytest.approx(real + fake) == discriminator
    assert pytest.approx(5.83387, abs=1e-5) == discriminator
    assert pytest.approx(-fake) == generator
    assert pytest.approx(-4.51082, abs=1e-5) == generator


def test_tf_gans_numbers():
    """TF-GAN's own test numbers: real targets of 0.875, and a generator's loss less the constant log(1 + 1/e)."""
    assert pytest.approx(6.19637, abs=1e-5) == MinimaxLoss(LabelSmoothing(real=0.875)).discriminator(REAL, FAKE).item()
    assert pytest.approx(-4.82408, abs=1e-5) == MinimaxLoss().generator(FAKE).item() - math.log1p(math.exp(-1))


@given(strategies.logits(), strategies.logits())
def test_gradients_are_those_of_the_formula_at_any_logits(real, fake):
    """Up to 1e4 the losses are finite, and their gradients are the sigmoids that calculus gives."""
    real.requires_grad_()
    fake.requires_grad_()
    discriminator, generator = MinimaxLoss().discriminator(real, fake), MinimaxLoss().generator(fake)

    real_gradient, fake_gradient = torch.autograd.grad(discriminator, (real, fake))
    (generator_gradient,) = torch.autograd.grad(generator, fake)

    assert discriminator.isfinite()
    assert generator.isfinite()
    assert torch.allclose(-(-real).sigmoid() / real.numel(), real_gradient)
    assert torch.allclose(fake.sigmoid() / fake.numel(), fake_gradient)
    assert torch.allclose(-fake.sigmoid() / fake.numel(), generator_gradient)


def test_values_at_the_extremes():
    """At logits of 1e4 on the wrong side each term is 1e4, and on the right side 0."""
    low, high = torch.full((2, 1), -1e4), torch.full((2, 1), 1e4)

    assert torch.tensor(2e4) == MinimaxLoss().discriminator(low, high)
    assert torch.tensor(0.0) == MinimaxLoss().discriminator(high, low)
    assert torch.tensor(-1e4) == MinimaxLoss().generator(high)
    assert torch.tensor(0.0) == MinimaxLoss().generator(low)


@pytest.mark.parametrize("smoothing", [None, LabelSmoothing(real=0.9, fake=0.1)])
def test_under_bf16_autocast_losses_are_float32(smoothing):
    """Logits that autocast made bf16 give the very losses that the same logits in float32 give."""
    layer, loss = nn.Linear(3, 1), MinimaxLoss(smoothing)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = layer(torch.randn(5, 3))
        discriminator, generator = loss.discriminator(logits, -logits), loss.generator(logits)

    assert torch.bfloat16 == logits.dtype
    assert torch.float32 == discriminator.dtype == generator.dtype
    assert torch.equal(loss.discriminator(logits.float(), -logits.float()), discriminator)
    assert torch.equal(loss.generator(logits.float()), generator)


@given(strategies.logits(largest=20, dtype=torch.float64), strategies.logits(largest=20, dtype=torch.float64))
def test_smoothing_gives_cross_entropy_with_its_targets(real, fake):
    """With targets t the discriminator's loss is -t log p - (1 - t) log(1 - p), averaged on each side."""

    def cross_entropy(logits, target):
        p = logits.sigmoid()
        return -(target * p.log() + (1 - target) * (1 - p).log()).mean()

    actual = MinimaxLoss(LabelSmoothing(real=0.8, fake=0.3)).discriminator(real, fake)

    assert torch.allclose(cross_entropy(real, 0.8) + cross_entropy(fake, 0.3), actual, atol=1e-6)


@given(strategies.logits(), strategies.logits())
def test_smoothing_to_one_and_zero_changes_nothing(real, fake):
    """Targets of 1 and 0 are the plain loss."""
    expected = MinimaxLoss().discriminator(real, fake)

    assert torch.allclose(expected, MinimaxLoss(LabelSmoothing(real=1.0, fake=0.0)).discriminator(real, fake))


@given(strategies.logits())
def test_smoothing_does_not_reach_the_generator(fake):
    """The generator's loss is the same with any smoothing."""
    smoothing = LabelSmoothing(real=0.7, fake=0.2, jitter=0.3, flip=0.5)

    assert torch.equal(MinimaxLoss().generator(fake), MinimaxLoss(smoothing).generator(fake))


def test_smoothed_losses_stay_finite_at_the_extremes():
    """With a target of 0.9 a logit of 1e4 costs a tenth of it, and its gradient is a tenth."""
    real = torch.tensor([[1e4]], requires_grad=True)

    actual = MinimaxLoss(LabelSmoothing(real=0.9)).discriminator(real, torch.tensor([[-1e4]]))
    actual.backward()

    assert pytest.approx(1e3, rel=1e-4) == actual.item()
    assert pytest.approx(0.1, rel=1e-5) == real.grad.item()


def test_it_is_an_adversarial_loss_that_needs_no_real_logits():
    """It is an AdversarialLoss and asks for no real logits in the generator's update."""
    assert isinstance(MinimaxLoss(), AdversarialLoss)
    assert not getattr(MinimaxLoss(), "needs_real_logits", False)
    assert torch.equal(MinimaxLoss().generator(FAKE), MinimaxLoss().generator(FAKE, REAL))


def test_logits_that_are_not_floating_point_are_refused():
    """Integer logits raise an error that names which of them it was."""
    whole = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(DTypeError, match=r"real_logits .*int64"):
        MinimaxLoss().discriminator(whole, FAKE)
    with pytest.raises(DTypeError, match=r"fake_logits .*int64"):
        MinimaxLoss().discriminator(REAL, whole)
    with pytest.raises(DTypeError, match=r"fake_logits .*int64"):
        MinimaxLoss().generator(whole)


def test_repr_shows_the_smoothing():
    """The repr names the smoothing only where there is one."""
    assert repr(MinimaxLoss()) == "MinimaxLoss()"
    assert "real=0.8" in repr(MinimaxLoss(LabelSmoothing(real=0.8)))
