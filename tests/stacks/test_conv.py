"""Tests of the downward reading of a plan."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, PlanError, ShapeError
from ganlib.stacks import ConvStack, StackPlan, Stage
from tests import strategies

PLAN = StackPlan((1, 8, 6), [Stage(2), Stage(4), Stage(3, (2, 1), 1, 0)])


@given(strategies.plans(), st.sampled_from(["batch", "group", "none"]))
def test_every_stage_has_the_shape_of_the_plan(plan, norm):
    """After each block the shape is the plan's, in one, two and three dimensions."""
    stack = ConvStack(plan, norm=norm)
    x = torch.randn(2, *plan.image_shape)

    # Batch norm refuses one value a channel while it trains.
    for block, shape in zip(stack.eval().blocks, plan.shapes[1:], strict=True):
        x = block(x)
        assert (2, *shape) == x.shape


@given(strategies.plans(), st.integers(1, 4), st.integers(1, 4))
def test_either_end_takes_other_channels(plan, image_channels, top_channels):
    """With replaced channels the sizes stay the plan's."""
    stack = ConvStack(plan, image_channels=image_channels, top_channels=top_channels, norm="none")

    assert (image_channels, *plan.image_shape[1:]) == stack.in_shape
    assert (top_channels, *plan.top_shape[1:]) == stack.out_shape
    assert (2, *stack.out_shape) == stack(torch.randn(2, *stack.in_shape)).shape


def test_it_is_the_convolutions_one_after_the_other():
    """Without norms it equals torch's convolutions with leaky ReLUs of 0.2 between them."""
    stack = ConvStack(PLAN, norm="none")
    first, second, third = (block.layer for block in stack.blocks)
    x = torch.randn(2, 1, 8, 6)

    def leaky(x):
        return nn.functional.leaky_relu(x, 0.2)

    assert torch.equal(third(leaky(second(leaky(first(x))))), stack(x))


def test_norms_stand_where_dcgan_has_them():
    """The first and the last stage have no norm; last_norm gives the last one its own."""
    norms = [type(block.norm) for block in ConvStack(PLAN, norm="batch").blocks]
    with_last = [type(block.norm) for block in ConvStack(PLAN, norm="batch", last_norm=True).blocks]

    assert [nn.Identity, nn.BatchNorm2d, nn.Identity] == norms
    assert [nn.Identity, nn.BatchNorm2d, nn.BatchNorm2d] == with_last


def test_biases_stand_where_no_norm_follows():
    """By default a convolution has a bias just where no norm adds one; a word from the user goes for all."""

    def biases(**arguments):
        return [block.layer.bias is not None for block in ConvStack(PLAN, **arguments).blocks]

    assert biases(norm="batch") == [True, False, True]
    assert biases(norm="none") == [True, True, True]
    assert biases(norm="pixel") == [True, True, True]
    assert biases(norm="batch", bias=True) == [True, True, True]
    assert biases(norm="none", bias=False) == [False, False, False]


def test_activation_and_dropout_stand_between_stages():
    """The last stage has no dropout, and last_activation for its activation."""
    stack = ConvStack(PLAN, activation=nn.ReLU, last_activation=nn.Sigmoid, dropout=0.5)

    assert [nn.ReLU, nn.ReLU, nn.Sigmoid] == [type(block.activation) for block in stack.blocks]
    assert [nn.Dropout, nn.Dropout, nn.Identity] == [type(block.dropout) for block in stack.blocks]
    assert isinstance(ConvStack(PLAN).blocks[-1].activation, nn.Identity)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_spectral_norm_makes_every_layer_one_lipschitz(dims):
    """After some iterations the largest singular value of every convolution's matrix is 1."""
    torch.manual_seed(0)
    stack = ConvStack(StackPlan((1, *[8] * dims), [Stage(4), Stage(4)]), spectral_norm=True)
    for _ in range(100):
        stack(torch.randn(2, 1, *[8] * dims))

    for block in stack.eval().blocks:
        assert torch.allclose(torch.tensor(1.0), torch.linalg.matrix_norm(block.layer.weight.flatten(1), 2), atol=1e-3)


def test_conditional_norms_are_given_the_condition():
    """A stack with conditional norms takes (sample, condition) and depends on it."""
    stack = ConvStack(PLAN, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2)))
    for parameter in stack.blocks[1].norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 1, 8, 6).expand(2, -1, -1, -1)

    first, second = stack(x, torch.tensor([0, 1]))

    assert stack.needs_condition
    assert not torch.allclose(first, second)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing"):
        stack(x)


def test_a_condition_that_nothing_takes_is_refused():
    """A stack without conditional norms refuses a condition, and names the adapters."""
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a ConvStack") as caught:
        ConvStack(PLAN)(torch.zeros(2, 1, 8, 6), torch.tensor([0, 1]))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("shape", [(2, 1, 6, 8), (2, 3, 8, 6), (1, 8, 6), (2, 48)])
def test_samples_of_another_shape_are_refused(shape):
    """Samples of another shape raise an error with both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 1, 8, 6\)") as caught:
        ConvStack(PLAN)(torch.zeros(shape))
    assert f"sample {shape}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"norm": "layer"}, ArgumentValueError, "norm (='layer')"),
        ({"activation": "relu"}, ArgumentTypeError, "activation (='relu')"),
        ({"last_activation": "tanh"}, ArgumentTypeError, "last_activation (='tanh')"),
        ({"dropout": 1.0}, ArgumentValueError, "dropout (=1.0)"),
        ({"top_channels": 0}, PlanError, "top_channels (=0)"),
        ({"image_channels": -1}, PlanError, "image_channels (=-1)"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    """An argument out of its range is named and quoted when the stack is made."""
    with pytest.raises(error) as caught:
        ConvStack(PLAN, **arguments)
    assert message in str(caught.value)
