"""Tests of the U-Net."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import StackPlan, Stage, UNet
from tests import strategies

PLAN = StackPlan((1, 9, 6), [Stage(2), Stage(4), Stage(3, (2, 1), 1, 0)])


def _zero_bottleneck(unet):
    """Let the innermost level of the encoder give zeros, so that only the skip connections carry the image."""
    unet.encoder.blocks[-1].register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))


@pytest.mark.parametrize("dims", [1, 2, 3])
@settings(max_examples=100)
@given(data=st.data())
def test_the_output_has_the_size_of_the_input(dims, data):
    """For any plan that can be made, in one to three dimensions, only the channels differ."""
    plan = data.draw(strategies.plans(st.just(dims)))
    channels = data.draw(st.integers(1, 4))
    sample = torch.randn(2, *plan.image_shape)

    assert UNet(plan, norm="none")(sample).shape == sample.shape
    assert UNet(plan, channels, norm="none")(sample).shape == (2, channels, *plan.image_shape[1:])


@given(strategies.plans())
def test_every_decoder_level_has_the_shape_of_the_plan(plan):
    """Level by level the decoder gives the plan's shapes, read backwards."""
    unet, shapes = UNet(plan, norm="none"), []
    for block in unet.decoder:
        block.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))

    unet(torch.randn(2, *plan.image_shape))

    assert shapes == list(reversed(plan.shapes[:-1]))


def test_it_is_convolutions_their_transposes_and_concatenations():
    """Without norms it equals the same layers, written out by hand."""
    unet = UNet(PLAN, norm="none")
    down1, down2, down3 = (block.layer for block in unet.encoder.blocks)
    up3, up2, up1 = (block.layer for block in unet.decoder)
    sample = torch.randn(2, *PLAN.image_shape)

    first = nn.functional.leaky_relu(down1(sample), 0.2)
    second = nn.functional.leaky_relu(down2(first), 0.2)
    x = up3(down3(second).relu()).relu()
    x = up2(torch.cat([x, second], 1)).relu()

    assert torch.equal(up1(torch.cat([x, first], 1)).tanh(), unet(sample))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_parameter_has_a_gradient(dims):
    """The gradient of the output reaches every weight, bias and norm, at odd sizes."""
    torch.manual_seed(0)
    plan = StackPlan((2, *[9] * dims), [Stage(3), Stage(4), Stage(5)])
    unet = UNet(plan, activation=nn.Softplus, decoder_activation=nn.Softplus).double()

    unet(torch.randn(3, *plan.image_shape, dtype=torch.float64)).sin().sum().backward()

    assert [name for name, parameter in unet.named_parameters() if parameter.grad.abs().max() < 1e-9] == []


def test_skip_connections_carry():
    """With the bottleneck set to zero the output still depends on every pixel of the input."""
    torch.manual_seed(0)
    unet = UNet(PLAN, norm="none").double()
    _zero_bottleneck(unet)
    sample = torch.randn(1, *PLAN.image_shape, dtype=torch.float64, requires_grad=True)

    (gradient,) = torch.autograd.grad(unet(sample).square().sum(), sample)

    assert (gradient != 0).all()


def test_the_bottleneck_carries():
    """The output depends on the innermost level, too."""
    torch.manual_seed(0)
    unet, sample = UNet(PLAN, norm="none"), torch.randn(1, *PLAN.image_shape)
    before = unet(sample)
    _zero_bottleneck(unet)

    assert not torch.allclose(before, unet(sample))


def test_norms_stand_at_every_level_but_three():
    """The first and the innermost level of the encoder have no norm, nor has the one that makes the image."""
    unet = UNet(PLAN)

    assert [type(block.norm) for block in unet.encoder.blocks] == [nn.Identity, nn.BatchNorm2d, nn.Identity]
    assert [type(block.norm) for block in unet.decoder] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.Identity]
    assert [block.layer.bias is not None for block in unet.decoder] == [False, False, True]


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_one_image_trains_where_the_bottleneck_is_one_number_per_channel(norm):
    """A norm there would give zeros for every image, or raise an error; without one the bottleneck tells images apart.

    This is the setting of pix2pix, whose batches are of one image.
    """
    torch.manual_seed(0)
    plan = StackPlan((1, 8, 8), [Stage(4), Stage(4), Stage(4)])
    unet, seen = UNet(plan, norm=norm), []
    unet.encoder.blocks[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))

    for sample in torch.randn(2, 1, 1, 8, 8):
        unet(sample)

    assert seen[0].shape == (1, 4, 1, 1)
    assert not torch.allclose(*seen)


