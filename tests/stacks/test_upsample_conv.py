"""Tests of upsampling followed by a convolution."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import init
from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import UpsampleConv
from tests import strategies

modes = st.sampled_from(["nearest", "linear"])


@given(strategies.spatial_dims, modes, st.data())
def test_the_size_is_what_was_asked_for(dims, mode, data):
    """It enlarges by the scale in each dimension, or to the size, whatever the kernel."""
    spatial, scale, size = (tuple(data.draw(st.integers(1, 4)) for _ in range(dims)) for _ in range(3))
    kernel = tuple(data.draw(st.sampled_from([1, 3, 5])) for _ in range(dims))
    x = torch.randn(2, 3, *spatial)

    by_scale = UpsampleConv(3, 4, kernel_size=kernel, scale_factor=scale, mode=mode, spatial_dims=dims)
    to_size = UpsampleConv(3, 4, kernel_size=kernel, size=size, mode=mode, spatial_dims=dims)

    assert (2, 4, *(s * n for s, n in zip(scale, spatial, strict=True))) == by_scale(x).shape
    assert (2, 4, *size) == to_size(x).shape


def test_nearest_repeats_every_pixel_before_the_convolution():
    """It equals the convolution of the image whose pixels are repeated."""
    layer, x = UpsampleConv(2, 3, scale_factor=(2, 3)), torch.randn(2, 2, 4, 5)
    enlarged = x.repeat_interleave(2, 2).repeat_interleave(3, 3)

    assert torch.allclose(nn.functional.conv2d(enlarged, layer.conv.weight, layer.conv.bias, padding=1), layer(x))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_linear_keeps_a_ramp_a_ramp(dims):
    """With a kernel that is 1 in its centre alone, a ramp stays straight inside, along each dimension."""
    layer = UpsampleConv(1, 1, mode="linear", spatial_dims=dims, bias=False)
    nn.init.dirac_(layer.conv.weight)
    for dim in range(2, 2 + dims):
        x = torch.arange(6.0).view(*[6 if d == dim else 1 for d in range(2 + dims)]).expand(1, 1, *[6] * dims)

        steps = layer(x).diff(dim=dim).narrow(dim, 1, 9)

        assert torch.allclose(torch.full_like(steps, 0.5), steps)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_it_has_no_checkerboard(dims, mode):
    """With equal weights a constant image stays constant inside; a transposed convolution makes a checkerboard."""
    x, inside = torch.ones(1, 1, *[6] * dims), (0, 0, *[slice(2, -2)] * dims)
    transposed = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims](
        1, 1, 3, stride=2, padding=1, output_padding=1, bias=False
    )
    layer = UpsampleConv(1, 1, mode=mode, spatial_dims=dims, bias=False)
    nn.init.ones_(transposed.weight)
    nn.init.ones_(layer.conv.weight)

    assert {3.0**dims} == set(layer(x)[inside].flatten().tolist())
    assert {2.0**n for n in range(dims + 1)} == set(transposed(x)[inside].flatten().tolist())


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_derivatives_are_right_to_the_second_order(mode):
    """After an activation, gradients and their gradients agree with finite differences."""
    torch.manual_seed(0)
    layer = UpsampleConv(1, 2, mode=mode).double()
    x = torch.randn(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda x: layer(x).tanh(), x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x).tanh(), x)


def test_an_initialisation_reaches_its_convolution():
    """ganlib.init draws the weight anew and sets the bias to 0."""
    layer = init.normal_(UpsampleConv(16, 16), std=5.0)

    assert layer.conv.weight.std() > 4
    assert not layer.conv.bias.any()
    assert UpsampleConv(1, 1, bias=False).conv.bias is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"in_channels": 0}, "in_channels (=0) must be a whole number of at least 1"),
        ({"out_channels": -1}, "out_channels (=-1) must be a whole number of at least 1"),
        ({"kernel_size": 4}, "kernel_size (=4) must be odd"),
        ({"kernel_size": (3, 2)}, "kernel_size (=(3, 2)) must be odd"),
        ({"kernel_size": (3, 3, 3)}, "kernel_size (=(3, 3, 3)) must be a whole number of at least 1, or 2 of them"),
        ({"scale_factor": 0}, "scale_factor (=0) must be"),
        ({"scale_factor": 1.5}, "scale_factor (=1.5) must be"),
        ({"size": (4, 0)}, "size (=(4, 0)) must be"),
        ({"mode": "bicubic"}, "mode (='bicubic') must be 'nearest' or 'linear'"),
        ({"spatial_dims": 0}, "spatial_dims (=0) must be 1, 2 or 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """An argument out of its range is named and quoted."""
    with pytest.raises(ArgumentValueError) as caught:
        UpsampleConv(**{"in_channels": 1, "out_channels": 1, **arguments})
    assert message in str(caught.value)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 4, 5)])
def test_maps_of_another_shape_are_refused(shape):
    """Other channels or spatial dimensions are refused with both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 4, \*spatial\) with 2") as caught:
        UpsampleConv(4, 1)(torch.zeros(shape))
    assert f"x {shape}" in str(caught.value)
