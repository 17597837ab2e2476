"""Tests of feature-wise linear modulation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import init, stacks
from ganlib.conditioning import FiLM, Maps, OneHot, TagEmbedding
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from tests import strategies

flat_kinds = pytest.mark.parametrize("kind", strategies.FLAT_CONDITIONS)
spatial_sizes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@flat_kinds
@given(spatial_sizes)
def test_at_first_it_is_the_identity(kind, spatial):
    """Whatever the condition and the places, x comes out as it went in, to the bit."""
    encoder, condition = strategies.FLAT_CONDITIONS[kind](4)
    x = torch.randn(4, 3, *spatial)

    assert torch.equal(x, FiLM(3, encoder)(x, condition))


@given(spatial_sizes, st.integers(1, 4))
def test_each_class_has_its_own_gain_and_bias(spatial, channels):
    """With one-hot classes a sample is multiplied by 1 + its class's gains, and its class's biases are added."""
    film, labels = FiLM(channels, OneHot(3)).double(), [2, 0, 1, 2]
    nn.init.normal_(film.gain)
    nn.init.normal_(film.bias)
    x = torch.randn(4, channels, *spatial, dtype=torch.float64)

    actual = film(x, torch.tensor(labels))

    for n, label in enumerate(labels):
        for channel in range(channels):
            expected = (1 + film.gain[label, channel]) * x[n, channel] + film.bias[label, channel]
            assert torch.allclose(expected, actual[n, channel])


def test_it_learns_from_the_first_step():
    """At its zeros the gradient of the gains is sum e(y) x g, and of the biases sum e(y) g, over samples and places."""
    encoder, condition = strategies.encoded_tags(4)
    film, x, g = FiLM(3, encoder), torch.randn(4, 3, 2, 5), torch.randn(4, 3, 2, 5)

    film(x, condition).backward(g)

    encoding = encoder(condition).detach()
    assert torch.allclose(torch.einsum("nf,nchw->fc", encoding, x * g), film.gain.grad, atol=1e-5)
    assert torch.allclose(torch.einsum("nf,nchw->fc", encoding, g), film.bias.grad, atol=1e-5)


def test_in_a_stack_it_is_a_norm_that_does_not_normalise():
    """Our generator's stack with it as the norm starts as one without norms, and later follows the condition."""
    encoder, condition = strategies.encoded_one_hot(4)
    plan = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])
    conditional = stacks.ConvTransposeStack(plan, norm=lambda channels: FiLM(channels, encoder), bias=False)
    plain = stacks.ConvTransposeStack(plan, norm="none", bias=False)
    for mine, its in zip(conditional.blocks, plain.blocks, strict=True):
        its.layer.load_state_dict(mine.layer.state_dict())
    latent = torch.randn(4, *plan.top_shape)

    assert torch.allclose(plain(latent), conditional(latent, condition), atol=1e-6)
    nn.init.normal_(conditional.blocks[0].norm.gain)
    assert not torch.allclose(plain(latent), conditional(latent, condition), atol=1e-3)


@pytest.mark.parametrize("initialise", [init.dcgan_, init.normal_, init.xavier_, init.kaiming_, init.orthogonal_])
def test_an_initialisation_leaves_its_zeros_alone(initialise):
    """After a weight initialisation of the whole network it is still the identity."""
    film = initialise(nn.Sequential(nn.Linear(2, 2), FiLM(3, TagEmbedding(4, 2))))[1]

    assert 0 == film.gain.count_nonzero() == film.bias.count_nonzero()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_result_has_the_dtype_of_its_weights(dtype):
    """A one-hot encoding, float32 whatever the network is, is cast to the weights' dtype."""
    assert dtype == FiLM(3, OneHot(2)).to(dtype)(torch.zeros(2, 3, dtype=dtype), torch.tensor([0, 1])).dtype


@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (None, ArgumentValueError, r"condition \(=None\) is missing.*OneHot\(2\)"),
        ([0, 1], ArgumentTypeError, r"condition \(=\[0, 1\]\)"),
        (torch.tensor([0, 2]), ArgumentValueError, "holds the class 2"),
        (torch.tensor([0.0, 1.0]), DTypeError, "torch.float32"),
        (torch.tensor([0, 1, 1]), ShapeError, r"condition's encoding \(3, 2\) must be \(2, features\), since x \(2, "),
    ],
)
def test_bad_conditions_are_refused(condition, error, message):
    """A condition that is missing, of another type, range, dtype or length is named and quoted."""
    with pytest.raises(error, match=message) as caught:
        FiLM(3, OneHot(2))(torch.zeros(2, 3, 4, 4), condition)
    assert isinstance(caught.value, GanlibError)


def test_maps_are_refused():
    """An encoder that gives maps raises an error with their shape."""
    with pytest.raises(ShapeError, match=r"\(2, 1, 4, 4\)"):
        FiLM(3, Maps(1))(torch.zeros(2, 3, 4, 4), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_are_refused(channels):
    """X of other channels, one that could be broadcast too, raises an error with its shape and their number."""
    with pytest.raises(ShapeError, match=rf"x \(2, {channels}, 4\) must have 3 channels"):
        FiLM(3, OneHot(2))(torch.zeros(2, channels, 4), torch.tensor([0, 1]))


@pytest.mark.parametrize("channels", [0, -1, 2.5])
def test_channels_below_one_are_refused(channels):
    """Channels that are no whole number of at least 1 are named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"channels \(={channels}\)"):
        FiLM(channels, OneHot(2))
