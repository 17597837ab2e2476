"""Weighted sum of losses."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganlib._logits import sum_over_scales
from ganlib._shown import shown
from ganlib._weights import check_weight, show_weight, weighted
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import AdversarialLoss, Logits

__all__ = ["WeightedSum"]


class WeightedSum(nn.Module):
    r"""Combine several adversarial losses into one.

    .. math:: L_D = \sum_i w_i L_D^{(i)}, \qquad L_G = \sum_i w_i L_G^{(i)}

    Args:
        losses: at least one loss, from ganlib or your own.
        weights: one weight for each loss, finite and at least 0. Pass a 0-dim tensor if the weight changes during
            training (see :class:`ganlib.training.Schedule`).

    Attributes:
        needs_real_logits: whether any of the losses needs real logits in the generator's update.
        separates_at_zero: whether a logit of 0 separates real from fake samples in all losses.

    Raises:
        ArgumentTypeError: ``losses`` or ``weights`` is not a sequence, or a loss is not an AdversarialLoss.
        ArgumentValueError: ``losses`` is empty, the number of weights differs, or a weight is out of range.

    Example:
        >>> import torch
        >>> from ganlib.losses import HingeLoss, WassersteinLoss
        >>> loss = WeightedSum([HingeLoss(), WassersteinLoss()], weights=[1.0, 0.1])
        >>> round(loss.generator(torch.full((4, 1), -1.0)).item(), 4)
        1.1
    """

    def __init__(self, losses: Sequence[AdversarialLoss], weights: Sequence[float | Tensor]) -> None:
        super().__init__()
        sequences: dict[str, Any] = {"losses": losses, "weights": weights}
        for name, members in sequences.items():
            if not isinstance(members, Iterable) or (isinstance(members, Tensor) and not members.ndim):
                raise ArgumentTypeError(f"{name} (={shown(members)}) must be a sequence, such as a list")
        self.losses: tuple[AdversarialLoss, ...] = tuple(losses)
        self.weights: tuple[float | Tensor, ...] = tuple(weights)
        for loss in self.losses:
            if isinstance(loss, type) or not isinstance(loss, AdversarialLoss):
                raise ArgumentTypeError(
                    f"losses holds {shown(loss)}, which is not an object with the methods discriminator and generator"
                )
        if not self.losses or len(self.losses) != len(self.weights):
            raise ArgumentValueError(
                f"weights (={shown(self.weights)}) must hold one number for each of the {len(self.losses)} losses, "
                "and there must be at least one loss"
            )
        for weight in self.weights:
            check_weight("a weight", weight)
        self.needs_real_logits: bool = any(getattr(loss, "needs_real_logits", False) for loss in self.losses)
        self.separates_at_zero: bool = all(
            getattr(loss, "separates_at_zero", not getattr(loss, "needs_real_logits", False)) for loss in self.losses
        )
        self.needs_unbounded_logits: bool = any(getattr(loss, "needs_unbounded_logits", False) for loss in self.losses)
        self.needs_negative_logits: bool = any(getattr(loss, "needs_negative_logits", False) for loss in self.losses)
        # A loss with parameters or buffers is moved and saved with the sum.
        self.parts: nn.ModuleList = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the weighted sum of the discriminator's losses.

        Args:
            real_logits: float, of any shape that all losses accept, or a tuple with one tensor per scale.
            fake_logits: like ``real_logits``.

        Returns:
            A scalar, float32 or float64.

        Raises:
            DTypeError: the logits are not floating point.
        """
        return sum_over_scales(
            lambda real, fake: self._sum([loss.discriminator(real, fake) for loss in self.losses]),
            self,
            real_logits=real_logits,
            fake_logits=fake_logits,
        )

    def generator(self, fake_logits: Logits, real_logits: Logits | None = None) -> Tensor:
        """Compute the weighted sum of the generator's losses.

        Args:
            fake_logits: float, of any shape that all losses accept, or a tuple with one tensor per scale.
            real_logits: like ``fake_logits``; required if a loss needs real logits.

        Returns:
            A scalar, float32 or float64.

        Raises:
            ArgumentValueError: the real logits are needed and missing.
            DTypeError: the logits are not floating point.
        """
        needed = {"real_logits": real_logits} if self.needs_real_logits else {}
        return sum_over_scales(
            lambda *logits: self._sum([loss.generator(*logits) for loss in self.losses]),
            self,
            fake_logits=fake_logits,
            **needed,
        )

    def extra_repr(self) -> str:
        """Return the weights, for ``repr``."""
        texts = [*map(show_weight, self.weights[:10])] + ["..."] * (len(self.weights) > 10)
        return f"weights=({', '.join(texts)}{',' * (len(texts) == 1)})"

    def _sum(self, values: list[Tensor]) -> Tensor:
        return torch.stack([weighted(weight, value) for weight, value in zip(self.weights, values, strict=True)]).sum()
