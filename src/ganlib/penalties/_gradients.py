"""What gradient penalties share: the discriminator's gradient at each sample, and their common arguments."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.penalties._logits import at_least_float32, judge, scales
from ganlib.protocols import Discriminator

__all__ = ["check_number", "check_weight_and_every", "gradient_norms", "squared_gradient_norms"]


def squared_gradient_norms(discriminator: Discriminator, samples: Tensor, condition: Tensor | None) -> Tensor:
    r"""The squared norm of the discriminator's gradient at each sample, with a graph for a second derivative.

    :math:`\lVert \nabla_x \sum_j D(x)_j \rVert^2`: of a sample's several logits (patches, scales) the sum. In float32
    or better also under autocast.

    Args:
        discriminator: called with (samples), or (samples, condition) where there is one.
        samples: (N, ...) float.
        condition: (N, ...) or None.

    Returns:
        (N,) float.

    Raises:
        ArgumentValueError: the logits do not depend on the samples.

    Example:
        >>> squared_gradient_norms(lambda x: 3 * x[:, :1], torch.zeros(2, 5), None).tolist()
        [9.0, 9.0]
    """
    samples = at_least_float32(samples.detach()).requires_grad_()
    # The derivatives are to be float32 too, so autocast stays off beyond the discriminator's own pass.
    with torch.enable_grad(), torch.autocast(samples.device.type, enabled=False):
        total = torch.stack([scale.sum() for scale in scales(judge(discriminator, samples, condition))]).sum()
        gradient = None
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(total, samples, create_graph=True, allow_unused=True)
        if gradient is None:
            raise ArgumentValueError(
                "the discriminator gave logits that do not depend on its samples, so that they have no gradient to "
                "penalise"
            )
        return gradient.reshape(len(gradient), -1).square().sum(1)


def gradient_norms(discriminator: Discriminator, samples: Tensor, condition: Tensor | None) -> Tensor:
    """The norm of the discriminator's gradient at each sample, with a slope that is finite also where it is 0.

    Args:
        discriminator: called with (samples), or (samples, condition) where there is one.
        samples: (N, ...) float.
        condition: (N, ...) or None.

    Returns:
        (N,) float.

    Raises:
        ArgumentValueError: the logits do not depend on the samples.

    Example:
        >>> gradient_norms(lambda x: 3 * x[:, :1], torch.zeros(2, 5), None).tolist()
        [3.0, 3.0]
    """
    # The square root has an infinite slope at 0, where a dead critic would turn its own gradient into NaN.
    return squared_gradient_norms(discriminator, samples, condition).clamp_min(1e-24).sqrt()


def check_number(name: str, value: Any) -> None:
    """Refuse what is no finite number of at least 0.

    Args:
        name: what the caller calls it, for the error.
        value: must be finite and at least 0.

    Raises:
        ArgumentValueError: it is something else.

    Example:
        >>> check_number("noise", 0.5)
    """
    if not (isinstance(value, Real) and 0 <= float(value) < float("inf")):
        raise ArgumentValueError(f"{name} (={value!r}) must be a finite number of at least 0")


def check_weight_and_every(weight: Any, every: Any) -> None:
    """Refuse a weight or an interval that makes no penalty.

    Args:
        weight: must be finite and at least 0.
        every: must be a whole number of at least 1.

    Raises:
        ArgumentValueError: naming the one that is wrong.

    Example:
        >>> check_weight_and_every(10.0, 16)
    """
    check_number("weight", weight)
    if not (isinstance(every, int) and every >= 1):
        raise ArgumentValueError(f"every (={every!r}) must be a whole number of at least 1")
