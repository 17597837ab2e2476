"""Restore the state of objects after a trial."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._generators import generator_kind, generator_state, load_generator_state

__all__ = ["kept"]


@contextmanager
def kept(*roots: Any) -> Iterator[None]:
    """Restore objects at the end of the context: their tensors, numbers, containers and random generators.

    Tensors stay in their memory. For a module, all submodules are restored too.

    Args:
        roots: modules, or other objects with attributes.

    Example:
        >>> norm = nn.BatchNorm1d(2)
        >>> with kept(norm):
        ...     _ = norm(torch.randn(4, 2))
        >>> norm.num_batches_tracked.item(), norm.running_mean
        (0, tensor([0., 0.]))
    """
    put_back = list[Callable[[], object]]()
    seen = set[int]()
    for root in roots:
        for part in root.modules() if isinstance(root, nn.Module) else [root]:
            _keep(getattr(part, "__dict__", None), put_back, seen)
    try:
        yield
    finally:
        with torch.no_grad():
            for put in put_back:
                put()


def _keep(value: Any, put_back: list[Callable[[], object]], seen: set[int]) -> None:
    """Remember one value, and the contents of a container."""
    if value is None or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if not (is_lazy(value) or value.is_meta or value.is_inference()) and value.layout is torch.strided:
            before = value.detach().clone()
            put_back.append(lambda: None if torch.equal(value, before) else value.copy_(before))
    elif generator_kind(value):
        put_back.append(partial(load_generator_state, value, generator_state(value)))
    elif type(value) in (list, deque, set):
        members = list(value)
        put_back += [value.clear, partial(value.update if isinstance(value, set) else value.extend, members)]
        _keep_all(members, put_back, seen)
    elif isinstance(value, dict):
        items = dict(value)
        put_back += [value.clear, partial(value.update, items)]
        _keep_all(items.values(), put_back, seen)


def _keep_all(values: Iterable[Any], put_back: list[Callable[[], object]], seen: set[int]) -> None:
    for value in values:
        _keep(value, put_back, seen)
