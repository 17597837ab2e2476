"""Wasserstein loss."""

from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.protocols import Logits

__all__ = ["WassersteinLoss"]


class WassersteinLoss(nn.Module):
    r"""Compute the Wasserstein loss (WGAN).

    With the critic's scores :math:`r = D(x)` and :math:`f = D(G(z))`,

    .. math:: L_D = \operatorname{mean} f - \operatorname{mean} r, \qquad L_G = -\operatorname{mean} f.

    This loss requires a critic (discriminator) that is Lipschitz continuous, because nothing else bounds the scores.
    Use it with :class:`ganlib.penalties.GradientPenalty` or with spectral norm, and with several discriminator steps
    per iteration.

    Example:
        >>> import torch
        >>> loss = WassersteinLoss()
        >>> loss.discriminator(torch.full((4, 1), 3.0), torch.full((4, 1), 1.0))
        tensor(-2.)

    References:
        Arjovsky et al., "Wasserstein Generative Adversarial Networks", 2017, arXiv:1701.07875, equation 2 and
        Algorithm 1.
    """

    separates_at_zero = False  # only differences of scores matter

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean score of fakes minus the mean score of real samples.

        Args:
            real_logits: float, of any shape, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``; the shapes may differ.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(
            lambda real, fake: fake.mean() - real.mean(), self, real_logits=real_logits, fake_logits=fake_logits
        )

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the negative mean score of fakes.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: not used.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(lambda fake: -fake.mean(), self, fake_logits=fake_logits)
