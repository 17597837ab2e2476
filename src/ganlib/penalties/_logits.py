"""What penalties of the logits share: the discriminator's logits, in float32 or better, scale by scale."""

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Discriminator, DiscriminatorOutput, Logits

__all__ = ["at_least_float32", "judge", "scales"]


def at_least_float32(x: Tensor) -> Tensor:
    """A tensor in float32 or better, so that a penalty is as exact with half-precision samples as with others.

    Args:
        x: float tensor of any shape.

    Returns:
        The same; a half-precision one widened.

    Example:
        >>> at_least_float32(torch.zeros(2, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def judge(discriminator: Discriminator, samples: Tensor, condition: Tensor | None) -> Logits | DiscriminatorOutput:
    """What the discriminator says of samples, in float32 or better also under autocast.

    Args:
        discriminator: called with (samples), or (samples, condition) where there is one.
        samples: (N, ...) float.
        condition: (N, ...) or None.

    Returns:
        What it gives.

    Example:
        >>> judge(lambda x: x[:, :1], torch.ones(1, 2, dtype=torch.bfloat16), None)
        tensor([[1.]])
    """
    samples = at_least_float32(samples)
    with torch.autocast(samples.device.type, enabled=False):
        return discriminator(samples) if condition is None else discriminator(samples, condition)


def scales(output: Logits | DiscriminatorOutput) -> tuple[Tensor, ...]:
    """The logits of a discriminator's answer, one tensor a scale.

    Args:
        output: logits, several of them, or a DiscriminatorOutput.

    Returns:
        At least one tensor, float32 or better.

    Raises:
        ArgumentTypeError: it is something else.

    Example:
        >>> [scale.dtype for scale in scales((torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2)))]
        [torch.float32, torch.float32]
    """
    logits = output.logits if isinstance(output, DiscriminatorOutput) else output
    parts = logits if isinstance(logits, tuple | list) else (logits,)
    for part in parts:
        if not isinstance(part, Tensor):
            raise ArgumentTypeError(f"logits must be a tensor or a tuple of tensors, but hold {type(part).__name__}")
    return tuple(at_least_float32(part) for part in parts)
