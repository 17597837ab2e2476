"""DRAGAN gradient penalty."""

import torch
from torch import Tensor

from ganlib._logits import at_least_float32
from ganlib._weights import check_weight, weighted
from ganlib.distributed import mean_over_ranks, world_size
from ganlib.penalties._penalty import DerivativePenalty, DerivativePrecision, check_samples, gradient_norms
from ganlib.protocols import Condition, Discriminator

__all__ = ["DRAGAN"]


class DRAGAN(DerivativePenalty):
    r"""Penalize gradient norms other than 1 near real samples (DRAGAN).

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (\lVert \nabla D(x_i + \delta_i) \rVert - 1)^2, \qquad
        \delta_i \sim N(0, (\text{noise} \cdot s)^2 I), \quad s \text{ the standard deviation of all numbers in } x

    Do not use batch norm in the discriminator. Batch norm mixes the samples of a batch, so the penalty would not act on
    the gradient of each sample. A warning is issued in this case.

    Over several processes :math:`s` is computed over the whole batch, so all processes must call the penalty together.
    Each process draws the noise of its own samples.

    Args:
        weight: 0 or more; :math:`\lambda` in the paper, where it is 10. Pass a 0-dim tensor if the weight changes
            during training (see :class:`ganlib.training.Schedule`).
        noise: standard deviation of the noise relative to that of the samples; 0 or more, or a 0-dim tensor.
        every: k; the trainer applies the penalty in every k-th iteration, multiplied by k.
        precision: ``"fp32"`` or ``"autocast"``; see :class:`R1`.

    Raises:
        ArgumentValueError: a number is out of range, or ``precision`` is not an option.

    Example:
        >>> x = torch.randn(16, 5)
        >>> DRAGAN(10.0)(lambda x: 3 * x[:, :1], x, x).item()  # 10 * (3 - 1)^2
        40.0

    References:
        Kodali et al., "On Convergence and Stability of GANs", 2017, arXiv:1705.07215, section 2. The normal noise
        follows the paper. Its scale of 0.5 follows the authors' code, where the noise is uniform.
    """

    def __init__(
        self,
        weight: float | Tensor = 10.0,
        *,
        noise: float | Tensor = 0.5,
        every: int = 1,
        precision: DerivativePrecision = "fp32",
    ) -> None:
        super().__init__(weight, every=every, precision=precision)
        check_weight("noise", noise)
        self.noise = noise

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Compute the penalty near real samples.

        Args:
            discriminator: called with (samples), or with (samples, condition) if there is a condition.
            real: (N, ...) float.
            fake: not used.
            condition: the conditions of the real samples, or None.
            fake_condition: not used.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.

        Raises:
            ArgumentValueError: the logits do not depend on the samples.
        """
        check_samples(discriminator, real=real)
        real = at_least_float32(real.detach())  # the same seed would draw other noise in half precision
        near = real + weighted(self.noise, _deviation(real)) * torch.randn_like(real)
        norms = gradient_norms(discriminator, near, condition, self.precision, self)
        return weighted(self.weight, (norms - 1).square().mean())


def _deviation(x: Tensor) -> Tensor:
    if world_size() == 1:
        return x.std(correction=0)
    # Subtract the mean first: a mean of squares minus a squared mean loses digits if the samples are far from 0.
    mean = mean_over_ranks(x.mean())
    return mean_over_ranks((x - mean).square().mean()).sqrt()
