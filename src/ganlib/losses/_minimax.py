"""The loss of the original GAN."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.losses._logits import at_least_float32
from ganlib.losses._smoothing import LabelSmoothing

__all__ = ["MinimaxLoss"]


class MinimaxLoss(nn.Module):
    r"""The minimax loss of Goodfellow et al. (2014), whose generator saturates where it loses.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))` and :math:`\sigma` the sigmoid,

    .. math::
        L_D = -\operatorname{mean} \log \sigma(r) - \operatorname{mean} \log(1 - \sigma(f)), \qquad
        L_G = \operatorname{mean} \log(1 - \sigma(f)).

    Its generator's gradient vanishes as :math:`f \to -\infty`; :class:`NonSaturatingLoss` has the same fixed point
    without that.

    Args:
        smoothing: targets of the discriminator's cross-entropy; None means 1 for real and 0 for fake.

    Example:
        >>> import torch
        >>> loss = MinimaxLoss()
        >>> loss.discriminator(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2: it cannot tell them apart
        tensor(1.3863)
        >>> loss.generator(torch.zeros(4, 1))
        tensor(-0.6931)

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, equation 1 and Algorithm 1.
    """

    def __init__(self, smoothing: LabelSmoothing | None = None) -> None:
        super().__init__()
        self.smoothing = smoothing

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Binary cross-entropy of the real and the fake logits, each a mean, summed.

        Args:
            real_logits: float, of any shape whose first dimension is the batch.
            fake_logits: likewise; the shapes may differ.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        real, fake = at_least_float32(real_logits, "real_logits"), at_least_float32(fake_logits, "fake_logits")
        if self.smoothing is None:
            return F.softplus(-real).mean() + F.softplus(fake).mean()
        return F.binary_cross_entropy_with_logits(
            real, self.smoothing.real_targets(real)
        ) + F.binary_cross_entropy_with_logits(fake, self.smoothing.fake_targets(fake))

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The mean log-probability that the discriminator gives to a fake being fake.

        Args:
            fake_logits: float, of any shape.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return -F.softplus(at_least_float32(fake_logits, "fake_logits")).mean()

    def extra_repr(self) -> str:
        """What ``repr`` shows: the smoothing, where there is one."""
        return "" if self.smoothing is None else f"smoothing={self.smoothing}"
