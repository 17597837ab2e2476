"""Norms and weights are float32 or better whatever they are given: the result is that of float64, but rounded."""

import copy

import pytest
import torch
from torch import nn

from ganlib.conditioning import FiLM, OneHot
from ganlib.errors import GanlibError
from ganlib.stacks import MinibatchStdDev, PixelNorm, SelfAttention, VectorQuantizer


def attention():
    """One whose gate is open."""
    torch.manual_seed(0)
    module = SelfAttention(8)
    nn.init.constant_(module.gate, 0.5)
    return module


MODULES = {
    "PixelNorm": PixelNorm,
    "MinibatchStdDev": MinibatchStdDev,
    "SelfAttention": attention,
    "VectorQuantizer": lambda: VectorQuantizer(16, 8),
}
halves = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@halves
def test_it_is_that_of_float64(name, scale, dtype):
    """A module in half precision gives, within its rounding, what it gives in float64 with the same numbers."""
    module = MODULES[name]().to(dtype)
    x = (scale * torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(1))).to(dtype)

    actual, expected = module(x), copy.deepcopy(module).double()(x.double())

    if name == "VectorQuantizer":
        assert torch.equal(actual.indices, expected.indices)
        torch.testing.assert_close(actual.loss.double(), expected.loss, rtol=1e-5, atol=0)
        actual, expected = actual.maps, expected.maps
    assert actual.dtype == dtype
    size = float(expected.detach().abs().max())
    torch.testing.assert_close(actual.double() / size, expected / size, rtol=0, atol=8 * torch.finfo(dtype).eps)


def test_attention_with_large_products_stays_finite():
    """Under autocast too: products of keys and queries beyond the range of float16 are no infinities."""
    module, x = attention(), 1e3 * torch.randn(2, 8, 5, 5)
    with torch.autocast("cpu", dtype=torch.float16):
        assert module(x).isfinite().all()


@halves
def test_film_is_that_of_float64(dtype):
    """Gains and biases in half precision give what they give in float64, within rounding."""
    film = FiLM(8, OneHot(3))
    nn.init.normal_(film.gain)
    x, classes = torch.randn(6, 8, 3, 3).to(dtype), torch.arange(6) % 3
    actual, expected = film.to(dtype)(x, classes), copy.deepcopy(film).double()(x.double(), classes)
    torch.testing.assert_close(actual.double(), expected, rtol=4 * torch.finfo(dtype).eps, atol=0.05)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("wrong", [None, [1.0], torch.tensor(1.0), torch.zeros(4)])
def test_what_are_no_maps_is_refused(name, wrong):
    """Anything but a tensor with channels raises an error of ganlib."""
    with pytest.raises(GanlibError, match="^x "):
        MODULES[name]()(wrong)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "SelfAttention"])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_maps_that_are_not_floating_point_are_refused(name, dtype):
    """The norm of whole numbers, rounded to whole numbers, is none."""
    with pytest.raises(GanlibError, match="^x must be floating point"):
        MODULES[name]()(torch.ones(4, 8, 5, 5, dtype=dtype))


@pytest.mark.parametrize("index", [-1, 16])
def test_tokens_out_of_range_are_refused(index):
    """A token that the codebook does not have raises an error that quotes it."""
    with pytest.raises(GanlibError, match=rf"indices hold {index}, .* num_codes \(=16\)"):
        VectorQuantizer(16, 8).look_up(torch.full((2, 3), index))
