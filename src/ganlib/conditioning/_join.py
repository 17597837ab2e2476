"""Putting features beside features, whichever of the two is flat and whichever has places."""

import torch
from torch import Tensor

from ganlib.errors import ShapeError

__all__ = ["join"]


def join(x: Tensor, encoding: Tensor, name: str) -> Tensor:
    """Concatenate along dimension 1; the flat one of the two is repeated at every place of the other.

    Args:
        x: (N, C) or (N, C, *spatial).
        encoding: (N, F) or (N, F, *spatial).
        name: what the caller calls x, for the error.

    Returns:
        (N, C + F) or (N, C + F, *spatial).

    Raises:
        ShapeError: another batch size, or other spatial sizes.

    Example:
        >>> join(torch.zeros(2, 3, 8, 8), torch.zeros(2, 10), "sample").shape
        torch.Size([2, 13, 8, 8])
    """
    if len(x) != len(encoding):
        raise ShapeError(f"condition has {len(encoding)} entries, but {name} {tuple(x.shape)} has {len(x)} samples")
    if x.ndim == 2 and encoding.ndim > 2:
        return torch.cat([_repeat(x, encoding), encoding.to(x.dtype)], 1)
    if encoding.ndim == 2 and x.ndim > 2:
        encoding = _repeat(encoding, x)
    if x.shape[2:] != encoding.shape[2:]:
        raise ShapeError(
            f"condition's maps have spatial sizes {tuple(encoding.shape[2:])}, but {name} has {tuple(x.shape[2:])}"
        )
    return torch.cat([x, encoding.to(x.dtype)], 1)


def _repeat(flat: Tensor, like: Tensor) -> Tensor:
    return flat.reshape(*flat.shape, *[1] * (like.ndim - 2)).expand(-1, -1, *like.shape[2:])
