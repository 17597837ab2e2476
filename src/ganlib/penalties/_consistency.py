"""Consistency regularization."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganlib._clamping import clamping_parts, warn_of_clamping, watching
from ganlib._logits import scales
from ganlib._shown import shown
from ganlib._weights import check_weight, weighted
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ShapeError
from ganlib.penalties._penalty import LazyPenalty, call_exactly, check_samples
from ganlib.protocols import Condition, Discriminator

__all__ = ["Consistency"]

_looked_at = weakref.WeakSet[Any]()  # penalties


class Consistency(LazyPenalty):
    r"""Penalize different logits for a sample and its augmented copy (consistency regularization).

    With :math:`T` the augmentation,

    .. math::
        \text{weight} \cdot \operatorname{mean}_i (D(x_i) - D(T(x_i)))^2 +
        \text{fake\_weight} \cdot \operatorname{mean}_i (D(G(z_i)) - D(T(G(z_i))))^2

    If a sample has several logits (patches, scales), the squared differences are summed.

    The penalty does not affect the generator's update, so augmentations do not leak into the generated samples. The
    trainer's ``augment`` argument works differently: it augments in both updates. If the augmentation moves samples,
    use a discriminator with one logit per sample, because after a move a patch contains other pixels. In multi-GPU
    training, each process augments its own samples.

    Args:
        augment: a function from samples to samples of the same shape, such as one of :mod:`ganlib.augment`.
        weight: weight for real samples, 0 or more; 10 in the paper. Pass a 0-dim tensor if the weight changes during
            training (see :class:`ganlib.training.Schedule`).
        fake_weight: weight for fakes, 0 or more, or a 0-dim tensor. Balanced consistency (bCR) uses 10 here too. If it
            is the number 0, the discriminator is not called with fakes.
        every: k; the trainer applies the penalty in every k-th iteration, multiplied by k.

    Raises:
        ArgumentTypeError: ``augment`` is not callable.
        ArgumentValueError: a weight is negative, or ``every`` is below 1.

    Example:
        >>> x = torch.randn(8, 5)
        >>> penalty = Consistency(lambda samples: samples + 1)
        >>> round(penalty(lambda x: 3 * x[:, :1], x, x).item(), 3)  # 10 * 3^2
        90.0

    References:
        Zhang et al., "Consistency Regularization for Generative Adversarial Networks", 2020, arXiv:1910.12027, equation
        2 (at the last layer).

        On fakes: Zhao et al., "Improved Consistency Regularization for GANs", 2021, arXiv:2002.04724, section 2.1.
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
            discriminator: called with (samples), or with (samples, condition) if there is a condition.
            real: (N, ...) float.
            fake: (N, ...) float; no gradient flows into it.
            condition: the conditions of the real samples, or None.
            fake_condition: the conditions of the fakes; None means ``condition``.

        Returns:
            A scalar, float32 or float64. You can backpropagate it to the parameters of the discriminator.
        """
        check_samples(discriminator, real=real, fake=fake)
        value = weighted(self.weight, self._unlikeness(discriminator, real, condition))
        if isinstance(self.fake_weight, Tensor) or self.fake_weight:  # reading a tensor would wait for its device
            own = condition if fake_condition is None else fake_condition
            value = value + weighted(self.fake_weight, self._unlikeness(discriminator, fake, own))
        return value

    def _unlikeness(self, discriminator: Discriminator, samples: Tensor, condition: Condition) -> Tensor:
        samples = samples.detach()
        plain = scales(call_exactly(discriminator, samples, condition))
        augmented = scales(call_exactly(discriminator, self._augmented(samples), condition))
        for one, other in zip(plain, augmented, strict=True):
            if one.shape != other.shape or one.ndim == 0:
                raise ShapeError(
                    f"discriminator gave logits {tuple(one.shape)} of samples and {tuple(other.shape)} of their "
                    "augmented copies; they must be (N, ...), and equal in shape"
                )
        pairs = zip(plain, augmented, strict=True)
        return torch.stack([(one - other).square().reshape(len(one), -1).sum(1) for one, other in pairs]).sum(0).mean()

    def _augmented(self, samples: Tensor) -> Tensor:
        """Augment samples; at the first call, warn of an augmentation that clamps them to [0, 1]."""
        if torch.compiler.is_compiling() or self in _looked_at:
            return self.augment(samples)
        _looked_at.add(self)
        with watching(clamping_parts(self.augment)) as found:
            augmented = self.augment(samples)
        if rank() == 0:
            warn_of_clamping("augment", found)
        return augmented
