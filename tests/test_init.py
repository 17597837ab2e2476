"""Tests of weight initialisation."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from ganlib import init, stacks
from ganlib.errors import GanlibError

ALL = [init.dcgan_, init.normal_, init.xavier_, init.kaiming_, init.orthogonal_]
everyone = pytest.mark.parametrize("initialise", ALL)
LAYERS = [
    lambda: nn.Linear(300, 200),
    lambda: nn.Conv1d(60, 50, 5),
    lambda: nn.Conv2d(30, 40, 5),
    lambda: nn.Conv3d(20, 30, 3),
    lambda: nn.ConvTranspose1d(60, 50, 5),
    lambda: nn.ConvTranspose2d(40, 30, 5),
    lambda: nn.ConvTranspose3d(30, 20, 3),
]
layers = pytest.mark.parametrize("make", LAYERS, ids=lambda make: type(make()).__name__)


@everyone
@layers
def test_weights_are_drawn_anew_and_biases_are_zero(initialise, make):
    """Every kind of layer gets a new weight with mean 0, and a bias of 0."""
    torch.manual_seed(0)
    layer = make()
    before = layer.weight.detach().clone()
    nn.init.ones_(layer.bias)

    assert initialise(layer) is layer
    assert not torch.equal(before, layer.weight)
    assert pytest.approx(0.0, abs=0.005) == layer.weight.mean().item()
    assert layer.bias.count_nonzero() == 0


def deviation(initialise, layer, **arguments):
    """The standard deviation of a layer's weights after initialisation."""
    torch.manual_seed(0)
    return initialise(layer, **arguments).weight.std().item()


@layers
def test_dcgan_and_normal_have_their_standard_deviation(make):
    """The weights' standard deviation is 0.02, or the one that was given."""
    for initialise in (init.dcgan_, init.normal_):
        assert pytest.approx(0.02, rel=0.03) == deviation(initialise, make())
        assert pytest.approx(0.5, rel=0.03) == deviation(initialise, make(), std=0.5)


@layers
def test_xavier_has_its_standard_deviation_and_bound(make):
    """Weights are uniform with variance gain^2 * 2 / (fan_in + fan_out)."""
    layer = make()
    places = math.prod(layer.weight.shape[2:])
    expected = 3 * math.sqrt(2 / (sum(layer.weight.shape[:2]) * places))

    assert pytest.approx(expected, rel=0.03) == deviation(init.xavier_, layer, gain=3.0)
    assert layer.weight.abs().max() <= math.sqrt(3) * expected + 1e-6


@pytest.mark.parametrize("make", LAYERS[:4], ids=lambda make: type(make()).__name__)
def test_kaiming_has_its_standard_deviation(make):
    """Weights have variance 2 / ((1 + slope^2) fan_in)."""
    layer = make()
    fan_in = layer.weight[0].numel()

    assert pytest.approx(math.sqrt(2 / fan_in), rel=0.03) == deviation(init.kaiming_, layer)
    expected = math.sqrt(2 / (1 + 0.5**2) / fan_in)
    assert pytest.approx(expected, rel=0.03) == deviation(init.kaiming_, layer, negative_slope=0.5)


@pytest.mark.parametrize("make", LAYERS[:4], ids=lambda make: type(make()).__name__)
def test_orthogonal_weights_are_orthogonal(make):
    """The matrix with a row an output has rows, or columns, that are orthogonal and of length gain."""
    matrix = init.orthogonal_(make(), gain=2.0).weight.flatten(1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix

    assert torch.allclose(4 * torch.eye(len(gram)), gram, atol=1e-4)


@everyone
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm1d(4),
        lambda: nn.BatchNorm2d(4),
        lambda: nn.InstanceNorm3d(4, affine=True),
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.LayerNorm(4),
    ],
    ids=lambda make: type(make()).__name__,
)
def test_norms_start_near_the_identity(initialise, make):
    """An affine norm's bias becomes 0, and its gain 1, or for DCGAN a draw around 1."""
    torch.manual_seed(0)
    norm = make()
    nn.init.constant_(norm.weight, 7.0)
    nn.init.constant_(norm.bias, 7.0)

    initialise(norm)

    assert norm.bias.count_nonzero() == 0
    if initialise is init.dcgan_:
        assert len(norm.weight.unique()) == 4
        assert torch.allclose(torch.ones(4), norm.weight, atol=0.1)
    else:
        assert torch.equal(torch.ones(4), norm.weight)


