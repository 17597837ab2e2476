"""Find the operation that made a tensor."""

import math
import re
from collections.abc import Container, Iterable
from typing import Any

from torch import Tensor

__all__ = ["Ending", "flat_operation", "last_operation", "range_of"]

_INF = math.inf
_BOUNDED = {
    "Hardsigmoid": ("hardsigmoid", 0.0, 1.0),
    "LogSigmoid": ("logsigmoid", -_INF, 0.0),
    "LogSoftmax": ("log_softmax", -_INF, 0.0),
    "Relu": ("relu", 0.0, _INF),
    "Sigmoid": ("sigmoid", 0.0, 1.0),
    "Softmax": ("softmax", 0.0, 1.0),
    "Softplus": ("softplus", 0.0, _INF),
    "Tanh": ("tanh", -1.0, 1.0),
}
_CLAMPS = ("Clamp", "ClampMax", "ClampMin", "Hardtanh")
_KEEPS_ORDER = "Alias|Clone|Contiguous|ReshapeAlias|Squeeze|ToCopy|UnsafeView|Unsqueeze|View"
# Operations that move or average values, and so keep their range.
_KEEPS_RANGE = (
    f"{_KEEPS_ORDER}|AsStrided|Expand|Index|IndexSelect|Mean|Movedim|Permute|Select|Slice|Split|T|Transpose|Unbind|"
    r"UnsafeSplit|(Mkldnn)?(Adaptive)?AvgPool\dD|MaxPool\dDWithIndices|Upsample(?!Bicubic)\w+"
)
_JOINS = ("Cat", "Stack")
# Operations of torch whose gradient is 0; the node of a function of the user, such as a class Round, has no number.
_FLAT = r"(Bernoulli|Ceil|Floor|Round|Sign|Trunc)Backward\d+"
_LINEAR = "Add|Div|Mul|Neg|Rsub|Sub"
_TOLERANCE = 0.01  # of the spread; half precision rounds an offset


class Ending(str):
    """The name of an operation, with the bounds of the values that it can give.

    Example:
        >>> Ending("tanh", -1.0, 1.0), Ending("tanh", -1.0, 1.0).bounds
        ('tanh', (-1.0, 1.0))
    """

    __slots__ = ("bounds",)

    bounds: tuple[float, float]

    def __new__(cls, name: str, low: float, high: float) -> "Ending":
        """Return the name as a string with the attribute ``bounds``."""
        ending = super().__new__(cls, name)
        ending.bounds = low, high
        return ending


def last_operation(tensor: Tensor, *, arithmetic: bool = False) -> Ending | None:
    """Return the name of the last operation that bounds the values of a tensor.

    Args:
        tensor: the tensor, with its graph. Reshaping, slicing, pooling and averages are skipped, and so is joining
            tensors with the same last operation.
        arithmetic: whether to skip clamps, and sums and products with constants, if the range
            is not wider than from 0 to 1.

    Returns:
        ``"sigmoid"``, ``"hardsigmoid"``, ``"softmax"``, ``"logsigmoid"``, ``"log_softmax"``, ``"relu"``, ``"relu6"``,
        ``"softplus"``, ``"hardtanh"``, ``"tanh"``, or ``"clamp"``, with its bounds. None for other operations, or
        without a graph.

    Example:
        >>> import torch
        >>> logits = torch.zeros(2, 3, requires_grad=True)
        >>> last_operation(logits.sigmoid().mean(1)), last_operation(2 * logits.sigmoid())
        ('sigmoid', None)
    """
    return _found(tensor.grad_fn, arithmetic, ())


def range_of(tensor: Tensor) -> Ending | None:
    """Return the last operation with its bounds, also for a tanh or sigmoid that is multiplied and shifted.

    This reads values on the host, because a graph contains no constants that were added.

    Args:
        tensor: float, with its graph.

    Returns:
        As :func:`last_operation`, or ``"scaled tanh"`` and ``"scaled sigmoid"``.

    Example:
        >>> import torch
        >>> range_of((torch.randn(4, requires_grad=True).tanh() + 1) / 2).bounds
        (0.0, 1.0)
    """
    node: Any = tensor.grad_fn
    passed = list[Any]()
    while node is not None:
        name, inputs = _name(node), _inputs(node)
        if re.fullmatch(_LINEAR, name) and len(inputs) == 1:
            passed.append(node)
        elif not re.fullmatch(_KEEPS_ORDER, name):
            break
        node = inputs[0] if inputs else None
    direct = last_operation(tensor)
    if direct is not None or node is None or name not in ("Sigmoid", "Tanh"):
        return direct
    try:
        inner: Any = getattr(node, "_saved_result", None)
    except RuntimeError:  # changed in place
        return None
    return _shifted(tensor.detach(), inner.detach(), _factor(passed), Ending(*_BOUNDED[name]))


