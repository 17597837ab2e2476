"""Tests of what gradient penalties share."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.penalties._gradients import check_weight_and_every, squared_gradient_norms
from ganlib.protocols import DiscriminatorOutput
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


def test_a_batch_of_one_and_an_odd_batch_are_per_sample_too():
    """The norms of a batch are the norms of its samples one at a time."""
    critic, samples = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(7, 3)

    one_by_one = torch.cat([squared_gradient_norms(critic, sample[None], None) for sample in samples])

    assert torch.allclose(one_by_one, squared_gradient_norms(critic, samples, None))


def test_the_logits_of_a_patch_critic_are_summed():
    """A map of logits counts as the sum of its places: here the gradient is the map of factors."""
    factors = torch.arange(1.0, 7.0).view(1, 1, 2, 3)

    actual = squared_gradient_norms(lambda x: factors * x, torch.randn(2, 1, 2, 3), None)

    assert torch.allclose(factors.square().sum().expand(2), actual)


def test_a_tuple_of_logits_is_summed():
    """The logits of several scales count as their sum, whatever their shapes."""

    def critic(x):
        return 2 * x[:, :1], 3 * x[:, 1:]

    assert torch.allclose(
        torch.full((5,), 2.0**2 + 2 * 3.0**2), squared_gradient_norms(critic, torch.randn(5, 3), None)
    )


def test_of_a_discriminator_output_the_logits_count():
    """Class logits and features of a DiscriminatorOutput have no part in the norm; its logits may be a tuple."""

    def critic(x):
        return DiscriminatorOutput((2 * x[:, :1], 3 * x[:, 1:2]), class_logits=100 * x, features=(100 * x,))

    assert torch.allclose(torch.full((4,), 13.0), squared_gradient_norms(critic, torch.randn(4, 2), None))


def test_the_condition_is_given_only_where_there_is_one():
    """The critic is called with (samples), or with (samples, condition)."""
    critic, condition = strategies.Recorder(), torch.tensor([0, 1])

    squared_gradient_norms(critic, torch.zeros(2, 3), None)
    squared_gradient_norms(critic, torch.zeros(2, 3), condition)

    assert [len(call) for call in critic.calls] == [1, 2]
    assert critic.calls[1][1] is condition


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


def test_under_bf16_autocast_it_is_exactly_float32():
    """Under autocast a network's norms are bit for bit those without it."""
    critic, samples = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(6, 3)
    expected = squared_gradient_norms(critic, samples, None)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = squared_gradient_norms(critic, samples, None)

    assert torch.float32 == actual.dtype
    assert torch.equal(expected, actual)


@pytest.mark.parametrize(
    ("given_dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_samples_are_widened_to_float32(given_dtype, expected):
    """Half-precision samples are judged in float32, and float64 ones in float64."""
    assert expected == squared_gradient_norms(lambda x: 3 * x, torch.zeros(2, 1, dtype=given_dtype), None).dtype


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
