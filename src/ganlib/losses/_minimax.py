"""The two losses of the original GAN."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.losses._smoothing import LabelSmoothing, check_smoothing
from ganlib.protocols import Logits

__all__ = ["MinimaxLoss", "NonSaturatingLoss"]


class _CrossEntropyLoss(nn.Module):
    """The discriminator's side, which both losses share."""

    needs_unbounded_logits = True

    def __init__(self, smoothing: LabelSmoothing | None = None) -> None:
        super().__init__()
        check_smoothing(smoothing)
        self.smoothing = smoothing

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean binary cross-entropy, for real plus for fake.

        Args:
            real_logits: float, of any shape whose first dimension is the batch, or a tuple of several scales.
            fake_logits: the same; the shapes may differ.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(self._cross_entropies, self, real_logits=real_logits, fake_logits=fake_logits)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return "" if self.smoothing is None else f"smoothing={self.smoothing}"

    def _cross_entropies(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.smoothing is None:
            return F.softplus(-real).mean() + F.softplus(fake).mean()
        return F.binary_cross_entropy_with_logits(
            real, self.smoothing.real_targets(real)
        ) + F.binary_cross_entropy_with_logits(fake, self.smoothing.fake_targets(fake))


class MinimaxLoss(_CrossEntropyLoss):
    r"""The minimax loss of Goodfellow et al. (2014), whose generator has a vanishing gradient while it loses.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))` and :math:`\sigma` the sigmoid,

    .. math::
        L_D = -\operatorname{mean} \log \sigma(r) - \operatorname{mean} \log(1 - \sigma(f)), \qquad
        L_G = \operatorname{mean} \log(1 - \sigma(f)).

    Its generator's gradient vanishes as :math:`f \to -\infty`; :class:`NonSaturatingLoss` has the same fixed point
    without that. (TF-GAN's loss of this name is by default another one: it smooths the real targets to 0.875, which
    is ``LabelSmoothing(real=0.875)`` here, and adds the constant :math:`-\log(1 + 1/e)` to the generator's loss.)

    Args:
        smoothing: targets of the discriminator's cross-entropy; None means 1 for real and 0 for fake.

    Raises:
        ArgumentTypeError: the smoothing is not a LabelSmoothing.

    Example:
        >>> import torch
        >>> loss = MinimaxLoss()
        >>> loss.discriminator(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2: it cannot tell them apart
        tensor(1.3863)
        >>> loss.generator(torch.zeros(4, 1))
        tensor(-0.6931)

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, equation 1 and Algorithm 1.
    """

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the mean log-probability that the discriminator gives to fakes being fake.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(lambda fake: -F.softplus(fake).mean(), self, fake_logits=fake_logits)


class NonSaturatingLoss(_CrossEntropyLoss):
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
        return sum_over_scales(lambda fake: F.softplus(-fake).mean(), self, fake_logits=fake_logits)
