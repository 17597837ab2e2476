"""The contract of every adapter and conditional module, in one table."""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ganlib import conditioning
from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from tests import strategies

N, SPATIAL = 4, (2, 3)
ENCODERS = {"ClassEmbedding", "ConditionEncoder", "Maps", "OneHot", "TagEmbedding", "VectorEmbedding"}


class Row(NamedTuple):
    """One module: how it is made around an encoder, what it is given, and its formula."""

    make: Callable[[Any, tuple[int, ...]], nn.Module]
    x: Callable[[tuple[int, ...]], tuple[int, ...]]
    """The shape of one sample, where the condition has these places."""
    formula: Callable[[nn.Module, Tensor, Tensor], Tensor]
    """From the module's weights, x, and the encoded condition, all float64."""
    depends: bool = True
    maps: bool = False


def affine(inputs, outputs, spatial):
    """A linear layer, at each place where there are places."""
    return nn.Conv2d(inputs, outputs, 1) if spatial else nn.Linear(inputs, outputs)


def spread(flat, like):
    """A flat tensor with as many dimensions as another."""
    return flat.reshape(*flat.shape, *[1] * (like.ndim - flat.ndim)) if flat.ndim < like.ndim else flat


def mixed(layer, x, encoding):
    """W_x x + W_e e + b, where the layer's inputs are x and, behind it, e."""
    weight, bias = layer.weight.double().flatten(1), layer.bias.double()
    of_x = torch.einsum("oi,ni...->no...", weight[:, : x.shape[1]], x)
    of_e = torch.einsum("oi,ni...->no...", weight[:, x.shape[1] :], encoding)
    total = spread(of_x, of_e) + spread(of_e, of_x)
    return total + spread(bias[None], total)


def linear(layer, x):
    """W x + b."""
    return mixed(layer, x, x[:, :0])


def modulated(film, x, encoding):
    """(1 + gain) x + bias, both linear in the encoding."""
    gain, bias = encoding @ film.gain.double(), encoding @ film.bias.double()
    return (1 + spread(gain, x)) * x + spread(bias, x)


def normalised(norm, x):
    """Batch norm by its formula, with the biased variance."""
    every = [0, *range(2, x.ndim)]
    mean = x.mean(every, keepdim=True)
    return (x - mean) / ((x - mean).square().mean(every, keepdim=True) + norm.eps).sqrt()


def projected(head, x, encoding):
    """w.phi + b + <W e, phi>, summed over places."""
    phi = linear(head.backbone, x)
    code = torch.einsum("fe,ne...->nf...", head.project.weight.double(), encoding)
    inner = (spread(code, phi) * phi).flatten(1).sum(1, keepdim=True)
    return linear(head.linear, phi.flatten(2).sum(2) if phi.ndim > 2 else phi) + inner


def flat(output):
    """An output as one tensor with a row a sample."""
    parts = [output.logits, output.class_logits] if isinstance(output, DiscriminatorOutput) else [output]
    return torch.cat([part.flatten(1) for part in parts], 1)


TABLE = {
    "AuxiliaryClassifierHead": Row(
        make=lambda encoder, spatial: conditioning.AuxiliaryClassifierHead(affine(3, 4, spatial), 4, 5),
        x=lambda spatial: (3, *spatial),
        formula=lambda head, x, e: flat(
            DiscriminatorOutput(
                *(
                    linear(
                        layer, linear(head.backbone, x).flatten(2).sum(2) if x.ndim > 2 else linear(head.backbone, x)
                    )
                    for layer in (head.linear, head.classify)
                )
            )
        ),
        depends=False,
        maps=True,
    ),
    "ConcatChannels": Row(
        make=lambda encoder, spatial: conditioning.ConcatChannels(affine(1 + encoder.features, 4, SPATIAL), encoder),
        x=lambda spatial: (1, *SPATIAL),
        formula=lambda adapter, x, e: mixed(adapter.module, x, e),
        maps=True,
    ),
    "ConcatFeatures": Row(
        make=lambda encoder, spatial: conditioning.ConcatFeatures(
            affine(3, 2, spatial), encoder, affine(2 + encoder.features, 4, spatial)
        ),
        x=lambda spatial: (3, *spatial),
        formula=lambda adapter, x, e: mixed(adapter.head, linear(adapter.backbone, x), e),
        maps=True,
    ),
    "ConcatLatent": Row(
        make=lambda encoder, spatial: conditioning.ConcatLatent(affine(3 + encoder.features, 4, spatial), encoder),
        x=lambda spatial: (3,),
        formula=lambda adapter, x, e: mixed(adapter.module, x, e),
        maps=True,
    ),
    "ConditionalBatchNorm": Row(
        make=lambda encoder, spatial: conditioning.ConditionalBatchNorm(3, encoder),
        x=lambda spatial: (3, *SPATIAL),
        formula=lambda norm, x, e: modulated(norm.film, normalised(norm.norm, x), e),
    ),
    "FiLM": Row(
        make=lambda encoder, spatial: conditioning.FiLM(3, encoder),
        x=lambda spatial: (3, *SPATIAL),
        formula=modulated,
    ),
    "Projection": Row(
        make=lambda encoder, spatial: conditioning.Projection(affine(3, 4, spatial), encoder, 4),
        x=lambda spatial: (3, *spatial),
        formula=projected,
        maps=True,
    ),
    "Unconditional": Row(
        make=lambda encoder, spatial: conditioning.Unconditional(affine(3, 4, spatial)),
        x=lambda spatial: (3, *spatial),
        formula=lambda adapter, x, e: linear(adapter.module, x),
        depends=False,
        maps=True,
    ),
}

