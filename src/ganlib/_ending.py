"""Find the operation that made a tensor."""

import math
import re
from itertools import starmap
from typing import Any

from torch import Tensor

__all__ = ["last_operation"]

_NAMES = {
    "Hardsigmoid": "hardsigmoid",
    "Hardtanh": "hardtanh",
    "LogSigmoid": "logsigmoid",
    "LogSoftmax": "log_softmax",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Tanh": "tanh",
}
# Operations that move or average values, and so keep their range.
_KEEPS_RANGE = (
    "Alias|AsStrided|Cat|Clone|Contiguous|Expand|Index|IndexSelect|Mean|Movedim|Permute|ReshapeAlias|Select|Slice|"
    "Split|Squeeze|Stack|T|ToCopy|Transpose|Unbind|UnsafeSplit|UnsafeView|Unsqueeze|View|"
    r"(Mkldnn)?(Adaptive)?AvgPool\dD|MaxPool\dDWithIndices|Upsample\w+"
)
_ARITHMETIC = "Add|Clamp|Div|Mul|Neg|Rsub|Sub"


def last_operation(tensor: Tensor, *, arithmetic: bool = False) -> str | None:
    """Return the name of the last operation that bounds the values of a tensor.

    Args:
        tensor: the tensor, with its graph. Reshaping, slicing, joining, pooling and averages are skipped.
        arithmetic: whether to skip clamps, and sums and products with constants, if the range
            is not wider than from 0 to 1.

    Returns:
        ``"sigmoid"``, ``"hardsigmoid"``, ``"softmax"``, ``"logsigmoid"``, ``"log_softmax"``, ``"hardtanh"``,
        ``"tanh"``, or ``"clamp"`` for a clamp within [0, 1]. None for other operations, or without a graph.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 3, requires_grad=True)
        >>> last_operation(logits.sigmoid().mean(1)), last_operation(2 * logits.sigmoid())
        ('sigmoid', None)
    """
    node: Any = tensor.grad_fn
    passed = list[tuple[str, Any]]()
    while node is not None:
        name = re.sub(r"Backward\d*$", "", node.name())
        inputs = [following for following, _ in node.next_functions if following is not None]
        if arithmetic and len(inputs) == 1 and re.fullmatch(_ARITHMETIC, name):
            passed.append((name, node))
        elif not re.fullmatch(_KEEPS_RANGE, name):
            ending = "clamp" if name in ("Clamp", "Hardtanh") and _is_unit(node) else _NAMES.get(name)
            width = 2 if name in ("Hardtanh", "Tanh") else 1
            wider = arithmetic and ending is not None and math.prod(starmap(_factor, passed), start=width) > 1
            return None if wider else ending
        node = inputs[0] if inputs else None
    return None


def _factor(name: str, node: Any) -> float:
    """Return the factor on a range, or infinity if the factor is not a single number on the CPU."""
    if name not in ("Div", "Mul"):
        return 1.0
    other = getattr(node, "_saved_other", None)
    if not isinstance(other, Tensor) or other.ndim or other.device.type != "cpu" or not float(other):
        return math.inf
    return abs(float(other)) if name == "Mul" else 1 / abs(float(other))


def _is_unit(node: Any) -> bool:
    """Return whether the bounds of a clamp are in [0, 1]."""
    bounds = [getattr(node, f"_saved_{name}", None) for name in ("min", "max", "min_val", "max_val")]
    given = [bound for bound in bounds if isinstance(bound, int | float)]
    return len(given) == 2 and given[0] >= 0 and given[1] <= 1
