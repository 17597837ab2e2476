"""The kernels of a step, recorded by ``torch.cuda.graph``."""

import contextlib
import functools
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

__all__ = ["CudaRecorder", "Metrics"]

Metrics: TypeAlias = dict[str, Tensor]


class CudaRecorder:
    """Records the kernels of a step by ``torch.cuda.graph``, and gives what runs them again."""

    device_type = "cuda"

    @functools.cached_property
    def _stream(self) -> torch.cuda.Stream:
        # One for all: a gradient is accumulated on the stream of the first step whose graph is still alive.
        return torch.cuda.Stream()

    def warm_up(self, step: Callable[[], Metrics]) -> Metrics:
        """Run once, on the stream of recordings."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                return step()
        finally:
            current.wait_stream(self._stream)

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Context in which it is a RuntimeError to wait for the device."""
        before = torch.cuda.get_sync_debug_mode()
        _set_sync_debug_mode("error")
        try:
            yield
        finally:
            _set_sync_debug_mode(before)

    def record(self, step: Callable[[], Metrics]) -> tuple[Metrics, Callable[[], None]]:
        """Record without running; the step may neither wait for the device nor copy from the host.

        Returns:
            Where the results will lie, and what runs the step, each time into the same memory.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # A loader's own thread may pin memory meanwhile.
            recording = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
            with _without_garbage_collection(), recording:
                metrics = step()
        except RuntimeError as error:
            del self._stream  # which may believe the same
            # The generator believes for ever that it is being recorded, and refuses to draw: give it another state.
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
            if isinstance(error.__context__, RuntimeError):  # to end such a recording is an error too, which says less
                raise error.__context__ from None
            raise
        return metrics, graph.replay


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Context in which no cycle is freed: the graph of an earlier trainer in one would spoil the recording."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode(mode)
