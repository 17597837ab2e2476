"""Tests of what all stacks are made of."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.stacks import (
    ConvStack,
    ConvTransposeStack,
    PixelNorm,
    StackPlan,
    Stage,
    UNet,
    UpsampleConv,
    make_activation,
    make_norm,
)
from ganlib.stacks._blocks import Block, needs_bias


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
        ("pixel", 0, PixelNorm),
        ("pixel", 2, PixelNorm),
        ("none", 2, nn.Identity),
    ],
)
def test_a_word_stands_for_a_norm(norm, dims, expected):
    """Each word gives the norm of the right dimensions, for (N, C, *spatial); torch's have a gain and bias."""
    made = make_norm(norm, 6, dims)
    x = torch.randn(3, 6, *[4] * dims)

    assert expected is type(made)
    assert x.shape == made(x).shape
    if norm not in ("pixel", "none"):
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


def test_a_function_may_name_an_option():
    """What it gives is a norm, one of the options, or None; anything else is an error, not a layer without a norm."""
    assert type(make_norm(lambda channels: "batch" if channels > 4 else "none", 6, 2)) is nn.BatchNorm2d
    assert type(make_norm(lambda channels: "batch" if channels > 4 else "none", 4, 2)) is nn.Identity
    assert type(make_norm(lambda channels: None, 4, 2)) is nn.Identity
    for made, error in ((3, ArgumentTypeError), (nn.BatchNorm2d, ArgumentTypeError), ("layer", ArgumentValueError)):
        with pytest.raises(error, match="norm"):
            make_norm(lambda channels: made, 4, 2)  # noqa: B023


@pytest.mark.parametrize("name", ["spectral_norm", "bias"])
@pytest.mark.parametrize("make", [ConvStack, ConvTransposeStack, UNet])
def test_a_switch_is_true_or_false(name, make):
    """A string or a number in place of one is an error of ours, as "no" would turn it on."""
    plan = StackPlan((1, 8, 8), [Stage(2), Stage(2)])
    with pytest.raises(ArgumentTypeError, match=rf"{name} \(='no'\) must be True or False"):
        make(plan, **{name: "no"})


@pytest.mark.parametrize(("norm", "dims"), [("layer", 2), ("instance", 0), (None, 2), (1, 2), (nn.Identity(), 2)])
def test_another_norm_is_refused(norm, dims):
    """Another word, or instance norm of vectors, raises an error that quotes it."""
    with pytest.raises(ArgumentValueError, match="norm") as caught:
        make_norm(norm, 4, dims)
    assert f"norm (={norm!r})" in str(caught.value)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("norm", ["batch", "instance", "pixel", "none"])
def test_a_layer_needs_a_bias_just_where_its_norm_keeps_one(norm):
    """Adding a number to each channel before the norm shows after it just where needs_bias says so."""
    made = make_norm(norm, 3, 2)
    x = torch.randn(4, 3, 5, 5)

    shows = not torch.allclose(made(x), made(x + torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)), atol=1e-4)

    assert shows == needs_bias(norm)


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


def test_spectral_norm_finds_a_layer_inside_of_another():
    """In a block around an UpsampleConv the weight of its convolution has 1 for its largest singular value."""
    torch.manual_seed(0)
    layer = UpsampleConv(3, 4)
    block = Block(layer, norm="none", channels=4, spatial_dims=2, activation=None, spectral_norm=True)
    for _ in range(100):
        block(torch.randn(1, 3, 2, 2))

    assert pytest.approx(1, abs=1e-3) == torch.linalg.matrix_norm(layer.eval().conv.weight.flatten(1), 2).item()


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
