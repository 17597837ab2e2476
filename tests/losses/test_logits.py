"""Tests of what every loss does first with its logits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import DTypeError, GanlibError
from ganlib.losses._logits import at_least_float32
from tests import strategies


@given(strategies.logits(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_narrow_logits_become_float32(logits, dtype):
    """Half-precision and float32 logits come out as float32 with the values that they had."""
    narrow = logits.to(dtype)

    actual = at_least_float32(narrow, "real_logits")

    assert torch.float32 == actual.dtype
    assert torch.equal(narrow.float(), actual)


@given(strategies.logits(dtype=torch.float64))
def test_float64_logits_are_left_alone(logits):
    """Float64 logits stay in float64."""
    assert at_least_float32(logits, "real_logits") is logits


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_logits_that_are_not_floating_point_are_refused(dtype):
    """Logits of another kind raise an error that names the argument and the dtype."""
    with pytest.raises(DTypeError, match=rf"real_logits .*{dtype}") as caught:
        at_least_float32(torch.zeros(2, dtype=dtype), "real_logits")
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, TypeError)
