"""Warnings that point at the user's line of code."""

import inspect
import warnings

__all__ = ["warn_user"]

_PASSED = ("ganlib", "torch", "torchmetrics")


def warn_user(message: str) -> None:
    """Warn at the nearest line that is not in ganlib, torch or torchmetrics.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_user("look here")
        >>> str(caught[0].message)
        'look here'
    """
    frame, level = inspect.currentframe(), 1
    while frame is not None and str(frame.f_globals.get("__name__")).split(".")[0] in _PASSED:
        frame, level = frame.f_back, level + 1
    # If there is no such line, as in a doctest of ganlib, the warning points at the caller.
    warnings.warn(message, stacklevel=level if frame is not None else 2)
