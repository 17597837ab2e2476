"""An iteration recorded as a CUDA graph: one launch in place of hundreds."""

import warnings
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ganlib.distributed import world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError

__all__ = ["CudaRecorder", "StepGraphs"]

Metrics = dict[str, Tensor]

_WARM_UP = 3  # what torch's own examples take: by then libraries have chosen their kernels, and optimizers their states
_PATIENCE = 8


class CudaRecorder:
    """Records the kernels of a step by ``torch.cuda.graph``, and gives what runs them again."""

    def warm_up(self, step: Callable[[], Metrics]) -> Metrics:
        """Run once, on a stream of its own, as a recording does."""
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            metrics = step()
        current.wait_stream(stream)
        return metrics

    def record(self, step: Callable[[], Metrics]) -> tuple[Metrics, Callable[[], None]]:
        """Record without running; the step may neither wait for the device nor copy from the host.

        Returns:
            Where the results will lie, and what runs the step, each time into the same memory.
        """
        graph = torch.cuda.CUDAGraph()
        # A loader's own thread may pin memory meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            metrics = step()
        return metrics, graph.replay


class _Recording(NamedTuple):
    settings: Hashable
    inputs: list[Tensor]
    metrics: Metrics
    replay: Callable[[], None]


class StepGraphs:
    """Runs an iteration by a recording of it, one for each kind of iteration.

    A recording holds addresses and numbers: batches are copied to where it reads them, and another setting of an
    optimizer (a learning rate that is not a tensor, say) needs another recording. The first iterations of each kind
    are ordinary ones.

    Args:
        step: from all the batches of an iteration to its metrics.
        recorder: records it.
    """

    def __init__(self, step: Callable[[Any], Metrics], recorder: CudaRecorder) -> None:
        self._step = step
        self._recorder = recorder
        self._runs: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, _Recording] = {}
        self._changes = 0

    def __call__(self, batches: Any, *, kind: Hashable, settings: Hashable) -> Metrics:
        """Take a step.

        Args:
            batches: a nest of tensors; its structure and their shapes are part of the kind.
            kind: what else decides which kernels run.
            settings: what is part of a recording, and changes for good.

        Returns:
            The metrics, in memory of their own.

        Raises:
            ArgumentValueError: there are several processes.
            ArgumentTypeError: the batches hold something that a recording cannot read again.
            GanlibRuntimeError: the step cannot be recorded.
        """
        if world_size() > 1:
            raise ArgumentValueError(f"cuda_graph (=True) is for one process, but there are {world_size()}")
        leaves, structure = tree_flatten(batches)
        for leaf in leaves:
            if not (leaf is None or isinstance(leaf, Tensor)):
                raise ArgumentTypeError(
                    f"cuda_graph (=True) needs batches of tensors alone, but one holds {leaf!r:.80}"
                )
        # A tensor may be there several times (the conditions of real and fake samples, say); it is copied once.
        tensors = {id(leaf): leaf for leaf in leaves if isinstance(leaf, Tensor)}
        position = {key: index for index, key in enumerate(tensors)}
        layout = tuple(
            None if leaf is None else (position[id(leaf)], leaf.shape, leaf.dtype, leaf.stride()) for leaf in leaves
        )
        key = (kind, str(structure), layout)
        self._runs[key] = self._runs.get(key, 0) + 1
        if self._runs[key] <= _WARM_UP:
            return self._recorder.warm_up(lambda: self._step(batches))
        recording = self._recordings.get(key)
        if recording is None or recording.settings != settings:
            self._note_change(recording is not None)
            inputs = {key: torch.empty_like(tensor) for key, tensor in tensors.items()}
            static = tree_unflatten([inputs.get(id(leaf), leaf) for leaf in leaves], structure)
            recording = self._recordings[key] = _Recording(settings, list(inputs.values()), *self._record(static))
        for target, source in zip(recording.inputs, tensors.values(), strict=True):
            target.copy_(source, non_blocking=True)
        recording.replay()
        return {name: value.clone() for name, value in recording.metrics.items()}

    def forget(self) -> None:
        """Drop all recordings: a state was loaded, and lies elsewhere."""
        self._recordings = {}
        self._runs = {}

    def _record(self, batches: Any) -> tuple[Metrics, Callable[[], None]]:
        try:
            return self._recorder.record(lambda: self._step(batches))
        except RuntimeError as error:
            raise GanlibRuntimeError(
                f"cuda_graph (=True): the step cannot be recorded; nothing in it may wait for the device, or copy from "
                f"the host: {error}"
            ) from error

    def _note_change(self, changed: bool) -> None:
        self._changes += changed
        if self._changes == _PATIENCE:
            warnings.warn(
                f"cuda_graph (=True): the step was recorded again {_PATIENCE} times, since an optimizer's settings "
                "keep changing; give it its learning rate as a tensor, lr=torch.tensor(2e-4), which can change in "
                "place",
                stacklevel=2,
            )
