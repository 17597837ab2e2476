"""Tests of conditional batch norm."""

import pytest
import torch
from torch import nn

from ganlib import init, stacks
from ganlib.conditioning import ConditionalBatchNorm, Maps, OneHot
from ganlib.errors import ArgumentValueError, DTypeError, GanlibError, ShapeError
from tests import strategies

PLAIN = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
all_dims = pytest.mark.parametrize("dims", [0, 1, 2, 3])
flat_kinds = pytest.mark.parametrize("kind", strategies.FLAT_CONDITIONS)


@all_dims
@flat_kinds
def test_at_first_it_is_plain_batch_norm(dims, kind):
    """In training and in evaluation it gives what nn.BatchNorm gives, with the same running statistics."""
    encoder, condition = strategies.FLAT_CONDITIONS[kind](5)
    norm, plain = ConditionalBatchNorm(3, encoder, spatial_dims=dims), PLAIN[dims](3)

    for _ in range(3):
        x = 2 + 3 * torch.randn(5, 3, *[4] * dims)
        assert torch.allclose(plain(x), norm(x, condition), atol=1e-6)
    norm.eval()
    plain.eval()

    assert torch.allclose(plain(x), norm(x, condition), atol=1e-6)
    assert torch.equal(plain.running_mean, norm.norm.running_mean)
    assert torch.equal(plain.running_var, norm.norm.running_var)


@all_dims
def test_gain_and_bias_are_linear_in_the_condition(dims):
    """With weights of its own each class has its own 1 + gain and bias."""
    norm, condition = ConditionalBatchNorm(3, OneHot(2), spatial_dims=dims), torch.tensor([0, 1, 1, 0])
    nn.init.normal_(norm.film.gain)
    nn.init.normal_(norm.film.bias)
    x = torch.randn(4, 3, *[4] * dims)
    normalised = PLAIN[dims](3, affine=False)(x)

    actual = norm(x, condition)

    for n, label in enumerate(condition):
        gain, bias = (parameter[label].view(3, *[1] * dims) for parameter in (norm.film.gain, norm.film.bias))
        assert torch.allclose((1 + gain) * normalised[n] + bias, actual[n], atol=1e-6)


@flat_kinds
def test_in_our_generator_it_starts_as_batch_norm_and_learns(kind):
    """A stack with conditional norms equals the one with norm="batch" at first, and its gains get a gradient."""
    torch.manual_seed(0)
    encoder, condition = strategies.FLAT_CONDITIONS[kind](5)
    plan = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])
    conditional = stacks.ConvTransposeStack(plan, norm=lambda channels: ConditionalBatchNorm(channels, encoder))
    plain = stacks.ConvTransposeStack(plan, norm="batch")
    for mine, its in zip(conditional.blocks, plain.blocks, strict=True):
        mine.layer.load_state_dict(its.layer.state_dict())
    latent = torch.randn(5, *plan.top_shape)

    images = conditional(latent, condition)
    images.square().sum().backward()

    assert torch.allclose(plain(latent), images, atol=1e-5)
    assert conditional.blocks[0].norm.film.gain.grad.abs().sum() > 0
    assert conditional.blocks[0].norm.film.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("initialise", [init.dcgan_, init.normal_, init.xavier_, init.kaiming_, init.orthogonal_])
def test_an_initialisation_leaves_its_zeros_alone(initialise):
    """After a weight initialisation of the whole network it still starts as plain batch norm."""
    norm = initialise(ConditionalBatchNorm(3, OneHot(2)))

    assert 0 == norm.film.gain.count_nonzero() == norm.film.bias.count_nonzero()


def test_it_works_in_float64():
    """In float64 it equals batch norm in float64, also with an encoder that gives float32."""
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)

    actual = ConditionalBatchNorm(3, OneHot(2)).double()(x, torch.tensor([0, 1, 1, 0]))

    assert torch.allclose(nn.BatchNorm2d(3).double()(x), actual)


def test_an_encoder_can_be_shared():
    """Two norms with one encoder have its parameters once."""
    encoder = nn.Embedding(3, 2)
    encoder.features = 2
    norms = nn.ModuleList(ConditionalBatchNorm(4, encoder) for _ in range(2))

    assert sum(parameter is encoder.weight for parameter in norms.parameters()) == 1


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (None, ArgumentValueError, r"condition \(=None\) is missing"),
        (torch.tensor([0, 2]), ArgumentValueError, "holds the class 2"),
        (torch.tensor([0.0, 1.0]), DTypeError, "torch.float32"),
        (torch.tensor([0, 1, 1]), ShapeError, r"condition's encoding \(3, 2\) must be \(2, features\), since x \(2, "),
    ],
)
def test_bad_conditions_are_refused(condition, error, message):
    """A condition that is missing, out of range, of another dtype or length is named and quoted."""
    with pytest.raises(error, match=message) as caught:
        ConditionalBatchNorm(3, OneHot(2))(torch.zeros(2, 3, 4, 4), condition)
    assert isinstance(caught.value, GanlibError)


def test_maps_are_refused():
    """An encoder that gives maps raises an error with their shape."""
    with pytest.raises(ShapeError, match=r"\(2, 1, 4, 4\)"):
        ConditionalBatchNorm(3, Maps(1))(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(("name", "value"), [("channels", 0), ("spatial_dims", 4), ("spatial_dims", -1)])
def test_bad_arguments_are_refused(name, value):
    """Channels below 1 and dimensions outside of 0 to 3 are named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={value}\)"):
        ConditionalBatchNorm(**{"channels": 3, "encoder": OneHot(2), name: value})
