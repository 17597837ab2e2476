"""Tests of what every loss does with its logits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError, ShapeError
from ganlib.losses._logits import check_pairs, sum_over_scales
from ganlib.protocols import DiscriminatorOutput
from tests import strategies


def seen_by_formula(**logits):
    """What a formula is given, call by call."""
    calls = []

    def formula(*parts):
        calls.append(parts)
        return parts[0].sum()

    sum_over_scales(formula, **logits)
    return calls


@given(strategies.logits(), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_narrow_logits_become_float32(logits, dtype):
    """Half-precision and float32 logits reach the formula as float32 with the values that they had."""
    narrow = logits.to(dtype)

    ((actual,),) = seen_by_formula(real_logits=narrow)

    assert torch.float32 == actual.dtype
    assert torch.equal(narrow.float(), actual)


@given(strategies.logits(dtype=torch.float64))
def test_float64_logits_are_left_alone(logits):
    """Float64 logits stay in float64."""
    assert seen_by_formula(real_logits=logits)[0][0] is logits


def test_the_formula_is_given_one_scale_of_each_keyword_in_their_order():
    """The formula is called once a scale, with that scale of each keyword, in the keywords' order."""
    fake, real = (torch.zeros(1), torch.zeros(2)), (torch.zeros(3), torch.zeros(4))

    calls = seen_by_formula(fake_logits=fake, real_logits=real)

    assert [[len(part) for part in call] for call in calls] == [[1, 3], [2, 4]]


@given(st.lists(strategies.logits(dtype=torch.float64, largest=100), min_size=1, max_size=4), st.booleans())
def test_scales_are_summed(scales, as_list):
    """The value is the sum over the scales of a tuple, or of a list, which is taken for one."""
    expected = sum(scale.mean() for scale in scales)

    assert torch.allclose(expected, sum_over_scales(torch.mean, logits=scales if as_list else tuple(scales)))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("scales", [False, True])
def test_logits_that_are_not_floating_point_are_refused(dtype, scales):
    """Logits of another kind, also in a second scale, raise an error that names the argument and the dtype."""
    wrong = torch.zeros(2, dtype=dtype)
    with pytest.raises(DTypeError, match=rf"real_logits .*{dtype}") as caught:
        sum_over_scales(torch.mean, real_logits=(torch.zeros(2), wrong) if scales else wrong)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (None, ArgumentValueError, r"fake_logits \(=None\) is missing; .*needs_real_logits = True"),
        ((), ArgumentValueError, r"fake_logits \(=\(\)\) holds no logits"),
        (1.0, ArgumentTypeError, "fake_logits must be a tensor or a tuple of tensors, but holds float"),
        ((torch.zeros(2), "x"), ArgumentTypeError, "fake_logits .* holds str"),
        (
            DiscriminatorOutput(torch.zeros(2)),
            ArgumentTypeError,
            "fake_logits is a DiscriminatorOutput; give its logits",
        ),
        (
            (torch.zeros(2),) * 3,
            ArgumentValueError,
            "same number of scales, but real_logits has 1 and fake_logits has 3",
        ),
    ],
)
def test_what_are_no_logits_is_refused(wrong, error, message):
    """Logits that are missing, no tensors, a whole output or of another number of scales are named."""
    with pytest.raises(error, match=message) as caught:
        sum_over_scales(lambda real, fake: real.mean(), real_logits=torch.zeros(2), fake_logits=wrong)
    assert isinstance(caught.value, GanlibError)


@given(strategies.shapes, strategies.shapes)
def test_pairs_have_one_shape(one, other):
    """Two shapes are refused, naming both, if and only if they differ, also where they would broadcast."""
    if one == other:
        check_pairs(torch.zeros(one), torch.zeros(other))
    else:
        with pytest.raises(ShapeError) as caught:
            check_pairs(torch.zeros(one), torch.zeros(other))
        assert f"real_logits {one} and fake_logits {other}" in str(caught.value)
        assert isinstance(caught.value, GanlibError)
