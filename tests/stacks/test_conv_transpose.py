"""Tests of the upward reading of a plan."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, PlanError, ShapeError
from ganlib.stacks import ConvStack, ConvTransposeStack, StackPlan, Stage, UpsampleConv
from tests import strategies

PLAN = StackPlan((1, 8, 6), [Stage(2), Stage(4), Stage(3, (2, 1), 1, 0)])


@pytest.mark.parametrize("dims", [1, 2, 3])
@settings(max_examples=150)
@given(data=st.data())
def test_it_gives_back_exactly_the_images_shape(dims, data):
    """For any plan that can be made, the mirror of what the discriminator's stack gives is the image's shape."""
    plan = data.draw(strategies.plans(st.just(dims)))
    image = torch.randn(2, *plan.image_shape)

    top = ConvStack(plan, norm="none")(image)

    assert image.shape == ConvTransposeStack(plan, norm="none")(top).shape


@given(strategies.plans())
def test_every_stage_has_the_shape_of_the_plan(plan):
    """Block by block the shapes are the plan's, read backwards."""
    x = torch.randn(2, *plan.top_shape)

    for block, shape in zip(ConvTransposeStack(plan).eval().blocks, reversed(plan.shapes[:-1]), strict=True):
        x = block(x)
        assert (2, *shape) == x.shape


@given(strategies.plans(), st.integers(1, 4), st.integers(1, 4))
def test_either_end_takes_other_channels(plan, image_channels, top_channels):
    """With replaced channels the sizes stay the plan's."""
    stack = ConvTransposeStack(plan, image_channels=image_channels, top_channels=top_channels, norm="none")

    assert (top_channels, *plan.top_shape[1:]) == stack.in_shape
    assert (image_channels, *plan.image_shape[1:]) == stack.out_shape
    assert (2, *stack.out_shape) == stack(torch.randn(2, *stack.in_shape)).shape


@given(strategies.plans())
def test_a_flat_latent_is_the_same_latent(plan):
    """A latent given as (N, C * ...) makes the image that it makes as (N, C, ...)."""
    stack, latent = ConvTransposeStack(plan, norm="none"), torch.randn(2, prod(plan.top_shape))

    assert torch.equal(stack(latent.view(2, *plan.top_shape)), stack(latent))


@given(strategies.plans(), strategies.seeds)
def test_with_shared_weights_it_is_the_transpose(plan, seed):
    """With one weight for both, <conv(x), y> equals <x, transposed conv(y)> at every stage."""
    down = ConvStack(plan, norm="none", bias=False).double()
    up = ConvTransposeStack(plan, norm="none", bias=False).double()
    generator = torch.Generator().manual_seed(seed)
    for index, (below, above) in enumerate(zip(down.blocks, reversed(up.blocks), strict=True)):
        above.layer.weight.data = below.layer.weight.data
        x = torch.randn(2, *plan.shapes[index], generator=generator, dtype=torch.float64)
        y = torch.randn(2, *plan.shapes[index + 1], generator=generator, dtype=torch.float64)

        assert torch.allclose((below.layer(x) * y).sum(), (x * above.layer(y)).sum())


def test_it_is_the_transposed_convolutions_one_after_the_other():
    """Without norms it equals torch's transposed convolutions with ReLUs between them and a tanh at the end."""
    stack = ConvTransposeStack(PLAN, norm="none")
    first, second, third = (block.layer for block in stack.blocks)
    latent = torch.randn(2, *PLAN.top_shape)

    assert torch.equal(third(second(first(latent).relu()).relu()).tanh(), stack(latent))


def test_norms_biases_and_dropout_stand_everywhere_but_at_the_image():
    """All stages but the one that makes the image have a norm, no bias, the activation and dropout."""
    stack = ConvTransposeStack(PLAN, dropout=0.5, last_activation=nn.Sigmoid)

    assert [nn.BatchNorm2d, nn.BatchNorm2d, nn.Identity] == [type(block.norm) for block in stack.blocks]
    assert [block.layer.bias is not None for block in stack.blocks] == [False, False, True]
    assert [nn.ReLU, nn.ReLU, nn.Sigmoid] == [type(block.activation) for block in stack.blocks]
    assert [nn.Dropout, nn.Dropout, nn.Identity] == [type(block.dropout) for block in stack.blocks]


@pytest.mark.parametrize("bias", [True, False])
def test_a_users_word_on_biases_goes_for_all(bias):
    """bias=True and bias=False reach every transposed convolution."""
    assert {bias} == {block.layer.bias is not None for block in ConvTransposeStack(PLAN, bias=bias).blocks}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_spectral_norm_makes_every_layer_one_lipschitz(dims):
    """After some iterations the largest singular value of every weight, as a row an output, is 1."""
    torch.manual_seed(0)
    plan = StackPlan((1, *[8] * dims), [Stage(4), Stage(4)])
    stack = ConvTransposeStack(plan, spectral_norm=True)
    for _ in range(100):
        stack(torch.randn(2, *plan.top_shape))

    for block in stack.eval().blocks:
        matrix = block.layer.weight.transpose(0, 1).flatten(1)
        assert torch.allclose(torch.tensor(1.0), torch.linalg.matrix_norm(matrix, 2), atol=1e-3)


@pytest.mark.parametrize("upsample", ["nearest", "linear"])
@given(data=st.data())
def test_upsampled_it_gives_back_exactly_the_images_shape(upsample, data):
    """With upsampling, too, every block has the shape of the plan, for any plan that can be made."""
    plan = data.draw(strategies.plans())
    x = torch.randn(2, *plan.top_shape)
    stack = ConvTransposeStack(plan, norm="none", upsample=upsample)

    for block, shape in zip(stack.blocks, reversed(plan.shapes[:-1]), strict=True):
        x = block(x)
        assert (2, *shape) == x.shape


