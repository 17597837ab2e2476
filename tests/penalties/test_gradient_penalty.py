"""Tests of what is special to WGAN-GP's penalty."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.penalties import GradientPenalty
from tests import strategies


@given(st.integers(1, 9), strategies.shapes, st.floats(0, 100))
def test_a_critic_with_unit_gradient_costs_nothing(n, shape, weight):
    """For D(x) = x_1 the penalty is 0, whatever the batch size, the sample's shape and the weight."""
    actual = GradientPenalty(weight)(lambda x: x.flatten(1)[:, :1], torch.randn(n, *shape), torch.randn(n, *shape))

    assert actual.item() == 0.0


@given(strategies.normals((5,)), st.floats(0, 100), st.integers(1, 5))
def test_on_a_linear_critic(w, weight, n):
    """For D(x) = <w, x> it is weight * (|w| - 1)^2."""
    actual = GradientPenalty(weight)(lambda x: x @ w, torch.randn(n, 5), torch.randn(n, 5))

    assert torch.allclose(weight * (w.norm() - 1).square(), actual, rtol=1e-4, atol=1e-5)


def test_every_sample_is_mixed_with_its_own_share():
    """Between 1 and 0 a mixed sample is one share at all its positions, uniform in (0, 1) over samples."""
    torch.manual_seed(0)
    critic = strategies.Recorder()

    GradientPenalty()(critic, torch.ones(10_000, 1, 2, 1), torch.zeros(10_000, 1, 2, 1))
    mixed = critic.calls[0][0].detach()

    assert torch.equal(mixed[:, :, :1].expand_as(mixed), mixed)
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    assert pytest.approx(0.5, abs=0.02) == mixed.mean().item()
    assert pytest.approx(1 / 12, abs=0.01) == mixed[:, 0, 0].var().item()


@given(strategies.normals((3, 4)), strategies.normals((3, 4)))
def test_mixed_samples_lie_between_real_and_fake(real, fake):
    """From fake to mixed to real is no longer than from fake to real, for each sample."""
    critic = strategies.Recorder()

    GradientPenalty()(critic, real, fake)
    mixed = critic.calls[0][0].detach()

    detour = (mixed - fake).norm(dim=1) + (real - mixed).norm(dim=1)
    assert torch.allclose((real - fake).norm(dim=1), detour, atol=1e-4)


def test_a_dead_critic_costs_its_weight_and_keeps_finite_gradients():
    """For D(x) = 0 x the penalty is the weight, and the gradient is no NaN."""
    a = torch.tensor(0.0, requires_grad=True)
    actual = GradientPenalty(10.0)(lambda x: a * x, torch.ones(2, 1), torch.zeros(2, 1))
    actual.backward()

    assert pytest.approx(10.0) == actual.item()
    assert torch.tensor(0.0) == a.grad


def test_conditions_reach_the_critic():
    """The critic gets the condition that both sides share, given once, twice or as equal tensors."""
    real, fake, condition = torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 1])
    for fake_condition in (None, condition, condition.clone()):
        critic = strategies.Recorder()
        GradientPenalty()(critic, real, fake, condition, fake_condition)
        assert critic.calls[0][1] is condition


@pytest.mark.parametrize("condition", [None, torch.tensor([0, 1]), torch.tensor([0.0, 0.0])])
def test_two_different_conditions_are_refused(condition):
    """A mixed sample has one condition, so that two different ones raise an error that names fake_condition."""
    with pytest.raises(ArgumentValueError, match="fake_condition must equal condition") as caught:
        GradientPenalty()(strategies.Recorder(), torch.zeros(2, 3), torch.zeros(2, 3), condition, torch.tensor([1, 0]))
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("make", [lambda x: {"class": x, "more": (x + 1, None)}, lambda x: (x, [{"angle": 2 * x}])])
def test_nested_conditions_are_compared(make):
    """Dicts and tuples of equal tensors are equal conditions; one other tensor, key or length makes them different."""
    real, fake, classes = torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([0, 1])
    critic, condition = strategies.Recorder(), make(classes)
    GradientPenalty()(critic, real, fake, condition, make(classes.clone()))
    assert critic.calls[0][1] is condition

    for other in (make(classes.flip(0)), classes, (classes,), {"class": classes}):
        with pytest.raises(ArgumentValueError, match="fake_condition must equal condition"):
            GradientPenalty()(critic, real, fake, condition, other)


def test_two_different_shapes_are_refused():
    """Real and fake samples of two shapes raise an error that quotes both."""
    with pytest.raises(ShapeError, match=r"real \(2, 3\) and fake \(4, 3\)") as caught:
        GradientPenalty()(strategies.Recorder(), torch.zeros(2, 3), torch.zeros(4, 3))
    assert isinstance(caught.value, ValueError)


def test_its_arguments_can_be_read():
    """Weight and interval are attributes and show in the repr; the paper's 10 is the default."""
    assert (GradientPenalty().weight, GradientPenalty().every) == (10.0, 1)
    assert repr(GradientPenalty(2.0, every=4)) == "GradientPenalty(weight=2.0, every=4)"
