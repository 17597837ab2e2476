"""Targets for the losses that have them: smoothed, noisy, flipped."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["LabelSmoothing", "check_smoothing"]


@dataclass(frozen=True)
class LabelSmoothing:
    r"""Targets of the discriminator's update other than 1 and 0.

    A real sample's target is ``real`` and a fake's ``fake``; with probability ``flip``, drawn per sample, a sample
    gets the other's; then :math:`U(-\text{jitter}, \text{jitter})`, drawn per sample, is added. Given to a loss that
    has targets, it acts in the discriminator's update alone; of several scales, each has its own draws. Over several
    processes each draws for its own samples, with its own random state.
    (Cross-entropy is linear in its target, so jitter leaves the expected gradient as it is also where it carries a
    target past 0 or 1.)

    Args:
        real: target of real samples, in [0, 1]. One-sided smoothing is ``real=0.9, fake=0.0``.
        fake: target of fake samples, in [0, 1].
        jitter: half-width of the noise on every target, 0 or more.
        flip: probability with which a sample gets the other side's target, in [0, 1].

    Raises:
        ArgumentValueError: a value is out of its range.

    Example:
        >>> smoothing = LabelSmoothing(real=0.9)
        >>> smoothing.real_targets(torch.zeros(3, 1)).flatten()
        tensor([0.9000, 0.9000, 0.9000])

    References:
        Salimans et al., "Improved Techniques for Training GANs", 2016, section 3.4 (one-sided smoothing).
    """

    real: float = 0.9
    fake: float = 0.0
    jitter: float = 0.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("real", "fake", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ArgumentValueError(f"{name} (={getattr(self, name)}) must be in [0, 1]")
        if not 0 <= self.jitter < float("inf"):
            raise ArgumentValueError(f"jitter (={self.jitter}) must be finite and at least 0")

    def real_targets(self, logits: Tensor) -> Tensor:
        """Targets for the logits of real samples.

        Args:
            logits: (N, ...) float.

        Returns:
            Targets of the same shape; all of a sample's targets are equal.
        """
        return self._targets(logits, self.real, self.fake)

    def fake_targets(self, logits: Tensor) -> Tensor:
        """Targets for the logits of fake samples.

        Args:
            logits: (N, ...) float.

        Returns:
            Targets of the same shape; all of a sample's targets are equal.
        """
        return self._targets(logits, self.fake, self.real)

    def _targets(self, logits: Tensor, own: float, other: float) -> Tensor:
        per_sample = logits.new_full((len(logits), *[1] * (logits.ndim - 1)) if logits.ndim else (), own)
        if self.flip:
            per_sample = torch.where(torch.rand_like(per_sample) < self.flip, other, per_sample)
        if self.jitter:
            per_sample = per_sample + (2 * torch.rand_like(per_sample) - 1) * self.jitter
        return per_sample.expand_as(logits)


def check_smoothing(smoothing: LabelSmoothing | None) -> None:
    """Refuse what is no smoothing, such as a bare number.

    Args:
        smoothing: must be a LabelSmoothing or None.

    Raises:
        ArgumentTypeError: it is something else.

    Example:
        >>> check_smoothing(LabelSmoothing(real=0.9))
    """
    if smoothing is not None and not isinstance(smoothing, LabelSmoothing):
        raise ArgumentTypeError(
            f"smoothing (={smoothing!r}) must be a LabelSmoothing, such as LabelSmoothing(real=0.9), or None"
        )
