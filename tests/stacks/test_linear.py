"""Tests of the multi-layer perceptron."""

from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import LinearStack
from tests import strategies


@given(strategies.shapes, strategies.shapes, st.lists(st.integers(1, 4), max_size=3))
def test_it_takes_and_makes_samples_of_any_shape(in_shape, out_shape, hidden):
    """Samples of any shape are flattened, and the output has the shape that was asked for."""
    stack = LinearStack([prod(in_shape), *hidden, prod(out_shape)], out_shape=out_shape)
    x = torch.randn(2, *in_shape)

    assert out_shape == stack.out_shape
    assert (2, *out_shape) == stack(x).shape
    assert torch.equal(stack(x.flatten(1)), stack(x))


def test_it_is_the_linear_layers_one_after_the_other():
    """Without norms it equals torch's linear layers with leaky ReLUs of 0.2 between them."""
    stack = LinearStack((3, 4, 2), last_activation=nn.Tanh)
    first, second = (block.layer for block in stack.blocks)
    x = torch.randn(5, 3)

    assert torch.equal(second(nn.functional.leaky_relu(first(x), 0.2)).tanh(), stack(x))


def test_norms_biases_and_dropout_stand_everywhere_but_at_the_end():
    """All layers but the last have a norm, no bias, the activation and dropout."""
    stack = LinearStack((3, 4, 5, 2), norm="batch", activation=nn.ReLU, dropout=0.5)

    assert [nn.BatchNorm1d, nn.BatchNorm1d, nn.Identity] == [type(block.norm) for block in stack.blocks]
    assert [block.layer.bias is not None for block in stack.blocks] == [False, False, True]
    assert [nn.ReLU, nn.ReLU, nn.Identity] == [type(block.activation) for block in stack.blocks]
    assert [nn.Dropout, nn.Dropout, nn.Identity] == [type(block.dropout) for block in stack.blocks]


@pytest.mark.parametrize("bias", [True, False])
def test_a_users_word_on_biases_goes_for_all(bias):
    """bias=True and bias=False reach every layer."""
    stack = LinearStack((3, 4, 2), norm="batch", bias=bias)

    assert {bias} == {block.layer.bias is not None for block in stack.blocks}


def test_spectral_norm_makes_every_layer_one_lipschitz():
    """After some iterations the largest singular value of every weight is 1."""
    torch.manual_seed(0)
    stack = LinearStack((6, 5, 1), spectral_norm=True)
    for _ in range(100):
        stack(torch.randn(2, 6))

    for block in stack.eval().blocks:
        assert torch.allclose(torch.tensor(1.0), torch.linalg.matrix_norm(block.layer.weight, 2), atol=1e-3)


def test_conditional_norms_are_given_the_condition():
    """A stack with conditional norms takes (x, condition) and depends on it."""
    stack = LinearStack((3, 4, 2), norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2), spatial_dims=0))
    for parameter in stack.blocks[0].norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(1, 3).expand(2, -1)

    first, second = stack(x, torch.tensor([0, 1]))

    assert not torch.allclose(first, second)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing: this LinearStack"):
        stack(x)
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a LinearStack"):
        LinearStack((3, 2))(x, torch.tensor([0, 1]))


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 2), (2,)])
def test_samples_of_another_size_are_refused(shape):
    """Samples with other than in_features numbers raise an error with the shape and the number."""
    with pytest.raises(ShapeError, match="must hold 3 numbers a sample") as caught:
        LinearStack((3, 2))(torch.zeros(shape))
    assert f"x {shape}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("features", "arguments", "error", "message"),
    [
        ((), {}, ArgumentValueError, "features (=())"),
        ((3,), {}, ArgumentValueError, "features (=(3,))"),
        ((3, 0, 2), {}, ArgumentValueError, "features (=(3, 0, 2))"),
        ((3, 2.5, 2), {}, ArgumentValueError, "features (=(3, 2.5, 2))"),
        (
            (3, 4),
            {"out_shape": (1, 5)},
            ArgumentValueError,
            "out_shape (=(1, 5)) must be sizes of at least 1 that hold 4 numbers",
        ),
        ((3, 4), {"out_shape": (-2, -2)}, ArgumentValueError, "out_shape (=(-2, -2))"),
        ((3, 2, 1), {"norm": "instance"}, ArgumentValueError, "norm (='instance')"),
        ((3, 2, 1), {"dropout": 2.0}, ArgumentValueError, "dropout (=2.0)"),
        ((3, 2, 1), {"activation": 3}, ArgumentTypeError, "activation (=3)"),
        ((3, 2, 1), {"last_activation": 3}, ArgumentTypeError, "last_activation (=3)"),
    ],
)
def test_bad_arguments_are_refused(features, arguments, error, message):
    """An argument out of its range is named and quoted when the stack is made."""
    with pytest.raises(error) as caught:
        LinearStack(features, **arguments)
    assert message in str(caught.value)
    assert isinstance(caught.value, GanlibError)
