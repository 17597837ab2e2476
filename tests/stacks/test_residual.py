"""Tests of residual blocks."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.stacks import ResidualDownBlock, ResidualUpBlock
from tests import strategies

BLOCKS = [ResidualUpBlock, ResidualDownBlock, partial(ResidualDownBlock, first=True)]
all_blocks = pytest.mark.parametrize("make", BLOCKS, ids=["up", "down", "first"])


def _cut_main_path(block):
    """With a main path that gives 0."""
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    return block.double()


@all_blocks
@given(data=st.data())
def test_the_size_is_scaled(make, data):
    """Up multiplies each size by the scale, down divides it and leaves out what is over, in 1 to 3 dimensions."""
    dims, scale, inputs, outputs = (data.draw(st.integers(1, 3)) for _ in range(4))
    spatial = tuple(data.draw(st.integers(scale, 7)) for _ in range(dims))
    block = make(inputs, outputs, spatial_dims=dims, scale=scale)

    y = block.eval()(torch.randn(2, inputs, *spatial))

    expected = (n * scale if make is ResidualUpBlock else n // scale for n in spatial)
    assert (2, outputs, *expected) == y.shape


@given(st.integers(1, 3), st.booleans(), strategies.seeds)
def test_up_without_its_main_path_is_the_skip_path(scale, same, seed):
    """With a zeroed second convolution, up repeats the pixels and then convolves them where the channels differ."""
    block = _cut_main_path(ResidualUpBlock(2, 2 if same else 3, scale=scale))
    x = torch.randn(2, 2, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    if not same:
        expected = nn.functional.conv2d(expected, block.skip.weight, block.skip.bias)

    assert torch.allclose(expected, block(x))
    assert same == isinstance(block.skip, nn.Identity)


@pytest.mark.parametrize("first", [False, True])
@given(scale=st.integers(1, 3), same=st.booleans(), seed=strategies.seeds)
def test_down_without_its_main_path_is_the_skip_path(first, scale, same, seed):
    """With a zeroed second convolution, down convolves and then averages, also where a size is odd."""
    block = _cut_main_path(ResidualDownBlock(2, 2 if same else 3, scale=scale, first=first))
    x = torch.randn(2, 2, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    convolved = x if same and scale == 1 else nn.functional.conv2d(x, block.skip.weight, block.skip.bias)

    assert torch.allclose(nn.functional.avg_pool2d(convolved, scale), block(x))
    assert (same and scale == 1) == isinstance(block.skip, nn.Identity)


def test_up_is_its_formula():
    """It is skip + conv(relu(norm(conv(upsample(relu(norm(x))))))), with batch norms and without their biases twice."""
    block, x = ResidualUpBlock(2, 3).double(), torch.randn(4, 2, 3, 5, dtype=torch.float64)

    def normalised(x):
        return nn.functional.batch_norm(x, None, None, training=True).relu()

    enlarged = normalised(x).repeat_interleave(2, 2).repeat_interleave(2, 3)
    main = block.conv2(normalised(nn.functional.conv2d(enlarged, block.conv1.weight, padding=1)))

    assert torch.allclose(main + block.skip(x.repeat_interleave(2, 2).repeat_interleave(2, 3)), block(x))
    assert block.conv1.bias is None


def test_down_is_its_formula():
    """It is pool(skip) + pool(conv(relu(conv(relu(x))))), and the first block has no ReLU before a convolution."""
    x = torch.randn(4, 2, 6, 5, dtype=torch.float64)
    for first in (False, True):
        block = ResidualDownBlock(2, 3, first=first).double()

        main = block.conv2(block.conv1(x if first else x.relu()).relu())

        assert torch.allclose(nn.functional.avg_pool2d(main + block.skip(x), 2), block(x))


def test_biases_stand_where_no_norm_follows():
    """The first convolution has a bias just where the norm after it has none; the others always have one."""
    for make in BLOCKS:
        for norm, expected in (("batch", False), ("group", False), ("none", True), ("pixel", True)):
            block = make(4, 8, norm=norm)
            assert expected == (block.conv1.bias is not None)
            assert block.conv2.bias is not None
            assert block.skip.bias is not None


@all_blocks
def test_norms_have_the_channels_they_see(make):
    """The first norm has in_channels, the second out_channels; the first block has no first norm."""
    block = make(2, 3, norm="batch")

    assert block.norm2.num_features == 3
    if make is BLOCKS[2]:
        assert isinstance(block.norm1, nn.Identity)
    else:
        assert block.norm1.num_features == 2


@all_blocks
def test_conditional_norms_are_given_the_condition(make):
    """A block with conditional norms takes (x, condition) and depends on it; others refuse one."""
    block = make(2, 3, norm=lambda channels: ConditionalBatchNorm(channels, OneHot(2)))
    for parameter in block.norm2.parameters():
        nn.init.normal_(parameter)
    x, condition = torch.randn(1, 2, 4, 4).expand(2, -1, -1, -1), torch.tensor([0, 1])

    first, second = block(x, condition)

    assert block.needs_condition
    assert not torch.allclose(first, second)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing"):
        block(x)
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a Residual"):
        make(2, 3)(x, condition)


@all_blocks
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"in_channels": 0}, ArgumentValueError, "in_channels (=0) must be a whole number of at least 1"),
        ({"out_channels": 1.5}, ArgumentValueError, "out_channels (=1.5) must be a whole number of at least 1"),
        ({"scale": 0}, ArgumentValueError, "scale (=0) must be a whole number of at least 1"),
        ({"spatial_dims": 4}, ArgumentValueError, "spatial_dims (=4) must be 1, 2 or 3"),
        ({"norm": "layer"}, ArgumentValueError, "norm (='layer')"),
        ({"activation": "relu"}, ArgumentTypeError, "activation (='relu')"),
        ({"activation": nn.ReLU(inplace=True)}, ArgumentValueError, "activation (=ReLU(inplace=True)) must not"),
    ],
)
def test_bad_arguments_are_refused(make, arguments, error, message):
    """An argument out of its range is named and quoted; so is an activation that would change the skip path's x."""
    with pytest.raises(error) as caught:
        make(**{"in_channels": 1, "out_channels": 1, **arguments})
    assert message in str(caught.value)
    assert isinstance(caught.value, GanlibError)


@all_blocks
@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 4, 5), (2, 4, 5, 5, 5)])
def test_maps_of_another_shape_are_refused(make, shape):
    """Other channels or spatial dimensions are refused with both shapes."""
    with pytest.raises(ShapeError, match=r"must have shape \(N, 4, \*spatial\) with 2") as caught:
        make(4, 4)(torch.zeros(shape))
    assert f"x {shape}" in str(caught.value)


def test_maps_that_cannot_be_pooled_are_refused():
    """A size below the scale is refused with the smallest one."""
    with pytest.raises(ShapeError, match=r"x \(2, 4, 5, 2\) must have a size of at least 3"):
        ResidualDownBlock(4, 4, scale=3)(torch.zeros(2, 4, 5, 2))
