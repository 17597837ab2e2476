"""Tests of features and their positions."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlib.conditioning import AuxiliaryClassifierHead, ClassEmbedding, Maps, Projection
from ganlib.conditioning._heads import in_float32, positions
from ganlib.models import r3gan, sngan
from ganlib.models._r3gan import MapsToLogit
from ganlib.models._sngan import SumToLogit


@given(st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(1, 3), st.integers(1, 4))
def test_each_position_has_its_channels(spatial, n, channels):
    """Row p of a sample holds the channels at its p-th position, counted with the last dimension fastest."""
    x = torch.randn(n, channels, *spatial)

    actual = positions(x)

    expected = [x[(slice(None), slice(None), *index)] for index in torch.ones(spatial).nonzero().tolist()]
    assert torch.equal(torch.stack(expected, 1), actual)


@given(st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(1, 4))
def test_summed_positions_are_the_sum_over_all_spatial_dimensions(spatial, channels):
    """The sum over positions is that over all spatial dimensions; flat features are their own."""
    x = torch.randn(2, channels, *spatial, dtype=torch.float64)

    expected = x.sum(tuple(range(2, x.ndim))) if spatial else x

    assert torch.allclose(expected, positions(x).sum(1))


LABELS = torch.tensor([3, 1, 4, 1])
HEADS = {
    "projection": lambda: Projection(nn.Identity(), ClassEmbedding(10, 64), 64, num_classes=10),
    "linear projection": lambda: Projection(nn.Identity(), ClassEmbedding(10, 8), 64),
    "projection of maps": lambda: Projection(nn.Identity(), Maps(64), 64),
    "auxiliary classifier": lambda: AuxiliaryClassifierHead(nn.Identity(), 64, num_classes=10),
    "sngan": lambda: SumToLogit(64, ClassEmbedding(10, 8)),
    "sngan, unconditional": lambda: SumToLogit(64, spectral_norm=False),
    "r3gan": lambda: MapsToLogit(64, (32, 32), ClassEmbedding(10, 64), 64),
}


def _outputs(head, x):
    """All that a head returns, as one matrix."""
    if isinstance(head, SumToLogit | MapsToLogit) and head.encoder is None:
        return head(x)
    maps = isinstance(getattr(head, "encoder", None), Maps)
    output = head(x, x[:, :64] / 100 if maps else LABELS)
    return output if isinstance(output, torch.Tensor) else torch.cat([output.logits, output.class_logits], 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("convert", [False, True], ids=["autocast", "half precision"])
@pytest.mark.parametrize("name", HEADS)
def test_sums_over_many_positions_are_in_float32(name, convert, dtype):
    """Of 32 x 32 positions with features of 100, as float64 gives them of the same weights, but for their rounding."""
    torch.manual_seed(0)
    head = HEADS[name]().eval()
    x = (torch.rand(4, 64, 32, 32) * 200).to(dtype)
    if convert:
        head.to(dtype)
    with torch.no_grad():
        expected = _outputs(copy.deepcopy(head).double(), x.double())
        with torch.autocast("cpu", dtype, enabled=not convert):
            actual = _outputs(head, x)

    assert actual.dtype == torch.float32
    # A spectral norm divides in the dtype of the weights, and r3gan's features are computed in that of autocast.
    rounded = name == "r3gan" or (convert and name == "sngan")
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < (8 * torch.finfo(dtype).eps if rounded else 1e-4)


def test_gradients_of_heads_under_autocast_are_finite():
    """Of the published networks, too."""
    torch.manual_seed(0)
    networks = [sngan((1, 8, 8), 2, 5, widths=8)[1], r3gan((1, 8, 8), 2, 5, widths=16)[1]]
    networks += [Projection(nn.Conv2d(1, 64, 1), ClassEmbedding(5, 8), 64)]
    for network in networks:
        with torch.autocast("cpu", torch.float16):
            logits = network(torch.randn(4, 1, 8, 8), LABELS)
        assert logits.dtype == torch.float32
        logits.sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("context", [torch.no_grad, lambda: torch.autocast("cpu", torch.bfloat16)])
def test_a_layer_of_the_users_is_called(dtype, context):
    """One with a hook, or with a parametrization, computes what it does outside of a head."""
    layers = [nn.Linear(3, 2), spectral_norm(nn.Linear(3, 2)).eval(), nn.Sequential(nn.Linear(3, 2), nn.Tanh())]
    layers[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    x = torch.randn(4, 3).to(dtype)
    for layer in [*layers, nn.Identity()]:
        layer.to(dtype)
        expected = layer(x).float()
        with context():
            actual = in_float32(layer, x)
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=5e-3 if dtype == torch.float16 else 1e-6)
