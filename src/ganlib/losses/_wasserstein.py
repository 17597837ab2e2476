"""The Wasserstein loss."""

from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.protocols import Logits

__all__ = ["WassersteinLoss"]


class WassersteinLoss(nn.Module):
    r"""The Wasserstein loss of a critic, which must be kept Lipschitz.

    With the critic's values :math:`r = D(x)` and :math:`f = D(G(z))`,

    .. math:: L_D = \operatorname{mean} f - \operatorname{mean} r, \qquad L_G = -\operatorname{mean} f.

    Only the critic's slope bounds the values: use it with :class:`ganlib.penalties.GradientPenalty` or spectral norm,
    and with several discriminator steps per iteration.

    Example:
        >>> import torch
        >>> loss = WassersteinLoss()
        >>> loss.discriminator(torch.full((4, 1), 3.0), torch.full((4, 1), 1.0))
        tensor(-2.)

    References:
        Arjovsky et al., "Wasserstein Generative Adversarial Networks", 2017, arXiv:1701.07875, equation 2 and
        Algorithm 1.
    """

    def __init__(self) -> None:
        super().__init__()

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean fake value minus the mean real one.

        Args:
            real_logits: float, of any shape, or a tuple of several scales.
            fake_logits: the same; the shapes may differ.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(
            lambda real, fake: fake.mean() - real.mean(), self, real_logits=real_logits, fake_logits=fake_logits
        )

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute minus the mean fake value.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(lambda fake: -fake.mean(), self, fake_logits=fake_logits)
