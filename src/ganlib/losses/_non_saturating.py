"""The loss that the GANs in use train with."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.losses._logits import sum_over_scales
from ganlib.losses._minimax import MinimaxLoss
from ganlib.losses._smoothing import LabelSmoothing
from ganlib.protocols import Logits

__all__ = ["NonSaturatingLoss"]


class NonSaturatingLoss(nn.Module):
    r"""The non-saturating loss: the generator maximises the chance of its fakes being taken for real.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))` and :math:`\sigma` the sigmoid,

    .. math::
        L_D = -\operatorname{mean} \log \sigma(r) - \operatorname{mean} \log(1 - \sigma(f)), \qquad
        L_G = -\operatorname{mean} \log \sigma(f).

    The discriminator's loss is :class:`MinimaxLoss`'s. The generator's gradient tends to 1 per logit, not to 0, as
    :math:`f \to -\infty`.

    Args:
        smoothing: targets of the discriminator's cross-entropy; None means 1 for real and 0 for fake.

    Raises:
        ArgumentTypeError: the smoothing is none.

    Example:
        >>> import torch
        >>> loss = NonSaturatingLoss(smoothing=LabelSmoothing(real=0.9))
        >>> loss.generator(torch.tensor([[-30.0]]))  # smoothing does not reach the generator
        tensor(30.)

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, section 3, last paragraph.
    """

    def __init__(self, smoothing: LabelSmoothing | None = None) -> None:
        super().__init__()
        self._minimax = MinimaxLoss(smoothing)

    @property
    def smoothing(self) -> LabelSmoothing | None:
        """The targets of the discriminator's cross-entropy."""
        return self._minimax.smoothing

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Binary cross-entropy of the real and the fake logits, each a mean, summed.

        Args:
            real_logits: float, of any shape whose first dimension is the batch, or a tuple of several scales.
            fake_logits: likewise; the shapes may differ.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return self._minimax.discriminator(real_logits, fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Binary cross-entropy of the fake logits with the target of real ones.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(lambda fake: F.softplus(-fake).mean(), fake_logits=fake_logits)

    def __repr__(self) -> str:
        return f"NonSaturatingLoss({self._minimax.extra_repr()})"
