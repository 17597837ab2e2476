"""Finds what an object holds: in its attributes, a function's closure, a partial, a generator's variables."""

import gc
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

__all__ = ["held"]

_LIMIT = 5000
_PLAIN = (str, bytes, int, float, complex, type(None), type, CodeType, ModuleType, Tensor)


def held(root: Any, *, within: int = 5, closed: tuple[type, ...] = ()) -> Iterator[Any]:
    """What an object holds, nearest first, itself included.

    Args:
        root: the object.
        within: references that lead to it; an attribute may count as two, that of the object's dict and its own.
        closed: classes whose objects are given, and not looked into; the root is, whatever it is.

    Yields:
        Each object once.

    Example:
        >>> from functools import partial
        >>> 3.5 in [value for value in held(partial(max, [3.5])) if isinstance(value, list) for value in value]
        True
    """
    seen, layer = {id(root)}, [root]
    for _ in range(within + 1):
        below: list[Any] = []
        for value in layer:
            yield value
            for part in [] if isinstance(value, closed) and value is not root else _parts(value):
                if id(part) not in seen and not isinstance(part, _PLAIN) and len(seen) < _LIMIT:
                    seen.add(id(part))
                    below.append(part)
        layer = below


def _parts(value: Any) -> list[Any]:
    iterates = getattr(type(value), "__iter__", None)
    if isinstance(value, FunctionType):
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell != CellType()]
        named = [value.__globals__[name] for name in value.__code__.co_names if name in value.__globals__]
        return [*cells, *named, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
    return [*gc.get_referents(value), *([iterates] if isinstance(iterates, FunctionType) else [])]
