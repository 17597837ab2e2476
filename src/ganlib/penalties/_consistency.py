"""Consistency regularisation."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentTypeError
from ganlib.penalties._gradients import check_number, check_weight_and_every
from ganlib.penalties._logits import judge, scales
from ganlib.protocols import Discriminator

__all__ = ["Consistency"]


class Consistency(nn.Module):
    r"""Consistency with an augmentation: a sample and its augmented twin shall be judged alike.

    With :math:`T` the augmentation, and the squares summed over a sample's several logits (patches, scales),

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (D(x_i) - D(T(x_i)))^2 +
        \text{fake\_weight} \cdot \operatorname{mean}_i (D(G(z_i)) - D(T(G(z_i))))^2

    Unlike the trainer's ``augment`` it does not show the generator augmented samples, so nothing can leak into what is
    drawn. An augmentation that moves samples asks for a discriminator with one logit: patches would move with it. Over
    several processes each augments its own samples.

    Args:
        augment: samples -> samples of the same shape, such as one of :mod:`ganlib.augment`.
        weight: on real samples, 0 or more; the paper's 10.
        fake_weight: on fakes, 0 or more; balanced consistency (bCR) has 10 here too.
        every: the trainer applies it at iterations divisible by this, scaled by this.

    Raises:
        ArgumentTypeError: ``augment`` cannot be called.
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> x = torch.randn(8, 5)
        >>> penalty = Consistency(lambda samples: samples + 1)
        >>> round(penalty(lambda x: 3 * x[:, :1], x, x).item(), 3)  # 10 * 3^2
        90.0

    References:
        Zhang et al., "Consistency Regularization for Generative Adversarial Networks", 2020, equation 2 (at the last
        layer); on fakes as well: Zhao et al., "Improved Consistency Regularization for GANs", 2021, section 2.1.
    """

    def __init__(
        self, augment: Callable[[Tensor], Tensor], weight: float = 10.0, *, fake_weight: float = 0.0, every: int = 1
    ) -> None:
        super().__init__()
        if not callable(augment):
            raise ArgumentTypeError(f"augment (={augment!r}) must be callable")
        check_weight_and_every(weight, every)
        check_number("fake_weight", fake_weight)
        self.augment = augment
        self.weight = weight
        self.fake_weight = fake_weight
        self.every = every

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Tensor | None = None,
        fake_condition: Tensor | None = None,
    ) -> Tensor:
        """The penalty.

        Args:
            discriminator: called with (samples), or (samples, condition) where there is one.
            real: (N, ...) float.
            fake: (N, ...) float; no gradient flows back into it.
            condition: the real samples' conditions, or None.
            fake_condition: the fakes'; None takes ``condition``.

        Returns:
            A scalar, float32 or better, with a graph to the discriminator's parameters.
        """
        value = self.weight * self._unlikeness(discriminator, real, condition)
        if self.fake_weight:
            own = condition if fake_condition is None else fake_condition
            value = value + self.fake_weight * self._unlikeness(discriminator, fake, own)
        return value

    def extra_repr(self) -> str:
        """What ``repr`` shows: the numbers."""
        return f"weight={self.weight}, fake_weight={self.fake_weight}, every={self.every}"

    def _unlikeness(self, discriminator: Discriminator, samples: Tensor, condition: Tensor | None) -> Tensor:
        samples = samples.detach()
        plain = scales(judge(discriminator, samples, condition))
        augmented = scales(judge(discriminator, self.augment(samples), condition))
        pairs = zip(plain, augmented, strict=True)
        return torch.stack([(one - other).square().reshape(len(one), -1).sum(1) for one, other in pairs]).sum(0).mean()
