"""What one update is made of."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Minibatch"]


class Minibatch(NamedTuple):
    """What an update is made of: real samples, their conditions, and those that the fakes are asked to meet.

    Args:
        sample: (N, ...) float, on the generator's device.
        condition: the real samples', or None.
        fake_condition: the fakes', or None.

    Example:
        >>> import torch
        >>> Minibatch(torch.zeros(4, 2)).fake_condition is None
        True
    """

    sample: Tensor
    condition: Tensor | None = None
    fake_condition: Tensor | None = None