def flat_operation(tensor: Tensor, leaves: Container[int]) -> str | None:
    """Return an operation without a gradient, such as ``"round"``, that is on every path from a tensor to its leaves.

    Args:
        tensor: the tensor, with its graph.
        leaves: ids of the leaves.

    Returns:
        The operation, or None if a path has none of them, or there are no paths.

    Example:
        >>> import torch
        >>> x = torch.randn(4, requires_grad=True)
        >>> flat_operation((255 * x).round() / 255, {id(x)}), flat_operation(x + (x.round() - x).detach(), {id(x)})
        ('round', None)
    """
    flat, reached = _cut([tensor.grad_fn], leaves)
    if reached:
        return None
    return next((_name(node).lower() for node in flat if _cut(_inputs(node), leaves, through=True)[1]), None)


def _cut(nodes: list[Any], leaves: Container[int], *, through: bool = False) -> tuple[list[Any], bool]:
    """Return the first operations without a gradient on the paths from nodes, and whether other paths reach a leaf."""
    seen, flat, waiting = set[Any](), list[Any](), [*nodes]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if id(getattr(node, "variable", None)) in leaves:
            return flat, True
        if re.fullmatch(_FLAT, node.name()) and not through:
            flat.append(node)
        else:
            waiting += _inputs(node)
    return flat, False


def _found(node: Any, arithmetic: bool, passed: tuple[Any, ...]) -> Ending | None:
    """Return the last operation that bounds what a node gives, before the nodes that were passed."""
    while node is not None:
        name, inputs = _name(node), _inputs(node)
        if name in _JOINS:
            endings = [_found(following, arithmetic, passed) for following, _ in node.next_functions]
            kinds = {None if ending is None else (str(ending), ending.bounds) for ending in endings}
            return endings[0] if len(kinds) == 1 else None
        if arithmetic and len(inputs) == 1 and re.fullmatch(f"{_LINEAR}|Clamp", name):
            passed = (*passed, node)
        elif not re.fullmatch(_KEEPS_RANGE, name):
            found = _clamp(name, node) if name in _CLAMPS else _BOUNDED.get(name)
            if arithmetic and name == "Reciprocal" and [*map(_name, _chain(inputs, 2))] == ["Add", "Exp"]:
                found = _BOUNDED["Sigmoid"]  # 1 / (1 + exp(-x))
            if found is None or (arithmetic and _factor(passed) * (found[2] - found[1]) > 1):
                return None
            return Ending(*found)
        node = inputs[0] if inputs else None
    return None


def _name(node: Any) -> str:
    return re.sub(r"Backward\d*$", "", node.name())


def _inputs(node: Any) -> list[Any]:
    return [following for following, _ in node.next_functions if following is not None]


def _chain(nodes: list[Any], length: int) -> list[Any]:
    """Return the first node and those that follow it, up to the length, as long as each has one input."""
    chain = list[Any]()
    while len(nodes) == 1 and len(chain) < length:
        chain, nodes = [*chain, nodes[0]], _inputs(nodes[0])
    return chain


def _factor(nodes: Iterable[Any]) -> float:
    """Return the factor on a range, or infinity if a factor is not a single number on the CPU."""
    product = 1.0
    for node in nodes:
        if (name := _name(node)) not in ("Div", "Mul"):
            continue
        other = getattr(node, "_saved_other", None)
        if not isinstance(other, Tensor) or other.ndim or other.device.type != "cpu" or not float(other):
            return _INF
        product *= abs(float(other)) if name == "Mul" else 1 / abs(float(other))
    return product


def _clamp(name: str, node: Any) -> tuple[str, float, float] | None:
    """Return the name and the bounds of a clamp; None if a bound is a tensor."""
    low, high = (
        next((bound for key in keys if (bound := getattr(node, f"_saved_{key}", None)) is not None), default)
        for keys, default in ((("min", "min_val"), -_INF), (("max", "max_val"), _INF))
    )
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return None
    if name == "Hardtanh" and not 0 <= low <= high <= 1:
        return "relu6" if (low, high) == (0, 6) else "hardtanh", float(low), float(high)
    return "clamp", float(low), float(high)


def _shifted(made: Tensor, inner: Tensor, factor: float, ending: Ending) -> Ending | None:
    """Return the bounds of the tensor if it is the inner one times plus or minus the factor, plus one constant."""
    if made.numel() != inner.numel() or not math.isfinite(factor):
        return None
    made, inner = made.flatten().double(), inner.flatten().double()
    low, high = inner.aminmax()
    spread = factor * float(high - low)
    for scale in (factor, -factor):
        least, most = map(float, (made - scale * inner).aminmax())
        if spread > 1e-3 and most - least <= _TOLERANCE * spread:
            lowest, highest = sorted(scale * bound for bound in ending.bounds)
            slack = most - least + 1e-4
            return Ending(f"scaled {ending}", _snapped(least + lowest, slack), _snapped(most + highest, slack))
    return None


def _snapped(bound: float, slack: float) -> float:
    """Return the nearest whole number if it is within the rounding errors, and otherwise the bound."""
    return float(round(bound)) if abs(bound - round(bound)) <= slack else bound
