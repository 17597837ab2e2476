"""Tests of features and their positions."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.conditioning._heads import positions


@given(st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(1, 3), st.integers(1, 4))
def test_each_position_has_its_channels(spatial, n, channels):
    """Row p of a sample holds the channels at its p-th position, counted with the last dimension fastest."""
    x = torch.randn(n, channels, *spatial)

    actual = positions(x)

    expected = [x[(slice(None), slice(None), *index)] for index in torch.ones(spatial).nonzero().tolist()]
    assert torch.equal(torch.stack(expected, 1), actual)


@given(st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(1, 4))
def test_summed_positions_are_the_sum_over_all_spatial_dimensions(spatial, channels):
    """The sum over positions is that over all spatial dimensions; flat features are their own."""
    x = torch.randn(2, channels, *spatial, dtype=torch.float64)

    expected = x.sum(tuple(range(2, x.ndim))) if spatial else x

    assert torch.allclose(expected, positions(x).sum(1))
