"""Refuse images as bytes on one side of a comparison, and scaled to [-1, 1] or [0, 1] on the other."""

from collections.abc import Callable

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError

__all__ = ["MixedImages"]

_KEPT = 4  # images
_DARK = 16  # out of 255
_SCALED = 2.0  # floats in [0, 1] or [-1, 1] do not go beyond this


class MixedImages:
    """Keep the first bytes of a metric, and compare them with its first floats.

    A network may take both, and scale bytes itself. It does not if the bytes have the same outputs as the same numbers
    as floats, and other outputs than these numbers scaled to [0, 1] or [-1, 1].
    """

    def __init__(self) -> None:
        self._bytes: tuple[str, Tensor] | None = None
        self._floats: tuple[str, float] | None = None

    def forget(self, side: str) -> None:
        """Forget the images of a side."""
        self._bytes = None if self._bytes is not None and self._bytes[0] == side else self._bytes
        self._floats = None if self._floats is not None and self._floats[0] == side else self._floats

    def check(self, side: str, samples: Tensor, outputs_of: Callable[[Tensor], Tensor]) -> None:
        """Raise an ArgumentValueError if one side has bytes, and the other side has scaled floats.

        Args:
            side: the side of the samples.
            samples: (N, ...); only images (N, C, H, W) are compared.
            outputs_of: the network.
        """
        if samples.ndim != 4 or not len(samples):
            return
        if samples.dtype == torch.uint8 and self._bytes is None:
            self._bytes = side, samples[:_KEPT].clone()
        elif samples.is_floating_point() and self._floats is None:
            self._floats = side, float(samples.abs().max())
        else:
            return
        if self._bytes is None or self._floats is None or self._bytes[0] == self._floats[0]:
            return
        (side_of_bytes, images), (side_of_floats, highest) = self._bytes, self._floats
        if highest > _SCALED or images.max() <= _DARK or not _unscaled(images, outputs_of):
            return
        raise ArgumentValueError(
            f"samples of the {side_of_bytes} side are uint8, up to {int(images.max())}, and those of the "
            f"{side_of_floats} side are floats up to {highest:.3g}, but the network does not scale bytes: scale "
            "both sides in the same way, by x / 127.5 - 1 for bytes and generators in [-1, 1]"
        )


def _unscaled(images: Tensor, outputs_of: Callable[[Tensor], Tensor]) -> bool:
    floats = images.to(torch.get_default_dtype())
    try:
        raw, same, unit, signed = map(outputs_of, (images, floats, floats / 255, floats / 127.5 - 1))
    except Exception:  # it takes only bytes, or only floats
        return False
    return _close(raw, same) and not _close(raw, unit) and not _close(raw, signed)


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-6)
