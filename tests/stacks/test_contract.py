"""The contract of every stack and block."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from ganlib import stacks
from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.protocols import DiscriminatorOutput
from ganlib.stacks import (
    BilinearDownsample,
    BilinearUpsample,
    ConditionalSequential,
    ConvStack,
    ConvTransposeStack,
    InvertedBottleneck,
    LinearStack,
    MinibatchStdDev,
    MultiScaleDiscriminator,
    PatchDiscriminator,
    PixelNorm,
    Quantized,
    ResidualDownBlock,
    ResidualUpBlock,
    SelfAttention,
    StackPlan,
    Stage,
    UNet,
    UpsampleConv,
    VectorQuantizer,
)

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)


class Part(NamedTuple):
    """One row of the table.

    ``make(dims, **words)`` gives the module; its samples and what it makes of them have these channels and sizes.
    """

    make: Callable[..., nn.Module]
    inputs: tuple[int, int]
    outputs: tuple[tuple[int, int], ...]
    words: str = "spectral norm activation"


def _plan(dims):
    return StackPlan((2, *[7] * dims), [Stage(3), Stage(4, kernel_size=3, stride=1)])


def _opened(module):
    """With the gates of attention and of residual branches open, so that they hide nothing."""
    for part in module.modules():
        if isinstance(part, SelfAttention):
            nn.init.constant_(part.gate, 0.5)
        if isinstance(part, InvertedBottleneck):
            nn.init.normal_(part.conv3.weight)
    return module


def _patches(dims, **words):
    return PatchDiscriminator(2, channels=3, layers=1, kernel_size=3, spatial_dims=dims, **words)


def _unet(dims, activation=nn.ReLU, **words):
    return UNet(_plan(dims), 3, activation=activation, decoder_activation=activation, **words)


PARTS = {
    "conv": Part(lambda dims, **words: ConvStack(_plan(dims), last_norm=True, **words), (2, 7), ((4, 3),)),
    "transposed": Part(lambda dims, **words: ConvTransposeStack(_plan(dims), **words), (4, 3), ((2, 7),)),
    "nearest": Part(
        lambda dims, **words: ConvTransposeStack(_plan(dims), upsample="nearest", **words), (4, 3), ((2, 7),)
    ),
    "linear": Part(
        lambda dims, **words: ConvTransposeStack(_plan(dims), upsample="linear", **words), (4, 3), ((2, 7),)
    ),
    "up": Part(lambda dims, **words: ResidualUpBlock(3, 2, spatial_dims=dims, **words), (3, 3), ((2, 6),)),
    "down": Part(lambda dims, **words: ResidualDownBlock(3, 4, spatial_dims=dims, **words), (3, 5), ((4, 2),)),
    "first": Part(
        lambda dims, **words: ResidualDownBlock(3, 4, spatial_dims=dims, first=True, **words), (3, 5), ((4, 2),)
    ),
    "patches": Part(_patches, (2, 8), ((1, 4),)),
    "features": Part(lambda dims, **words: _patches(dims, features=True, **words), (2, 8), ((1, 4), (3, 4), (6, 4))),
    "scales": Part(
        lambda dims, **words: MultiScaleDiscriminator([_patches(dims, **words), _patches(dims, **words)]),
        (2, 8),
        ((1, 4), (1, 2)),
    ),
    "sequence": Part(
        lambda dims, **words: ConditionalSequential(
            ResidualUpBlock(3, 2, spatial_dims=dims, **words),
            _opened(SelfAttention(2, spatial_dims=dims, spectral_norm=words.get("spectral_norm", False))),
            PixelNorm(),
        ),
        (3, 3),
        ((2, 6),),
    ),
    "attention": Part(
        lambda dims, **words: _opened(SelfAttention(4, spatial_dims=dims, **words)), (4, 3), ((4, 3),), "spectral"
    ),
    "bottleneck": Part(
        lambda dims: _opened(InvertedBottleneck(4, group_width=2, spatial_dims=dims)), (4, 3), ((4, 3),), ""
    ),
    "bilinear down": Part(lambda dims: BilinearDownsample(spatial_dims=dims), (3, 5), ((3, 3),), ""),
    "bilinear up": Part(lambda dims: BilinearUpsample(5, spatial_dims=dims), (3, 3), ((3, 5),), ""),
    "upsampling": Part(lambda dims: UpsampleConv(3, 2, spatial_dims=dims), (3, 3), ((2, 6),), ""),
    "deviation": Part(lambda dims: MinibatchStdDev(), (3, 3), ((4, 3),), ""),
    "pixel": Part(lambda dims: PixelNorm(), (3, 3), ((3, 3),), ""),
    "codebook": Part(lambda dims: VectorQuantizer(5, 3), (3, 4), ((3, 4),), ""),
    "unet": Part(_unet, (2, 7), ((3, 7),)),
    "vectors": Part(lambda dims, **words: LinearStack([3, 4, 2], **{"norm": "batch", **words}), (3, 1), ((2, None),)),
}


def test_the_table_holds_every_stack_and_block():
    """Every public module of the package has a row, so that a new one must keep the contract too."""
    public = {getattr(stacks, name) for name in stacks.__all__}
    modules = {value.__name__ for value in public if isinstance(value, type) and issubclass(value, nn.Module)}
    assert modules == {type(part.make(2)).__name__ for part in PARTS.values()}


def _having(word):
    return [name for name, part in PARTS.items() if word in part.words.split()]


def _sample(name, dims, dtype=torch.float32):
    channels, size = PARTS[name].inputs
    return torch.randn(4, channels, *[1 if name == "vectors" else size] * dims, dtype=dtype)


def _tensors(output):
    if isinstance(output, DiscriminatorOutput):
        return _tensors(output.logits) + output.features
    if isinstance(output, Quantized):
        return (output.maps,)
    return output if isinstance(output, tuple) else (output,)


def _layers(module):
    return [part for part in module.modules() if isinstance(part, LAYERS)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", PARTS)
def test_the_output_has_its_shape(name, dims):
    """In one, two and three dimensions the outputs have the channels and sizes of the table."""
    expected = [
        (4, channels) if size is None else (4, channels, *[size] * dims) for channels, size in PARTS[name].outputs
    ]

    assert expected == [tuple(y.shape) for y in _tensors(PARTS[name].make(dims)(_sample(name, dims)))]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", _having("spectral"))
def test_spectral_norm_makes_every_layer_one_lipschitz(name, dims):
    """After some iterations every weight, as a matrix with a row an output, has 1 for its largest singular value."""
    module, x = PARTS[name].make(dims, spectral_norm=True), _sample(name, dims)
    for _ in range(150):
        module(x)
    layers = _layers(module.eval())

    assert layers
    for layer in layers:
        assert parametrize.is_parametrized(layer, "weight")
        weight = layer.weight.transpose(0, 1) if getattr(layer, "transposed", False) else layer.weight
        assert pytest.approx(1, abs=1e-3) == torch.linalg.matrix_norm(weight.flatten(1), 2).item()


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", _having("norm"))
def test_conditional_batch_norm_starts_as_batch_norm(name, dims):
    """With the weights of the same part with plain batch norm, whatever the condition, the outputs are the same."""

    def norm(channels):
        return ConditionalBatchNorm(channels, OneHot(3), spatial_dims=0 if name == "vectors" else dims)

    conditional, plain = PARTS[name].make(dims, norm=norm), PARTS[name].make(dims, norm="batch")
    for ours, its in zip(_layers(conditional), _layers(plain), strict=True):
        ours.load_state_dict(its.state_dict())
    x = _sample(name, dims)

    assert conditional.needs_condition
    assert not plain.needs_condition
    for expected, actual in zip(_tensors(plain(x)), _tensors(conditional(x, torch.tensor([2, 0, 1, 1]))), strict=True):
        assert torch.allclose(expected, actual, atol=1e-5)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("name", [name for name in PARTS if name != "codebook"])  # its maps are constant in steps
def test_gradients_have_the_right_gradients(name, dims):
    """Along a random direction the derivative of the gradient is that of finite differences, as penalties need it."""
    part = PARTS[name]
    module = part.make(dims, **({"activation": nn.Softplus} if "activation" in part.words else {})).double()
    x, direction = _sample(name, dims, torch.float64), _sample(name, dims, torch.float64)

    def gradient(x, create_graph=False):
        x = x.detach().requires_grad_()
        value = sum(y.square().sum() + y.sin().sum() for y in _tensors(module(x)))
        return torch.autograd.grad(value, x, create_graph=create_graph)[0], x

    first, leaf = gradient(x, create_graph=True)
    (actual,) = torch.autograd.grad((first * direction).sum(), leaf)
    step = 1e-5
    expected = (gradient(x + step * direction)[0] - gradient(x - step * direction)[0]) / (2 * step)

    assert expected.abs().max() > 1e-3
    assert torch.allclose(expected, actual, rtol=1e-4, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("name", PARTS)
def test_weights_can_be_stored(name, spectral_norm):
    """Another one that reads its state gives the same, and one with weights of its own gave something else."""
    words = {"spectral_norm": spectral_norm} if name in _having("spectral") else {}
    one, other, x = PARTS[name].make(2, **words), PARTS[name].make(2, **words), _sample(name, 2)
    one(x)
    one.eval()
    other.eval()

    before = _tensors(other(x))
    other.load_state_dict(one.state_dict())

    assert all(map(torch.equal, _tensors(one(x)), _tensors(other(x))))
    assert all(map(torch.equal, _tensors(one(x)), before)) == (not one.state_dict())
