"""Tests of the discriminator of patches."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from ganlib.stacks import PatchDiscriminator
from tests import strategies

SMALL = {"channels": 2, "layers": 1}


@pytest.mark.parametrize(("layers", "expected"), [(1, 16), (3, 70), (5, 286)])
def test_receptive_fields_are_the_papers(layers, expected):
    """One, three and five layers see the 16, 70 and 286 pixels of pix2pix's appendix."""
    assert expected == PatchDiscriminator(1, channels=1, layers=layers).receptive_field


@given(strategies.spatial_dims, st.integers(1, 2), st.integers(1, 5))
def test_a_logit_sees_its_receptive_field(dims, layers, kernel_size):
    """The gradient of a logit in the middle reaches as many pixels along each dimension as receptive_field says."""
    layers = 1 if dims == 3 else layers
    discriminator = PatchDiscriminator(
        1, channels=1, layers=layers, spatial_dims=dims, kernel_size=kernel_size, norm="none", activation=nn.Softplus
    ).double()
    for parameter in discriminator.parameters():
        nn.init.constant_(parameter, 0.5)
    field = discriminator.receptive_field
    x = torch.zeros(1, 1, *[2 * field + 2**layers] * dims, dtype=torch.float64, requires_grad=True)
    logits = discriminator(x)

    (gradient,) = torch.autograd.grad(logits[0, 0][tuple(n // 2 for n in logits.shape[2:])], x)

    for dim in range(dims):
        reached = gradient[0, 0].nonzero()[:, dim]
        assert field == int(reached.max() - reached.min()) + 1


def test_the_default_is_pix2pixs():
    """70 pixels: C64-C128-C256-C512 and one logit a patch, of 4 x 4 kernels, with norms but at both ends."""
    discriminator = PatchDiscriminator(6)
    layers = [block.layer for block in discriminator.blocks]

    assert [layer.out_channels for layer in layers] == [64, 128, 256, 512, 1]
    assert [layer.stride for layer in layers] == [(2, 2)] * 3 + [(1, 1)] * 2
    assert {layer.kernel_size for layer in layers} == {(4, 4)}
    assert [isinstance(block.norm, nn.BatchNorm2d) for block in discriminator.blocks] == [False] + [True] * 3 + [False]
    assert [layer.bias is not None for layer in layers] == [True, False, False, False, True]
    assert {block.activation.negative_slope for block in list(discriminator.blocks)[:-1]} == {0.2}
    assert isinstance(discriminator.blocks[-1].activation, nn.Identity)


def test_channels_double_up_to_eight_times():
    """With many layers the channels stay at 8 times the first's."""
    widths = [block.layer.out_channels for block in PatchDiscriminator(1, channels=2, layers=6).blocks]

    assert widths == [2, 4, 8, 16, 16, 16, 16, 1]


@given(strategies.spatial_dims, st.integers(1, 2), st.integers(1, 5), st.integers(0, 5))
def test_images_of_any_size_give_a_map_of_logits(dims, layers, kernel_size, more):
    """The smallest size gives one logit, a larger one at least that, and one pixel less is refused with the size."""
    discriminator = PatchDiscriminator(
        2, channels=2, layers=layers, spatial_dims=dims, kernel_size=kernel_size, norm="none"
    )
    size = discriminator.smallest_size
    logits = discriminator(torch.randn(2, 2, size + more, *[size] * (dims - 1)))

    assert logits.shape[:2] == (2, 1)
    assert (1,) * (dims - 1) == logits.shape[3:]
    assert logits.shape[2] == 1 or more > 0
    with pytest.raises(ShapeError, match=f"must have a size of at least {size} in every spatial dimension") as caught:
        discriminator(torch.zeros(2, 2, size - 1, *[size] * (dims - 1)))
    assert f"sample (2, 2, {size - 1}" in str(caught.value)


def test_with_features_it_gives_every_inner_activation():
    """Its logits are those that it gives without features, and its features what each block but the last gives."""
    discriminator, bare = PatchDiscriminator(1, **SMALL, features=True), PatchDiscriminator(1, **SMALL)
    bare.load_state_dict(discriminator.state_dict())
    x = torch.randn(2, 1, 16, 16)

    output = discriminator(x)

    assert isinstance(output, DiscriminatorOutput)
    assert torch.equal(bare(x), output.logits)
    assert output.class_logits is None
    assert len(output.features) == 2
    for block, feature in zip(bare.blocks, output.features, strict=False):
        x = block(x)
        assert torch.equal(x, feature)


def test_conditional_norms_are_given_the_condition():
    """With conditional norms it takes (sample, condition) and depends on it; without, it refuses one."""
    discriminator = PatchDiscriminator(1, **SMALL, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2)))
    for parameter in discriminator.blocks[1].norm.parameters():
        nn.init.normal_(parameter)
    x, condition = torch.randn(1, 1, 16, 16).expand(2, -1, -1, -1), torch.tensor([0, 1])

    first, second = discriminator(x, condition)

    assert discriminator.needs_condition
    assert not torch.allclose(first, second)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing: this PatchDiscriminator"):
        discriminator(x)
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a PatchDiscriminator"):
        PatchDiscriminator(1, **SMALL)(x, condition)


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (2, 1, 16), (1, 16, 16)])
def test_samples_of_another_shape_are_refused(shape):
    """Other channels or spatial dimensions are refused with both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 1, \*spatial\) with 2") as caught:
        PatchDiscriminator(1, **SMALL)(torch.zeros(shape))
    assert f"sample {shape}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"in_channels": 0}, ArgumentValueError, "in_channels (=0)"),
        ({"channels": 0}, ArgumentValueError, "channels (=0)"),
        ({"layers": 0}, ArgumentValueError, "layers (=0)"),
        ({"kernel_size": (4, 4)}, ArgumentValueError, "kernel_size (=(4, 4))"),
        ({"spatial_dims": 0}, ArgumentValueError, "spatial_dims (=0)"),
        ({"norm": "layer"}, ArgumentValueError, "norm (='layer')"),
        ({"activation": "relu"}, ArgumentTypeError, "activation (='relu')"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    """An argument out of its range is named and quoted."""
    with pytest.raises(error) as caught:
        PatchDiscriminator(**{"in_channels": 1, **arguments})
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, GanlibError)
