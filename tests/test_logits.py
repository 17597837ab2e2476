"""Tests of a discriminator's output: its scales, and their precision."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib._logits import as_output, at_least_float32, check_output, scales, sum_over_scales
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, GanlibError
from ganlib.protocols import DiscriminatorOutput
from tests import strategies

narrow_dtypes = st.sampled_from([torch.float16, torch.bfloat16, torch.float32])


def seen_by_formula(**logits):
    """What a formula is given, call by call."""
    calls = []

    def formula(*parts):
        calls.append(parts)
        return parts[0].sum()

    sum_over_scales(formula, **logits)
    return calls


def test_half_precision_is_widened_and_nothing_else():
    """float16 and bfloat16 become float32; float32 and float64 are returned as they are."""
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.float32 == at_least_float32(torch.zeros(2, dtype=dtype)).dtype
    for dtype in (torch.float32, torch.float64):
        x = torch.zeros(2, dtype=dtype)
        assert at_least_float32(x) is x


@pytest.mark.parametrize("wrap", [lambda logits: logits, DiscriminatorOutput])
@given(logits=st.lists(strategies.logits(dtype=torch.float64), min_size=1, max_size=3), dtype=narrow_dtypes)
def test_scales_are_widened_one_by_one(wrap, logits, dtype):
    """Several scales, bare or in a DiscriminatorOutput, become a tuple in float32 with the same values, in order."""
    narrow = tuple(scale.to(dtype) for scale in logits)

    output = as_output(wrap(narrow))

    assert isinstance(output.logits, tuple)
    assert len(output.logits) == len(narrow)
    for one, other, same in zip(narrow, output.logits, scales(wrap(narrow)), strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(one.float(), other)
        assert torch.equal(other, same)


@pytest.mark.parametrize("wrap", [lambda logits: logits, DiscriminatorOutput])
def test_one_tensor_is_one_scale(wrap):
    """One tensor stays a tensor, and is one scale; float64 stays float64."""
    logits = torch.zeros(2, 1, dtype=torch.float64)

    (scale,) = scales(wrap(logits))

    assert scale is as_output(wrap(logits)).logits is logits


def test_the_rest_of_an_output_stays():
    """Class logits and features stay as they are, in half precision too."""
    half = torch.zeros(2, 1, dtype=torch.bfloat16)

    output = as_output(DiscriminatorOutput(half, class_logits=half, features=(half,)))

    assert output.logits.dtype == torch.float32
    assert output.class_logits is half
    assert output.features == (half,)


@pytest.mark.parametrize("output", [None, 1.0, (), [], (torch.zeros(1), 3), {"logits": torch.zeros(1)}])
@pytest.mark.parametrize("wrap", [lambda logits: logits, DiscriminatorOutput])
@pytest.mark.parametrize("function", [as_output, scales])
def test_an_output_without_logits_is_refused(function, wrap, output):
    """An output that is not made of tensors raises an error that says what a discriminator may return."""
    with pytest.raises(ArgumentTypeError, match=f"^discriminator gave {type(output).__name__}; it must") as caught:
        function(wrap(output))
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, TypeError)


@given(strategies.logits(), narrow_dtypes)
def test_a_formula_is_given_float32(logits, dtype):
    """Half-precision and float32 logits reach the formula as float32 with the values that they had."""
    narrow = logits.to(dtype)

    ((actual,),) = seen_by_formula(real_logits=narrow)

    assert torch.float32 == actual.dtype
    assert torch.equal(narrow.float(), actual)


def test_a_formula_is_given_float64_logits_as_they_are():
    """Float64 logits stay in float64."""
    logits = torch.zeros(2, dtype=torch.float64)
    assert seen_by_formula(real_logits=logits)[0][0] is logits


def test_a_formula_is_given_one_scale_of_each_keyword_in_their_order():
    """The formula is called once per scale, with that scale of each keyword, in the keywords' order."""
    fake, real = (torch.zeros(1), torch.zeros(2)), (torch.zeros(3), torch.zeros(4))

    calls = seen_by_formula(fake_logits=fake, real_logits=real)

    assert [[len(part) for part in call] for call in calls] == [[1, 3], [2, 4]]


@given(st.lists(strategies.logits(dtype=torch.float64, largest=100), min_size=1, max_size=4), st.booleans())
def test_scales_are_summed(parts, as_list):
    """The value is the sum over the scales of a tuple, or of a list."""
    expected = sum(part.mean() for part in parts)

    assert torch.allclose(expected, sum_over_scales(torch.mean, logits=parts if as_list else tuple(parts)))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize("several", [False, True])
def test_logits_that_are_not_floating_point_are_refused(dtype, several):
    """Logits of another kind, also in a second scale, raise an error that names the argument and the dtype."""
    wrong = torch.zeros(2, dtype=dtype)
    with pytest.raises(DTypeError, match=rf"real_logits .*{dtype}") as caught:
        sum_over_scales(torch.mean, real_logits=(torch.zeros(2), wrong) if several else wrong)
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
def test_arguments_that_are_not_logits_are_refused(wrong, error, message):
    """Logits that are missing, not tensors, a whole output or of another number of scales are named."""
    with pytest.raises(error, match=message) as caught:
        sum_over_scales(lambda real, fake: real.mean(), real_logits=torch.zeros(2), fake_logits=wrong)
    assert isinstance(caught.value, GanlibError)


def test_an_auxiliary_loss_is_given_a_whole_output():
    """A DiscriminatorOutput passes; bare logits and None are refused by name."""
    whole = DiscriminatorOutput(torch.zeros(2, 1))
    assert check_output(whole, "real") is whole
    for bare in (torch.zeros(2, 1), (torch.zeros(2, 1),)):
        with pytest.raises(ArgumentTypeError, match=f"^fake_output is a {type(bare).__name__}, but it must be"):
            check_output(bare, "fake")
    with pytest.raises(ArgumentValueError, match=r"^real_output \(=None\) is missing"):
        check_output(None, "real")
