"""Tests of what is special to the minimax loss."""

import pytest
import torch
from hypothesis import given

from ganlib.losses import LabelSmoothing, MinimaxLoss
from tests import strategies


@given(strategies.logits(), strategies.logits())
def test_gradients_are_the_sigmoids_that_calculus_gives(real, fake):
    """At any logits the gradients are those of the formula: sigmoids over the number of logits."""
    real.requires_grad_()
    fake.requires_grad_()

    real_gradient, fake_gradient = torch.autograd.grad(MinimaxLoss().discriminator(real, fake), (real, fake))
    (generator_gradient,) = torch.autograd.grad(MinimaxLoss().generator(fake), fake)

    assert torch.allclose(-(-real).sigmoid() / real.numel(), real_gradient)
    assert torch.allclose(fake.sigmoid() / fake.numel(), fake_gradient)
    assert torch.allclose(-fake.sigmoid() / fake.numel(), generator_gradient)


def test_values_at_the_extremes():
    """At logits of 1e4 on the wrong side each part is 1e4, and on the right side 0."""
    low, high = torch.full((2, 1), -1e4), torch.full((2, 1), 1e4)

    assert torch.tensor(2e4) == MinimaxLoss().discriminator(low, high)
    assert torch.tensor(0.0) == MinimaxLoss().discriminator(high, low)
    assert torch.tensor(-1e4) == MinimaxLoss().generator(high)
    assert torch.tensor(0.0) == MinimaxLoss().generator(low)


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


def test_repr_shows_the_smoothing():
    """The repr names the smoothing only where there is one."""
    assert repr(MinimaxLoss()) == "MinimaxLoss()"
    assert "real=0.8" in repr(MinimaxLoss(LabelSmoothing(real=0.8)))
