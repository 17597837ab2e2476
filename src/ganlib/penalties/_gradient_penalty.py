"""WGAN-GP's penalty."""

import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.penalties._gradients import check_weight_and_every, gradient_norms
from ganlib.protocols import Discriminator

__all__ = ["GradientPenalty"]


class GradientPenalty(nn.Module):
    r"""WGAN-GP's one-centred gradient penalty, between real and fake samples.

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (\lVert \nabla D(\hat x_i) \rVert - 1)^2, \qquad
        \hat x_i = \epsilon_i x_i + (1 - \epsilon_i) G(z_i), \quad \epsilon_i \sim U(0, 1) \text{ per sample}

    Over several processes each draws the :math:`\epsilon_i` of its own samples.

    Args:
        weight: 0 or more; :math:`\lambda` in the paper, there 10.
        every: the trainer applies it at iterations divisible by this, scaled by this.

    Raises:
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> x = torch.randn(16, 5)
        >>> GradientPenalty(10.0)(lambda x: x[:, :1], x, -x).item()  # unit gradients: 0, for any batch size
        0.0

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs", 2017, equation 3 and Algorithm 1.
    """

    def __init__(self, weight: float = 10.0, *, every: int = 1) -> None:
        super().__init__()
        check_weight_and_every(weight, every)
        self.weight = weight
        self.every = every

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None = None,
        fake_condition: Tensor | None = None,
    ) -> Tensor:
        """The penalty between the real and the fake samples.

        Args:
            discriminator: called with (samples), or (samples, condition) where there is one.
            real: (N, ...) float.
            fake: (N, ...) float, of the same shape; no gradient flows back into it.
            condition: the conditions of both sides, or None.
            fake_condition: None, or equal to ``condition``: a mixed sample has only one.

        Returns:
            A scalar, float32 or better, with a graph to the discriminator's parameters.

        Raises:
            ShapeError: real and fake differ in shape.
            ArgumentValueError: the two sides have different conditions.
        """
        if real.shape != fake.shape:
            raise ShapeError(f"real {tuple(real.shape)} and fake {tuple(fake.shape)} must have one shape to be mixed")
        # Identity first: comparing values would wait for the device.
        if (
            fake_condition is not None
            and fake_condition is not condition
            and (condition is None or not torch.equal(condition, fake_condition))
        ):
            raise ArgumentValueError(
                "fake_condition must equal condition: GradientPenalty mixes real and fake samples, and a mixed sample "
                "has only one condition (R1 and R2 take different ones)"
            )
        share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
        mixed = share * real.detach() + (1 - share) * fake.detach()
        return self.weight * (gradient_norms(discriminator, mixed, condition) - 1).square().mean()

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return f"weight={self.weight}, every={self.every}"
