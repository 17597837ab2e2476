"""What a condition must look like, said with the values that were given."""

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError

__all__ = ["check_classes", "check_encoder", "check_floats", "check_sizes", "require_condition"]


def require_condition(condition: Tensor | None, encoder: object) -> Tensor:
    """The condition, which must be there.

    Args:
        condition: a tensor, or None.
        encoder: what would encode it, for the error.

    Returns:
        The condition.

    Raises:
        ArgumentValueError: it is None.
        ArgumentTypeError: it is no tensor.
    """
    if condition is None:
        raise ArgumentValueError(f"condition (=None) is missing: this network is conditional, through {encoder}")
    if not isinstance(condition, Tensor):
        raise ArgumentTypeError(f"condition (={condition!r}) must be a tensor")
    return condition


def check_encoder(encoder: object) -> None:
    """Refuse what cannot encode a condition.

    Args:
        encoder: must be callable, and say how many ``features`` it gives.

    Raises:
        ArgumentTypeError: it is something else, such as a class, or a module without features.
    """
    if isinstance(encoder, type) or not callable(encoder) or not isinstance(getattr(encoder, "features", None), int):
        raise ArgumentTypeError(
            f"encoder (={encoder!r}) must be an encoder of conditions: called with a condition, and with the attribute "
            "features, a whole number (OneHot(10), say)"
        )


def check_classes(condition: Tensor, num_classes: int) -> None:
    """Refuse what are not class indices.

    Values are read where that costs nothing, on the host; a device's are left alone.

    Args:
        condition: must be (N,) int64 in [0, num_classes).
        num_classes: how many classes there are.

    Raises:
        DTypeError: another dtype.
        ShapeError: another shape.
        ArgumentValueError: an index out of range.
    """
    if condition.dtype != torch.int64:
        raise DTypeError(f"condition must be class indices of dtype torch.int64, but its dtype is {condition.dtype}")
    if condition.ndim != 1:
        raise ShapeError(f"condition {tuple(condition.shape)} must be class indices of shape (N,)")
    if condition.device.type == "cpu" and len(condition) and not torch.compiler.is_compiling():
        low, high = (int(value) for value in condition.aminmax())
        if low < 0 or high >= num_classes:
            raise ArgumentValueError(
                f"condition holds the class {low if low < 0 else high}, which is not in [0, num_classes) "
                f"with num_classes (={num_classes})"
            )


def check_floats(condition: Tensor, features: int, *, maps: bool, what: str) -> None:
    """Refuse what are not vectors, or maps, with as many features.

    Args:
        condition: must be float, (N, features) or, for maps, (N, features, *spatial); finite where it is on the host.
        features: its second dimension.
        maps: whether spatial dimensions follow.
        what: what the encoder calls a condition, for the error.

    Raises:
        DTypeError: not floating point.
        ShapeError: another shape.
        ArgumentValueError: a NaN or an infinity.
    """
    if not condition.is_floating_point():
        raise DTypeError(f"condition must be {what} of a floating-point dtype, but its dtype is {condition.dtype}")
    if (condition.ndim < 3 if maps else condition.ndim != 2) or condition.shape[1] != features:
        shape = f"(N, {features}, *spatial)" if maps else f"(N, {features})"
        raise ShapeError(f"condition {tuple(condition.shape)} must be {what} of shape {shape}")
    if condition.device.type == "cpu" and not torch.compiler.is_compiling() and not condition.isfinite().all():
        raise ArgumentValueError(f"condition holds {what} that are not finite")


def check_sizes(**sizes: int) -> None:
    """Refuse sizes that are no whole numbers of at least 1.

    Args:
        sizes: by the names of the arguments.

    Raises:
        ArgumentValueError: naming the first that is wrong.
    """
    for name, size in sizes.items():
        if not (isinstance(size, int) and size >= 1):
            raise ArgumentValueError(f"{name} (={size!r}) must be a whole number of at least 1")
