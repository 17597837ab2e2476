"""Tests of the layers with weights."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from ganlib.stacks._layers import WHOLE, make_convolution, make_transposed_convolution, normalize_spectrally


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


SIZES = {1: (5,), 2: (3, 4), 3: (2, 3, 4)}


def _pair(dims: int, transposed: bool, *, bias: bool = True, memory: str = "rows") -> tuple[Any, Any, torch.Tensor]:
    """A layer whose kernel covers the whole map, torch's layer with the same weights, and an input."""
    torch.manual_seed(dims)
    size = SIZES[dims]
    name = f"Conv{'Transpose' * transposed}{dims}d"
    own = getattr(nn, name)(6, 4, size, bias=bias)
    if transposed:
        layer = make_transposed_convolution(dims, 6, 4, size, 1, 0, 0, bias=bias, whole=True)
    else:
        layer = make_convolution(dims, 6, 4, size, bias=bias, whole=True)
    layer.load_state_dict(own.state_dict())
    x = torch.randn(3, 6, *([1] * dims if transposed else size))
    if memory == "channels last":
        to: Any = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
        return layer.to(memory_format=to), own.to(memory_format=to), x.to(memory_format=to)
    return layer, own, x


WAYS = [*((dims, "rows") for dims in SIZES), (2, "channels last"), (3, "channels last")]


@pytest.mark.parametrize("transposed", [False, True], ids=["down", "up"])
@pytest.mark.parametrize(("dims", "memory"), WAYS)
@pytest.mark.parametrize("bias", [False, True], ids=["plain", "bias"])
def test_a_kernel_over_the_whole_map_gives_what_torchs_layer_gives(
    dims: int, memory: str, bias: bool, transposed: bool
) -> None:
    """The output, the gradients, and the gradients of a gradient's norm, as R1 needs them."""
    layer, own, x = _pair(dims, transposed, bias=bias, memory=memory)
    found = []
    for network in (layer.double(), own.double()):
        inputs = x.double().requires_grad_()
        y = network(inputs)
        (gradient,) = torch.autograd.grad(y.tanh().sum(), inputs, create_graph=True)
        derivatives = torch.autograd.grad(gradient.square().sum(), list(network.parameters()))
        found.append([y, gradient, *derivatives])

    assert [part.shape for part in found[0]] == [part.shape for part in found[1]]
    for actual, expected in zip(*found, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("transposed", [False, True], ids=["down", "up"])
def test_it_computes_in_the_precision_of_autocast(transposed: bool) -> None:
    """Under autocast the output is bfloat16, as that of torch's layer, and close to it."""
    layer, own, x = _pair(2, transposed)
    with torch.autocast("cpu", torch.bfloat16):
        actual, expected = layer(x), own(x)

    assert actual.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(actual, expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("transposed", [False, True], ids=["down", "up"])
@pytest.mark.parametrize("dims", SIZES)
def test_other_inputs_and_settings_are_convolved_as_torch_does(dims: int, transposed: bool) -> None:
    """Larger maps, and layers with a padding, give what torch's layer gives."""
    layer, own, x = _pair(dims, transposed)
    larger = torch.randn(3, 6, *[6] * dims)
    torch.testing.assert_close(layer(larger), own(larger))
    torch.testing.assert_close(layer(x[0]), own(x[0]))  # without a batch
    kind = WHOLE[dims][transposed]
    padded = kind(6, 4, 3, padding=1)
    own = type(own)(6, 4, 3, padding=1)
    own.load_state_dict(padded.state_dict())
    x = torch.randn(3, 6, *[1 if transposed else 3] * dims)
    torch.testing.assert_close(padded(x), own(x))


@pytest.mark.parametrize("transposed", [False, True], ids=["down", "up"])
@pytest.mark.parametrize("dims", SIZES)
def test_it_can_be_copied_pickled_normalized_and_exported(dims: int, transposed: bool) -> None:
    """Each way keeps the outputs; spectral normalization divides them by the largest singular value."""
    layer, own, x = _pair(dims, transposed)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.export.export(layer, (x,)).module()):
        torch.testing.assert_close(other(x), layer(x))
    for network in (layer, own):
        torch.manual_seed(0)
        normalize_spectrally(network)
    torch.testing.assert_close(layer.eval()(x), own.eval()(x))


@pytest.mark.parametrize("whole", [False, True], ids=["convolution", "product"])
@pytest.mark.parametrize("transposed", [False, True], ids=["down", "up"])
@pytest.mark.parametrize("dims", SIZES)
def test_a_forward_pass_reads_the_weight_as_often_as_torchs_layer(dims: int, transposed: bool, whole: bool) -> None:
    """So spectral norm iterates once; several times would be another norm than that of torch's layer."""
    layer, own, x = _pair(dims, transposed)
    if not whole and not transposed:
        x = torch.cat([x, x], 2)  # more than one position
    elif not whole:
        x = x.repeat(1, 1, *[2] * dims)
    torch.manual_seed(0)
    parametrizations.spectral_norm(layer)
    torch.manual_seed(0)
    parametrizations.spectral_norm(own)
    for _ in range(3):
        torch.testing.assert_close(layer(x), own(x))
    torch.testing.assert_close(layer.parametrizations.weight[0]._u, own.parametrizations.weight[0]._u)
