"""Consistency regularization."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganlib._logits import scales
from ganlib._shown import shown
from ganlib._weights import check_weight, weighted
from ganlib.errors import ArgumentTypeError, ShapeError
from ganlib.penalties._penalty import LazyPenalty, call_exactly, check_samples
from ganlib.protocols import Condition, Discriminator

__all__ = ["Consistency"]


class Consistency(LazyPenalty):
    r"""Consistency with an augmentation: the logits of a sample and of its augmented copy should be equal.

    With :math:`T` the augmentation, and the squares summed over a sample's several logits (patches, scales),

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (D(x_i) - D(T(x_i)))^2 +
        \text{fake\_weight} \cdot \operatorname{mean}_i (D(G(z_i)) - D(T(G(z_i))))^2

    Unlike the trainer's ``augment`` it does not act on the generator's update, so augmentations cannot leak into the
    generated samples. An augmentation that moves samples needs a discriminator with one logit, since patches would
    move too. Over several processes, each process augments its own samples.

    Args:
        augment: samples -> samples of the same shape, such as one of :mod:`ganlib.augment`.
        weight: on real samples, 0 or more; 10 in the paper. A 0-dim tensor where it changes during training (see
            :class:`ganlib.training.Schedule`).
        fake_weight: on fakes, 0 or more, or such a tensor; balanced consistency (bCR) has 10 here too. With the number
            0 the discriminator is not called with fakes.
        every: the trainer applies it at iterations divisible by this number, multiplied by this number.

    Raises:
        ArgumentTypeError: ``augment`` cannot be called.
        ArgumentValueError: a negative weight, or an interval below 1.

    Example:
        >>> x = torch.randn(8, 5)
        >>> penalty = Consistency(lambda samples: samples + 1)
        >>> round(penalty(lambda x: 3 * x[:, :1], x, x).item(), 3)  # 10 * 3^2
        90.0

    References:
        Zhang et al., "Consistency Regularization for Generative Adversarial Networks", 2020, arXiv:1910.12027, equation
        2 (at the last layer); also on fakes: Zhao et al., "Improved Consistency Regularization for GANs", 2021,
        arXiv:2002.04724, section 2.1.
    """

    def __init__(
        self,
        augment: Callable[[Tensor], Tensor],
        weight: float | Tensor = 10.0,
        *,
        fake_weight: float | Tensor = 0.0,
        every: int = 1,
    ) -> None:
        super().__init__(weight, every=every)
        if not callable(augment):
            raise ArgumentTypeError(f"augment (={shown(augment)}) must be callable")
        check_weight("fake_weight", fake_weight)
        self.augment = augment
        self.fake_weight = fake_weight

    def forward(
        self,
        discriminator: Discriminator,
        real: Tensor,
        fake: Tensor,
        condition: Condition = None,
        fake_condition: Condition = None,
    ) -> Tensor:
        """Compute the penalty.

        Args:
            discriminator: called with (samples), or (samples, condition) where there is one.
            real: (N, ...) float.
            fake: (N, ...) float; no gradient flows back into it.
            condition: the conditions of the real samples, or None.
            fake_condition: the conditions of the fakes; None takes ``condition``.

        Returns:
            A scalar, float32 or better, with a graph to the parameters of the discriminator.
        """
        check_samples(discriminator, real=real, fake=fake)
        value = weighted(self.weight, self._unlikeness(discriminator, real, condition))
        if isinstance(self.fake_weight, Tensor) or self.fake_weight:  # to ask a tensor would wait for its device
            own = condition if fake_condition is None else fake_condition
            value = value + weighted(self.fake_weight, self._unlikeness(discriminator, fake, own))
        return value

    def _unlikeness(self, discriminator: Discriminator, samples: Tensor, condition: Condition) -> Tensor:
        samples = samples.detach()
        plain = scales(call_exactly(discriminator, samples, condition))
        augmented = scales(call_exactly(discriminator, self.augment(samples), condition))
        for one, other in zip(plain, augmented, strict=True):
            if one.shape != other.shape or one.ndim == 0:
                raise ShapeError(
                    f"discriminator gave logits {tuple(one.shape)} of samples and {tuple(other.shape)} of their "
                    "augmented copies; they must be (N, ...), and equal in shape"
                )
        pairs = zip(plain, augmented, strict=True)
        return torch.stack([(one - other).square().reshape(len(one), -1).sum(1) for one, other in pairs]).sum(0).mean()
