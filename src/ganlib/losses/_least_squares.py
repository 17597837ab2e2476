"""The least-squares loss."""

import math
from numbers import Real
from typing import Any

from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError
from ganlib.losses._smoothing import LabelSmoothing, check_smoothing
from ganlib.protocols import Logits

__all__ = ["LeastSquaresLoss"]


class LeastSquaresLoss(nn.Module):
    r"""The least-squares loss of Mao et al. (2017), with free targets.

    With logits :math:`r = D(x)`, :math:`f = D(G(z))` and the targets :math:`b` of real samples, :math:`a` of fakes and
    :math:`c` of the generator,

    .. math::
        L_D = \tfrac12 \operatorname{mean} (r - b)^2 + \tfrac12 \operatorname{mean} (f - a)^2, \qquad
        L_G = \tfrac12 \operatorname{mean} (f - c)^2.

    Args:
        smoothing: moves the discriminator's targets on the scale where 0 is ``fake_target`` and 1 is ``real_target``;
            None leaves them there.
        real_target: b, finite.
        fake_target: a, finite, not equal to b.
        generator_target: c, finite, above a if b is, and otherwise below. With b - c = 1 and b - a = 2 (say a = -1,
            b = 1, c = 0), the players minimize the Pearson :math:`\chi^2` divergence.

    Raises:
        ArgumentTypeError: the smoothing is not a LabelSmoothing.
        ArgumentValueError: a target that is not finite, two equal ones of the discriminator, or one of the generator
            that makes its samples fake.

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
            if isinstance(target, bool) or not (isinstance(target, Real) and math.isfinite(target)):
                raise ArgumentValueError(f"{name} (={shown(target)}) must be a finite number")
        if real_target == fake_target:
            raise ArgumentValueError(f"real_target (={real_target}) must differ from fake_target (={fake_target})")
        if (generator_target - fake_target) * (real_target - fake_target) <= 0:
            raise ArgumentValueError(
                f"generator_target (={generator_target}) must be on the side of real_target (={real_target}) as seen "
                f"from fake_target (={fake_target}), since the generator is trained to be taken for real"
            )
        self.smoothing = smoothing
        self.real_target: float = float(real_target)
        self.fake_target: float = float(fake_target)
        self.generator_target: float = float(generator_target)

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute half the mean squared distance of logits from their target, for real plus for fake.

        Args:
            real_logits: float, of any shape whose first dimension is the batch, or a tuple of several scales.
            fake_logits: the same; the shapes may differ.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
        """
        return sum_over_scales(self._distances, self, real_logits=real_logits, fake_logits=fake_logits)

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute half the mean squared distance of fake logits from the generator's target.

        Args:
            fake_logits: float, of any shape, or a tuple of several scales.
            real_logits: not used.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
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
