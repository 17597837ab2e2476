"""Name the states of callbacks in a checkpoint."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import nn

from ganlib._wrappers import load_plain_state, plain_state
from ganlib.protocols import Stateful

__all__ = ["named_states"]


def named_states(callbacks: Iterable[Any]) -> dict[str, Stateful]:
    """Name the callbacks that have a state by their classes: the first is ``EMA``, the next ``EMA#2``, and so on."""
    counts, named = Counter[str](), dict[str, Stateful]()
    for callback in callbacks:
        if isinstance(callback, Stateful):
            name = type(callback).__name__
            counts[name] += 1
            state = _Plain(callback) if isinstance(callback, nn.Module) else callback
            named[name if counts[name] == 1 else f"{name}#{counts[name]}"] = state
    return named


class _Plain:
    """Save and load a callback that is a module, without the wrappers around its parts."""

    def __init__(self, callback: nn.Module) -> None:
        self._callback = callback

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        state: dict[str, Any] = plain_state(self._callback)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        load_plain_state(self._callback, state)
