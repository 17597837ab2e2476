"""Tests of self-attention."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import init
from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import SelfAttention
from tests import strategies


def _open(attention):
    """With its gate open."""
    nn.init.constant_(attention.gate, 0.7)
    return attention.double()


@given(strategies.spatial_dims, st.integers(1, 9), st.integers(1, 8))
def test_it_starts_as_the_identity(dims, channels, reduction):
    """When it is new, and after an initialisation of the whole network, it gives back x, in 1 to 3 dimensions."""
    attention = SelfAttention(channels, spatial_dims=dims, reduction=reduction)
    x = torch.randn(2, channels, *range(2, 2 + dims))

    assert torch.equal(x, attention(x))
    assert torch.equal(x, init.normal_(attention)(x))


@given(strategies.spatial_dims, st.integers(1, 9), st.integers(1, 4), strategies.seeds)
def test_it_is_its_formula(dims, channels, reduction, seed):
    """It equals equations 1 to 3 of the paper, place by place."""
    attention = _open(SelfAttention(channels, spatial_dims=dims, reduction=reduction))
    spatial = tuple(range(2, 2 + dims))
    x = torch.randn(2, channels, *spatial, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    f, g, h, v = (
        part.weight.flatten(1) for part in (attention.key, attention.query, attention.value, attention.output)
    )

    actual = attention(x).flatten(2)

    for sample, found in zip(x.flatten(2), actual, strict=True):
        places = sample.T
        for j, x_j in enumerate(places):
            scores = torch.stack([(f @ x_i) @ (g @ x_j) for x_i in places]).exp()
            o_j = v @ sum(score / scores.sum() * (h @ x_i) for score, x_i in zip(scores, places, strict=True))
            assert torch.allclose(0.7 * o_j + x_j, found[:, j])


@pytest.mark.parametrize(
    ("channels", "reduction", "keys", "values"), [(64, 8, 8, 32), (64, 1, 64, 32), (4, 8, 1, 2), (1, 8, 1, 1)]
)
def test_channels_inside_are_fewer(channels, reduction, keys, values):
    """Keys and queries have channels // reduction channels, values channels // 2, and each at least 1."""
    attention = SelfAttention(channels, reduction=reduction)

    assert keys == attention.key.out_channels == attention.query.out_channels
    assert values == attention.value.out_channels == attention.output.in_channels


def test_it_follows_a_rearrangement_of_the_places():
    """Places that are put in another order give the same answers in that order: it sees all, and no positions."""
    torch.manual_seed(0)
    attention = _open(SelfAttention(4, spatial_dims=1))
    x, order = torch.randn(2, 4, 7, dtype=torch.float64), torch.randperm(7)

    assert torch.allclose(attention(x)[:, :, order], attention(x[:, :, order]))


def test_derivatives_are_right_to_the_second_order():
    """Gradients and their gradients, by x and by the gate, agree with finite differences."""
    torch.manual_seed(0)
    attention = _open(SelfAttention(2, spatial_dims=1, reduction=1))
    x = torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)

    def attend(x, gate):
        return torch.func.functional_call(attention, {"gate": gate}, x)

    assert torch.autograd.gradcheck(attend, (x, attention.gate))
    assert torch.autograd.gradgradcheck(attend, (x, attention.gate))


def test_the_gate_opens_by_training():
    """At first the gate alone has a gradient; once it is open, everything has one."""
    torch.manual_seed(0)
    attention, x = SelfAttention(8), torch.randn(2, 8, 3, 3)

    attention(x).square().sum().backward()
    moved = {name for name, parameter in attention.named_parameters() if parameter.grad.any()}
    _open(attention)(x.double()).square().sum().backward()

    assert moved == {"gate"}
    assert all(parameter.grad.any() for parameter in attention.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels (=0) must be a whole number of at least 1"),
        ({"channels": 8, "reduction": 0}, "reduction (=0) must be a whole number of at least 1"),
        ({"channels": 8, "spatial_dims": 4}, "spatial_dims (=4) must be 1, 2 or 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    """An argument out of its range is named and quoted."""
    with pytest.raises(ArgumentValueError) as caught:
        SelfAttention(**arguments)
    assert message == str(caught.value)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 4, 5)])
def test_maps_of_another_shape_are_refused(shape):
    """Other channels or spatial dimensions are refused with both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 4, \*spatial\) with 2") as caught:
        SelfAttention(4)(torch.zeros(shape))
    assert f"x {shape}" in str(caught.value)
