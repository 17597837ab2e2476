"""Nested tensors: batches and conditions with several parts."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

__all__ = ["mapped", "tensors_of"]


def mapped(nest: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to all tensors in nested tuples, lists, dicts and named tuples.

    torch's ``tree_map`` takes three times as long, which slows down small networks.
    """
    if isinstance(nest, Tensor):
        return function(nest)
    if isinstance(nest, dict):
        return {key: mapped(value, function) for key, value in nest.items()}
    if isinstance(nest, tuple | list):
        parts = [mapped(value, function) for value in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return nest


def tensors_of(nest: Any) -> Iterator[Tensor]:
    """Yield the tensors of nested tuples, lists and dicts."""
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, dict | tuple | list):
        for part in nest.values() if isinstance(nest, dict) else nest:
            yield from tensors_of(part)
