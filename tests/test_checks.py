"""Tests of the checks of arguments that packages share."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlib._checks import (
    check_count,
    check_finite,
    check_flag,
    check_fraction,
    check_number,
    check_option,
    check_path_like,
    check_positive,
    check_seed,
    check_sizes,
)
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError

NOT_FINITE = [math.nan, math.inf, -math.inf]
NOT_NUMBERS = ["0.5", None, [1], 1j, True, np.True_]


@given(st.integers(-3, 6), st.integers(-3, 6))
def test_a_count_is_a_whole_number_of_at_least_the_least(value, least):
    """Whole numbers pass if and only if they are at least the least."""
    if value >= least:
        assert check_count("steps", value, least=least) == value
    else:
        with pytest.raises(
            ArgumentValueError, match=rf"^steps \(={value}\) must be a whole number of at least {least}$"
        ):
            check_count("steps", value, least=least)


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, True, "3", None])
def test_sizes_are_whole_numbers_of_at_least_1(value):
    """The first size that is not a whole number of at least 1 is named and quoted; a bool is not a size."""
    assert check_sizes(channels=1, dim=7) is None
    with pytest.raises(ArgumentValueError) as caught:
        check_sizes(channels=1, dim=value, features=0)
    assert str(caught.value) == f"dim (={value!r}) must be a whole number of at least 1"
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [-1, 2**64, 1.0, True, "3", None])
def test_a_seed_is_a_whole_number_of_64_bits(value):
    """Those that torch's generators take pass; the bounds are 0 and 2**64 - 1."""
    assert check_seed("seed", 0) == 0
    assert check_seed("seed", 2**64 - 1) == 2**64 - 1
    with pytest.raises(ArgumentValueError, match=r"^seed \(=.*\) must be a whole number from 0 to 2\*\*64 - 1$"):
        check_seed("seed", value)


@given(st.one_of(st.floats(0, allow_infinity=False), st.integers(0)))
def test_a_finite_number_of_at_least_0_passes(value):
    """Finite numbers of at least 0 pass, and are returned."""
    assert check_number("weight", value) == value


@given(
    st.one_of(st.floats(max_value=0, exclude_max=True), st.integers(max_value=-1), st.sampled_from(NOT_FINITE)),
)
def test_a_number_out_of_range_is_refused(value):
    """A number that is negative or not finite raises an error that names and quotes it."""
    with pytest.raises(ArgumentValueError) as caught:
        check_number("weight", value)
    assert str(caught.value) == f"weight (={value!r}) must be a finite number of at least 0"


@pytest.mark.parametrize("value", [0, -0.1, *NOT_FINITE])
def test_a_positive_number_is_finite_and_above_0(value):
    """A number that is not above 0, or not finite, raises an error that names and quotes it; others pass."""
    assert check_positive("eps", 5e-324) == 5e-324
    assert check_positive("eps", 3) == 3
    with pytest.raises(ArgumentValueError) as caught:
        check_positive("eps", value)
    assert str(caught.value) == f"eps (={value!r}) must be a finite number above 0"


@given(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**300), 10**300)))
def test_a_finite_number_passes(value):
    """Finite numbers of any sign pass, and come back as floats."""
    passed = check_finite("fill", value)
    assert type(passed) is float
    assert passed == float(value)


@pytest.mark.parametrize("value", [*NOT_FINITE, True, None, "1", 1j, 10**400, -(10**400)], ids=shown)
def test_what_is_no_finite_number_is_refused(value):
    """Other values, and integers too large for a float, raise an error that names and quotes them."""
    with pytest.raises(ArgumentValueError) as caught:
        check_finite("fill", value)
    assert str(caught.value) == f"fill (={shown(value)}) must be a finite number"


@given(st.floats())
def test_a_fraction_is_in_0_to_1(value):
    """Numbers in [0, 1] pass, or in [0, 1), and no others."""
    for below_1, end in ((False, "]"), (True, ")")):
        if 0 <= value < 1 or (value == 1 and not below_1):
            assert check_fraction("p", value, below_1=below_1) == value
        else:
            with pytest.raises(ArgumentValueError) as caught:
                check_fraction("p", value, below_1=below_1)
            assert str(caught.value) == f"p (={value!r}) must be in [0, 1{end}"


@pytest.mark.parametrize("check", [check_number, check_positive, check_fraction])
@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_not_a_number_is_refused(check, value):
    """A value that is not a real number raises the same error."""
    with pytest.raises(ArgumentValueError, match=r"^noise \(="):
        check("noise", value)


def test_an_option_is_one_of_those_named():
    """Another value raises an error that names and quotes it, and lists all the options; the options pass."""
    assert all(check_option("mode", option, ("min", "max")) is None for option in ("min", "max"))
    with pytest.raises(ArgumentValueError, match=r"^mode \(='mean'\) must be 'min' or 'max'$"):
        check_option("mode", "mean", ("min", "max"))
    with pytest.raises(ArgumentValueError, match=r"^mode \(=None\) must be 'a', 'b' or 'c'$"):
        check_option("mode", None, ("a", "b", "c"))


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint32])
def test_whole_numbers_of_numpy_become_pythons(kind):
    """Counts, seeds and numbers are returned as ints, which any file can hold."""
    for value in (check_count("n", kind(5), least=1), check_seed("n", kind(5)), check_number("n", kind(5))):
        assert type(value) is int
        assert value == 5


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, Fraction])
def test_numbers_of_other_kinds_become_floats(kind):
    """Numbers, positive numbers and fractions are returned as floats of the same value."""
    for check in (check_number, check_positive, check_fraction):
        value = check("p", kind(0.25))
        assert type(value) is float
        assert value == 0.25


def test_a_flag_is_a_bool():
    """True and False pass, also NumPy's, and nothing else."""
    assert check_flag("resume", True) is check_flag("resume", np.True_) is True
    assert check_flag("resume", False) is check_flag("resume", np.False_) is False
    for value in (1, 0, "no", None, 1.0):
        with pytest.raises(ArgumentTypeError, match=r"^resume \(=.*\) must be True or False$"):
            check_flag("resume", value)


def test_numbers_too_large_for_a_float_are_refused():
    """A whole number above the largest float is out of range, and no OverflowError."""
    for check in (check_number, check_positive, check_fraction):
        with pytest.raises(ArgumentValueError, match="weight"):
            check("weight", 10**5000)


def test_folders_are_paths():
    """What is not a path is refused by its name."""
    assert check_path_like("folder", "runs") == Path("runs")
    for wrong in (3, None, b"runs"):
        with pytest.raises(ArgumentTypeError, match="folder .* must be a path"):
            check_path_like("folder", wrong)
