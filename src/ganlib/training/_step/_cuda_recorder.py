"""Record the kernels of a step by ``torch.cuda.graph``."""

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
    """Record the kernels of a step by ``torch.cuda.graph``, and return a function that runs them again."""

    device_type = "cuda"

    @functools.cached_property
    def _stream(self) -> torch.cuda.Stream:
        # All steps share a stream, since torch accumulates a gradient on the stream of the first graph that is alive.
        return torch.cuda.Stream()

    def warm_up(self, step: Callable[[], Metrics]) -> Metrics:
        """Run a step once, on the stream of recordings."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._stream):
                return step()
        finally:
            current.wait_stream(self._stream)

    @contextlib.contextmanager
    def without_waiting(self) -> Iterator[None]:
        """Raise a RuntimeError inside the context if a step waits for the device."""
        before = torch.cuda.get_sync_debug_mode()
        _set_sync_debug_mode("error")
        try:
            yield
        finally:
            _set_sync_debug_mode(before)

    def record(self, step: Callable[[], Metrics]) -> tuple[Metrics, Callable[[], None]]:
        """Record a step without running it; the step must not wait for the device or copy from the host.

        Returns:
            The tensors that will contain the results, and a function that runs the step into the same memory each time.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # thread_local, since a loader's thread may pin memory during the recording.
            recording = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")
            with _without_garbage_collection(), recording:
                metrics = step()
        except RuntimeError as error:
            # The stream and the default generator may stay in recording mode, in which the generator refuses to draw.
            # So drop the stream, and give the generator another state.
            del self._stream
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            generator.graphsafe_set_state(torch.Generator(generator.device).graphsafe_get_state())
            if isinstance(error.__context__, RuntimeError):  # ending a failed recording raises a second, vaguer error
                raise error.__context__ from None
            raise
        return metrics, graph.replay


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Disable garbage collection: freeing the graph of an earlier trainer would break the recording."""
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
