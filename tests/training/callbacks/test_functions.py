"""What every schedule checks of its function; the schedules' own tests try it through them."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from ganlib.errors import ArgumentValueError
from ganlib.training._callbacks._functions import check_function, value_at


@pytest.mark.parametrize("value", [1.0, 1, np.float64(1.0), torch.tensor(1.5), -1e-9, math.nan, -math.inf, 10**400])
def test_a_value_outside_of_its_range_is_named(value: Any) -> None:
    """The range, the value and the progress are in the message; the same at once, and later in a run."""
    with pytest.raises(ArgumentValueError, match=r"^beta \(=.* must return a number in \[0, 1\), .* progress 0\.0$"):
        check_function("beta", lambda progress: value, least=0.0, below=1.0)
    with pytest.raises(ArgumentValueError, match=r"^beta \(=.* must return a number in \[0, 1\), .* progress 0\.75$"):
        value_at("beta", lambda progress: value, 0.75, least=0.0, below=1.0)


@pytest.mark.parametrize("value", [0, 0.0, math.nextafter(1, 0), np.float32(0.5), torch.tensor(0.5)])
def test_a_value_within_its_range_is_a_float(value: Any) -> None:
    """Both ends of the range belong to it as written."""
    check_function("beta", lambda progress: value, least=0.0, below=1.0)
    actual = value_at("beta", lambda progress: value, 0.3, least=0.0, below=1.0)
    assert type(actual) is float
    assert actual == float(value)
