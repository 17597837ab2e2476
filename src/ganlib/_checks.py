"""The checks of arguments that several packages need; each error names the argument and quotes its value."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

from ganlib.errors import ArgumentValueError

__all__ = [
    "check_count",
    "check_fraction",
    "check_number",
    "check_option",
    "check_positive",
    "check_seed",
    "check_sizes",
]


def check_sizes(**sizes: int) -> None:
    """Raise an ArgumentValueError unless each is a whole number of at least 1, given by the names of the arguments."""
    for name, size in sizes.items():
        check_count(name, size, least=1)


def check_count(name: str, value: Any, *, least: int) -> None:
    """Raise an ArgumentValueError unless the value is a whole number of at least ``least``."""
    if isinstance(value, bool) or not (isinstance(value, int) and value >= least):
        raise ArgumentValueError(f"{name} (={value!r}) must be a whole number of at least {least}")


def check_number(name: str, value: Any) -> None:
    """Raise an ArgumentValueError unless the value, a weight for example, is finite and at least 0."""
    if not (isinstance(value, Real) and 0 <= float(value) < math.inf):
        raise ArgumentValueError(f"{name} (={value!r}) must be a finite number of at least 0")


def check_option(name: str, value: Any, options: Sequence[Any]) -> None:
    """Raise an ArgumentValueError unless the value is one of at least two options."""
    if value not in options:
        *others, last = map(repr, options)
        raise ArgumentValueError(f"{name} (={value!r}) must be {', '.join(others)} or {last}")


def check_positive(name: str, value: Any) -> None:
    """Raise an ArgumentValueError unless the value is finite and above 0."""
    if not (isinstance(value, Real) and 0 < float(value) < math.inf):
        raise ArgumentValueError(f"{name} (={value!r}) must be a finite number above 0")


def check_fraction(name: str, value: Any, *, below_1: bool = False) -> None:
    """Raise an ArgumentValueError unless the value, a probability for example, is in [0, 1], or in [0, 1)."""
    if not (isinstance(value, Real) and 0 <= float(value) <= 1) or (below_1 and value == 1):
        raise ArgumentValueError(f"{name} (={value!r}) must be in [0, 1{')' if below_1 else ']'}")


def check_seed(name: str, value: Any) -> None:
    """Raise an ArgumentValueError unless the value is a whole number that torch's generators take."""
    if isinstance(value, bool) or not (isinstance(value, int) and 0 <= value < 2**64):
        raise ArgumentValueError(f"{name} (={value!r}) must be a whole number from 0 to 2**64 - 1")
