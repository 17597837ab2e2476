"""What several metrics compute of the same batch, computed once."""

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
    """A context in which :func:`once` computes each result once; they are forgotten at its end."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def once(function: Any, argument: Any, compute: Callable[[], T]) -> T:
    """Compute, or take what was computed for this function and this very object within :func:`sharing`.

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
    # A method is another object each time it is taken from its owner.
    owner, code = (function.__self__, function.__func__) if isinstance(function, MethodType) else (function, None)
    key = (id(owner), code, id(argument))
    if key not in kept:
        kept[key] = compute(), owner, argument  # which are kept too, since another object could get their ids
    return kept[key][0]
