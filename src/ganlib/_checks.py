"""The checks of arguments that several packages need; each error names the argument and quotes its value."""

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = [
    "check_count",
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
    """Raise an ArgumentValueError unless each is a whole number of at least 1, given by the names of the arguments."""
    for name, size in sizes.items():
        check_count(name, size, least=1)


def check_count(name: str, value: Any, *, least: int) -> int:
    """Return a whole number of at least ``least`` as Python's int; raise an ArgumentValueError for anything else."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and int(value) >= least):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a whole number of at least {least}")
    return int(value)


def check_number(name: str, value: Any) -> float:
    """Return a finite number of at least 0, a weight for example; raise an ArgumentValueError for anything else."""
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 <= _float(value) < math.inf):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a finite number of at least 0")
    return _pythons(value)


def check_option(name: str, value: Any, options: Sequence[Any]) -> None:
    """Raise an ArgumentValueError unless the value is one of at least two options."""
    if value not in options:
        *others, last = map(repr, options)
        raise ArgumentValueError(f"{name} (={shown(value)}) must be {', '.join(others)} or {last}")


def check_positive(name: str, value: Any) -> float:
    """Return a finite number above 0; raise an ArgumentValueError for anything else."""
    if isinstance(value, bool) or not (isinstance(value, Real) and 0 < _float(value) < math.inf):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a finite number above 0")
    return _pythons(value)


def check_fraction(name: str, value: Any, *, below_1: bool = False) -> float:
    """Return a number in [0, 1], or in [0, 1), a probability for example; raise an ArgumentValueError for others."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and 0 <= _float(value) <= 1) or (below_1 and value == 1):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be in [0, 1{')' if below_1 else ']'}")
    return _pythons(value)


def check_seed(name: str, value: Any) -> int:
    """Return a whole number that torch's generators take, as Python's int; raise an ArgumentValueError for others."""
    if isinstance(value, bool) or not (isinstance(value, Integral) and 0 <= int(value) < 2**64):
        raise ArgumentValueError(f"{name} (={shown(value)}) must be a whole number from 0 to 2**64 - 1")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return True or False as Python's bool; raise an ArgumentTypeError for anything else."""
    if type(value).__name__ not in ("bool", "bool_"):  # bool_ is NumPy's, in its older releases
        raise ArgumentTypeError(f"{name} (={shown(value)}) must be True or False")
    return bool(value)


def check_path_like(name: str, value: Any) -> Path:
    """Return the path of a file or a folder as a Path; raise an ArgumentTypeError for anything else."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentTypeError(f"{name} (={shown(value)}) must be a path")
    return Path(value)


def _float(value: Any) -> float:
    """A number as a float; one that is too large for that is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _pythons(value: Any) -> float:
    """A number as Python's int or float, where it is NumPy's or a fraction."""
    return value if type(value) in (int, float) else int(value) if isinstance(value, Integral) else float(value)
