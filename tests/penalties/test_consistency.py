"""Tests of what is special to consistency regularisation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import augment
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.penalties import Consistency
from tests import strategies

F64 = torch.float64
weights = st.floats(0, 100)


@given(strategies.normals((5,), F64), strategies.normals((5,), F64), weights, weights, st.integers(1, 4))
def test_on_a_linear_critic_a_shift_costs_its_square(w, shift, weight, fake_weight, n):
    """For D(x) = <w, x> and T(x) = x + s it is (weight + fake_weight) * <w, s>^2, for any samples."""
    penalty = Consistency(lambda x: x + shift, weight, fake_weight=fake_weight)

    actual = penalty(lambda x: x @ w, torch.randn(n, 5, dtype=F64), torch.randn(2 * n, 5, dtype=F64))

    assert torch.allclose((weight + fake_weight) * (w @ shift).square(), actual)


@given(strategies.normals((4, 3), F64), strategies.normals((2, 3), F64), weights, weights)
def test_each_side_has_its_own_weight_and_mean(real, fake, weight, fake_weight):
    """For D(x) = x_1 and T(x) = 0 it is weight * mean x_1^2 of real samples plus fake_weight times that of fakes."""
    penalty = Consistency(torch.zeros_like, weight, fake_weight=fake_weight)

    actual = penalty(lambda x: x[:, :1], real, fake)

    expected = weight * (real[:, 0] ** 2).mean() + fake_weight * (fake[:, 0] ** 2).mean()
    assert torch.allclose(expected, actual)


@given(strategies.normals((4, 1, 2, 3), F64))
def test_the_squares_of_a_samples_logits_are_summed(real):
    """Places and scales count as the sum of their squares: for D(x) = (x, 2x_1) and T(x) = 0, |x|^2 + 4 x_1^2."""
    actual = Consistency(torch.zeros_like, 1.0)(lambda x: (x, 2 * x.flatten(1)[:, 0]), real, real)

    flat = real.flatten(1)
    assert torch.allclose((flat.square().sum(1) + 4 * flat[:, 0] ** 2).mean(), actual)


def test_fakes_are_left_alone_by_default():
    """Without a weight on fakes the discriminator sees the real samples and their twins alone."""
    critic, real = strategies.Recorder(), torch.randn(2, 3)

    actual = Consistency(lambda x: x + 1, 1.0)(critic, real, torch.full((2, 3), math.nan))

    assert len(critic.calls) == 2
    assert torch.equal(real, critic.calls[0][0])
    assert torch.equal(real + 1, critic.calls[1][0])
    assert pytest.approx(3.0) == actual.item()


def test_each_sides_twin_has_its_condition():
    """A sample and its augmented copy have one condition, that of their side."""
    critic, real, fake = strategies.Recorder(), torch.zeros(2, 3), torch.ones(2, 3)
    condition, fake_condition = torch.tensor([0, 1]), torch.tensor([2, 3])

    Consistency(lambda x: x + 2, fake_weight=1.0)(critic, real, fake, condition, fake_condition)

    assert [(call[0].mean().item(), call[1].tolist()) for call in critic.calls] == [
        (0.0, [0, 1]),
        (2.0, [0, 1]),
        (1.0, [2, 3]),
        (3.0, [2, 3]),
    ]


def test_an_augmentation_that_changes_nothing_costs_nothing():
    """With the identity the penalty is 0, and so is its gradient."""
    critic, samples = nn.Linear(3, 1), torch.randn(4, 3)
    actual = Consistency(nn.Identity(), fake_weight=10.0)(critic, samples, -samples)
    actual.backward()

    assert actual.item() == 0.0
    assert torch.equal(torch.zeros(1, 3), critic.weight.grad)


def test_the_gradient_reaches_both_twins():
    """For D(x) = a x and T(x) = x + 1 the penalty is a^2 and its derivative 2a."""
    a = torch.tensor(3.0, requires_grad=True)
    actual = Consistency(lambda x: x + 1, 1.0)(lambda x: a * x, torch.randn(5, 1), torch.randn(5, 1))
    actual.backward()

    assert pytest.approx(9.0, rel=1e-5) == actual.item()
    assert pytest.approx(6.0, rel=1e-5) == a.grad.item()


def test_a_critic_that_is_blind_to_flips_pays_nothing_for_them():
    """With ganlib's own flip a critic of the mean pays nothing, and one of the left edge does."""
    torch.manual_seed(0)
    samples = torch.randn(64, 1, 4, 4)
    penalty = Consistency(augment.RandomHorizontalFlip())

    assert penalty(lambda x: x.mean((1, 2, 3)), samples, samples) < 1e-10
    assert penalty(lambda x: x[..., 0].mean((1, 2)), samples, samples) > 0.1


def test_what_cannot_be_called_is_refused():
    """An augmentation that cannot be called raises an error that shows it."""
    with pytest.raises(ArgumentTypeError, match=r"augment \(='flip'\) must be callable") as caught:
        Consistency("flip")
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_bad_weight_on_fakes_is_refused(weight):
    """A weight on fakes that is negative or not finite raises an error that names it."""
    for one in (weight, torch.tensor(weight)):
        with pytest.raises(ArgumentValueError, match=rf"fake_weight \(={weight}\)"):
            Consistency(nn.Identity(), fake_weight=one)


def test_a_weight_on_fakes_may_grow_from_0():
    """A tensor that holds 0 counts as 0, and as what it is filled with in later calls."""
    weight, samples = torch.tensor(0.0), torch.ones(2, 1)
    penalty = Consistency(lambda x: x + 1, 2.0, fake_weight=weight)

    first = penalty(lambda x: 3 * x, samples, samples)
    weight.fill_(1.0)

    assert (first.item(), penalty(lambda x: 3 * x, samples, samples).item()) == (18.0, 27.0)
    assert repr(penalty) == "Consistency(weight=2.0, fake_weight=1.0, every=1)"


def test_its_arguments_can_be_read():
    """The arguments are attributes, and the numbers show in the repr; the paper's 10 is the default."""
    penalty = Consistency(abs, 2.0, fake_weight=3.0, every=4)

    assert (penalty.augment, penalty.weight, penalty.fake_weight, penalty.every) == (abs, 2.0, 3.0, 4)
    assert (Consistency(abs).weight, Consistency(abs).fake_weight) == (10.0, 0.0)
    assert repr(penalty) == "Consistency(weight=2.0, fake_weight=3.0, every=4)"
