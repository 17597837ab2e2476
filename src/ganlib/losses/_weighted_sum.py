"""Several losses as one."""

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
    r"""A weighted sum of adversarial losses, which is an adversarial loss itself.

    .. math:: L_D = \sum_i w_i L_D^{(i)}, \qquad L_G = \sum_i w_i L_G^{(i)}

    Over several processes it is that of the whole batch if each of the losses is.

    Args:
        losses: at least one, of ganlib or your own.
        weights: a finite number of at least 0 for each; a 0-dim tensor where it changes during training (see
            :class:`ganlib.training.Schedule`).

    Attributes:
        needs_real_logits: whether any of the losses needs them.

    Raises:
        ArgumentTypeError: losses or weights are not sequences, or one of the losses is not an AdversarialLoss.
        ArgumentValueError: no losses, another number of weights, or a weight out of its range.

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
                "which must be at least one"
            )
        for weight in self.weights:
            check_weight("a weight", weight)
        self.needs_real_logits: bool = any(getattr(loss, "needs_real_logits", False) for loss in self.losses)
        self.needs_unbounded_logits: bool = any(getattr(loss, "needs_unbounded_logits", False) for loss in self.losses)
        # A loss with parameters or buffers of its own is moved and saved with the sum.
        self.parts: nn.ModuleList = nn.ModuleList(loss for loss in self.losses if isinstance(loss, nn.Module))

    def discriminator(self, real_logits: Logits, fake_logits: Logits) -> Tensor:
        """Compute the weighted sum of the discriminator's losses.

        Args:
            real_logits: float, of any shape that all the losses take, or a tuple of several scales.
            fake_logits: the same.

        Returns:
            A scalar, float32 or better.

        Raises:
            DTypeError: logits that are not floating point.
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
            fake_logits: float, of any shape that all the losses take, or a tuple of several scales.
            real_logits: the same, if any of the losses needs them.

        Returns:
            A scalar, float32 or better.

        Raises:
            ArgumentValueError: no real logits, if they are needed.
            DTypeError: logits that are not floating point.
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
