"""ADA's transforms of one image as the paper writes them, in NumPy and float64: slow, and without a trick."""

import math
from typing import Any

import numpy as np

__all__ = ["SYM6", "downsampled", "recolored", "resampled", "upsampled"]

Array = np.ndarray[Any, np.dtype[np.float64]]

SYM6 = np.array(
    [
        *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633),
        *(0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252),
        *(-0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148),
    ]
)


def upsampled(signal: Array) -> tuple[Array, int]:
    """A signal, reflected far beyond its ends, at twice the resolution, and the index of its own first value there.

    Zeros are inserted between the values, and the filter is slid along, with its largest tap, the sixth, on a value.
    """
    margin = 6 * len(signal) + 12
    padded = np.pad(signal, margin, mode="reflect")
    inserted = np.zeros(2 * len(padded))
    inserted[::2] = padded
    # As the official code does: six zeros before, five behind, and a true convolution.
    filtered = np.convolve(np.pad(inserted, (6, 5)), SYM6 * 2**0.5, mode="valid")
    return filtered[: len(inserted)], 2 * margin


def downsampled(signal: Array) -> Array:
    """A signal of half the resolution, by a correlation with the filter of which every second value is kept."""
    result: Array = np.correlate(signal, SYM6 / 2**0.5, mode="valid")[::2]
    return result


def resampled(image: Array, matrix: Array) -> Array:
    """An image (H, W) whose pixels are read where a matrix takes them, in pixels from the center."""
    height, width = image.shape
    wide = np.stack([upsampled(row)[0] for row in image])
    large = np.stack([upsampled(column)[0] for column in wide.T]).T
    zero_y, zero_x = 2 * (6 * height + 12), 2 * (6 * width + 12)
    read = np.zeros((2 * height + 10, 2 * width + 10))
    for i in range(len(read)):
        for j in range(len(read[0])):
            at = (j - 5) / 2 - (width - 1) / 2, (i - 5) / 2 - (height - 1) / 2, 1
            x, y, _ = matrix @ at
            column, row = 2 * (x + (width - 1) / 2) + zero_x, 2 * (y + (height - 1) / 2) + zero_y
            left, top = math.floor(column), math.floor(row)
            u, v = column - left, row - top
            read[i, j] = (
                (1 - v) * ((1 - u) * large[top, left] + u * large[top, left + 1])
                + v * ((1 - u) * large[top + 1, left] + u * large[top + 1, left + 1])
            )  # fmt: skip
    narrow = np.stack([downsampled(row) for row in read])
    return np.stack([downsampled(column) for column in narrow.T]).T


def recolored(
    image: Array, *, brightness: float, contrast: float, flip: bool, angle: float, saturation: float
) -> Array:
    """An image (1 or 3, H, W) times a matrix of 4x4, made of those of the five transforms, one after another."""
    v = np.array([1, 1, 1, 0]) / 3**0.5
    luma, color = np.outer(v, v), np.eye(4)
    color = np.array([[1, 0, 0, brightness], [0, 1, 0, brightness], [0, 0, 1, brightness], [0, 0, 0, 1]]) @ color
    color = np.diag([contrast, contrast, contrast, 1]) @ color
    color = (np.eye(4) - 2 * luma * flip) @ color
    if len(image) == 3:
        cross = np.array([[0, -v[2], v[1], 0], [v[2], 0, -v[0], 0], [-v[1], v[0], 0, 0], [0, 0, 0, 0]])
        turn = math.cos(angle) * np.eye(4) + math.sin(angle) * cross + (1 - math.cos(angle)) * luma
        turn[3, 3] = 1
        color = turn @ color
        color = (luma + (np.eye(4) - luma) * saturation) @ color
        color[3] = 0, 0, 0, 1
        return np.einsum("ij,jhw->ihw", color[:3, :3], image) + color[:3, 3, None, None]
    mean = color[:3].mean(0)
    result: Array = image * mean[:3].sum() + mean[3]
    return result
