"""Warn of samples in a range that a network was not trained with."""

from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor

from ganlib._warning import warn_user

__all__ = ["warn_of_range"]

_warned = WeakSet[Any]()  # networks
_FEWEST = 8  # samples; fewer images in the right range may have no dark pixel by chance


def warn_of_range(network: Any, samples: Tensor, sample_range: tuple[float, float] = (-1.0, 1.0)) -> None:
    """Warn once per network of samples that seem to be in [0, 1], [0, 255] or [-1, 1] instead of the network's range.

    The samples must reach both ends of the wrong range, so an untrained generator causes no warning.
    """
    unread = torch.compiler.is_compiling() or samples.is_meta or not samples.is_floating_point()
    if unread or len(samples) < _FEWEST or network in _warned:
        return
    if samples.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    low, high = (float(end) for end in samples.detach().aminmax())
    for name, first, last in (("[0, 1]", 0.0, 1.0), ("[0, 255]", 0.0, 255.0), ("[-1, 1]", -1.0, 1.0)):
        near = 0.05 * (last - first)
        if first <= low <= first + near and last - near <= high <= last and sample_range != (first, last):
            _warned.add(network)
            warn_user(
                f"samples seem to lie in {name}, from {low:.3g} to {high:.3g}, but {type(network).__name__} takes them "
                f"in [{sample_range[0]:g}, {sample_range[1]:g}]: scale them"
            )
            return
