"""Tests of R3GAN's residual block, by its formula and its initialization."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.stacks import InvertedBottleneck
from tests import strategies


def leaky(x):
    """LeakyReLU(0.2)."""
    return torch.where(x > 0, x, 0.2 * x)


def grouped(x, weight, bias, group_width):
    """A convolution of two-dimensional maps, with each group by itself and pixel by pixel."""
    reach = weight.shape[-1] // 2
    windows = F.pad(x, [reach] * 4).unfold(2, 2 * reach + 1, 1).unfold(3, 2 * reach + 1, 1)
    made = [
        torch.einsum("nchwij,ocij->nohw", windows[:, start : start + group_width], weight[start : start + group_width])
        for start in range(0, len(weight), group_width)
    ]
    return torch.cat(made, 1) + bias.view(1, -1, 1, 1)


def drawn(*args, **words):
    """A block in float64 whose biases and last weights have left their zeros."""
    block = InvertedBottleneck(*args, **words).double()
    for parameter in block.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    return block


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 3, 5]), strategies.seeds)
def test_it_is_its_formula(groups, expansion, group_width, kernel_size, seed):
    """It adds to x what the three convolutions make of it, with a bias and LeakyReLU after the first two."""
    torch.manual_seed(seed)
    block = drawn(groups * group_width, expansion=expansion, group_width=group_width, kernel_size=kernel_size)
    x = torch.randn(2, groups * group_width, 4, 5, dtype=torch.float64)
    w1, b1, w2, b2, w3 = block.parameters()

    h = leaky(torch.einsum("oc,nchw->nohw", w1[:, :, 0, 0], x) + b1.view(1, -1, 1, 1))
    h = leaky(grouped(h, w2, b2, group_width))
    torch.testing.assert_close(block(x), x + torch.einsum("oc,nchw->nohw", w3[:, :, 0, 0], h))


def test_it_starts_as_the_identity():
    """A new block returns x."""
    x = torch.randn(2, 32, 5, 5)
    assert torch.equal(x, InvertedBottleneck(32)(x))


@pytest.mark.parametrize(("group_width", "kernel_size", "depth"), [(16, 3, 1), (16, 3, 8), (64, 1, 3)])
def test_the_initialization_is_that_of_the_paper(group_width, kernel_size, depth):
    """Weights have the standard deviation of He et al. times L^(-1/4), up to sampling error; biases are 0."""
    torch.manual_seed(0)
    block = InvertedBottleneck(256, group_width=group_width, kernel_size=kernel_size, depth=depth)
    w1, b1, w2, b2, w3 = block.parameters()
    gain = math.sqrt(2 / 1.04) * depth**-0.25

    for weight, fan_in in ((w1, 256), (w2, group_width * kernel_size**2)):
        relative = math.sqrt(fan_in) * weight.std().item() / gain
        assert relative == pytest.approx(1, abs=5 / math.sqrt(2 * weight.numel()))
        assert abs(weight.mean().item()) < 5 * gain / math.sqrt(fan_in * weight.numel())
    assert not any(parameter.any() for parameter in (b1, b2, w3))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_gradients_of_any_order(dims):
    """First and second derivatives, by x and by the weights, are those of finite differences."""
    torch.manual_seed(0)
    block = drawn(2, group_width=2, spatial_dims=dims)
    x = torch.randn(1, 2, *[2] * dims, dtype=torch.float64, requires_grad=True)
    names, weights = zip(*block.named_parameters(), strict=True)

    def function(x, *weights):
        return torch.func.functional_call(block, dict(zip(names, weights, strict=True)), (x,)).square()

    assert torch.autograd.gradcheck(function, (x, *weights))
    assert torch.autograd.gradgradcheck(function, (x, *weights))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"channels": 0}, r"channels \(=0\) must be a whole number of at least 1"),
        ({"expansion": 0.5}, r"expansion \(=0\.5\) must be a whole number"),
        ({"depth": 0}, r"depth \(=0\) must be a whole number of at least 1"),
        ({"kernel_size": 4}, r"kernel_size \(=4\) must be odd"),
        ({"channels": 20}, r"group_width \(=16\) must divide the inner channels, expansion \* channels = 2 \* 20 = 40"),
    ],
)
def test_wrong_arguments_are_named(words, message):
    """A wrong argument is quoted, with what it must be."""
    with pytest.raises(ArgumentValueError, match=message):
        InvertedBottleneck(**{"channels": 16, **words})


def test_other_maps_are_refused():
    """Maps with other channels or dimensions are quoted."""
    for shape in ((2, 8, 4, 4), (2, 16, 4)):
        with pytest.raises(ShapeError, match=r"must have shape \(N, 16, \*spatial\) with 2 spatial dimensions"):
            InvertedBottleneck(16)(torch.zeros(shape))
