"""Tests of what is special to the least-squares loss."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.losses import LabelSmoothing, LeastSquaresLoss
from tests import strategies

targets = st.floats(-10, 10, width=32)
logits = strategies.logits(largest=20, dtype=torch.float64)


@given(logits, logits, targets, targets, targets)
def test_targets_are_free(real, fake, b, a, c):
    """With targets b, a and c the losses are half the mean squares of the distances from them."""
    assume((c - a) * (b - a) > 0)
    loss = LeastSquaresLoss(real_target=b, fake_target=a, generator_target=c)

    assert torch.allclose(((real - b) ** 2).mean() / 2 + ((fake - a) ** 2).mean() / 2, loss.discriminator(real, fake))
    assert torch.allclose(((fake - c) ** 2).mean() / 2, loss.generator(fake))


def test_the_targets_of_the_second_choice_of_the_paper():
    """With a = -1, b = 1, c = 0 logits at their targets cost nothing, and nothing but them."""
    loss = LeastSquaresLoss(real_target=1.0, fake_target=-1.0, generator_target=0.0)
    ones, zeros = torch.ones(3, 1), torch.zeros(3, 1)

    assert (loss.discriminator(ones, -ones).item(), loss.generator(zeros).item()) == (0.0, 0.0)
    assert (loss.discriminator(-ones, ones).item(), loss.generator(ones).item()) == (4.0, 0.5)


@given(logits, logits, targets, targets, st.floats(0, 1), st.floats(0, 1))
def test_smoothing_is_read_on_the_scale_from_the_fake_to_the_real_target(real, fake, b, a, smooth_real, smooth_fake):
    """A smoothed target t lies at a + t (b - a): 0 is the fake target and 1 the real one."""
    assume(a != b and smooth_real > smooth_fake)
    smoothing = LabelSmoothing(real=smooth_real, fake=smooth_fake)
    loss = LeastSquaresLoss(smoothing, real_target=b, fake_target=a, generator_target=b)

    expected = ((real - (a + smooth_real * (b - a))) ** 2).mean() / 2
    expected = expected + ((fake - (a + smooth_fake * (b - a))) ** 2).mean() / 2

    assert torch.allclose(expected, loss.discriminator(real, fake))


@pytest.mark.filterwarnings("ignore:flip")
@given(logits, logits, targets, targets)
def test_a_flip_exchanges_the_two_targets(real, fake, b, a):
    """With every label flipped the discriminator's loss is the one of exchanged targets."""
    assume(a != b)
    smoothing = LabelSmoothing(real=1.0, flip=1.0)
    flipped = LeastSquaresLoss(smoothing, real_target=b, fake_target=a, generator_target=b)
    exchanged = LeastSquaresLoss(real_target=a, fake_target=b, generator_target=a)

    assert torch.allclose(exchanged.discriminator(real, fake), flipped.discriminator(real, fake))


@given(strategies.logits())
def test_smoothing_does_not_reach_the_generator(fake):
    """The generator's loss is the same with any smoothing."""
    smoothing = LabelSmoothing(real=0.7, fake=0.2, jitter=0.3, flip=0.5)

    assert torch.equal(LeastSquaresLoss().generator(fake), LeastSquaresLoss(smoothing).generator(fake))


@pytest.mark.parametrize("name", ["real_target", "fake_target", "generator_target"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_targets_that_are_not_finite_are_refused(name, value):
    """A target that is not finite raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={value}\) must be a finite number") as caught:
        LeastSquaresLoss(**{name: value})
    assert isinstance(caught.value, GanlibError)


def test_equal_targets_of_the_discriminator_are_refused():
    """Real and fake targets that are equal, which leave nothing to tell apart, raise an error that quotes both."""
    with pytest.raises(ArgumentValueError, match=r"real_target \(=0\.0\) must differ from fake_target \(=0\.0\)"):
        LeastSquaresLoss(real_target=0.0)


@pytest.mark.parametrize("targets", [(1.0, 0.0, 0.0), (1.0, 0.0, -1.0), (0.0, 1.0, 1.0), (-1.0, 1.0, 2.0)])
def test_a_generators_target_on_the_side_of_fakes_is_refused(targets):
    """A target that makes the generator's samples fake raises an error that quotes all three."""
    real, fake, generator = targets
    with pytest.raises(ArgumentValueError, match=rf"generator_target \(={generator}\) .* \(={real}\) .* \(={fake}\)"):
        LeastSquaresLoss(real_target=real, fake_target=fake, generator_target=generator)


def test_repr_shows_the_targets():
    """The repr names the targets, and the smoothing where there is one."""
    assert repr(LeastSquaresLoss()) == "LeastSquaresLoss(real_target=1.0, fake_target=0.0, generator_target=1.0)"
    assert repr(LeastSquaresLoss(LabelSmoothing(real=0.8))).startswith(
        "LeastSquaresLoss(smoothing=LabelSmoothing(real=0.8"
    )
