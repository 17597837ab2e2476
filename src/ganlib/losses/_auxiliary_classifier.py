"""Auxiliary loss of AC-GAN."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ganlib._logits import at_least_float32, check_output, warn_of_probabilities
from ganlib._weights import check_weight, show_weight
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import Condition, DiscriminatorOutput, Step

__all__ = ["AuxiliaryClassifier"]


class AuxiliaryClassifier(nn.Module):
    r"""Train both players to make samples recognizable as their class (AC-GAN).

    With :math:`c(x)` the class logits, :math:`y` the conditions and CE the cross-entropy,

    .. math::
        A_D = \operatorname{CE}(c(x), y) + \operatorname{CE}(c(G(z, y')), y'), \qquad
        A_G = \operatorname{CE}(c(G(z, y')), y').

    For multi-hot tags, CE is the mean binary cross-entropy over the tags. The discriminator must return a
    :class:`~ganlib.protocols.DiscriminatorOutput` with ``class_logits``, as
    :class:`ganlib.conditioning.AuxiliaryClassifierHead` does.

    Args:
        weight: finite, at least 0; the trainer multiplies the loss of both players by it. Pass a 0-dim tensor if the
            weight changes during training (see :class:`ganlib.training.Schedule`).
        on_fakes: whether the classifier also learns from fakes, as in the paper. If False, it learns from real samples
            only, so poor fakes early in training cannot harm it.

    Raises:
        ArgumentValueError: the weight is negative or not finite.

    Example:
        >>> from ganlib.protocols import Step
        >>> output = DiscriminatorOutput(torch.zeros(1, 1), class_logits=torch.tensor([[0.0, 100.0]]))
        >>> step = Step(torch.zeros(1, 2), torch.zeros(1, 2), output, output, condition=torch.tensor([1]))
        >>> AuxiliaryClassifier().generator(step)
        tensor(0.)

    References:
        Odena et al., "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, arXiv:1610.09585, equation 3.
    """

    def __init__(self, weight: float | Tensor = 1.0, *, on_fakes: bool = True) -> None:
        super().__init__()
        check_weight("weight", weight)
        self.weight = weight
        self.on_fakes = on_fakes

    def discriminator(self, step: Step) -> Tensor:
        """Compute the cross-entropy of real samples, and add that of fakes if ``on_fakes`` is True.

        Args:
            step: both outputs need ``class_logits`` (N, K). The conditions are classes (N,) int64, or tags (N, K) float
                in [0, 1]. If ``fake_condition`` is None, ``condition`` is used for the fakes.

        Returns:
            A scalar, float32 or float64, without the weight.

        Raises:
            ArgumentValueError: the class logits or the conditions are missing.
            ShapeError, DTypeError: the class logits are not float, or the conditions do not match them.
            ArgumentTypeError: an output is not a DiscriminatorOutput, or a condition is not a tensor.
        """
        value = _cross_entropy(self, step.real_output, step.condition, "real")
        return value + self.generator(step) if self.on_fakes else value

    def generator(self, step: Step) -> Tensor:
        """Compute the cross-entropy of fakes.

        Args:
            step: ``fake_output`` needs ``class_logits`` (N, K). If ``fake_condition`` is None, ``condition`` is used.

        Returns:
            A scalar, float32 or float64, without the weight.

        Raises:
            ArgumentValueError: the class logits or the conditions are missing.
            ShapeError, DTypeError: the class logits are not float, or the conditions do not match them.
            ArgumentTypeError: the output is not a DiscriminatorOutput, or the condition is not a tensor.
        """
        return _cross_entropy(
            self, step.fake_output, step.condition if step.fake_condition is None else step.fake_condition, "fake"
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"weight={show_weight(self.weight)}, on_fakes={self.on_fakes}"


def _cross_entropy(loss: Any, output: DiscriminatorOutput | None, condition: Condition, side: str) -> Tensor:
    output = check_output(output, side)
    if output.class_logits is None:
        raise ArgumentValueError(
            f"the discriminator's output on {side} samples has no class_logits (=None), but AuxiliaryClassifier needs "
            "them; conditioning.AuxiliaryClassifierHead returns them"
        )
    if condition is None:
        raise ArgumentValueError(
            f"condition (=None) of the {side} samples is missing: AuxiliaryClassifier compares class logits with it"
        )
    if not isinstance(condition, Tensor):
        raise ArgumentTypeError(
            f"condition of the {side} samples is a {type(condition).__name__}; AuxiliaryClassifier needs a tensor, "
            "such as one part of the condition"
        )
    if not isinstance(output.class_logits, Tensor):
        raise ArgumentTypeError(f"class_logits must be a tensor, but is a {type(output.class_logits).__name__}")
    if not output.class_logits.is_floating_point():
        raise DTypeError(f"class_logits must be floating point, but its dtype is {output.class_logits.dtype}")
    logits = at_least_float32(output.class_logits)
    if not logits.numel():
        raise ShapeError(f"class_logits {tuple(logits.shape)} must not be empty, because an empty mean is NaN")
    warn_of_probabilities(loss, logits, "the discriminator's classifier")
    # Reading values from a GPU would wait for it.
    readable = condition.device.type == "cpu" and not torch.compiler.is_compiling()
    if condition.is_floating_point():
        if condition.shape != logits.shape:
            raise ShapeError(f"class_logits {tuple(logits.shape)} must have the shape of tags {tuple(condition.shape)}")
        if readable and not bool(((condition >= 0) & (condition <= 1)).all()):
            raise ArgumentValueError(
                f"condition holds tags from {float(condition.min())} to {float(condition.max())}, but tags must be in "
                "[0, 1]"
            )
        return F.binary_cross_entropy_with_logits(logits, condition.to(logits.dtype))
    if condition.dtype != torch.int64:
        raise DTypeError(f"condition must be int64 classes or float tags, but its dtype is {condition.dtype}")
    if logits.ndim != 2 or condition.shape != logits.shape[:1]:
        raise ShapeError(
            f"class_logits {tuple(logits.shape)} must be (N, K) for classes (N,), but condition is "
            f"{tuple(condition.shape)}"
        )
    if readable and not 0 <= condition.min() <= condition.max() < logits.shape[1]:
        raise ArgumentValueError(
            f"condition holds classes from {int(condition.min())} to {int(condition.max())}, but class_logits "
            f"{tuple(logits.shape)} know those from 0 to {logits.shape[1] - 1}"
        )
    return F.cross_entropy(logits, condition)
