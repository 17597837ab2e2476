"""DRAGAN's penalty."""

import torch
from torch import Tensor

from ganlib._logits import at_least_float32
from ganlib._weights import check_weight, weighted
from ganlib.distributed import mean_over_ranks, world_size
from ganlib.penalties._penalty import LazyPenalty, check_samples, gradient_norms
from ganlib.protocols import Condition, Discriminator

__all__ = ["DRAGAN"]


class DRAGAN(LazyPenalty):
    r"""DRAGAN's one-centred gradient penalty, near real samples.

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (\lVert \nabla D(x_i + \delta_i) \rVert - 1)^2, \qquad
        \delta_i \sim N(0, (\text{noise} \cdot s)^2 I), \quad s \text{ the standard deviation of all numbers in } x

    A discriminator with batch norm mixes the samples of a batch, and this is then not a penalty on the gradient of
    each: that is warned of.

    Over several processes :math:`s` is that of the whole batch, so that all processes must call it together; each
    process draws the noise of its own samples.

    Args:
        weight: 0 or more; :math:`\lambda` in the paper, there 10. A 0-dim tensor where it changes during training (see
            :class:`ganlib.training.Schedule`).
        noise: its standard deviation, in standard deviations of the samples; 0 or more, or such a tensor.
        every: the trainer applies it at iterations divisible by this number, multiplied by this number.

    Raises:
        ArgumentValueError: a negative weight or noise, or an interval below 1.

    Example:
        >>> x = torch.randn(16, 5)
        >>> DRAGAN(10.0)(lambda x: 3 * x[:, :1], x, x).item()  # 10 * (3 - 1)^2
        40.0

    References:
        Kodali et al., "On Convergence and Stability of GANs", 2017, arXiv:1705.07215, section 2.3. Its noise is normal,
        as here; the scale, 0.5 of the samples' deviation, is that of the authors' code, whose noise is uniform.
    """

    def __init__(self, weight: float | Tensor = 10.0, *, noise: float | Tensor = 0.5, every: int = 1) -> None:
        super().__init__(weight, every=every)
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
            discriminator: called with (samples), or (samples, condition) where there is one.
            real: (N, ...) float.
            fake: not used.
            condition: the conditions of the real samples, or None.
            fake_condition: not used.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator.

        Raises:
            ArgumentValueError: logits that do not depend on the samples.
        """
        check_samples(discriminator, real=real)
        real = at_least_float32(real.detach())  # noise in half precision would be other noise
        near = real + weighted(self.noise, _deviation(real)) * torch.randn_like(real)
        return weighted(self.weight, (gradient_norms(discriminator, near, condition, self) - 1).square().mean())


def _deviation(x: Tensor) -> Tensor:
    if world_size() == 1:
        return x.std(correction=0)
    # The mean first: a mean of squares minus the square of a mean would lose the digits of samples far from 0.
    mean = mean_over_ranks(x.mean())
    return mean_over_ranks((x - mean).square().mean()).sqrt()