def test_dcgans_gains_are_drawn_around_one():
    """DCGAN's gains come from N(1, 0.02)."""
    torch.manual_seed(0)
    gain = init.dcgan_(nn.BatchNorm2d(20_000)).weight

    assert pytest.approx(1.0, abs=0.001) == gain.mean().item()
    assert pytest.approx(0.02, rel=0.03) == gain.std().item()


@everyone
def test_what_has_no_weight_or_bias_is_passed_over(initialise):
    """Layers without biases, and norms without gains, are no obstacle."""
    network = nn.Sequential(
        nn.Linear(4, 4, bias=False),
        nn.BatchNorm1d(4, affine=False),
        nn.GroupNorm(2, 4, affine=False),
        nn.LayerNorm(4, bias=False),
        nn.ReLU(),
    )

    assert initialise(network) is network
    assert network(torch.randn(3, 4)).isfinite().all()


@everyone
def test_embeddings_are_left_alone(initialise):
    """Embeddings keep torch's N(0, 1)."""
    embedding = nn.Embedding(5, 3)
    before = embedding.weight.detach().clone()

    assert torch.equal(before, initialise(nn.Sequential(embedding))[0].weight)


@everyone
def test_a_parametrized_weight_is_set_below_its_parametrization(initialise):
    """A weight under spectral norm gets what a plain one gets with the same random numbers."""
    plain, normalised = nn.Linear(4, 3), parametrizations.spectral_norm(nn.Linear(4, 3))

    torch.manual_seed(0)
    initialise(plain)
    torch.manual_seed(0)
    initialise(normalised)

    assert torch.equal(plain.weight, normalised.parametrizations.weight.original)


@everyone
def test_a_whole_stack_is_initialised(initialise):
    """Every layer inside of a stack is reached, and frozen statistics stay."""
    plan = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])
    stack = stacks.ConvTransposeStack(plan)
    before = [block.layer.weight.detach().clone() for block in stack.blocks]

    initialise(stack)

    assert all(not torch.equal(old, block.layer.weight) for old, block in zip(before, stack.blocks, strict=True))
    assert torch.equal(torch.zeros(2), stack.blocks[0].norm.running_mean)


NORMS = [nn.BatchNorm2d(2000), nn.GroupNorm(2, 2000), nn.LayerNorm(2000), nn.InstanceNorm1d(2000, affine=True)]


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: type(norm).__name__)
def test_gains_are_drawn_where_that_is_asked_for(norm):
    """With ``gains=True`` the gain of a norm has mean 0 and the given deviation, and its bias is 0; else it is 1."""
    torch.manual_seed(0)
    nn.init.constant_(norm.bias, 3.0)
    assert init.normal_(norm, 0.05, gains=True) is norm
    assert norm.weight.mean().abs() < 5 * 0.05 / math.sqrt(2000)
    assert norm.weight.std().item() == pytest.approx(0.05, rel=0.1)
    assert not norm.bias.any()
    assert (init.normal_(norm, 0.05).weight == 1).all()


def test_gains_leave_the_draw_of_weights_as_it_is():
    """What is no norm is drawn from N(0, std) with and without ``gains``."""
    for gains in (False, True):
        network = init.normal_(nn.Sequential(nn.Linear(300, 200), nn.BatchNorm1d(200)), 0.1, gains=gains)
        assert network[0].weight.std().item() == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize(
    ("options", "builtin", "message"),
    [({"std": -0.1}, ValueError, r"std \(=-0.1\)"), ({"gains": 0.02}, TypeError, r"gains \(=0.02\)")],
)
def test_wrong_arguments_of_normal_are_named(options, builtin, message):
    """A negative deviation, and a number in place of a switch, are errors of ours with their value."""
    with pytest.raises(builtin, match=message) as caught:
        init.normal_(nn.Linear(1, 1), **options)
    assert isinstance(caught.value, GanlibError)
