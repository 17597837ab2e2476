"""By what operation a tensor was made."""

import re
from typing import Any

from torch import Tensor

__all__ = ["last_operation"]

_NAMES = {
    "Clamp": "clamp",
    "Hardsigmoid": "hardsigmoid",
    "Hardtanh": "hardtanh",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
}
# What moves values or averages them, and so leaves them in the range that they were in.
_KEEPS_RANGE = (
    "Alias|AsStrided|Clone|Contiguous|Expand|Index|IndexSelect|Mean|Movedim|Permute|ReshapeAlias|Select|Slice|Split|"
    "Squeeze|T|ToCopy|Transpose|Unbind|UnsafeSplit|UnsafeView|Unsqueeze|View"
)


def last_operation(tensor: Tensor) -> str | None:
    """Name the operation that made a tensor's values, where it is one that bounds them.

    Args:
        tensor: with its graph. Reshaping, slicing and averages are passed over.

    Returns:
        ``"sigmoid"``, ``"hardsigmoid"``, ``"softmax"``, ``"clamp"``, ``"hardtanh"`` or ``"tanh"``; None where it is
        another, or the tensor has no graph.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 3, requires_grad=True)
        >>> last_operation(logits.sigmoid().mean(1)), last_operation(2 * logits.sigmoid())
        ('sigmoid', None)
    """
    node: Any = tensor.grad_fn
    while node is not None:
        name = re.sub(r"Backward\d*$", "", node.name())
        if not re.fullmatch(_KEEPS_RANGE, name):
            return _NAMES.get(name)
        node = node.next_functions[0][0]
    return None
