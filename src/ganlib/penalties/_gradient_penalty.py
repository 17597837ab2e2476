"""WGAN-GP gradient penalty."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganlib._weights import weighted
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.penalties._penalty import DerivativePenalty, check_samples, gradient_norms
from ganlib.protocols import Condition, Discriminator

__all__ = ["GradientPenalty"]


class GradientPenalty(DerivativePenalty):
    r"""Penalize gradient norms other than 1 between real and fake samples (WGAN-GP).

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (\lVert \nabla D(\hat x_i) \rVert - 1)^2, \qquad
        \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) G(z_i), \quad \epsilon_i \sim U(0, 1) \text{ per sample}

    Do not use batch norm in the discriminator. Batch norm mixes the samples of a batch, so the penalty would not act on
    the gradient of each sample. A warning is issued in this case. The paper recommends layer norm instead (section 4,
    "No critic batch normalization").

    Over several processes, each process draws the :math:`\epsilon_i` of its own samples.

    Args:
        weight: 0 or more; :math:`\lambda` in the paper, where it is 10. Pass a 0-dim tensor if the weight changes
            during training (see :class:`ganlib.training.Schedule`).
        every: k; the trainer applies the penalty in every k-th iteration, multiplied by k.
        precision: ``"fp32"`` or ``"autocast"``; see :class:`R1`.

    Raises:
        ArgumentValueError: the weight is negative, ``every`` is below 1, or ``precision`` is not an option.

    Example:
        >>> x = torch.randn(16, 5)
        >>> GradientPenalty(10.0)(lambda x: x[:, :1], x, -x).item()  # all gradients have norm 1
        0.0

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, arXiv:1704.00028, equation 3 and Algorithm 1.
    """

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Compute the penalty between real and fake samples.

        Args:
            discriminator: called with (samples), or with (samples, condition) if there is a condition.
            real: (N, ...) float.
            fake: (N, ...) float, of the same shape; no gradient flows into it.
            condition: the conditions of both sides, or None.
            fake_condition: None, or equal to ``condition``, because a mixed sample has only one condition.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.

        Raises:
            ShapeError: ``real`` and ``fake`` differ in shape.
            ArgumentValueError: the two sides have different conditions, or the logits do not depend on the samples.
        """
        check_samples(discriminator, real=real, fake=fake)
        if real.shape != fake.shape:
            raise ShapeError(f"real {tuple(real.shape)} and fake {tuple(fake.shape)} must have one shape to be mixed")
        if fake_condition is not None and not _equal(condition, fake_condition):
            raise ArgumentValueError(
                "fake_condition must equal condition: GradientPenalty mixes real and fake samples, and a mixed sample "
                "has only one condition (R1 and R2 accept different ones)"
            )
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        mixed = share * real.detach() + (1 - share) * fake.detach()
        norms = gradient_norms(discriminator, mixed, condition, self.precision, self)
        return weighted(self.weight, (norms - 1).square().mean())


def _equal(one: Any, other: Any) -> bool:
    """Return whether two conditions have equal tensors in the same structure of dicts and tuples."""
    if one is other:  # comparing values would wait for the device
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return False
