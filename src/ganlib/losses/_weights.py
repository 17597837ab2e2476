"""What a weight may be."""

import math
from numbers import Real
from typing import Any

from ganlib.errors import ArgumentValueError

__all__ = ["check_weight"]


def check_weight(weight: Any, name: str = "weight") -> None:
    """Refuse a weight that weighs nothing sensible.

    Args:
        weight: must be finite and at least 0.
        name: what the caller calls it, for the error.

    Raises:
        ArgumentValueError: it is something else.

    Example:
        >>> check_weight(1.0)
    """
    if not (isinstance(weight, Real) and 0 <= float(weight) < math.inf):
        raise ArgumentValueError(f"{name} (={weight!r}) must be a finite number of at least 0")
