"""Find the objects that an object references, for example in attributes, closures and partials."""

import gc
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

__all__ = ["held"]

_LIMIT = 5000
_PLAIN = (str, bytes, int, float, complex, type(None), type, CodeType, ModuleType, Tensor)


def held(root: Any, *, within: int = 5, closed: tuple[type, ...] | Callable[[Any], bool] = ()) -> Iterator[Any]:
    """Yield an object and the objects that it references, nearest first, each once.

    Args:
        root: the object.
        within: the largest number of references between them. An attribute can count as two references: one to the
            object's dict, and one to the attribute.
        closed: classes whose objects are yielded but not searched, except for the root; or a function that finds these
            objects.

    Example:
        >>> from functools import partial
        >>> 3.5 in [value for value in held(partial(max, [3.5])) if isinstance(value, list) for value in value]
        True
    """
    is_closed = (lambda value: isinstance(value, closed)) if isinstance(closed, tuple) else closed
    seen, layer = {id(root)}, [root]
    for _ in range(within + 1):
        below: list[Any] = []
        for value in layer:
            yield value
            for part in [] if value is not root and is_closed(value) else _parts(value):
                if id(part) not in seen and not isinstance(part, _PLAIN) and len(seen) < _LIMIT:
                    seen.add(id(part))
                    below.append(part)
        layer = below


def _parts(value: Any) -> list[Any]:
    iterates = getattr(type(value), "__iter__", None)
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        named = [value.__globals__[name] for name in _names(value.__code__) if name in value.__globals__]
        return [*cells, *named, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    return [*gc.get_referents(value), *([iterates] if isinstance(iterates, FunctionType) else [])]


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function uses, also in its inner functions and comprehensions."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
