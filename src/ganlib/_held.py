"""Find the objects that an object references, for example in attributes, closures and partials."""

import gc
from collections.abc import Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor

__all__ = ["held"]

_LIMIT = 5000
_PLAIN = (str, bytes, int, float, complex, type(None), type, CodeType, ModuleType, Tensor)


def held(root: Any, *, within: int = 5, closed: tuple[type, ...] = ()) -> Iterator[Any]:
    """Yield an object and the objects that it references, nearest first, each once.

    Args:
        root: the object.
        within: the largest number of references between them. An attribute can count as two references: one to the
            object's dict, and one to the attribute.
        closed: classes whose objects are yielded but not searched, except for the root.

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
