"""Checks of arguments; each error names the argument and quotes its value."""

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = [
    "as_float",
    "check_count",
    "check_finite",
    "check_flag",
    "check_fraction",
    "check_number",
    "check_option",
    "check_path_like",
    "check_positive",
    "check_seed",
    "check_sizes",
]


def check_sizes(**sizes: Any) -> None:
    """Raise an ArgumentValueError unless each argument is a whole number of at least 1."""
    for name, size in sizes.items():
        check_count(name, size, least=1)


def check_count(name: str, value: Any, *, least: int) -> int:
    """Return a whole number of at least ``least`` as an int; raise an ArgumentValueError for other values."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and int(value) >= least):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a whole number of at least {least}")
    return int(value)


def check_number(name: str, value: Any) -> float:
    """Return a finite number of at least 0; raise an ArgumentValueError for other values."""
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= as_float(value) < math.inf):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a finite number of at least 0")
    return _pythons(value)


def check_option(name: str, value: Any, options: Sequence[Any]) -> None:
    """Raise an ArgumentValueError unless the value is one of the options, which are at least two."""
    if value not in options:
        *others, last = map(repr, options)
        raise ArgumentValueError(f"{name} (={shown(value)}) must be {', '.join(others)} or {last}")


def check_finite(name: str, value: Any) -> float:
    """Return a finite number as a float; raise an ArgumentValueError for other values."""
    if isinstance(value, bool) or not (isinstance(value, Real) and math.isfinite(as_float(value))):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a finite number")
    return float(value)


def check_positive(name: str, value: Any) -> float:
    """Return a finite number above 0; raise an ArgumentValueError for other values."""
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 < as_float(value) < math.inf):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a finite number above 0")
    return _pythons(value)


def check_fraction(name: str, value: Any, *, below_1: bool = False) -> float:
    """Return a number in [0, 1], or in [0, 1) with ``below_1``; raise an ArgumentValueError for other values."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and 0 <= as_float(value) <= 1) or (below_1 and value == 1):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be in [0, 1{')' if below_1 else ']'}")
    return _pythons(value)


def check_seed(name: str, value: Any) -> int:
    """Return a seed for torch's generators as an int; raise an ArgumentValueError for other values."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and 0 <= int(value) < 2**64):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a whole number from 0 to 2**64 - 1")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return True or False as a bool; raise an ArgumentTypeError for other values."""
    if type(value).__name__ not in ("bool", "bool_"):  # bool_ is the type of older NumPy releases
        raise ArgumentTypeError(f"{name} (={shown(value)}) must be True or False")
    return bool(value)


def check_path_like(name: str, value: Any) -> Path:
    """Return a path as a Path; raise an ArgumentTypeError for other values."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentTypeError(f"{name} (={shown(value)}) must be a path")
    return Path(value)


def as_float(value: Any) -> float:
    """Return a number as a float; a number that is too large becomes infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _pythons(value: Any) -> float:
    """Return a number of NumPy, or a fraction, as an int or float."""
    return value if type(value) in (int, float) else int(value) if isinstance(value, Integral) else float(value)
