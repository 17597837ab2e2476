"""Least-squares loss."""

from typing import Any

from torch import Tensor, nn

from ganlib._checks import check_finite
from ganlib._logits import sum_over_scales
from ganlib.errors import ArgumentValueError
from ganlib.losses._smoothing import LabelSmoothing, check_smoothing
from ganlib.protocols import Logits

__all__ = ["LeastSquaresLoss"]


class LeastSquaresLoss(nn.Module):
    r"""Compute the least-squares loss (LSGAN).

    With logits :math:`r = D(x)` and :math:`f = D(G(z))`, and with the targets :math:`b` of real samples, :math:`a` of
    fakes and :math:`c` of the generator,

    .. math::
        L_D = \tfrac12 \operatorname{mean} (r - b)^2 + \tfrac12 \operatorname{mean} (f - a)^2, \qquad
        L_G = \tfrac12 \operatorname{mean} (f - c)^2.

    Args:
        smoothing: label smoothing for the discriminator's targets. Its 0 is ``fake_target`` and its 1 is
            ``real_target``. None means no smoothing.
        real_target: :math:`b`, finite.
        fake_target: :math:`a`, finite, not equal to :math:`b`.
        generator_target: :math:`c`, finite, on the same side of :math:`a` as :math:`b`. With :math:`b - c = 1` and
            :math:`b - a = 2` (for example :math:`a = -1`, :math:`b = 1`, :math:`c = 0`), the players minimize the
            Pearson :math:`\chi^2` divergence.

    Attributes:
        separates_at_zero: whether the targets of real samples and of fakes are as far from 0. Adaptive augmentation
            needs this.

    Raises:
        ArgumentTypeError: ``smoothing`` is not a LabelSmoothing.
        ArgumentValueError: a target is not finite, ``real_target`` equals ``fake_target``, or ``generator_target`` is
            on the wrong side of ``fake_target``.

    Example:
        >>> import torch
        >>> loss = LeastSquaresLoss()
        >>> loss.discriminator(torch.ones(4, 1), torch.zeros(4, 1))  # every logit is at its target
        tensor(0.)
        >>> loss.generator(torch.zeros(4, 1))
        tensor(0.5000)

    References:
        Mao et al., "Least Squares Generative Adversarial Networks", 2017, arXiv:1611.04076, equations 2, 8 and 9.
    """

    def __init__(
        self,
        smoothing: LabelSmoothing | None = None,
        *,
        real_target: float = 1.0,
        fake_target: float = 0.0,
        generator_target: float = 1.0,
    ) -> None:
        super().__init__()
        check_smoothing(smoothing)
        targets: dict[str, Any] = {
            "real_target": real_target,
            "fake_target": fake_target,
            "generator_target": generator_target,
        }
        for name, target in targets.items():
            check_finite(name, target)
        if real_target == fake_target:
            raise ArgumentValueError(f"real_target (={real_target}) must differ from fake_target (={fake_target})")
        if (generator_target - fake_target) * (real_target - fake_target) <= 0:
            raise ArgumentValueError(
                f"generator_target (={generator_target}) and real_target (={real_target}) must be on the same side of "
                f"fake_target (={fake_target}), because the generator must learn to make samples that score as real"
            )
        self.smoothing = smoothing
        self.separates_at_zero: bool = real_target == -fake_target
        self.real_target: float = float(real_target)
        self.fake_target: float = float(fake_target)
        self.generator_target: float = float(generator_target)

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute half the mean squared distance of real logits from their targets, plus that of fake logits.

        Args:
            real_logits: float, with the batch in the first dimension, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``; the shapes may differ.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(self._distances, self, real_logits=real_logits, fake_logits=fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute half the mean squared distance of the fake logits from the generator's target.

        Args:
            fake_logits: float, of any shape, or a tuple with one tensor per scale.
            real_logits: not used.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(
            lambda fake: (fake - self.generator_target).square().mean() / 2, self, fake_logits=fake_logits
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        targets = (
            f"real_target={self.real_target}, fake_target={self.fake_target}, generator_target={self.generator_target}"
        )
        return targets if self.smoothing is None else f"smoothing={self.smoothing}, {targets}"

    def _distances(self, real: Tensor, fake: Tensor) -> Tensor:
        real_target: Tensor | float = self.real_target
        fake_target: Tensor | float = self.fake_target
        if self.smoothing is not None:
            span = self.real_target - self.fake_target
            real_target = self.fake_target + span * self.smoothing.real_targets(real)
            fake_target = self.fake_target + span * self.smoothing.fake_targets(fake)
        return ((real - real_target).square().mean() + (fake - fake_target).square().mean()) / 2
