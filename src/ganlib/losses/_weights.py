"""What a weight may be."""

import math

from ganlib.errors import ArgumentValueError

__all__ = ["check_weight"]


def check_weight(weight: float, name: str = "weight") -> None:
    """Refuse a weight that weighs nothing sensible.

    Args:
        weight: must be finite and at least 0.
        name: what the caller calls it, for the error.

    Raises:
        ArgumentValueError: it is something else.

    Example:
        >>> check_weight(1.0)
    """
    if not 0 <= weight < math.inf:
        raise ArgumentValueError(f"{name} (={weight}) must be finite and at least 0")
