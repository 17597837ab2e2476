"""Buffers that stay in float32 or float64, and stay the same tensors, when their module is converted or moved."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["PreciseBuffers"]


class PreciseBuffers(nn.Module):
    """Keep buffers in float32 or float64 when the module is converted to half precision.

    The buffers also stay the same objects, as parameters do, so that a schedule can write to one of them after the
    module was moved to another device.

    Example:
        >>> import torch
        >>> module = PreciseBuffers()
        >>> module.register_buffer("mean", torch.zeros(()))
        >>> module.half().mean.dtype
        torch.float32
    """

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "PreciseBuffers":
        before = dict(self.named_buffers(recurse=False))
        super()._apply(fn, recurse)
        for name, buffer in before.items():
            now = getattr(self, name)
            if now.dtype.itemsize < buffer.dtype.itemsize:
                now = buffer.to(now.device)
            setattr(self, name, _moved(buffer, now))
        return self


def _moved(buffer: Tensor, now: Tensor) -> Tensor:
    """Return the buffer with the data of another tensor, or that tensor if its kind of device is too different."""
    try:
        buffer.data = now
    except RuntimeError:  # the meta device has no data
        return now
    return buffer
