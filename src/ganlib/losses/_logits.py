"""What every loss does with its logits: check them, widen them, and sum over their scales."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import DiscriminatorOutput, Logits

__all__ = ["check_pairs", "sum_over_scales"]


def sum_over_scales(formula: Callable[..., Tensor], **logits: Logits | None) -> Tensor:
    """A formula of logits; of several scales, the sum of what it gives for each.

    Args:
        formula: from one tensor of logits for each keyword, in their order, to a scalar. It is given float32 or
            better, so that a loss under bf16 autocast is as exact as without.
        logits: by the names that errors call them by: float tensors of any shape, or tuples of as many (multi-scale).

    Returns:
        A scalar, float32 or better.

    Raises:
        ArgumentTypeError: something that is neither a tensor nor a tuple of tensors.
        ArgumentValueError: logits that are missing, or of different numbers of scales.
        DTypeError: logits that are not floating point.

    Example:
        >>> half = torch.ones(2, dtype=torch.bfloat16)
        >>> sum_over_scales(torch.mean, fake_logits=(half, 2 * half))
        tensor(3.)
    """
    scales = {name: _scales(value, name) for name, value in logits.items()}
    counts = {name: len(parts) for name, parts in scales.items()}
    if len({*counts.values()}) > 1:
        raise ArgumentValueError(
            "logits must have the same number of scales, but "
            + " and ".join(f"{name} has {count}" for name, count in counts.items())
        )
    values = [formula(*parts) for parts in zip(*scales.values(), strict=True)]
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def check_pairs(real: Tensor, fake: Tensor) -> None:
    """Refuse logits that cannot be compared with each other.

    Args:
        real: logits of real samples.
        fake: logits of fake samples; must have the same shape.

    Raises:
        ShapeError: the shapes differ.

    Example:
        >>> check_pairs(torch.zeros(4, 1), torch.zeros(4, 1))
    """
    if real.shape != fake.shape:
        raise ShapeError(
            f"real_logits {tuple(real.shape)} and fake_logits {tuple(fake.shape)} must have one shape: this loss "
            "compares them with each other"
        )


def _scales(logits: Logits | None, name: str) -> list[Tensor]:
    if logits is None:
        raise ArgumentValueError(
            f"{name} (=None) is missing; a loss with needs_real_logits = True needs the real ones in both updates"
        )
    if isinstance(logits, DiscriminatorOutput):
        raise ArgumentTypeError(f"{name} is a DiscriminatorOutput; give its logits")
    parts = logits if isinstance(logits, tuple | list) else (logits,)
    for part in parts:
        if not isinstance(part, Tensor):
            raise ArgumentTypeError(f"{name} must be a tensor or a tuple of tensors, but holds {type(part).__name__}")
        if not part.is_floating_point():
            raise DTypeError(f"{name} must be floating point, but its dtype is {part.dtype}")
    if not parts:
        raise ArgumentValueError(f"{name} (=()) holds no logits")
    return [part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts]
