"""Matrices that double and halve the resolution of a signal with an orthogonal wavelet filter."""

import torch
from torch import Tensor

__all__ = ["TAPS", "downsampling", "filter_taps", "period", "reflected", "upsampling"]

# The lowpass filter of the wavelet sym6 (Daubechies' least asymmetric one with six vanishing moments).
_SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
    *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
    *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
)
TAPS = len(_SYM6)
_CENTER = 5  # the index of the largest tap, which stays at its pixel


def filter_taps() -> Tensor:
    """Return the filter as a sum of two rows (2, TAPS) of float32, which has nearly the precision of float64.

    Some devices have no float64, and a step must not copy numbers to the device.
    """
    exact = torch.tensor(_SYM6, dtype=torch.float64)
    return torch.stack([exact.float(), (exact - exact.float()).float()])


def period(size: int) -> int:
    """Return the period of a signal that is reflected at its first and its last value, without repeating them."""
    return max(2 * size - 2, 1)


def reflected(index: Tensor, size: int) -> Tensor:
    """Return the index in [0, size - 1] for any index, by reflection, as often as necessary."""
    return size - 1 - (size - 1 - index.remainder(period(size))).abs()


def upsampling(size: int, taps: Tensor) -> Tensor:
    """Return the matrix (2 period + 1, size) from a signal to one period of its reflection at twice the resolution.

    The value at position i of the signal is at 2 i of the result, whose last value is its first one again.
    """
    rows = torch.arange(2 * period(size) + 1, device=taps.device).unsqueeze(1) + _CENTER
    near = torch.arange(TAPS // 2, device=taps.device)
    columns = reflected(rows // 2 - near, size)
    weights = 2**0.5 * taps[rows % 2 + 2 * near]
    own = columns.unsqueeze(2) == torch.arange(size, device=taps.device)
    return (own * weights.unsqueeze(2)).sum(1)


def downsampling(size: int, taps: Tensor) -> Tensor:
    """Return the matrix (size, 2 size + TAPS - 2) from a signal of twice the resolution to one of a given size.

    The value at i of the result is at 2 i + 5 of the signal, which begins earlier by the length of the filter.
    """
    offsets = torch.arange(2 * size + TAPS - 2, device=taps.device) - 2 * torch.arange(
        size, device=taps.device
    ).unsqueeze(1)
    inside = (offsets >= 0) & (offsets < TAPS)
    return taps[offsets.clamp(0, TAPS - 1)] * inside / 2**0.5
