"""Tests of the adapters that concatenate the condition with something."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import stacks
from ganlib.conditioning import ConcatChannels, ConcatFeatures, ConcatLatent, ConditionalBatchNorm, Maps, OneHot
from ganlib.conditioning._concat import join
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from tests import strategies

PLAN = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])  # its top is (4, 2, 1)
FLAT_PLAN = stacks.StackPlan((1, 8, 6), [stacks.Stage(3, kernel_size=(8, 6), stride=1, padding=0)])
all_kinds = pytest.mark.parametrize("kind", strategies.ALL_CONDITIONS)
flat_kinds = pytest.mark.parametrize("kind", strategies.FLAT_CONDITIONS)
spatial_sizes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


def everywhere(flat, spatial):
    """(N, F) at all positions."""
    return flat if flat.ndim > 2 else flat[..., None, None].expand(-1, -1, *spatial)


@flat_kinds
def test_concat_latent_gives_the_module_both(kind):
    """The module is called with the latent and, behind it, the encoded condition."""
    encoder, condition = strategies.ALL_CONDITIONS[kind](4)
    latent = torch.randn(4, 5)

    assert torch.equal(
        torch.cat([latent, encoder(condition)], 1), ConcatLatent(nn.Identity(), encoder)(latent, condition)
    )


@all_kinds
def test_concat_latent_around_our_stack(kind):
    """A stack whose top holds latent and condition makes images, and they depend on the condition."""
    torch.manual_seed(0)
    encoder, condition = strategies.ALL_CONDITIONS[kind](2, PLAN.top_shape[1:])
    generator = ConcatLatent(stacks.ConvTransposeStack(PLAN, top_channels=5 + encoder.features, norm="none"), encoder)
    latent = torch.randn(1, 5, 2, 1).expand(2, -1, -1, -1)

    first, second = generator(latent, condition)

    assert first.shape == (1, 8, 6)
    assert not torch.allclose(first, second, atol=1e-6)


@flat_kinds
def test_concat_latent_around_a_plain_module(kind):
    """A user's own network of 5 + features numbers is a conditional generator."""
    encoder, condition = strategies.ALL_CONDITIONS[kind](4)
    generator = ConcatLatent(nn.Sequential(nn.Linear(5 + encoder.features, 48), nn.Unflatten(1, (1, 8, 6))), encoder)

    assert generator(torch.randn(4, 5), condition).shape == (4, 1, 8, 6)


def test_a_latent_is_repeated_over_the_places_of_maps():
    """With maps as the condition a flat latent stands at each of their places."""
    maps, latent = torch.randn(2, 3, 2, 1), torch.randn(2, 5)

    actual = ConcatLatent(nn.Identity(), Maps(3))(latent, maps)

    assert torch.equal(torch.cat([everywhere(latent, (2, 1)), maps], 1), actual)


def test_conditional_norms_inside_get_the_condition_too():
    """A stack with conditional norms inside of ConcatLatent is called with (joined, condition)."""
    encoder, condition, latent = OneHot(2), torch.tensor([0, 1]), torch.randn(2, 3, 2, 1)
    stack = stacks.ConvTransposeStack(
        PLAN, top_channels=5, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2))
    )
    joined = torch.cat([latent, everywhere(encoder(condition), (2, 1))], 1)

    assert torch.allclose(stack(joined, condition), ConcatLatent(stack, encoder)(latent, condition))


@all_kinds
def test_concat_channels_gives_the_module_planes(kind):
    """The module is called with the image and, behind it, the encoded condition at all positions."""
    encoder, condition = strategies.ALL_CONDITIONS[kind](4, (8, 6))
    sample = torch.randn(4, 1, 8, 6)

    actual = ConcatChannels(nn.Identity(), encoder)(sample, condition)

    assert torch.equal(torch.cat([sample, everywhere(encoder(condition), (8, 6))], 1), actual)


@all_kinds
def test_concat_channels_around_our_stack_and_a_plain_module(kind):
    """Our stack and a user's convolution of 1 + features channels become conditional discriminators."""
    torch.manual_seed(0)
    encoder, condition = strategies.ALL_CONDITIONS[kind](2, (8, 6))
    channels, sample = 1 + encoder.features, torch.randn(1, 1, 8, 6).expand(2, -1, -1, -1)
    stack = stacks.ConvStack(FLAT_PLAN, image_channels=channels, top_channels=1)

    for module in (stack, nn.Conv2d(channels, 1, (8, 6))):
        first, second = ConcatChannels(module, encoder)(sample, condition)
        assert first.shape == (1, 1, 1)
        assert not torch.allclose(first, second, atol=1e-6)


def test_what_a_module_returns_is_handed_on():
    """A DiscriminatorOutput comes through ConcatChannels and ConcatFeatures as it is."""
    output = DiscriminatorOutput(torch.zeros(2, 1), class_logits=torch.zeros(2, 3))

    class Fixed(nn.Module):
        def forward(self, x):
            return output

    sample, condition = torch.randn(2, 1, 8, 6), torch.tensor([0, 1])
    assert ConcatChannels(Fixed(), OneHot(2))(sample, condition) is output
    assert ConcatFeatures(nn.Flatten(), OneHot(2), Fixed())(sample, condition) is output


@flat_kinds
def test_concat_features_gives_the_head_both(kind):
    """The head is called with the backbone's features and, behind them, the encoded condition."""
    encoder, condition = strategies.ALL_CONDITIONS[kind](4)
    sample = torch.randn(4, 1, 8, 6)

    actual = ConcatFeatures(nn.Flatten(), encoder, nn.Identity())(sample, condition)

    assert torch.equal(torch.cat([sample.flatten(1), encoder(condition)], 1), actual)


