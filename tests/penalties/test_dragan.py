"""Tests of what is special to DRAGAN's penalty."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.penalties import DRAGAN
from tests import strategies


def perturbed(real, **options):
    """The samples at which the gradient is taken."""
    critic = strategies.Recorder()
    DRAGAN(**options)(critic, real, torch.full((1,), math.nan))
    return critic.calls[0][0].detach()


@given(st.integers(1, 9), strategies.shapes, st.floats(0, 100), st.floats(0, 3))
def test_a_critic_with_unit_gradient_costs_nothing(n, shape, weight, noise):
    """For D(x) = x_1 the penalty is 0, wherever the noise carries the samples."""
    actual = DRAGAN(weight, noise=noise)(lambda x: x.flatten(1)[:, :1], torch.randn(n, *shape), torch.zeros(1))

    assert actual.item() == 0.0


@given(strategies.normals((5,), torch.float64), st.floats(0, 100), st.floats(0, 3))
def test_on_a_linear_critic_noise_does_not_matter(w, weight, noise):
    """For D(x) = <w, x> it is weight * (|w| - 1)^2 with any noise."""
    actual = DRAGAN(weight, noise=noise)(lambda x: x @ w, torch.randn(3, 5, dtype=torch.float64), torch.zeros(1))

    assert torch.allclose(weight * (w.norm() - 1).square(), actual)


@given(strategies.normals((4, 3), torch.float64), strategies.seeds)
def test_on_a_quadratic_critic_it_is_taken_at_the_noisy_samples(real, seed):
    """For D(x) = |x|^2 / 2 it is the mean of (|x + delta| - 1)^2 with delta of the samples' deviation times noise."""
    torch.manual_seed(seed)
    actual = DRAGAN(2.0, noise=0.7)(lambda x: x.square().sum(1) / 2, real, real)

    torch.manual_seed(seed)
    deviation = (real - real.mean()).square().mean().sqrt()
    near = real + 0.7 * deviation * torch.randn(4, 3, dtype=torch.float64)
    assert torch.allclose(2 * (near.square().sum(1).sqrt() - 1).square().mean(), actual)


@settings(max_examples=10)
@given(st.floats(0.125, 2), st.floats(0.1, 50), st.floats(-5, 5))
def test_the_noise_has_the_scale_of_the_samples(noise, scale, shift):
    """Noise is normal about 0, independent in every number, with noise times the deviation of all numbers in x."""
    torch.manual_seed(0)
    real = scale * torch.randn(2_000, 1, 2, 5) + shift

    delta = (perturbed(real, noise=noise) - real) / (noise * scale)

    assert pytest.approx(0.0, abs=0.03) == delta.mean().item()
    assert pytest.approx(1.0, abs=0.03) == delta.std().item()
    assert pytest.approx(3.0, abs=0.3) == delta.pow(4).mean().item()  # the kurtosis of a normal distribution
    assert pytest.approx(1.0, abs=0.2) == delta.flatten(1).std(0).min().item()
    assert delta.flatten(1).T.corrcoef().triu(1).abs().max() < 0.1


def test_the_noise_is_another_at_each_call():
    """Two calls look at two places."""
    real = torch.randn(3, 2)

    assert not torch.equal(perturbed(real), perturbed(real))


def test_without_noise_it_is_taken_at_the_samples():
    """With noise=0, and for samples that are all equal, the gradient is taken at the samples themselves."""
    real = torch.randn(3, 2)

    assert torch.equal(real, perturbed(real, noise=0.0))
    assert torch.equal(torch.ones(3, 2), perturbed(torch.ones(3, 2)))


def test_a_dead_critic_costs_its_weight_and_keeps_finite_gradients():
    """For D(x) = 0 x the penalty is the weight, and the gradient is no NaN."""
    a = torch.tensor(0.0, requires_grad=True)
    actual = DRAGAN(10.0)(lambda x: a * x, torch.randn(2, 1), torch.zeros(2, 1))
    actual.backward()

    assert pytest.approx(10.0) == actual.item()
    assert torch.tensor(0.0) == a.grad


def test_fakes_are_not_looked_at():
    """Fakes of any number and value leave the penalty as it is."""
    critic, real = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(4, 3)
    values = []
    for fake in (torch.zeros(4, 3), torch.full((7, 3), math.nan)):
        torch.manual_seed(0)
        values.append(DRAGAN()(critic, real, fake).item())

    assert values[0] == values[1]


@pytest.mark.parametrize("noise", [-0.1, math.nan, math.inf, "0.5"])
def test_a_bad_noise_is_refused(noise):
    """Noise that is negative, not finite or no number raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"noise \(={noise!r}\)") as caught:
        DRAGAN(noise=noise)
    assert isinstance(caught.value, GanlibError)


def test_its_arguments_can_be_read():
    """Weight, noise and interval are attributes and show in the repr; 10 and half a deviation are the defaults."""
    assert (DRAGAN().weight, DRAGAN().noise, DRAGAN().every) == (10.0, 0.5, 1)
    assert repr(DRAGAN(2.0, noise=0.25, every=4)) == "DRAGAN(weight=2.0, noise=0.25, every=4)"


def test_the_noise_may_be_a_tensor_that_changes():
    """Of a tensor the noise is that of its number, also after it was filled with another."""
    noise, x = torch.tensor(0.5), torch.randn(8, 3)
    penalty = DRAGAN(noise=noise)
    for number in (0.5, 0.25):
        noise.fill_(number)
        torch.manual_seed(0)
        expected = DRAGAN(noise=number)(lambda x: x.square().sum(1), x, x)
        torch.manual_seed(0)
        assert torch.equal(expected, penalty(lambda x: x.square().sum(1), x, x))
    with pytest.raises(ArgumentValueError, match=r"^noise \(=-1\.0\)"):
        DRAGAN(noise=torch.tensor(-1.0))