FLAT = [(name, kind) for name in TABLE for kind in strategies.FLAT_CONDITIONS]
TAKEN = FLAT + [(name, "maps") for name, row in TABLE.items() if row.maps]
CONDITIONAL = [(name, kind) for name, kind in TAKEN if TABLE[name].depends]
LEARNED = [(name, kind) for name, kind in CONDITIONAL if kind in ("class", "tags", "vectors")]


def encoded(kind, encoder, condition):
    """The encoded condition by its formula, in float64."""
    if kind == "class":
        return encoder.embedding.weight.double()[condition]
    if kind == "one-hot":
        return torch.eye(encoder.features, dtype=torch.float64)[condition]
    if kind == "tags":
        return sum(condition[:, k, None].double() * encoder.weight[k].double() for k in range(condition.shape[1]))
    return condition.double() if kind == "maps" else linear(encoder.linear, condition.double())


def made(name, kind, seed=0):
    """A module of the table whose weights are all random, its encoder, x, and a condition."""
    torch.manual_seed(seed)
    spatial = SPATIAL if kind == "maps" else ()
    encoder, condition = strategies.ALL_CONDITIONS[kind](N, spatial)
    module = TABLE[name].make(encoder, spatial)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module, encoder, torch.randn(N, *TABLE[name].x(spatial)), condition


def test_every_module_of_the_room_has_a_row():
    """What the package offers apart from encoders is in the table, so that a new one must keep the contract too."""
    assert set(TABLE) == set(conditioning.__all__) - ENCODERS


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_the_output_is_its_formula(name, kind):
    """For every kind of condition that it takes, the output equals the module's formula in float64."""
    module, encoder, x, condition = made(name, kind)

    expected = TABLE[name].formula(module, x.double(), encoded(kind, encoder, condition))

    torch.testing.assert_close(flat(module(x, condition)).double(), flat(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_a_samples_output_follows_its_condition(name, kind):
    """With other conditions just those samples change whose condition did; where it is ignored, none does."""
    module, _, x, condition = made(name, kind)
    other = condition.roll(1, 0)
    changed = (condition != other).reshape(N, -1).any(1)

    first, second = flat(module(x, condition)), flat(module(x, other))

    assert changed.any()
    actual = (first - second).abs().amax(1) > 1e-4
    assert torch.equal(changed if TABLE[name].depends else torch.zeros(N, dtype=torch.bool), actual)


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_a_missing_condition(name, kind):
    """Without a condition it is refused; where the condition is ignored, the output is the same without one."""
    module, _, x, condition = made(name, kind)
    if not TABLE[name].depends:
        assert torch.equal(flat(module(x, condition)), flat(module(x)))
        assert torch.equal(flat(module(x, condition)), flat(module(x, None)))
        return
    for call in (lambda: module(x), lambda: module(x, None)):
        with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing") as caught:
            call()
        assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(("name", "kind"), CONDITIONAL)
@pytest.mark.parametrize("length", [1, N - 1, N + 1])
def test_a_condition_of_another_length_is_refused(name, kind, length):
    """A condition for another number of samples, a single one too, is refused, not broadcast, and named."""
    module, _, x, condition = made(name, kind)

    with pytest.raises(ShapeError, match="condition") as caught:
        module(x, torch.cat([condition, condition])[:length])
    assert str(length) in str(caught.value)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if not row.maps])
def test_maps_are_refused_where_they_are_not_taken(name):
    """Where the table says that maps are not taken, they are refused with their shape."""
    module, _, x, condition = made(name, "maps")

    with pytest.raises(ShapeError, match=r"\(4, 2, 2, 3\)"):
        module(x, condition)


@pytest.mark.parametrize(("name", "kind"), LEARNED)
def test_gradient_reaches_the_encoder(name, kind):
    """Every parameter of the module and of its encoder gets a gradient that is finite and not 0."""
    module, encoder, x, condition = made(name, kind)

    flat(module(x, condition)).square().sum().backward()

    assert {*map(id, encoder.parameters())} <= {*map(id, module.parameters())}
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
    assert all(parameter.grad.abs().sum() > 1e-6 for parameter in encoder.parameters())


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_a_state_comes_back(name, kind):
    """A second module that is given the state, and a deep copy, give what the first one gives, to the bit."""
    module, _, x, condition = made(name, kind)
    other, *_ = made(name, kind, seed=1)
    twin = copy.deepcopy(module)
    expected = flat(module(x, condition))
    if [*module.parameters()]:
        assert not torch.equal(expected, flat(other(x, condition)))

    other.load_state_dict(module.state_dict())

    assert torch.equal(expected, flat(other(x, condition)))
    assert torch.equal(expected, flat(twin(x, condition)))


@pytest.mark.parametrize(("name", "kind"), LEARNED)
def test_one_encoder_in_two_places(name, kind):
    """Its parameters are there once, also in a copy, and their gradient is the sum of both places' gradients."""
    first, encoder, x, condition = made(name, kind)
    second = TABLE[name].make(encoder, ())
    for parameter in {*second.parameters()} - {*encoder.parameters()}:
        nn.init.normal_(parameter)
    both = nn.ModuleList([first, second])
    learned = [*encoder.parameters()]
    apart = [torch.autograd.grad(flat(place(x, condition)).square().sum(), learned) for place in both]

    sum(flat(place(x, condition)).square().sum() for place in both).backward()

    for parameter, *gradients in zip(learned, *apart, strict=True):
        torch.testing.assert_close(parameter.grad, gradients[0] + gradients[1])
        assert sum(other is parameter for other in both.parameters()) == 1
    twin = copy.deepcopy(both)
    assert twin[0].encoder is twin[1].encoder
    assert twin[0].encoder is not encoder
    assert len([*twin.parameters()]) == len([*first.parameters()]) + len([*second.parameters()]) - len(learned)
