"""Support of float64 on devices; MPS has none."""

import torch
from torch import Tensor

__all__ = ["has_float64", "in_float64", "widest"]

_WITHOUT_FLOAT64 = {"mps"}


def has_float64(device: torch.device) -> bool:
    """Return whether a device supports float64.

    Example:
        >>> has_float64(torch.device("cuda")), has_float64(torch.device("mps"))
        (True, False)
    """
    return device.type not in _WITHOUT_FLOAT64


def widest(device: torch.device) -> torch.dtype:
    """Return float64, or float32 if the device has no float64."""
    return torch.float64 if has_float64(device) else torch.float32


def in_float64(x: Tensor) -> Tensor:
    """Convert a tensor to float64, on the CPU if its device has no float64."""
    return x.double() if has_float64(x.device) else x.cpu().double()
