"""Check functions of the progress, and compute their values."""

import math
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganlib._checks import as_float
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.protocols import Run

__all__ = ["check_alone", "check_function", "check_written", "value_at"]


def check_function(
    name: str,
    function: Any,
    *,
    least: float = -math.inf,
    below: float = math.inf,
    dtype: torch.dtype = torch.float64,
) -> None:
    """Raise an error unless the function returns a number at the start, in the middle and at the end of a run."""
    if isinstance(function, type) or not callable(function):
        raise ArgumentTypeError(f"{name} (={shown(function)}) must be a function of the progress")
    for progress in (0.0, 0.5, 1.0):
        try:
            value_at(name, function, progress, least=least, below=below, dtype=dtype)
        except GanlibError:
            raise
        except TypeError as error:
            raise ArgumentTypeError(
                f"{name} (={shown(function)}) must be a function of the progress: {error}"
            ) from error
        except Exception as error:
            raise ArgumentValueError(
                f"{name} (={shown(function)}) must return a number at every progress in [0, 1], but fails at "
                f"{progress}: {type(error).__name__}: {error}"
            ) from error


def value_at(
    name: str,
    function: Callable[[float], Any],
    progress: float,
    *,
    least: float = -math.inf,
    below: float = math.inf,
    dtype: torch.dtype = torch.float64,
) -> float:
    """Return the function's value as a Python number, since a checkpoint cannot contain a NumPy number.

    The number must be finite in ``dtype``.
    """
    value = function(progress)
    number = value.item() if isinstance(value, Tensor | np.ndarray | np.generic) and value.ndim == 0 else value
    if not isinstance(number, Real):
        raise ArgumentTypeError(
            f"{name} (={shown(function)}) must return a number, but it returned {shown(value)} at the progress "
            f"{progress}"
        )
    most = torch.finfo(dtype).max
    if not (abs(as_float(number)) <= most and least <= as_float(number) < below):
        wanted = "a finite number" + f" of at least {least:g}" * (least == 0)
        wanted += f" of at most {most:g} in size, since the tensor is {dtype}" * (dtype != torch.float64)
        wanted = wanted if below == math.inf else f"a number in [{least:g}, {below:g})"
        raise ArgumentValueError(
            f"{name} (={shown(function)}) must return {wanted}, but it returned {shown(value)} at the progress "
            f"{progress}"
        )
    return float(number)


def check_written(
    function: Callable[[float], Any],
    dtype: torch.dtype,
    checks: Mapping[str, Callable[[str, Any], object]],
    progresses: Iterable[float],
) -> None:
    """Refuse a function whose values, in the precision of its tensor, do not pass the checks of the tensor's readers.

    Args:
        function: a function from the progress to a number.
        dtype: the precision of the tensor.
        checks: each raises an error for a value, by the name that the reader gives to the tensor.
        progresses: values of the progress to try.

    Raises:
        ArgumentValueError: a value is refused.
    """
    for progress in progresses if checks else ():
        value = value_at("function", function, progress, dtype=dtype)
        written = torch.tensor(value, dtype=dtype).item()
        for name, check in checks.items():
            if (refusal := _refusal(name, check, written)) is not None:
                hint = f", since {dtype} rounds it: use torch.float64" * (_refusal(name, check, value) is None)
                hint += "; only an EMA after its schedule reads this value: put it before the schedule" * (
                    progress == 1
                )
                raise ArgumentValueError(
                    f"function (={shown(function)}) returns {value:.12g} at the progress {progress:.4g}, and its "
                    f"tensor is read as the {name.removeprefix('a ')}: {refusal}{hint}"
                ) from refusal


def _refusal(name: str, check: Callable[[str, Any], object], value: float) -> GanlibError | None:
    try:
        check(name, value)
    except GanlibError as error:
        return error
    return None


def check_alone(schedule: Any, run: Run, attribute: str) -> None:
    """Refuse two schedules of the same object, since only the last one would take effect."""
    own = getattr(schedule, attribute)
    for other in getattr(run, "callbacks", ()):
        if other is not schedule and type(other) is type(schedule) and getattr(other, attribute) is own:
            raise ArgumentValueError(
                f"two {type(schedule).__name__}s among callbacks have the same {attribute} (={type(own).__name__}), "
                "and only the last would count: join their functions into one"
            )
