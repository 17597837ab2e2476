"""The weight of an adversarial loss beside others: balanced by gradients, and absent at first."""

from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["adaptive_weight", "delayed_weight"]


def adaptive_weight(
    reconstruction_loss: Tensor,
    adversarial_loss: Tensor,
    last_layer: Tensor,
    *,
    epsilon: float = 1e-4,
    maximum: float = 1e4,
) -> Tensor:
    r"""VQGAN's adaptive weight: makes the adversarial gradient as large as the reconstruction's, at a last layer.

    With :math:`L` the weight of the decoder's last layer,

    .. math:: \lambda = \min\left(\frac{\lVert \nabla_L \mathcal{L}_\text{rec} \rVert}
        {\lVert \nabla_L \mathcal{L}_\text{adv} \rVert + \epsilon}, \text{maximum}\right).

    Both graphs stay, so that ``(reconstruction_loss + lambda * adversarial_loss).backward()`` can follow. Over several
    processes the gradients are those of the whole batch, so that all processes have one weight, and must call it
    together.

    Args:
        reconstruction_loss: a scalar that depends on last_layer.
        adversarial_loss: the generator's; a scalar that depends on last_layer.
        last_layer: the weight of the last layer of the decoder, or generator; it requires a gradient.
        epsilon: above 0.
        maximum: the largest weight, above 0.

    Returns:
        A detached scalar, in [0, maximum].

    Raises:
        ArgumentTypeError: a loss or the last layer is no tensor.
        ArgumentValueError: a loss is no scalar or does not depend on last_layer, or a number is out of its range.

    Example:
        >>> layer = torch.tensor([1.0, 1.0], requires_grad=True)
        >>> weight = adaptive_weight(3 * layer.sum(), 0.5 * layer.sum(), layer)
        >>> round(weight.item(), 2)
        6.0

    References:
        Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (VQGAN), 2021, equation 7.
    """
    for name, number in (("epsilon", epsilon), ("maximum", maximum)):
        if not number > 0:
            raise ArgumentValueError(f"{name} (={number}) must be above 0")
    reconstruction = _gradient_norm(reconstruction_loss, "reconstruction_loss", last_layer)
    adversarial = _gradient_norm(adversarial_loss, "adversarial_loss", last_layer)
    return (reconstruction / (adversarial + epsilon)).clamp(max=maximum)


def delayed_weight(iteration: int, *, start: int, weight: float = 1.0) -> float:
    """A weight that is 0 until an iteration: an adversarial loss that begins once the reconstruction is there.

    Args:
        iteration: the present one, counted from 0.
        start: the first one with the weight, at least 0.
        weight: the weight from then on, at least 0.

    Returns:
        0.0 or the weight.

    Raises:
        ArgumentValueError: ``start`` or the weight is below 0.

    Example:
        >>> [delayed_weight(iteration, start=1000, weight=0.8) for iteration in (0, 999, 1000)]
        [0.0, 0.0, 0.8]

    References:
        Esser et al., "Taming Transformers for High-Resolution Image Synthesis" (VQGAN), 2021: its discriminator starts
        after a warm-up.
    """
    given: dict[str, Any] = {"start": start, "weight": weight}
    for name, number in given.items():
        if not (isinstance(number, Real) and float(number) >= 0):
            raise ArgumentValueError(f"{name} (={number!r}) must be a number of at least 0")
    return weight if iteration >= start else 0.0


def _gradient_norm(loss: Any, name: str, last_layer: Any) -> Tensor:
    for label, value in ((name, loss), ("last_layer", last_layer)):
        if not isinstance(value, Tensor):
            raise ArgumentTypeError(f"{label} (={value!r}) must be a tensor; of a layer, its weight")
    if loss.ndim != 0:
        raise ArgumentValueError(f"{name} {tuple(loss.shape)} must be a scalar")
    if not last_layer.requires_grad:
        raise ArgumentValueError("last_layer must require a gradient")
    gradient = None
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, last_layer, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ArgumentValueError(f"{name} does not depend on last_layer, so it has no gradient there")
    return mean_over_ranks(gradient.detach()).norm()
