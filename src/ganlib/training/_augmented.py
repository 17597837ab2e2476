"""Augment the inputs of a discriminator, and tell the augmentation what the discriminator gave for real samples."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ganlib._logits import look_again
from ganlib.protocols import Logits
from ganlib.training._step._networks import call

__all__ = ["Augmented"]


class Augmented(nn.Module):
    """Call a discriminator with augmented samples; it is a module, so penalties can search it for submodules.

    Args:
        discriminator: called with the augmented samples, and with the condition if there is one.
        augment: a function from samples to samples, or None.

    Example:
        >>> import torch
        >>> Augmented(nn.Identity(), torch.neg)(torch.ones(2))
        tensor([-1., -1.])
    """

    def __init__(self, discriminator: nn.Module, augment: Callable[[Tensor], Tensor] | None) -> None:
        super().__init__()
        look_again([discriminator])
        self.discriminator = discriminator
        self.augment = augment

    def forward(self, sample: Tensor, condition: Any = None) -> Any:
        """Return the discriminator's output for augmented samples."""
        return call(self.discriminator, sample if self.augment is None else self.augment(sample), condition)

    def observe(self, real_logits: Logits) -> None:
        """Pass the logits of real samples, without their graph, to an augmentation that has a method ``observe``."""
        observe = getattr(self.augment, "observe", None)
        if observe is not None:
            if isinstance(real_logits, Tensor):
                observe(real_logits.detach())
            else:
                observe(tuple(scale.detach() for scale in real_logits))