@given(strategies.plans(), st.sampled_from(["nearest", "linear"]))
def test_only_a_single_place_is_not_upsampled(plan, upsample):
    """Just the stages that start from one place are transposed convolutions, with the plan's own kernels."""
    blocks = ConvTransposeStack(plan, upsample=upsample).blocks

    for block, stage in zip(blocks, reversed(range(len(plan.stages))), strict=True):
        if plan.shapes[stage + 1][1:] == (1,) * plan.spatial_dims:
            assert plan.kernel_sizes[stage] == block.layer.kernel_size
            assert block.layer.transposed
        else:
            assert isinstance(block.layer, UpsampleConv)
            assert (block.layer.upsample.mode == "nearest") == (upsample == "nearest")


@pytest.mark.parametrize(
    ("kernel_size", "stride", "padding", "expected"),
    [(4, 2, 1, 3), (2, 2, 0, 3), (5, 2, 2, 5), (6, 2, 2, 5), (3, 1, 1, 3), (1, 1, 0, 1), (1, 2, 0, 3), (2, 1, 0, 3)],
)
def test_kernels_of_upsampled_stages_are_odd(kernel_size, stride, padding, expected):
    """An even kernel is made smaller by 1; where the size changes there are at least 3 taps."""
    plan = StackPlan((1, 8), [Stage(2, kernel_size, stride, padding)])

    assert (expected,) == ConvTransposeStack(plan, upsample="nearest").blocks[0].layer.conv.kernel_size


@pytest.mark.parametrize("upsample", ["nearest", "linear"])
def test_upsampled_it_is_upsampling_and_convolutions(upsample):
    """Without norms it equals torch's interpolation and convolutions, with ReLUs between and a tanh at the end."""
    plan = StackPlan((1, 9, 6), [Stage(2), Stage(4)])
    stack = ConvTransposeStack(plan, norm="none", upsample=upsample)
    first, second = (block.layer.conv for block in stack.blocks)
    latent, mode = torch.randn(2, *plan.top_shape), {"nearest": "nearest", "linear": "bilinear"}[upsample]

    x = first(nn.functional.interpolate(latent, (4, 3), mode=mode)).relu()
    x = second(nn.functional.interpolate(x, (9, 6), mode=mode)).tanh()

    assert torch.equal(x, stack(latent))


def test_upsampled_stages_take_bias_and_spectral_norm():
    """bias and spectral_norm reach the convolutions inside of upsampled stages, and those of a single place."""
    torch.manual_seed(0)
    stack = ConvTransposeStack(PLAN, upsample="nearest", spectral_norm=True)
    for _ in range(100):
        stack(torch.randn(2, *PLAN.top_shape))
    layers = [getattr(block.layer, "conv", block.layer) for block in stack.eval().blocks]

    assert [layer.bias is not None for layer in layers] == [False, False, True]
    for layer in layers:
        matrix = (layer.weight.transpose(0, 1) if layer.transposed else layer.weight).flatten(1)
        assert torch.allclose(torch.tensor(1.0), torch.linalg.matrix_norm(matrix, 2), atol=1e-3)
    for bias in (True, False):
        blocks = ConvTransposeStack(PLAN, upsample="nearest", bias=bias).blocks
        assert {bias} == {getattr(block.layer, "conv", block.layer).bias is not None for block in blocks}


def test_conditional_norms_are_given_the_condition():
    """A stack with conditional norms takes (latent, condition) and depends on it."""
    stack = ConvTransposeStack(PLAN, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2)))
    for parameter in stack.blocks[0].norm.parameters():
        nn.init.normal_(parameter)
    latent = torch.randn(1, *PLAN.top_shape).expand(2, -1, -1, -1)

    first, second = stack(latent, torch.tensor([0, 1]))

    assert stack.needs_condition
    assert not torch.allclose(first, second)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing"):
        stack(latent)


def test_a_condition_that_nothing_takes_is_refused():
    """A stack without conditional norms refuses a condition, and names the adapters."""
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a ConvTransposeStack") as caught:
        ConvTransposeStack(PLAN)(torch.zeros(2, *PLAN.top_shape), torch.tensor([0, 1]))
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1, 1), (3, 1), (2,)])
def test_latents_of_another_size_are_refused(shape):
    """Latents of another size raise an error with both shapes that would do."""
    plan = StackPlan((1, 2), [Stage(5)])
    with pytest.raises(ShapeError, match=r"must have shape \(N, 5, 1\) or \(N, 5\)") as caught:
        ConvTransposeStack(plan)(torch.zeros(shape))
    assert f"latent {shape}" in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"norm": "layer"}, ArgumentValueError, "norm (='layer')"),
        ({"activation": "relu"}, ArgumentTypeError, "activation (='relu')"),
        ({"last_activation": "tanh"}, ArgumentTypeError, "last_activation (='tanh')"),
        ({"dropout": -0.5}, ArgumentValueError, "dropout (=-0.5)"),
        ({"top_channels": 0}, PlanError, "top_channels (=0)"),
        ({"upsample": "bicubic"}, ArgumentValueError, "upsample (='bicubic') must be 'transposed', 'nearest' or"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    """An argument out of its range is named and quoted when the stack is made."""
    with pytest.raises(error) as caught:
        ConvTransposeStack(PLAN, **arguments)
    assert message in str(caught.value)
