"""Tests of label smoothing."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.losses import LabelSmoothing, LeastSquaresLoss, MinimaxLoss, NonSaturatingLoss
from tests import strategies

probabilities = st.floats(0, 1)


@given(strategies.logits(), probabilities, probabilities)
def test_fixed_targets_are_the_numbers_given(logits, real, fake):
    """Without jitter and flips every target is the number that was given."""
    assume(real != fake)
    real, fake = max(real, fake), min(real, fake)
    smoothing = LabelSmoothing(real=real, fake=fake)

    assert torch.equal(torch.full_like(logits, real), smoothing.real_targets(logits))
    assert torch.equal(torch.full_like(logits, fake), smoothing.fake_targets(logits))


def test_the_default_is_one_sided():
    """By default real targets are 0.9 and fake ones 0, as in Salimans et al."""
    assert LabelSmoothing(real=0.9, fake=0.0, jitter=0.0, flip=0.0) == LabelSmoothing()


@given(strategies.logits(), st.floats(0.01, 2))
def test_jitter_stays_within_its_width(logits, jitter):
    """Targets with jitter are within its half-width of the number given."""
    targets = LabelSmoothing(real=0.8, fake=0.2, jitter=jitter).real_targets(logits)

    assert logits.shape == targets.shape
    assert (targets - 0.8).abs().max() <= jitter + 1e-6


@given(st.floats(0, 1), st.floats(0, 0.5))
def test_all_targets_of_one_sample_are_equal(jitter, flip):
    """Jitter and flips are drawn per sample: a map of logits has one target."""
    targets = LabelSmoothing(jitter=jitter, flip=flip).fake_targets(torch.zeros(4, 1, 3, 2))

    assert torch.equal(targets[:, :1, :1, :1].expand_as(targets), targets)


def test_jitter_is_uniform_and_differs_between_samples():
    """Over many samples jitter has the mean and the variance of U(-j, j), and no two samples share it."""
    torch.manual_seed(0)

    targets = LabelSmoothing(real=0.9, jitter=0.3).real_targets(torch.zeros(20_000, 1, dtype=torch.float64))

    assert pytest.approx(0.9, abs=0.01) == targets.mean().item()
    assert pytest.approx(0.3 / math.sqrt(3), abs=0.01) == targets.std().item()
    assert len(targets.unique()) == 20_000


@pytest.mark.filterwarnings("ignore:flip")
def test_a_flipped_sample_gets_the_other_sides_target():
    """With flip=1 the sides change places; with flip=0.25 a quarter of the samples do."""
    torch.manual_seed(0)
    logits = torch.zeros(20_000, 1)
    always, sometimes = LabelSmoothing(real=0.9, fake=0.1, flip=1.0), LabelSmoothing(real=0.9, fake=0.1, flip=0.25)

    assert torch.equal(torch.full_like(logits, 0.1), always.real_targets(logits))
    assert torch.equal(torch.full_like(logits, 0.9), always.fake_targets(logits))
    assert {0.1, 0.9} == {round(target.item(), 6) for target in sometimes.real_targets(logits).unique()}
    assert pytest.approx(0.25, abs=0.02) == (sometimes.real_targets(logits) < 0.5).double().mean().item()


@pytest.mark.filterwarnings("ignore:flip")
def test_flips_and_jitter_act_together():
    """A flipped sample's jitter lies around the other side's target."""
    targets = LabelSmoothing(real=0.9, fake=0.1, jitter=0.05, flip=1.0).real_targets(torch.zeros(100, 1))

    assert (targets - 0.1).abs().max() <= 0.05 + 1e-6
    assert targets.std() > 0


def test_jitter_leaves_the_expected_gradient_alone():
    """Averaged over many samples the gradient with jitter is the gradient without."""
    torch.manual_seed(0)
    real = torch.zeros(20_000, 1, dtype=torch.float64, requires_grad=True)

    MinimaxLoss(LabelSmoothing(real=0.9, jitter=0.5)).discriminator(real, torch.zeros(1, 1)).backward()

    assert pytest.approx(0.5 - 0.9, abs=0.01) == real.grad.sum().item()


def test_fixed_targets_draw_no_random_numbers():
    """Smoothing without jitter and flips leaves torch's random state as it was."""
    before = torch.get_rng_state()
    LabelSmoothing(real=0.9).real_targets(torch.zeros(3, 1))

    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["real", "fake", "flip"])
@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf])
def test_targets_and_probabilities_out_of_range_are_refused(name, value):
    """Targets and flips outside of [0, 1] raise an error that names them."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={value}\)") as caught:
        LabelSmoothing(**{name: value})
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(("real", "fake"), [(0.1, 0.9), (0.5, 0.5), (0.0, 0.0)])
def test_a_real_target_that_is_not_above_the_fake_one_is_refused(real, fake):
    """Targets that are exchanged or equal, with which the generator learns the opposite, raise an error."""
    with pytest.raises(ArgumentValueError, match=rf"real \(={real}\) must be above fake \(={fake}\)"):
        LabelSmoothing(real=real, fake=fake)


def test_more_flips_than_not_are_warned_of():
    """A probability of flips above 0.5 is warned of, and one of 0.5 is not."""
    LabelSmoothing(flip=0.5)
    with pytest.warns(UserWarning, match=r"flip \(=0.9\) is the probability of a wrong target"):
        LabelSmoothing(flip=0.9)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_jitter_out_of_range_is_refused(value):
    """A negative or infinite jitter raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"jitter \(={value}\)"):
        LabelSmoothing(jitter=value)


@pytest.mark.parametrize("loss_type", [MinimaxLoss, NonSaturatingLoss, LeastSquaresLoss])
def test_a_bare_number_is_no_smoothing(loss_type):
    """A loss given 0.9 in the place of LabelSmoothing(0.9) says so when it is made."""
    with pytest.raises(ArgumentTypeError, match=r"smoothing \(=0.9\) must be a LabelSmoothing"):
        loss_type(0.9)
