"""The term of AC-GAN."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib.errors import ArgumentValueError, DTypeError, ShapeError
from ganlib.losses._output import check_output
from ganlib.losses._weights import check_weight
from ganlib.protocols import Condition, DiscriminatorOutput

__all__ = ["AuxiliaryClassifier"]


class AuxiliaryClassifier(nn.Module):
    r"""AC-GAN's term: both players want the samples to be read as what they were meant to be.

    With :math:`c(x)` the class logits, :math:`y` the conditions and CE the cross-entropy,

    .. math::
        T_D = \operatorname{CE}(c(x), y) + \operatorname{CE}(c(G(z, y')), y'), \qquad
        T_G = \operatorname{CE}(c(G(z, y')), y').

    For multi-hot tags, CE is the binary cross-entropy, a mean over tags. The discriminator must return a
    :class:`~ganlib.protocols.DiscriminatorOutput` with ``class_logits``, as
    :class:`ganlib.conditioning.AuxiliaryClassifierHead` does.

    Args:
        weight: finite, at least 0; the trainer multiplies both players' terms with it.
        on_fakes: whether the discriminator learns from fakes as well; the paper does. Without, the classifier learns
            from real samples alone, and early fakes cannot spoil it.

    Raises:
        ArgumentValueError: the weight is out of its range.

    Example:
        >>> class_logits = torch.tensor([[0.0, 100.0]])
        >>> output = DiscriminatorOutput(torch.zeros(1, 1), class_logits)
        >>> AuxiliaryClassifier().generator(output, None, torch.tensor([1]))
        tensor(0.)

    References:
        Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, equation 3.
    """

    def __init__(self, weight: float = 1.0, *, on_fakes: bool = True) -> None:
        super().__init__()
        check_weight(weight)
        self.weight = weight
        self.on_fakes = on_fakes

    def discriminator(
        self,
        real: DiscriminatorOutput,
        fake: DiscriminatorOutput,
        condition: Condition,
        fake_condition: Condition = None,
    ) -> Tensor:
        """How badly real samples, and fakes where they count, are read.

        Args:
            real: the discriminator's output on real samples, with class_logits (N, K).
            fake: its output on fakes.
            condition: what the real samples are: classes (N,) int64, or tags (N, K) float.
            fake_condition: what the fakes were meant to be; None takes ``condition``.

        Returns:
            A scalar, float32 or better, without the weight.

        Raises:
            ArgumentValueError: no class logits, or no condition.
            ShapeError, DTypeError: conditions that do not fit the class logits.
            ArgumentTypeError: bare logits instead of a whole output.
        """
        value = _misread(real, condition, "real")
        if self.on_fakes:
            value = value + _misread(fake, condition if fake_condition is None else fake_condition, "fake")
        return value

    def generator(
        self,
        fake: DiscriminatorOutput,
        real: DiscriminatorOutput | None,
        fake_condition: Condition,
        condition: Condition = None,
    ) -> Tensor:
        """How badly fakes are read.

        Args:
            fake: the discriminator's output on fakes, with class_logits (N, K).
            real: not used.
            fake_condition: what the fakes were meant to be.
            condition: not used.

        Returns:
            A scalar, float32 or better, without the weight.

        Raises:
            ArgumentValueError: no class logits, or no condition.
            ShapeError, DTypeError: conditions that do not fit the class logits.
            ArgumentTypeError: bare logits instead of a whole output.
        """
        return _misread(fake, fake_condition, "fake")

    def extra_repr(self) -> str:
        """What ``repr`` shows: the arguments."""
        return f"weight={self.weight}, on_fakes={self.on_fakes}"


def _misread(output: DiscriminatorOutput, condition: Condition, side: str) -> Tensor:
    check_output(output, side)
    if output.class_logits is None:
        raise ArgumentValueError(
            f"the discriminator's output on {side} samples has class_logits (=None), which AuxiliaryClassifier reads; "
            "conditioning.AuxiliaryClassifierHead gives them"
        )
    if condition is None:
        raise ArgumentValueError(
            f"condition (=None) of the {side} samples is missing: AuxiliaryClassifier compares class logits with it"
        )
    logits = output.class_logits.to(torch.promote_types(output.class_logits.dtype, torch.float32))
    if condition.is_floating_point():
        if condition.shape != logits.shape:
            raise ShapeError(f"class_logits {tuple(logits.shape)} must have the shape of tags {tuple(condition.shape)}")
        return F.binary_cross_entropy_with_logits(logits, condition.to(logits.dtype))
    if condition.dtype != torch.int64:
        raise DTypeError(f"condition must be int64 classes or float tags, but its dtype is {condition.dtype}")
    if logits.ndim != 2 or condition.shape != logits.shape[:1]:
        raise ShapeError(
            f"class_logits {tuple(logits.shape)} must be (N, K) for classes (N,), but condition is "
            f"{tuple(condition.shape)}"
        )
    if (
        condition.device.type == "cpu"
        and len(condition)
        and not 0 <= condition.min() <= condition.max() < logits.shape[1]
    ):
        raise ArgumentValueError(
            f"condition holds classes from {int(condition.min())} to {int(condition.max())}, but class_logits "
            f"{tuple(logits.shape)} know those from 0 to {logits.shape[1] - 1}"
        )
    return F.cross_entropy(logits, condition)
