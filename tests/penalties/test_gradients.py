"""Tests of what gradient penalties share."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.penalties._gradients import check_number, check_weight_and_every, gradient_norms, squared_gradient_norms
from tests import strategies


@given(strategies.shapes, strategies.seeds)
def test_a_linear_critic_has_the_norm_of_its_weights(shape, seed):
    """For D(x) = <w, x> every sample's squared norm is |w|^2, for samples of any shape."""
    w = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    samples = torch.zeros(3, *shape)

    actual = squared_gradient_norms(lambda x: (w * x).flatten(1).sum(1, keepdim=True), samples, None)

    assert torch.allclose(w.square().sum().expand(3), actual)


@given(strategies.normals((4, 5)))
def test_norms_are_taken_per_sample(samples):
    """For D(x) = |x|^2 / 2 a sample's squared norm is its own |x|^2."""
    actual = squared_gradient_norms(lambda x: x.square().sum(1, keepdim=True) / 2, samples, None)

    assert torch.allclose(samples.square().sum(1), actual)


def test_it_can_be_differentiated_again():
    """For D(x) = a x the squared norm is a^2 and its derivative 2a; the samples get no gradient."""
    a, samples = torch.tensor(3.0, requires_grad=True), torch.randn(4, 1, requires_grad=True)

    squared_gradient_norms(lambda x: a * x, samples, None).mean().backward()

    assert torch.allclose(torch.tensor(6.0), a.grad)
    assert samples.grad is None


def test_it_works_where_gradients_are_off():
    """Under no_grad the norms are those with gradients on."""
    with torch.no_grad():
        actual = squared_gradient_norms(lambda x: 3 * x, torch.zeros(2, 1), None)

    assert actual.tolist() == [9.0, 9.0]


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_samples_are_widened_to_float32(given_dtype, expected):
    """Half-precision samples are judged in float32, and float64 ones in float64."""
    assert expected == squared_gradient_norms(lambda x: 3 * x, torch.zeros(2, 1, dtype=given_dtype), None).dtype


@given(strategies.normals((4, 5), torch.float64))
def test_norms_are_roots_of_the_squared_ones(samples):
    """For D(x) = |x|^2 / 2 a sample's norm is its own |x|."""
    actual = gradient_norms(lambda x: x.square().sum(1, keepdim=True) / 2, samples, None)

    assert torch.allclose(samples.norm(dim=1), actual)


def test_the_norm_of_a_gradient_of_zero_has_a_finite_slope():
    """For D(x) = a x at a = 0 the norm is 0 within rounding, and its derivative 0 and not NaN."""
    a = torch.tensor(0.0, requires_grad=True)
    norm = gradient_norms(lambda x: a * x, torch.ones(2, 1), None)
    norm.sum().backward()

    assert norm.max() <= 1e-12
    assert torch.tensor(0.0) == a.grad


@given(st.floats(1e-6, 1e6))
def test_the_slope_of_the_norm_is_right_for_small_and_large_gradients(a):
    """For D(x) = a x, a > 0, the norm is a and its derivative 1."""
    a = torch.tensor(a, requires_grad=True)
    norm = gradient_norms(lambda x: a * x, torch.ones(1, 1), None)
    norm.sum().backward()

    assert torch.allclose(a.detach(), norm.detach())
    assert torch.allclose(torch.tensor(1.0), a.grad)


class Blind(nn.Module):
    """A critic with a parameter, which does not look at its samples."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        """The same for all."""
        return self.bias.expand(len(x), 1)


@pytest.mark.parametrize("norms", [squared_gradient_norms, gradient_norms])
@pytest.mark.parametrize("critic", [Blind(), lambda x: torch.zeros(len(x), 1), lambda x: (x.detach(), x.detach())])
def test_a_critic_that_ignores_its_samples_is_refused(norms, critic):
    """Logits that do not depend on the samples raise an error that says so, and not one of autograd's."""
    with pytest.raises(ArgumentValueError, match="discriminator gave logits that do not depend") as caught:
        norms(critic, torch.zeros(2, 3), None)
    assert isinstance(caught.value, GanlibError)


def test_a_critic_may_ignore_samples_in_one_of_its_scales():
    """One scale that depends on the samples is enough; the other has no slope."""
    actual = squared_gradient_norms(lambda x: (torch.ones(len(x), 1), 3 * x), torch.zeros(2, 1), None)

    assert actual.tolist() == [9.0, 9.0]


@given(st.one_of(st.floats(max_value=0, exclude_max=True), st.sampled_from([math.nan, math.inf])))
def test_a_weight_out_of_range_is_refused(weight):
    """A weight that is negative or not finite raises an error that names it."""
    with pytest.raises(ArgumentValueError) as caught:
        check_weight_and_every(weight, 1)
    assert f"weight (={weight})" in str(caught.value)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("every", [0, -1, 1.5])
def test_an_interval_out_of_range_is_refused(every):
    """An interval that is no whole number of at least 1 raises an error that names it."""
    with pytest.raises(ArgumentValueError, match=rf"every \(={every}\)"):
        check_weight_and_every(1.0, every)


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.5", None])
def test_what_is_no_number_is_named(value):
    """A value that is negative, not finite or no number is quoted under its name; 0 and more pass."""
    assert check_number("noise", 0) is check_number("noise", 0.5) is None
    with pytest.raises(ArgumentValueError, match=rf"^noise \(={value!r}\) must be a finite number of at least 0$"):
        check_number("noise", value)
