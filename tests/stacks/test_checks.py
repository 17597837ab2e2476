"""Tests of what arguments must look like."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib import stacks
from ganlib.errors import ArgumentTypeError, ArgumentValueError, PlanError, ShapeError
from ganlib.protocols import Batch
from ganlib.stacks._checks import (
    check_maps,
    check_shape,
    per_dimension,
)


@pytest.mark.parametrize(
    "make",
    [
        lambda dims: stacks.BilinearDownsample(spatial_dims=dims),
        lambda dims: stacks.BilinearUpsample(spatial_dims=dims),
        lambda dims: stacks.InvertedBottleneck(16, spatial_dims=dims),
        lambda dims: stacks.PatchDiscriminator(1, spatial_dims=dims),
        lambda dims: stacks.ResidualDownBlock(1, 2, spatial_dims=dims),
        lambda dims: stacks.ResidualUpBlock(1, 2, spatial_dims=dims),
        lambda dims: stacks.SelfAttention(8, spatial_dims=dims),
        lambda dims: stacks.UpsampleConv(1, 2, spatial_dims=dims),
    ],
)
@pytest.mark.parametrize("spatial_dims", [0, 4, 2.5, None])
def test_other_spatial_dims_are_refused(make, spatial_dims):
    """There are one, two and three spatial dimensions, and no others."""
    for dims in (1, 2, 3):
        make(dims)
    with pytest.raises(ArgumentValueError) as caught:
        make(spatial_dims)
    assert f"spatial_dims (={spatial_dims}) must be 1, 2 or 3" == str(caught.value)


@given(st.integers(2, 9), st.integers(1, 3))
def test_one_number_stands_for_all_dimensions(value, dimensions):
    """One number is repeated; a sequence with one number a dimension is kept."""
    expected = (value,) * dimensions

    assert expected == per_dimension("size", value, dimensions, 2)
    assert expected == per_dimension("size", list(expected), dimensions, 2)


@pytest.mark.parametrize("value", [1, (2, 1), (2, 2, 2), (), 2.5, (2, 2.5), "22", None])
def test_other_numbers_are_refused(value):
    """Too small a number, another count of them, or what is no number is named and quoted, in the error asked for."""
    for error in (ArgumentValueError, PlanError):
        with pytest.raises(error) as caught:
            per_dimension("size", value, 2, 2, error)
        assert f"size (={value!r}) must be a whole number of at least 2, or 2 of them" == str(caught.value)


def test_another_shape_is_refused():
    """A batch of another shape is named, with both shapes."""
    check_shape(torch.zeros(2, 3, 4), (3, 4), "sample")
    with pytest.raises(ShapeError, match=r"sample \(2, 3, 5\) must have shape \(N, 3, 4\)") as caught:
        check_shape(torch.zeros(2, 3, 5), (3, 4), "sample")
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("shape", [(2, 4, 5, 5), (2, 3, 5), (2, 3, 5, 5, 5), (2, 3), (3,), ()])
def test_other_maps_are_refused(shape):
    """Maps with other channels or spatial dimensions are named, with both shapes."""
    check_maps(torch.zeros(2, 3, 5, 4), 3, 2, least=4)
    with pytest.raises(ShapeError) as caught:
        check_maps(torch.zeros(shape), 3, 2, "sample")
    assert f"sample {shape} must have shape (N, 3, *spatial) with 2 spatial dimensions" == str(caught.value)


@pytest.mark.parametrize(("shape", "least"), [((2, 3, 5, 4), 5), ((2, 3, 4, 5), 5), ((2, 3, 0, 5), 1)])
def test_too_small_maps_are_refused(shape, least):
    """Maps that are too small in any one dimension are named, with the smallest size."""
    with pytest.raises(ShapeError) as caught:
        check_maps(torch.zeros(shape), 3, 2, least=least)
    assert f"x {shape} must have a size of at least {least} in every spatial dimension" == str(caught.value)


def test_a_whole_batch_in_place_of_samples_is_answered():
    """A Batch or a pair that is given to a network is named, with what to give."""
    stack = stacks.ConvStack(stacks.StackPlan((1, 8, 8), [stacks.Stage(4)]))
    for batch in (Batch(torch.zeros(2, 1, 8, 8)), (torch.zeros(2, 1, 8, 8), None)):
        with pytest.raises(ArgumentTypeError, match="it is a (Batch|tuple); of a Batch, give its sample"):
            stack(batch)
