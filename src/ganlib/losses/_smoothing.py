"""Label smoothing."""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib._checks import check_fraction, check_number
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["LabelSmoothing", "check_smoothing"]


@dataclass(frozen=True)
class LabelSmoothing:
    r"""Replace the discriminator's targets 1 and 0 by smoothed targets.

    Real samples have the target ``real`` and fakes have the target ``fake``. With probability ``flip``, a sample gets
    the target of the other side. Then noise from :math:`U(-\text{jitter}, \text{jitter})` is added. Both are drawn
    for each sample, and for each scale if there are several. Cross-entropy is linear in its target, so jitter does not
    change the expected gradient, even if a target is outside [0, 1].

    In multi-GPU training, each process draws for its own samples, with its own random state.

    Args:
        real: target of real samples, in [0, 1], above ``fake``. One-sided smoothing is ``real=0.9, fake=0.0``.
        fake: target of fake samples, in [0, 1].
        jitter: half-width of the noise on every target, 0 or more.
        flip: probability of the other side's target, in [0, 1]. Above 0.5 most targets are wrong, so a warning is
            issued.

    Raises:
        ArgumentValueError: a value is out of range, or ``real`` is not above ``fake``.

    Example:
        >>> smoothing = LabelSmoothing(real=0.9)
        >>> smoothing.real_targets(torch.zeros(3, 1)).flatten()
        tensor([0.9000, 0.9000, 0.9000])

    References:
        One-sided smoothing: Salimans et al., "Improved Techniques for Training GANs", 2016, arXiv:1606.03498, section
        3.4.
    """

    real: float = 0.9
    fake: float = 0.0
    jitter: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("real", "fake", "flip"):
            check_fraction(name, getattr(self, name))
        check_number("jitter", self.jitter)
        if self.real <= self.fake:
            raise ArgumentValueError(
                f"real (={self.real}) must be above fake (={self.fake}); otherwise the discriminator would learn to "
                "classify fakes as real"
            )
        if self.flip > 0.5:
            warnings.warn(
                f"flip (={self.flip}) is the probability of a wrong target: above 0.5 the discriminator learns to "
                "classify fakes as real",
                stacklevel=3,
            )

    def real_targets(self, logits: Tensor) -> Tensor:
        """Return targets for the logits of real samples.

        Args:
            logits: (N, ...) float.

        Returns:
            Targets of the same shape. All targets of a sample are equal.
        """
        return self._targets(logits, self.real, self.fake)

    def fake_targets(self, logits: Tensor) -> Tensor:
        """Return targets for the logits of fake samples.

        Args:
            logits: (N, ...) float.

        Returns:
            Targets of the same shape. All targets of a sample are equal.
        """
        return self._targets(logits, self.fake, self.real)

    def _targets(self, logits: Tensor, own: float, other: float) -> Tensor:
        """Return one target per sample, in the shape of the logits."""
        per_sample = logits.new_full((len(logits), *[1] * (logits.ndim - 1)) if logits.ndim else (), own)
        if self.flip:
            per_sample = torch.where(torch.rand_like(per_sample) < self.flip, other, per_sample)
        if self.jitter:
            per_sample = per_sample + (torch.rand_like(per_sample) - 0.5) * (2 * self.jitter)
        return per_sample.expand_as(logits)


def check_smoothing(smoothing: LabelSmoothing | None) -> None:
    """Raise an ArgumentTypeError unless the argument is a LabelSmoothing or None."""
    if smoothing is not None and not isinstance(smoothing, LabelSmoothing):
        raise ArgumentTypeError(
            f"smoothing (={shown(smoothing)}) must be a LabelSmoothing, such as LabelSmoothing(real=0.9), or None"
        )
