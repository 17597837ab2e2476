"""Tests of what all stacks are made of."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import make_activation, make_norm
from ganlib.stacks._blocks import Block, check_dropout, check_shape


@pytest.mark.parametrize(
    ("norm", "dims", "expected"),
    [
        ("batch", 0, nn.BatchNorm1d),
        ("batch", 1, nn.BatchNorm1d),
        ("batch", 2, nn.BatchNorm2d),
        ("batch", 3, nn.BatchNorm3d),
        ("instance", 1, nn.InstanceNorm1d),
        ("instance", 2, nn.InstanceNorm2d),
        ("instance", 3, nn.InstanceNorm3d),
        ("group", 0, nn.GroupNorm),
        ("group", 3, nn.GroupNorm),
        ("none", 2, nn.Identity),
    ],
)
def test_a_word_stands_for_a_norm(norm, dims, expected):
    """Each word gives torch's norm of the right dimensions, which takes (N, C, *spatial) and has a gain and bias."""
    made = make_norm(norm, 6, dims)
    x = torch.randn(3, 6, *[4] * dims)

    assert expected is type(made)
    assert x.shape == made(x).shape
    if norm != "none":
        assert (6,) == made.weight.shape == made.bias.shape


@given(st.integers(1, 200))
def test_group_norm_has_groups_that_divide(channels):
    """The groups divide the channels and 32, and no larger number does."""
    groups = make_norm("group", channels, 2).num_groups

    assert max(g for g in range(1, 33) if channels % g == 0 and 32 % g == 0) == groups


def test_a_function_makes_its_own_norm():
    """A function is called with the channels, and what it gives is the norm."""
    made = make_norm(lambda channels: nn.LayerNorm([channels, 2]), 6, 1)

    assert made.normalized_shape == (6, 2)


@pytest.mark.parametrize(("norm", "dims"), [("layer", 2), ("instance", 0), (None, 2), (1, 2)])
def test_another_norm_is_refused(norm, dims):
    """Another word, or instance norm of vectors, raises an error that quotes it."""
    with pytest.raises(ArgumentValueError, match="norm") as caught:
        make_norm(norm, 4, dims)
    assert f"norm (={norm!r})" in str(caught.value)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


def test_activations_are_made_fresh():
    """A module is copied, a function called, and None is no activation."""
    given_module = nn.PReLU()

    assert isinstance(make_activation(given_module), nn.PReLU)
    assert make_activation(given_module) is not given_module
    assert isinstance(make_activation(nn.Tanh), nn.Tanh)
    assert make_activation(lambda: nn.LeakyReLU(0.3)).negative_slope == 0.3
    assert isinstance(make_activation(None), nn.Identity)


@pytest.mark.parametrize("activation", ["relu", 3, lambda: 3])
def test_another_activation_is_refused(activation):
    """What makes no module raises an error with the argument's name and the value."""
    with pytest.raises(ArgumentTypeError, match="last_activation") as caught:
        make_activation(activation, "last_activation")
    assert repr(activation) in str(caught.value)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, TypeError)


def test_a_block_is_its_parts_in_order():
    """A block is activation(norm(layer(x)))."""
    layer = nn.Linear(3, 5)
    block = Block(layer, norm="group", channels=5, spatial_dims=0, activation=nn.Tanh)
    x = torch.randn(4, 3)

    assert torch.allclose(nn.functional.group_norm(layer(x), 1).tanh(), block(x), atol=1e-6)


def test_dropout_acts_in_training_alone():
    """In training a share of the outputs is 0 and the rest scaled; in evaluation all are as they were."""
    torch.manual_seed(0)
    layer = nn.Linear(1, 20_000)
    block = Block(layer, norm="none", channels=20_000, spatial_dims=0, activation=None, dropout=0.25)
    x = torch.ones(1, 1)

    trained = block(x)
    kept = trained != 0

    assert pytest.approx(0.75, abs=0.02) == kept.float().mean().item()
    assert torch.allclose((layer(x) / 0.75)[kept], trained[kept])
    assert torch.equal(layer(x), block.eval()(x))


def test_a_norm_that_needs_a_condition_is_given_it():
    """A norm with needs_condition gets (x, condition)."""

    class Shift(nn.Module):
        needs_condition = True

        def forward(self, x, condition):
            return x + condition[:, None]

    block = Block(nn.Identity(), norm=lambda channels: Shift(), channels=2, spatial_dims=0, activation=None)

    assert block.needs_condition
    assert torch.equal(torch.tensor([[3.0, 3.0]]), block(torch.zeros(1, 2), torch.tensor([3.0])))


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1, math.nan])
def test_a_dropout_out_of_range_is_refused(dropout):
    """A dropout outside of [0, 1) is named and quoted."""
    with pytest.raises(ArgumentValueError, match="dropout") as caught:
        check_dropout(dropout)
    assert f"(={dropout})" in str(caught.value)


def test_another_shape_is_refused():
    """A batch of another shape is named, with both shapes."""
    check_shape(torch.zeros(2, 3, 4), (3, 4), "sample")
    with pytest.raises(ShapeError, match=r"sample \(2, 3, 5\) must have shape \(N, 3, 4\)") as caught:
        check_shape(torch.zeros(2, 3, 5), (3, 4), "sample")
    assert isinstance(caught.value, ValueError)