@all_kinds
def test_concat_features_at_every_place_of_a_backbones_maps(kind):
    """Features with places get the encoding at each of them, for a head that is a convolution."""
    encoder, condition = strategies.ALL_CONDITIONS[kind](4, PLAN.top_shape[1:])
    backbone, sample = stacks.ConvStack(PLAN).eval(), torch.randn(4, 1, 8, 6)

    joined = ConcatFeatures(backbone, encoder, nn.Identity())(sample, condition)
    patches = ConcatFeatures(backbone, encoder, nn.Conv2d(4 + encoder.features, 1, 1))(sample, condition)

    assert torch.equal(torch.cat([backbone(sample), everywhere(encoder(condition), (2, 1))], 1), joined)
    assert patches.shape == (4, 1, 2, 1)


@flat_kinds
def test_concat_features_flattens_a_top_of_size_one(kind):
    """Features of spatial size 1 are flattened, so that a linear head can follow our stack."""
    encoder, condition = strategies.ALL_CONDITIONS[kind](4)
    discriminator = ConcatFeatures(stacks.ConvStack(FLAT_PLAN), encoder, nn.Linear(3 + encoder.features, 1))

    assert discriminator(torch.randn(4, 1, 8, 6), condition).shape == (4, 1)


ADAPTERS = {
    "latent": (ConcatLatent(nn.Identity(), OneHot(3)), torch.zeros(4, 2)),
    "channels": (ConcatChannels(nn.Identity(), OneHot(3)), torch.zeros(4, 1, 8, 6)),
    "features": (ConcatFeatures(nn.Identity(), OneHot(3), nn.Identity()), torch.zeros(4, 2)),
}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    ("condition", "error", "message"),
    [
        (None, ArgumentValueError, r"condition \(=None\) is missing"),
        ([0, 1, 2, 0], ArgumentTypeError, r"condition \(=\[0, 1, 2, 0\]\)"),
        (torch.tensor([0, 1, 2, 3]), ArgumentValueError, "holds the class 3"),
        (torch.tensor([0.0, 1.0, 2.0, 0.0]), DTypeError, "torch.float32"),
        (torch.tensor([0, 1]), ShapeError, "condition has 2 entries"),
    ],
)
def test_bad_conditions_are_refused(adapter, condition, error, message):
    """A condition that is missing, of another type, length or dtype, or out of range is named and quoted."""
    module, x = ADAPTERS[adapter]
    with pytest.raises(error, match=message):
        module(x, condition)


def test_maps_of_another_size_than_the_image_are_refused():
    """ConcatChannels wants maps of the image's size."""
    with pytest.raises(ShapeError, match=r"sizes \(4, 4\), but sample has \(8, 6\)"):
        ConcatChannels(nn.Identity(), Maps(1))(torch.zeros(2, 1, 8, 6), torch.zeros(2, 1, 4, 4))


@given(spatial_sizes, spatial_sizes, st.integers(1, 3), st.integers(1, 3))
def test_each_position_has_both_sides_features(left, right, channels, features):
    """At every position of the result lie x's and the encoding's numbers; a flat one is the same at all positions."""
    x, encoding = torch.randn(2, channels, *left), torch.randn(2, features, *right)
    if left and right and left != right:
        with pytest.raises(ShapeError):
            join(x, encoding, "x")
        return
    positions = left or right

    joined = join(x, encoding, "x")

    def at_all_positions(flat):
        return (
            flat
            if flat.ndim == 2 + len(positions)
            else flat.view(2, -1, *[1] * len(positions)).expand(-1, -1, *positions)
        )

    assert (2, channels + features, *positions) == joined.shape
    assert torch.equal(at_all_positions(x), joined[:, :channels])
    assert torch.equal(at_all_positions(encoding), joined[:, channels:])


@pytest.mark.parametrize(("left", "right"), [((), ()), ((2,), ()), ((), (2,))])
def test_the_result_has_the_dtype_of_x(left, right):
    """The encoding is cast to the dtype of the features."""
    x, encoding = torch.zeros(2, 1, *left, dtype=torch.bfloat16), torch.zeros(2, 1, *right)

    assert torch.bfloat16 == join(x, encoding, "x").dtype


def test_another_batch_size_is_refused():
    """A condition with another number of entries raises an error with both numbers and the name."""
    with pytest.raises(ShapeError, match=r"condition has 3 entries, but latent \(2, 5\) has 2 samples") as caught:
        join(torch.zeros(2, 5), torch.zeros(3, 4), "latent")
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


def test_other_spatial_sizes_are_refused():
    """Maps of another size raise an error with both sizes and the name."""
    with pytest.raises(ShapeError, match=r"sizes \(4, 4\), but sample has \(8, 8\)"):
        join(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3, 4, 4), "sample")


def test_a_latent_of_another_size_is_told_its_own():
    """The error names the size of the latent alone, and is silent of it where the latent is right."""
    generator = ConcatLatent(stacks.LinearStack([64 + 3, 8]), OneHot(3))
    with pytest.raises(ShapeError, match="the latent alone must have size 64, not 32"):
        generator(torch.zeros(4, 32), torch.tensor([0, 1, 2, 0]))
    for latent in (torch.zeros(4, 64), torch.zeros(64)):
        with pytest.raises(ShapeError) as caught:
            generator(latent, torch.tensor([0, 1, 2]))
        assert "alone" not in str(caught.value)
