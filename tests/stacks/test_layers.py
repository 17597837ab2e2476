"""Tests of the layers with weights."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from ganlib.stacks._layers import make_convolution, normalize_spectrally


@pytest.mark.parametrize(("dims", "expected"), [(1, nn.Conv1d), (2, nn.Conv2d), (3, nn.Conv3d)])
def test_a_convolution_is_torchs(dims, expected):
    """With the same arguments and weights it gives what torch's own layer gives."""
    layer = make_convolution(dims, 2, 3, 4, stride=2, padding=1, bias=False)
    own = expected(2, 3, 4, stride=2, padding=1, bias=False)
    own.load_state_dict(layer.state_dict())
    x = torch.randn(2, 2, *[6] * dims)

    assert torch.equal(own(x), layer(x))
    assert type(layer) is expected
    assert make_convolution(dims, 2, 3, 4).bias is not None


def test_every_layer_is_normalised_and_no_norm_is():
    """In a module each convolution, transposed convolution and linear layer is normalised; norms keep their gains."""
    module = nn.ModuleList(
        [nn.Linear(2, 3), nn.Conv2d(2, 3, 4), nn.ConvTranspose1d(2, 3, 4), nn.BatchNorm2d(3), nn.Embedding(2, 3)]
    )

    assert normalize_spectrally(module) is module
    assert [parametrize.is_parametrized(layer) for layer in module] == [True, True, True, False, False]


def test_a_convolution_can_be_normalised_when_it_is_made():
    """After some iterations its largest singular value is 1."""
    torch.manual_seed(0)
    layer = make_convolution(2, 3, 4, 3, spectral_norm=True)
    for _ in range(100):
        layer(torch.zeros(1, 3, 3, 3))

    assert pytest.approx(1, abs=1e-3) == torch.linalg.matrix_norm(layer.eval().weight.flatten(1), 2).item()
    assert not parametrize.is_parametrized(make_convolution(2, 3, 4, 3))
