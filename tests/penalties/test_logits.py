"""Tests of what penalties of the logits share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.penalties._logits import at_least_float32, judge, scales
from ganlib.protocols import DiscriminatorOutput
from tests import strategies


def test_the_condition_is_given_only_where_there_is_one():
    """The discriminator is called with (samples), or with (samples, condition), and its answer is given back."""
    critic, samples, condition = strategies.Recorder(), torch.zeros(2, 3), torch.tensor([0, 1])

    assert judge(critic, samples, None) is samples
    assert judge(critic, samples, condition) is samples
    assert [len(call) for call in critic.calls] == [1, 2]
    assert critic.calls[1][1] is condition


@given(
    st.lists(strategies.logits(dtype=torch.float64), min_size=1, max_size=3),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
    st.booleans(),
)
def test_scales_are_widened_one_by_one(logits, dtype, whole):
    """A tuple, bare or in a DiscriminatorOutput, gives its scales in order, in float32 with the values they had."""
    narrow = tuple(scale.to(dtype) for scale in logits)

    actual = scales(DiscriminatorOutput(narrow) if whole else narrow)

    assert len(actual) == len(narrow)
    assert all(scale.dtype == torch.float32 for scale in actual)
    assert all(torch.equal(one.float(), other) for one, other in zip(narrow, actual, strict=True))


@pytest.mark.parametrize("whole", [False, True])
def test_one_tensor_is_one_scale(whole):
    """Bare logits are one scale, and those in float64 are left alone."""
    logits = torch.zeros(2, 1, dtype=torch.float64)

    (actual,) = scales(DiscriminatorOutput(logits) if whole else logits)

    assert actual is logits


def test_half_precision_is_widened_and_no_other():
    """float16 and bfloat16 become float32; float32 and float64 come back as they are."""
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.float32 == at_least_float32(torch.zeros(2, dtype=dtype)).dtype
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(2, dtype=dtype)
        assert at_least_float32(x) is x
