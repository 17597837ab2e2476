"""Check the index of an item of a data set."""

import operator
from typing import Any

import torch

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError

__all__ = ["item_index"]


def item_index(index: Any, length: int) -> int:
    """Return an index as an int; negative indices count from the end.

    Raises:
        IndexError: if the index is out of range.
        ArgumentTypeError: if the index is not a whole number.

    Example:
        >>> item_index(-1, 10)
        9
    """
    try:
        if isinstance(index, bool) or getattr(index, "dtype", None) is torch.bool:
            raise TypeError
        index = operator.index(index)
    except TypeError:
        raise ArgumentTypeError(f"index (={shown(index)}) must be a whole number") from None
    if not -length <= index < length:
        raise IndexError(f"index (={index}) must be in [-{length}, {length})")
    return int(index) % length
