"""Transfer batches from host to device, one batch ahead."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Transfer"]


class Transfer:
    """Gather rows of tensors on the host and send them to a device, one batch ahead."""

    def __init__(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        self._tensors = tensors
        self._device = device
        # One lane is being filled, one is being sent, and one may still be in use.
        self._lanes = [_Lane() for _ in range(3)] if device.type == "cuda" else []
        self._stream: Any = torch.cuda.Stream(device) if self._lanes else None

    def __call__(self, rows: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """Yield, for each batch of indices (N,), the rows of all tensors on the device."""
        ahead: list[tuple[list[Tensor], Any]] = []
        for index, chosen in enumerate(rows):
            ahead.append(self._send(chosen, index))
            if len(ahead) > 1:
                yield self._receive(*ahead.pop(0))
        for sent in ahead:
            yield self._receive(*sent)

    def _send(self, chosen: Tensor, index: int) -> tuple[list[Tensor], Any]:
        if not self._lanes:
            return [tensor.index_select(0, chosen).to(self._device) for tensor in self._tensors], None
        lane = self._lanes[index % len(self._lanes)]
        lane.event.synchronize()  # usually no wait: this lane was sent three batches ago
        with torch.cuda.stream(self._stream):
            sent = [row.to(self._device, non_blocking=True) for row in lane.gather(self._tensors, chosen)]
            lane.event.record()
        return sent, lane.event

    def _receive(self, sent: list[Tensor], event: Any) -> list[Tensor]:
        """Return a sent batch, once the current stream may read it."""
        if event is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(event)
            for tensor in sent:
                tensor.record_stream(current)
        return sent


class _Lane:
    def __init__(self) -> None:
        self.event: Any = torch.cuda.Event()
        self._pinned: list[Tensor] = []

    def gather(self, tensors: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
        if not self._pinned or len(self._pinned[0]) < len(chosen):
            self._pinned = [
                torch.empty(len(chosen), *tensor.shape[1:], dtype=tensor.dtype, pin_memory=True) for tensor in tensors
            ]
        rows = [pinned[: len(chosen)] for pinned in self._pinned]
        for tensor, row in zip(tensors, rows, strict=True):
            torch.index_select(tensor, 0, chosen, out=row)
        return rows
