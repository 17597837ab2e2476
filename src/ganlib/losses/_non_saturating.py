"""The non-saturating loss."""

import torch.nn.functional as F
from torch import Tensor

from ganlib._logits import sum_over_scales
from ganlib.losses._minimax import MinimaxLoss
from ganlib.protocols import Logits

__all__ = ["NonSaturatingLoss"]


class NonSaturatingLoss(MinimaxLoss):
    r"""The non-saturating loss: the generator maximizes the probability that its fakes are classified as real.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))` and :math:`\sigma` the sigmoid,

    .. math::
        L_D = -\operatorname{mean} \log \sigma(r) - \operatorname{mean} \log(1 - \sigma(f)), \qquad
        L_G = -\operatorname{mean} \log \sigma(f).

    The discriminator's loss is :class:`MinimaxLoss`'s. The generator's gradient tends to 1 per logit, not to 0, as
    :math:`f \to -\infty`.

    Args:
        smoothing: targets of the discriminator's cross-entropy; None means 1 for real and 0 for fake.

    Raises:
        ArgumentTypeError: the smoothing is not a LabelSmoothing.

    Example:
        >>> import torch
        >>> from ganlib.losses import LabelSmoothing
        >>> loss = NonSaturatingLoss(smoothing=LabelSmoothing(real=0.9))
        >>> loss.generator(torch.tensor([[-30.0]]))  # smoothing does not reach the generator
        tensor(30.)

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, section 3, last paragraph.
    """

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the mean binary cross-entropy of fake logits with the target of real ones.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(lambda fake: F.softplus(-fake).mean(), fake_logits=fake_logits)
