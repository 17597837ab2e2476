"""Tests of what a weight may be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.losses._weights import check_weight


@given(st.one_of(st.floats(0, allow_infinity=False), st.integers(0)))
def test_any_finite_number_from_zero_is_a_weight(weight):
    """Finite numbers of at least 0 are let be."""
    assert check_weight(weight) is None


@given(st.one_of(st.floats(max_value=0, exclude_max=True), st.sampled_from([math.nan, math.inf])))
def test_a_weight_out_of_range_is_refused(weight):
    """A weight that is negative or not finite raises an error that calls it by the caller's name."""
    for arguments, name in [((), "weight"), (("a weight",), "a weight")]:
        with pytest.raises(ArgumentValueError) as caught:
            check_weight(weight, *arguments)
        assert str(caught.value).startswith(f"{name} (={weight}) must be")
        assert isinstance(caught.value, GanlibError)
