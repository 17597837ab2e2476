"""A training step recorded as a CUDA graph: one launch in place of hundreds."""

import warnings
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from ganlib.distributed import world_size
from ganlib.errors import ArgumentValueError, GanlibRuntimeError
from ganlib.training._networks import Minibatch

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["CudaRecorder", "Recorder", "StepGraphs"]

Rounds = list[list[Minibatch]]
Metrics = dict[str, Tensor]

_WARM_UP = 3  # what torch's own examples take: by then libraries have chosen their kernels, and optimizers their states
_PATIENCE = 8


class Recorder(Protocol):
    """What runs a function once for warming up, and what records it to be run again."""

    def warm_up(self, step: Callable[[], Metrics], /) -> Metrics:
        """Run it."""

    def record(self, step: Callable[[], Metrics], /) -> tuple[Metrics, Callable[[], None]]:
        """Record without running: where the results will lie, and what runs it, each time into the same place."""


class CudaRecorder:
    """Records kernels by ``torch.cuda.graph``."""

    def warm_up(self, step: Callable[[], Metrics]) -> Metrics:
        """Run on a stream of its own, as a recording does.

        Args:
            step: what is run.

        Returns:
            What it gives.
        """
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.cuda.stream(stream):
            metrics = step()
        current.wait_stream(stream)
        return metrics

    def record(self, step: Callable[[], Metrics]) -> tuple[Metrics, Callable[[], None]]:
        """Record.

        Args:
            step: what is recorded; it may neither wait for the device nor copy from the host.

        Returns:
            Where the results will lie, and what runs the step.
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
    """Runs a step by a recording of it, one for each kind of step.

    A recording holds addresses and numbers: samples are copied to where it reads them, and another setting of an
    optimizer (a learning rate that is no tensor, say) needs another recording. The first steps are ordinary ones.

    Args:
        trainer: whose step.
        recorder: another one in the tests, where there is no CUDA.
    """

    def __init__(self, trainer: "AdversarialTrainer", recorder: Recorder | None = None) -> None:
        self._trainer = trainer
        self._recorder = CudaRecorder() if recorder is None else recorder
        self._runs: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, _Recording] = {}
        self._changes = 0

    def __call__(self, rounds: Iterable[list[Minibatch]]) -> Metrics:
        """Take a step.

        Args:
            rounds: the minibatches of each update.

        Returns:
            The metrics, in memory of their own.

        Raises:
            ArgumentValueError: there are several processes.
            GanlibRuntimeError: the step cannot be recorded.
        """
        if world_size() > 1:
            raise ArgumentValueError(f"cuda_graph (=True) is for one process, but there are {world_size()}")
        rounds = list(rounds)
        parts = [part for minibatches in rounds for minibatch in minibatches for part in minibatch if part is not None]
        given = {id(part): part for part in parts}  # the same samples serve several updates, and are copied once
        layout = tuple((part.shape, part.stride(), part.dtype) for part in given.values())
        place = {key: index for index, key in enumerate(given)}
        kind = (self._kind(), layout, tuple(place[id(part)] for part in parts))
        self._runs[kind] = self._runs.get(kind, 0) + 1
        if self._runs[kind] <= _WARM_UP:
            return self._recorder.warm_up(lambda: self._trainer._algorithm(iter(rounds)))
        recording = self._recordings.get(kind)
        if recording is None or recording.settings != self._settings():
            self._note_change(recording is not None)
            recording = self._recordings[kind] = self._record(rounds, given)
        for target, source in zip(recording.inputs, given.values(), strict=True):
            target.copy_(source, non_blocking=True)
        recording.replay()
        return {name: value.clone() for name, value in recording.metrics.items()}

    def _kind(self) -> tuple[object, ...]:
        """What decides which kernels run, beside the batch: the modes of the networks, and penalties that are due."""
        players = (self._trainer.generator, self._trainer.discriminator)
        modes = [module.training for player in players for module in player.modules()]
        return (*modes, *self._trainer._objectives.due())

    def _settings(self) -> tuple[object, ...]:
        """What is part of a recording and may change for good: the numbers of the optimizers, and what is trained."""
        trainer = self._trainer
        groups = [*trainer.generator_optimizer.param_groups, *trainer.discriminator_optimizer.param_groups]
        plain = [value for group in groups for value in group.values() if not isinstance(value, Tensor | list)]
        return (*plain, *(p.requires_grad for group in groups for p in group["params"]))

    def forget(self) -> None:
        """Drop all recordings: a state was loaded, and lies elsewhere."""
        self._recordings = {}
        self._runs = {}

    def _record(self, rounds: Rounds, given: dict[int, Tensor]) -> _Recording:
        # Where the recording will read what it is given.
        places = {key: torch.empty_like(part) for key, part in given.items()}
        static = [
            [Minibatch._make(None if part is None else places[id(part)] for part in minibatch) for minibatch in each]
            for each in rounds
        ]
        try:
            metrics, replay = self._recorder.record(lambda: self._trainer._algorithm(iter(static)))
        except RuntimeError as error:
            raise GanlibRuntimeError(
                f"cuda_graph (=True): the step cannot be recorded; nothing in it may wait for the device, or copy from "
                f"the host: {error}"
            ) from error
        return _Recording(self._settings(), list(places.values()), metrics, replay)

    def _note_change(self, changed: bool) -> None:
        self._changes += changed
        if self._changes == _PATIENCE:
            warnings.warn(
                f"cuda_graph (=True): the step was recorded anew {_PATIENCE} times, since an optimizer's settings keep "
                "changing; give it its learning rate as a tensor, lr=torch.tensor(2e-4), which can change in place",
                stacklevel=2,
            )
