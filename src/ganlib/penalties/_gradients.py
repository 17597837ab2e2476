"""What gradient penalties share: the discriminator's gradient at each sample, and their common arguments."""

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Discriminator, DiscriminatorOutput, Logits

__all__ = ["check_weight_and_every", "squared_gradient_norms"]


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

    Example:
        >>> squared_gradient_norms(lambda x: 3 * x[:, :1], torch.zeros(2, 5), None).tolist()
        [9.0, 9.0]
    """
    samples = samples.detach().to(torch.promote_types(samples.dtype, torch.float32)).requires_grad_()
    with torch.enable_grad(), torch.autocast(samples.device.type, enabled=False):
        output = discriminator(samples) if condition is None else discriminator(samples, condition)
        (gradient,) = torch.autograd.grad(_total(output), samples, create_graph=True)
        return gradient.flatten(1).square().sum(1)


def check_weight_and_every(weight: float, every: int) -> None:
    """Refuse a weight or an interval that makes no penalty.

    Args:
        weight: must be finite and at least 0.
        every: must be a whole number of at least 1.

    Raises:
        ArgumentValueError: naming the one that is wrong.

    Example:
        >>> check_weight_and_every(10.0, 16)
    """
    if not 0 <= weight < float("inf"):
        raise ArgumentValueError(f"weight (={weight}) must be finite and at least 0")
    if not (isinstance(every, int) and every >= 1):
        raise ArgumentValueError(f"every (={every}) must be a whole number of at least 1")


def _total(output: Logits | DiscriminatorOutput) -> Tensor:
    logits = output.logits if isinstance(output, DiscriminatorOutput) else output
    scales = logits if isinstance(logits, tuple) else (logits,)
    return torch.stack([scale.sum() for scale in scales]).sum()
