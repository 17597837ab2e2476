"""Tests of weights that are numbers, or tensors that change."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib._checks import check_fraction
from ganlib._weights import check_weight, checks_of, keep_check, show_weight, weighted
from ganlib.errors import ArgumentValueError

NOT_FINITE = [math.nan, math.inf, -math.inf]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(st.floats(0, 1e4), st.sampled_from(DTYPES))
def test_a_weight_is_a_number_or_a_tensor_that_holds_one(value, dtype):
    """Numbers of at least 0 pass, and floating-point tensors of no dimensions that hold one."""
    assert check_weight("weight", value) is None
    assert check_weight("weight", torch.tensor(value, dtype=dtype)) is None


@pytest.mark.parametrize("value", [-0.5, *NOT_FINITE])
def test_a_weight_out_of_range_is_refused(value):
    """A number out of range raises one error, whether a tensor holds it or not."""
    for given_ in (value, torch.tensor(value)):
        with pytest.raises(ArgumentValueError) as caught:
            check_weight("weight", given_)
        assert str(caught.value) == f"weight (={value!r}) must be a finite number of at least 0"


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(1),
        torch.ones(0),
        torch.tensor(1),
        torch.tensor(True),
        torch.tensor(1j),
        torch.tensor(1.0, requires_grad=True),
        nn.Parameter(torch.tensor(1.0), requires_grad=False),
        nn.Buffer(torch.tensor(1.0)),
        torch.ones(2, device="meta"),
    ],
)
def test_a_tensor_of_another_kind_is_no_weight(value):
    """A tensor that a module would register, that requires a gradient or is not a floating-point scalar is refused."""
    with pytest.raises(ArgumentValueError) as caught:
        check_weight("weight", value)
    assert str(caught.value) == (
        f"weight (={value!r}) must be a number, or a plain floating-point tensor of no dimensions without gradients"
    )


def test_another_check_may_be_asked_for():
    """A value that is not a weight has its own range, in a tensor too."""
    assert check_weight("decay", torch.tensor(0.5), check_fraction) is None
    with pytest.raises(ArgumentValueError, match=r"^decay \(=1\.5\) must be in \[0, 1\]$"):
        check_weight("decay", torch.tensor(1.5), check_fraction)


def test_on_a_device_a_weight_is_not_read():
    """A tensor on a device passes whatever it holds; the meta device, which holds nothing, stands in for one."""
    weight = torch.tensor(-1.0, device="meta")

    assert check_weight("weight", weight) is None
    assert show_weight(weight) == "<on meta>"


@pytest.mark.parametrize("weight", [0.5, 2, *(torch.tensor(0.5, dtype=dtype) for dtype in DTYPES)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_weighted_keeps_its_dtype(weight, dtype):
    """The weight's dtype does not matter: two 0-dim tensors by themselves take the wider of their dtypes."""
    actual = weighted(weight, torch.tensor(3.0, dtype=dtype))

    assert actual.dtype == dtype
    assert actual.item() == 3 * float(weight)


def test_a_weight_on_the_cpu_fits_any_device():
    """A 0-dim tensor on the CPU weighs what is on a device, and the result stays there."""
    assert weighted(torch.tensor(2.0), torch.ones((), device="meta")).device.type == "meta"


def test_a_weight_shows_as_it_was_written():
    """Numbers show as they are, and tensors without the digits that float32 adds."""
    shown = [show_weight(weight) for weight in (10, 0.1, True, torch.tensor(0.1), torch.tensor(10.0))]
    assert shown == ["10", "0.1", "True", "0.1", "10.0"]


def test_the_ranges_of_a_tensor_are_known():
    """By the names that its readers give it; a tensor that nobody has checked, or a refused one, has none."""
    one, other = torch.tensor(0.5), torch.tensor(0.5)
    check_weight("decay", one, check_fraction)
    keep_check(one, "weight", check_weight)
    assert checks_of(one) == {"decay": check_fraction, "weight": check_weight}
    assert checks_of(other) == {}
    with pytest.raises(ArgumentValueError):
        check_weight("weight", other.neg_())
    assert checks_of(other) == {}
