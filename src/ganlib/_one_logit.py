"""Warn of a discriminator that gives one logit for a whole batch."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from ganlib._warning import warn_user

__all__ = ["gives_one_logit", "known", "warn_of_one_logit"]

known = weakref.WeakSet[Any]()  # penalties whose discriminator was warned of


def gives_one_logit(n: int, logits: Iterable[Tensor]) -> bool:
    """Return whether a scale of the logits of n samples has a single entry for all of them.

    A discriminator of packed samples (PacGAN) has fewer logits than samples, but usually more than one.

    Example:
        >>> import torch
        >>> logits = torch.zeros(8, 1)
        >>> gives_one_logit(8, [logits]), gives_one_logit(8, [logits.mean(0)])
        (False, True)
    """
    return n > 1 and any(
        scale.numel() == 1 or (scale.ndim > 2 and len(scale) == 1)  # the mean of maps
        for scale in logits
    )


def warn_of_one_logit(n: int, logits: Iterable[Tensor], consequence: str) -> None:
    """Warn that the discriminator gives a single logit for n samples, and of what this means."""
    shapes = " and ".join(str(tuple(scale.shape)) for scale in logits)
    warn_user(
        f"the discriminator gives logits {shapes} for {n} samples, so it probably averages over the batch: "
        f"{consequence}. Return one logit for each sample, (N, 1), without the mean; the loss averages over samples"
    )
