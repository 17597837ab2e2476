"""Features and their places."""

from torch import Tensor

__all__ = ["places"]


def places(x: Tensor) -> Tensor:
    """Features with their places in one dimension, before the channels.

    Args:
        x: (N, C), which has one place, or (N, C, *spatial).

    Returns:
        (N, places, C).

    Example:
        >>> import torch
        >>> places(torch.zeros(2, 64, 7, 7)).shape
        torch.Size([2, 49, 64])
    """
    return (x.flatten(2) if x.ndim > 2 else x.unsqueeze(2)).mT
