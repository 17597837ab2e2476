"""What torch.export needs."""

import pytest
import torch
from torch import nn

from ganlib.stacks import PixelNorm
from ganlib.stacks._exporting import add_small, is_exporting
from tests.exporting import TORCH_26, assert_exports


class _Told(nn.Module):
    """Gives 1 where it is exported, and 0 otherwise."""

    def forward(self, x):
        """Ignore the values."""
        return torch.full_like(x, float(is_exporting()))


@pytest.mark.parametrize("strict", [False, True])
def test_an_export_is_told_from_a_call(strict):
    """It is True in an export, and False in a call."""
    if strict and TORCH_26:
        pytest.skip("torch 2.6 cannot tell a strict export from a compilation")
    x = torch.zeros(2)

    assert torch.equal(_Told()(x), torch.zeros(2))
    assert torch.equal(torch.export.export(_Told(), (x,), strict=strict).module()(x), torch.ones(2))


def test_an_export_is_told_from_a_compilation():
    """A compiled module is not exported, so that it takes the faster code."""
    assert torch.equal(torch.compile(_Told(), backend="eager")(torch.zeros(2)), torch.zeros(2))


class _Added(nn.Module):
    """Adds 1e-8."""

    def forward(self, x):
        """Add, and enlarge what was added."""
        return add_small(x, 1e-8) * 1e8


@pytest.mark.parametrize("way", ["not strict", "onnx"])
def test_a_small_number_is_added_in_onnx_too(way):
    """Of 0 it makes 1e-8, in torch and in ONNX."""
    x = torch.zeros(3, 1)

    torch.testing.assert_close(_Added()(x), torch.ones(3, 1))
    assert_exports(_Added(), (x,), way, "named")


def test_pixel_norm_of_zeros_in_onnx():
    """Where all channels of a pixel are 0, they stay 0, and do not become NaN."""
    assert_exports(PixelNorm(), (torch.tensor([[[0.0, 1.0], [0.0, 2.0]]]),), "onnx", "named")
