"""Find averages of networks that were forgotten: the network was trained, but its average was never updated."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import nn

__all__ = ["any_is_behind", "note_average"]

_AVERAGES = weakref.WeakKeyDictionary[nn.Module, weakref.ref[Any]]()  # by the module that holds the averaged weights


def note_average(module: nn.Module, average: Any) -> None:
    """Remember that a module holds the weights of an average with a method ``is_behind``."""
    _AVERAGES[module] = weakref.ref(average)


def any_is_behind(parts: Iterable[Any]) -> bool:
    """Test whether one of these objects is a forgotten average, or the module that holds its weights.

    Example:
        >>> class Average:
        ...     def is_behind(self):
        ...         return True
        >>> module, average = nn.Linear(2, 2), Average()
        >>> note_average(module, average)
        >>> any_is_behind([module]), any_is_behind([nn.Linear(2, 2)])
        (True, False)
    """
    for part in parts:
        if not isinstance(part, nn.Module):
            continue
        found = _AVERAGES.get(part)
        average: Any = part if found is None else found()
        if hasattr(average, "is_behind") and average.is_behind():
            return True
    return False
