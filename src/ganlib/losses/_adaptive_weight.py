"""Adaptive weight of VQGAN."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ganlib._logits import at_least_float32
from ganlib._shown import shown
from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["adaptive_weight"]


def adaptive_weight(
    reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor, *, epsilon: float = 1e-4, maximum: float = 1e4
) -> Tensor:
    r"""Compute a weight that balances an adversarial loss with a reconstruction loss.

    The weighted adversarial loss has the same gradient norm at the last layer as the reconstruction loss. With
    :math:`L` the weight of the last layer of the generator (or decoder),

    .. math:: \lambda = \min\left(\frac{\lVert \nabla_L \mathcal{L}_\text{rec} \rVert}
        {\lVert \nabla_L \mathcal{L}_\text{adv} \rVert + \epsilon}, \text{maximum}\right).

    The function keeps both graphs, so you can call ``(reconstruction + weight * adversarial).backward()`` afterwards.
    In multi-GPU training, all processes must call it together. All processes get the same weight, from the gradients of
    the whole batch.

    Args:
        reconstruction: the reconstruction loss, a scalar that depends on ``last_layer``.
        adversarial: the adversarial loss of the generator, a scalar that depends on ``last_layer``.
        last_layer: the weight of the last layer; it requires a gradient.
        epsilon: above 0.
        maximum: the largest weight, above 0.

    Returns:
        A detached scalar, float32 or float64, in [0, maximum].

    Raises:
        ArgumentTypeError: a loss or ``last_layer`` is not a tensor.
        ArgumentValueError: a loss is not a scalar or does not depend on ``last_layer``, or a number is out of range.

    Example:
        >>> layer = torch.tensor([1.0, 1.0], requires_grad=True)
        >>> weight = adaptive_weight(3 * layer.sum(), 0.5 * layer.sum(), layer)
        >>> round(weight.item(), 2)
        6.0

    References:
        Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (VQGAN), 2021, arXiv:2012.09841,
        equation 7.
    """
    numbers: dict[str, Any] = {"epsilon": epsilon, "maximum": maximum}
    for name, number in numbers.items():
        if isinstance(number, bool) or not (isinstance(number, Real) and float(number) > 0):
            raise ArgumentValueError(f"{name} (={shown(number)}) must be above 0")
    wanted = _gradient_norm(reconstruction, "reconstruction", last_layer)
    return (wanted / (_gradient_norm(adversarial, "adversarial", last_layer) + epsilon)).clamp(max=maximum)


def _gradient_norm(loss: Any, name: str, last_layer: Any) -> Tensor:
    for label, value in ((name, loss), ("last_layer", last_layer)):
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(f"{label} (={shown(value)}) must be a tensor; for a layer, pass its weight")
    if loss.ndim != 0:
        raise ArgumentValueError(f"{name} {tuple(loss.shape)} must be a scalar")
    if not last_layer.requires_grad:
        raise ArgumentValueError("last_layer must require a gradient")
    gradient = None
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, last_layer, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ArgumentValueError(f"{name} does not depend on last_layer, so it has no gradient there")
    return mean_over_ranks(at_least_float32(gradient.detach())).norm()  # its squares would overflow in float16
