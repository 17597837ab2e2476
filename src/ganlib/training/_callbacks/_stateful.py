"""The names under which a checkpoint holds the states of callbacks."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from ganlib.protocols import Stateful

__all__ = ["named_states"]


def named_states(callbacks: Iterable[Any]) -> dict[str, Stateful]:
    """Name the callbacks that have a state by their classes: the first ``EMA``, the next ``EMA#2``, and so on."""
    counts, named = Counter[str](), dict[str, Stateful]()
    for callback in callbacks:
        if isinstance(callback, Stateful):
            name = type(callback).__name__
            counts[name] += 1
            named[name if counts[name] == 1 else f"{name}#{counts[name]}"] = callback
    return named
