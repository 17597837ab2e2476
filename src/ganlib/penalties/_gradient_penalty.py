"""WGAN-GP's penalty."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganlib._weights import weighted
from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.penalties._penalty import LazyPenalty, check_samples, gradient_norms
from ganlib.protocols import Condition, Discriminator

__all__ = ["GradientPenalty"]


class GradientPenalty(LazyPenalty):
    r"""WGAN-GP's one-centred gradient penalty, between real and fake samples.

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (\lVert \nabla D(\hat x_i) \rVert - 1)^2, \qquad
        \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) G(z_i), \quad \epsilon_i \sim U(0, 1) \text{ per sample}

    A discriminator with batch norm mixes the samples of a batch, and this is then not a penalty on the gradient of
    each: that is warned of. The paper has layer norm instead (section 4, "No critic batch normalization").

    Over several processes, each process draws the :math:`\epsilon_i` of its own samples.

    Args:
        weight: 0 or more; :math:`\lambda` in the paper, there 10. A 0-dim tensor where it changes during training (see
            :class:`ganlib.training.Schedule`).
        every: the trainer applies it at iterations divisible by this number, multiplied by this number.

    Raises:
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> x = torch.randn(16, 5)
        >>> GradientPenalty(10.0)(lambda x: x[:, :1], x, -x).item()  # unit gradients: 0, for any batch size
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
            discriminator: called with (samples), or (samples, condition) where there is one.
            real: (N, ...) float.
            fake: (N, ...) float, of the same shape; no gradient flows back into it.
            condition: the conditions of both sides, or None.
            fake_condition: None, or equal to ``condition``: a mixed sample has only one condition.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator.

        Raises:
            ShapeError: real and fake differ in shape.
            ArgumentValueError: the two sides have different conditions, or the logits do not depend on the samples.
        """
        check_samples(discriminator, real=real, fake=fake)
        if real.shape != fake.shape:
            raise ShapeError(f"real {tuple(real.shape)} and fake {tuple(fake.shape)} must have one shape to be mixed")
        if fake_condition is not None and not _equal(condition, fake_condition):
            raise ArgumentValueError(
                "fake_condition must equal condition: GradientPenalty mixes real and fake samples, and a mixed sample "
                "has only one condition (R1 and R2 take different ones)"
            )
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        mixed = share * real.detach() + (1 - share) * fake.detach()
        return weighted(self.weight, (gradient_norms(discriminator, mixed, condition, self) - 1).square().mean())


def _equal(one: Any, other: Any) -> bool:
    """Return whether two conditions hold equal tensors in the same nest of dicts and tuples."""
    if one is other:  # first, as comparing values would wait for the device
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return False
