"""Minimax and non-saturating loss of the original GAN."""

import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib.losses._smoothing import LabelSmoothing, check_smoothing
from ganlib.protocols import Logits

__all__ = ["MinimaxLoss", "NonSaturatingLoss"]


class _CrossEntropyLoss(nn.Module):
    """Compute the discriminator's loss, which both losses share."""

    needs_unbounded_logits = True

    def __init__(self, smoothing: LabelSmoothing | None = None) -> None:
        super().__init__()
        check_smoothing(smoothing)
        self.smoothing = smoothing

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the mean binary cross-entropy of real samples plus that of fakes.

        Args:
            real_logits: float, with the batch in the first dimension, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``; the shapes may differ.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
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
    r"""Compute the minimax loss of the original GAN.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))` and :math:`\sigma` the sigmoid,

    .. math::
        L_D = -\operatorname{mean} \log \sigma(r) - \operatorname{mean} \log(1 - \sigma(f)), \qquad
        L_G = \operatorname{mean} \log(1 - \sigma(f)).

    The generator's gradient vanishes as :math:`f \to -\infty`, that is, while the discriminator wins.
    :class:`NonSaturatingLoss` has the same fixed point without this problem.

    The minimax loss of TF-GAN (https://github.com/tensorflow/gan) differs by default. It smooths the real targets to
    0.875, as ``LabelSmoothing(real=0.875)`` does here, and adds the constant :math:`-\log(1 + 1/e)` to the generator's
    loss.

    Args:
        smoothing: targets of the discriminator's cross-entropy; None means 1 for real and 0 for fake samples.

    Raises:
        ArgumentTypeError: ``smoothing`` is not a LabelSmoothing.

    Example:
        >>> import torch
        >>> loss = MinimaxLoss()
        >>> loss.discriminator(torch.zeros(4, 1), torch.zeros(4, 1))  # 2 log 2: all samples have equal scores
        tensor(1.3863)
        >>> loss.generator(torch.zeros(4, 1))
        tensor(-0.6931)

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, equation 1 and Algorithm 1.
    """

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the mean log-probability of the fakes being fake, according to the discriminator.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: not used.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(lambda fake: -F.softplus(fake).mean(), self, fake_logits=fake_logits)


class NonSaturatingLoss(_CrossEntropyLoss):
    r"""Compute the non-saturating loss of the original GAN.

    The generator maximizes the log-probability that the discriminator classifies its samples as real. With logits
    :math:`r = D(x)`, :math:`f = D(G(z))` and :math:`\sigma` the sigmoid,

    .. math::
        L_D = -\operatorname{mean} \log \sigma(r) - \operatorname{mean} \log(1 - \sigma(f)), \qquad
        L_G = -\operatorname{mean} \log \sigma(f).

    The discriminator's loss is the same as in :class:`MinimaxLoss`. As :math:`f \to -\infty`, the generator's gradient
    per logit tends to -1 and does not vanish.

    Args:
        smoothing: targets of the discriminator's cross-entropy; None means 1 for real and 0 for fake samples.

    Raises:
        ArgumentTypeError: ``smoothing`` is not a LabelSmoothing.

    Example:
        >>> import torch
        >>> loss = NonSaturatingLoss(smoothing=LabelSmoothing(real=0.9))
        >>> loss.generator(torch.tensor([[-30.0]]))  # the generator has no smoothing
        tensor(30.)

    References:
        Goodfellow et al., "Generative Adversarial Nets", 2014, arXiv:1406.2661, section 3, last paragraph.
    """

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the mean binary cross-entropy of the fake logits with the target 1.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: not used.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(lambda fake: F.softplus(-fake).mean(), self, fake_logits=fake_logits)