@pytest.mark.parametrize(
    ("stages", "expected"),
    [(1, [0.0]), (2, [0.5, 0.0]), (4, [0.5, 0.5, 0.5, 0.0]), (5, [0.5, 0.5, 0.5, 0.0, 0.0])],
)
def test_dropout_is_at_the_three_innermost_decoder_levels(stages, expected):
    """As in pix2pix; never at the level that makes the image, nor in the encoder."""
    unet = UNet(StackPlan((1, 32), [Stage(2)] * stages), dropout=0.5)

    assert [getattr(block.dropout, "p", 0.0) for block in unet.decoder] == expected
    assert not any(isinstance(module, nn.Dropout) for module in unet.encoder.modules())


def test_dropout_is_noise_in_training_mode_and_not_in_eval_mode():
    """Two calls differ in training mode and agree in eval mode; the default has no dropout at all."""
    torch.manual_seed(0)
    noisy, plain, sample = UNet(PLAN, norm="none", dropout=0.5), UNet(PLAN), torch.randn(4, *PLAN.image_shape)

    assert not torch.equal(noisy(sample), noisy(sample))
    noisy.eval()
    assert torch.equal(noisy(sample), noisy(sample))
    assert torch.equal(plain(sample), plain(sample))


def test_tanh_is_computed_in_float32_under_autocast():
    """Large values give no tanh of exactly 1 in bfloat16, and keep their gradient."""
    unet = UNet(PLAN, norm="none")
    nn.init.constant_(unet.decoder[-1].layer.bias, 4.0)
    nn.init.zeros_(unet.decoder[-1].layer.weight)

    with torch.autocast("cpu", torch.bfloat16):
        image = unet(torch.randn(2, *PLAN.image_shape))
    image.sum().backward()

    assert image.dtype == torch.float32
    assert (image < 1).all()
    assert unet.decoder[-1].layer.bias.grad.abs().min() > 0


def test_conditional_norms_are_given_the_condition():
    """With conditional norms it takes (sample, condition) and depends on it; without, it refuses one."""
    torch.manual_seed(0)
    unet = UNet(PLAN, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2)))
    for parameter in unet.decoder[0].norm.parameters():
        nn.init.normal_(parameter)
    sample = torch.randn(1, *PLAN.image_shape).expand(2, -1, -1, -1)

    first, second = unet(sample, torch.tensor([0, 1]))

    assert unet.needs_condition
    assert not torch.allclose(first, second)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing"):
        unet(sample)
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a UNet"):
        UNet(PLAN)(sample, torch.tensor([0, 1]))


@pytest.mark.parametrize("shape", [(2, 2, 9, 6), (2, 1, 8, 6), (1, 9, 6)])
def test_samples_of_another_shape_are_refused(shape):
    """The error has both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 1, 9, 6\)") as caught:
        UNet(PLAN)(torch.zeros(shape))
    assert f"sample {shape}" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"out_channels": 0}, ArgumentValueError, "out_channels (=0)"),
        ({"norm": "layer"}, ArgumentValueError, "norm (='layer')"),
        ({"activation": "relu"}, ArgumentTypeError, "activation (='relu')"),
        ({"decoder_activation": "relu"}, ArgumentTypeError, "decoder_activation (='relu')"),
        ({"last_activation": "tanh"}, ArgumentTypeError, "last_activation (='tanh')"),
        ({"dropout": 1.0}, ArgumentValueError, "dropout (=1.0)"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    """An argument out of its range is named and quoted when the network is made."""
    with pytest.raises(error) as caught:
        UNet(PLAN, **arguments)
    assert message in str(caught.value)
    assert isinstance(caught.value, GanlibError)
