"""Tests of pixel norm."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import PixelNorm
from tests import strategies

x_of_any_shape = strategies.shapes.flatmap(lambda shape: strategies.normals((2, *shape), torch.float64))


@given(x_of_any_shape, st.floats(0.01, 100))
def test_every_place_has_unit_root_mean_square(x, scale):
    """Over the channels of each place the mean of the squares is 1, whatever the scale of x; directions stay."""
    y = PixelNorm(1e-30)(scale * x)
    size = x.square().mean(1, keepdim=True).sqrt()

    assert torch.allclose(torch.ones_like(size), y.square().mean(1, keepdim=True).sqrt(), atol=1e-4)
    assert torch.allclose(x, y * size, atol=1e-4)


@given(x_of_any_shape, st.floats(1e-8, 10))
def test_it_is_its_formula(x, eps):
    """It equals x / sqrt(mean(x^2) + eps), place by place."""
    expected = torch.stack([row / (row.square().sum(0) / len(row) + eps).sqrt() for row in x])

    assert torch.allclose(expected, PixelNorm(eps)(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_neither_overflows_nor_divides_by_zero(dtype):
    """Numbers whose squares float16 cannot hold get size 1, zeros stay zeros, and the dtype stays."""
    y = PixelNorm()(torch.tensor([[1000.0, -1000.0], [0.0, 0.0]], dtype=dtype))

    assert torch.equal(torch.tensor([[1.0, -1.0], [0.0, 0.0]], dtype=dtype), y)


def test_derivatives_are_right_to_the_second_order():
    """Gradients and their gradients agree with finite differences, and at zero they are finite."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(PixelNorm(), x)
    assert torch.autograd.gradgradcheck(PixelNorm(), x)
    (slope,) = torch.autograd.grad(PixelNorm()(zero).sum(), zero)
    assert torch.allclose(torch.full_like(zero, 1e4), slope)


@pytest.mark.parametrize("eps", [0, -1e-8, math.inf, math.nan, "small"])
def test_a_bad_eps_is_refused(eps):
    """An eps that is not a finite number above 0 is named and quoted."""
    with pytest.raises(ArgumentValueError) as caught:
        PixelNorm(eps)
    assert f"eps (={eps!r}) must be a finite number above 0" == str(caught.value)
    assert isinstance(caught.value, GanlibError)


def test_what_has_no_channels_is_refused():
    """A tensor of one dimension is refused with its shape."""
    with pytest.raises(ShapeError, match=r"x \(3,\) must have shape \(N, C, \*spatial\)"):
        PixelNorm()(torch.zeros(3))
