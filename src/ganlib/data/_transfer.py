"""From the host's memory to a device, one batch ahead."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["Transfer"]


class Transfer:
    """Gathers rows of tensors on the host and sends them, while the device is still busy with the batch before.

    To CUDA they go through pinned memory, on a stream of their own, so that neither the host nor the device waits.

    Args:
        tensors: of as many rows, on the host.
        device: where the rows go.

    Example:
        >>> transfer = Transfer([torch.arange(6)], torch.device("cpu"))
        >>> list(transfer([torch.tensor([4, 0]), torch.tensor([5])]))
        [[tensor([4, 0])], [tensor([5])]]
    """

    def __init__(self, tensors: Sequence[Tensor], device: torch.device) -> None:
        self._tensors = tensors
        self._device = device
        # One that is being filled, one on its way, and one that may be still.
        self._lanes = [_Lane() for _ in range(3)] if device.type == "cuda" else []
        self._stream: Any = torch.cuda.Stream(device) if self._lanes else None

    def __call__(self, rows: Iterable[Tensor]) -> Iterator[list[Tensor]]:
        """Send batch after batch.

        Args:
            rows: indices (N,) int64 of each batch, on the host.

        Returns:
            For each batch, its rows of all the tensors, on the device.
        """
        ahead: list[tuple[list[Tensor], Any]] = []
        for place, chosen in enumerate(rows):
            ahead.append(self._send(chosen, place))
            if len(ahead) > 1:
                yield self._receive(*ahead.pop(0))
        for sent in ahead:
            yield self._receive(*sent)

    def _send(self, chosen: Tensor, place: int) -> tuple[list[Tensor], Any]:
        if not self._lanes:
            return [tensor.index_select(0, chosen).to(self._device) for tensor in self._tensors], None
        lane = self._lanes[place % len(self._lanes)]
        lane.event.synchronize()  # what was sent from here three batches ago has long arrived
        with torch.cuda.stream(self._stream):
            sent = [row.to(self._device, non_blocking=True) for row in lane.gather(self._tensors, chosen)]
            lane.event.record()
        return sent, lane.event

    def _receive(self, sent: list[Tensor], event: Any) -> list[Tensor]:
        if event is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_event(event)
            for tensor in sent:
                tensor.record_stream(current)
        return sent


class _Lane:
    """Pinned memory for one batch."""

    def __init__(self) -> None:
        self.event: Any = torch.cuda.Event()
        self._pinned: list[Tensor] = []

    def gather(self, tensors: Sequence[Tensor], chosen: Tensor) -> list[Tensor]:
        """The rows, in pinned memory."""
        if not self._pinned or len(self._pinned[0]) < len(chosen):
            self._pinned = [
                torch.empty(len(chosen), *tensor.shape[1:], dtype=tensor.dtype, pin_memory=True) for tensor in tensors
            ]
        rows = [pinned[: len(chosen)] for pinned in self._pinned]
        for tensor, row in zip(tensors, rows, strict=True):
            torch.index_select(tensor, 0, chosen, out=row)
        return rows
