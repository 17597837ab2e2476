"""Tests of putting features beside features."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.conditioning._join import join
from ganlib.errors import GanlibError, ShapeError

spatial_sizes = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@given(spatial_sizes, spatial_sizes, st.integers(1, 3), st.integers(1, 3))
def test_each_place_has_both_sides_features(left, right, channels, features):
    """At every place of the result lie x's and the encoding's numbers; a flat one is the same at all places."""
    x, encoding = torch.randn(2, channels, *left), torch.randn(2, features, *right)
    if left and right and left != right:
        with pytest.raises(ShapeError):
            join(x, encoding, "x")
        return
    places = left or right

    joined = join(x, encoding, "x")

    def at_all_places(flat):
        return flat if flat.ndim == 2 + len(places) else flat.view(2, -1, *[1] * len(places)).expand(-1, -1, *places)

    assert (2, channels + features, *places) == joined.shape
    assert torch.equal(at_all_places(x), joined[:, :channels])
    assert torch.equal(at_all_places(encoding), joined[:, channels:])


@pytest.mark.parametrize(("left", "right"), [((), ()), ((2,), ()), ((), (2,))])
def test_the_result_has_the_dtype_of_x(left, right):
    """The encoding is cast to what it is put beside."""
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
