"""Share results between metrics that compute the same from a batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import MethodType
from typing import Any, TypeVar

__all__ = ["once", "sharing"]

T = TypeVar("T")

_kept: ContextVar[dict[Any, Any] | None] = ContextVar("kept", default=None)


@contextmanager
def sharing() -> Iterator[None]:
    """Let :func:`once` compute each result once in this context; the results are discarded at its end."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def once(function: Any, argument: Any, compute: Callable[[], T]) -> T:
    """Compute a result, or reuse it for the same function and object within :func:`sharing`.

    Example:
        >>> samples = [1, 2]
        >>> with sharing():
        ...     once(sum, samples, lambda: sum(samples)), once(sum, samples, lambda: 0)
        (3, 3)
        >>> once(sum, samples, lambda: 0)
        0
    """
    kept = _kept.get()
    if kept is None:
        return compute()
    # Each access to a method makes a new object.
    owner, code = (function.__self__, function.__func__) if isinstance(function, MethodType) else (function, None)
    key = (id(owner), code, id(argument))
    if key not in kept:
        kept[key] = compute(), owner, argument  # keep both objects, because new objects could get their ids
    return kept[key][0]
