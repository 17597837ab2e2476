"""Record an iteration as a CUDA graph; one launch then replaces hundreds."""

import contextlib
import traceback
import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from ganlib._nest import mapped
from ganlib._random import random_state
from ganlib._shown import shown
from ganlib.distributed import world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, GanlibRuntimeError
from ganlib.training._step._constants import Constants
from ganlib.training._step._cuda_recorder import CudaRecorder, Metrics
from ganlib.training._step._memory import Memory, difference, distances
from ganlib.training._step._recordable import RecordableOptimizer

__all__ = ["CudaGraph", "StepGraphs"]

CudaGraph: TypeAlias = bool | Literal["auto"]

_WARM_UP = 3  # as in torch's examples: libraries then have chosen their kernels, and optimizers have created states
_PATIENCE = 8
_SOON = 20  # replays after which a recording has saved more time than it took
_MOST = 32
_NUDGES = 6  # with fewer nudges, the measured noise of a single number is often too small by chance


@dataclass
class _Recording:
    inputs: list[Tensor]
    metrics: list[tuple[list[str], Tensor]]
    gradients: list[tuple[nn.Parameter, Tensor | None]]
    replay: Callable[[], None]
    constants: Constants
    settings: list[Any]
    replays: int = 0


class _CannotRecord(Exception):  # noqa: N818 - it becomes the error that it carries, or a warning
    """Carry the error that says why a step cannot be recorded."""

    def __init__(self, error: GanlibError) -> None:
        super().__init__(str(error))
        self.error = error


class StepGraphs:
    """Record an iteration and replay it, with one recording for each kind of iteration.

    A recording contains addresses and numbers. So batches and learning rates are copied to the addresses that it reads.
    If another number or address changes, the step is recorded again. The first iterations of each kind are not
    recorded. Each recording is compared with an ordinary step from the same state before it is used.

    Args:
        step: a function from all batches of an iteration to its metrics.
        recorder: records the step.
        setting: the value of ``cuda_graph``. With ``"auto"``, a step that cannot be recorded raises a warning and runs
            without a recording.
        optimizers: the optimizers of the step, by name.
        scalers: the gradient scalers.
        parts: a function that returns everything the step can reach, by name.
        device: the device of the step.

    Attributes:
        replayed: number of steps that a recording has run.

    Raises:
        ArgumentValueError: an optimizer cannot be recorded.
    """

    def __init__(
        self,
        step: Callable[[Any], Metrics],
        recorder: CudaRecorder,
        *,
        setting: CudaGraph = True,
        optimizers: Mapping[str, torch.optim.Optimizer],
        scalers: Sequence[torch.amp.GradScaler] = (),
        parts: Callable[[], Mapping[str, Any]],
        device: torch.device,
    ) -> None:
        self._step = step
        self._recorder = recorder
        self._setting = f"cuda_graph (={setting!r})"
        self._falls_back = setting == "auto"
        self._given_up = False
        self._scalers = scalers
        self._parts = parts
        self._device = device
        self._runs: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, _Recording] = {}
        self._changes = 0
        self._warned_of_kinds = False
        self._last: _Recording | None = None
        self.replayed = 0
        self._optimizers: list[RecordableOptimizer] = []
        try:
            for name, optimizer in optimizers.items():
                own = RecordableOptimizer(optimizer, name=name, setting=self._setting, scaled=bool(scalers))
                self._optimizers.append(own)
        except ArgumentValueError as error:
            self._give_up(error, error.__cause__)

    def __call__(self, batches: Any, *, kind: Hashable) -> Metrics:
        """Take a step.

        Args:
            batches: a nest of tensors. Its structure and the shapes of its tensors are part of the kind.
            kind: everything else that selects the kernels.

        Returns:
            The metrics, in new memory.

        Raises:
            ArgumentValueError: there are several processes.
            ArgumentTypeError: the batches contain something that a recording cannot read again.
            GanlibRuntimeError: the step cannot be recorded, or its recording would not do the same as the step.
        """
        if self._given_up:
            return self._step(batches)
        try:
            with torch.cuda.device(self._device) if self._device.type == "cuda" else contextlib.nullcontext():
                return self._run(batches, kind)
        except _CannotRecord as caught:
            reason = caught
        self._give_up(reason.error, reason.__cause__)
        with _on_another_stream():
            return self._step(batches)

    def forget(self) -> None:
        """Drop all recordings, since a loaded state has other addresses."""
        self._last = None
        self._recordings = {}
        self._runs = {}

    def _give_up(self, error: GanlibError, cause: BaseException | None = None) -> None:
        if not self._falls_back:
            raise error from cause
        self._given_up = True
        self.forget()
        for optimizer in self._optimizers:
            optimizer.release()
        warnings.warn(f"{error}. The training goes on by single launches, which is slower", stacklevel=5)

    def _run(self, batches: Any, kind: Hashable) -> Metrics:
        if world_size() > 1:
            raise _CannotRecord(ArgumentValueError(f"{self._setting} is for one process, but there are {world_size()}"))
        tensors: dict[int, Tensor] = {}
        key = (kind, self._layout(batches, tensors))
        recording = self._recordings.get(key)
        for optimizer in self._optimizers:
            optimizer.refresh()
        if recording is not None:
            if recording.settings == self._settings() and recording.constants.hold():
                _copy(recording.inputs, tensors.values())
                self._replay(recording)
                self.replayed += 1
                return _unpacked(recording.metrics)
            del self._recordings[key]  # then take an ordinary step, in which optimizers may create states
            self._note_change(recording)
            return self._recorder.warm_up(lambda: self._ready_step(batches))
        self._runs[key] = self._runs.get(key, 0) + 1
        if self._runs[key] <= _WARM_UP:
            return self._recorder.warm_up(lambda: self._ready_step(batches))
        if len(self._recordings) == _MOST:
            if not self._warned_of_kinds:
                self._warned_of_kinds = True
                warnings.warn(
                    f"{self._setting}: there are more than {_MOST} kinds of steps. Steps differ in kind if "
                    "the shapes of batches or the updated players differ. The other kinds run without a graph. Use "
                    "batches of one shape, for example with drop_last=True",
                    stacklevel=5,
                )
            return self._ready_step(batches)
        try:
            return self._record_and_compare(key, batches, tensors)
        except torch.OutOfMemoryError as error:
            raise _CannotRecord(
                GanlibRuntimeError(f"{self._setting}: there is no memory to record the step: {error}")
            ) from error

    def _layout(self, nest: Any, tensors: dict[int, Tensor]) -> Hashable:
        """Return the structure of a nest with the shapes of its tensors, and collect the tensors.

        A tensor that occurs several times, such as the condition of real and fake samples, is collected and copied
        once.
        """
        if isinstance(nest, Tensor):
            tensors.setdefault(id(nest), nest)
            return list(tensors).index(id(nest)), nest.shape, nest.dtype, nest.stride()
        if isinstance(nest, dict):
            return dict, *nest, *[self._layout(part, tensors) for part in nest.values()]
        if isinstance(nest, tuple | list):
            return type(nest), *[self._layout(part, tensors) for part in nest]
        if nest is not None:
            raise _CannotRecord(
                ArgumentTypeError(f"{self._setting} needs batches of tensors alone, but one holds {shown(nest)}")
            )
        return None

    def _ready_step(self, batches: Any) -> Metrics:
        self._last = None  # an ordinary step creates new gradients
        with contextlib.ExitStack() as stack:
            stack.enter_context(_on_another_stream())
            for optimizer in self._optimizers:
                stack.enter_context(optimizer.ready())
            return self._step(batches)

    def _replay(self, recording: _Recording) -> None:
        recording.replay()
        recording.replays += 1
        if self._last is not recording:  # each recording writes to its own gradients
            self._last = recording
            for parameter, gradient in recording.gradients:
                parameter.grad = gradient
        for optimizer in self._optimizers:
            optimizer.count(1)

    def _states(self) -> list[int]:
        return [optimizer.states() for optimizer in self._optimizers]

    def _settings(self) -> list[Any]:
        return [optimizer.settings() for optimizer in self._optimizers]

    def _setting_that_changed(self, before: list[Any]) -> str | None:
        changes = (optimizer.change(own) for optimizer, own in zip(self._optimizers, before, strict=True))
        return next(filter(None, changes), None)

    def _record_and_compare(self, key: Hashable, batches: Any, tensors: Mapping[int, Tensor]) -> Metrics:
        """Take an ordinary step, record it, restore the state, and run the recording from the same state."""
        inputs = {identity: tensor.clone() for identity, tensor in tensors.items()}
        batches = mapped(batches, lambda tensor: inputs[id(tensor)])
        constants = Constants(self._parts(), self._device)
        memory, settings = Memory(constants.tensors(), self._scalers), self._settings()
        mirrors = [optimizer.mirrors() for optimizer in self._optimizers]
        groups, states = [optimizer.groups() for optimizer in self._optimizers], self._states()
        try:
            try:
                with self._recorder.without_waiting():
                    metrics = self._recorder.warm_up(lambda: self._ready_step(batches))
            except RuntimeError as error:
                raise self._refusal(error) from error
            if change := self._setting_that_changed(settings):
                raise self._would_keep(change)
            if [optimizer.mirrors() for optimizer in self._optimizers] != mirrors:
                raise self._would_keep("a scheduler has changed a learning rate")
            if self._states() != states:  # the optimizers created states in this step, so record a later one
                return metrics
            expected = {**_as_metrics(metrics), **memory.contents()}
            memory.put_back()
            _copy(inputs.values(), tensors.values())  # a step may change its batch
            recording = self._record(batches, list(inputs.values()))
            if said := self._difference(recording, memory, expected, tensors.values()):
                raise _CannotRecord(
                    GanlibRuntimeError(
                        f"{self._setting}: a recording of the step does not do what the step does; it differs in "
                        f"{said}. A recording keeps Python numbers and the addresses of tensors: a value that changes "
                        "must be a tensor of a module in modules, and be changed in place"
                    )
                )
        except (_CannotRecord, torch.OutOfMemoryError):
            constants.put_back()
            memory.put_back()
            for optimizer, before in zip(self._optimizers, groups, strict=True):
                optimizer.put_back(before)
            raise
        self._recordings[key] = recording
        self.replayed += 1
        return _unpacked(recording.metrics)

    def _difference(
        self, recording: _Recording, memory: Memory, expected: Mapping[str, Tensor], tensors: Collection[Tensor]
    ) -> str | None:
        """Run the recording, and describe where it differs from the ordinary step by more than rounding.

        Nudged weights show how much a step amplifies rounding. Some kernels sum in another order each time, and Adam
        divides by tiny gradients, so no fixed bound is right. Further ordinary steps would not show it, since a Python
        number may have changed between them.
        """

        def outcome(*, nudged: bool = False) -> dict[str, Tensor]:
            memory.put_back(nudged=nudged)
            _copy(recording.inputs, tensors)
            self._replay(recording)
            return {**_as_metrics(_unpacked(recording.metrics)), **memory.contents()}

        actual = outcome()
        noise = distances(actual, outcome())
        said = difference(memory.before, expected, actual, noise)
        if said is not None:
            for _ in range(_NUDGES):
                nudged = distances(actual, outcome(nudged=True))
                noise = {name: max(noise[name], nudged[name]) for name in noise}
            outcome()  # the training continues from here
            said = difference(memory.before, expected, actual, noise)
        return said

    def _record(self, batches: Any, inputs: list[Tensor]) -> _Recording:
        constants, settings, random_numbers = Constants(self._parts(), self._device), self._settings(), random_state()
        names: list[list[str]] = []

        def step() -> Metrics:
            packed = _packed(self._ready_step(batches))
            names.extend(some for some, _ in packed)
            return {str(index): values for index, (_, values) in enumerate(packed)}

        try:
            metrics, replay = self._recorder.record(step)
        except RuntimeError as error:
            kept = ", and no output of an earlier step may be kept with its graph (detach it)"
            raise self._refusal(error, kept) from error
        for optimizer in self._optimizers:
            optimizer.count(-1)  # the recording has run on the host only
        constants.leave_out_what_passes()
        if change := constants.change(within=True):
            raise self._would_keep(change)
        if drawn := _drawn_on_the_host(random_numbers, self._device):
            raise self._would_keep(f"random numbers were drawn by {drawn}")
        packed = [(some, metrics[str(index)]) for index, some in enumerate(names)]
        gradients = [(parameter, parameter.grad) for one in self._optimizers for parameter in one.parameters()]
        return _Recording(inputs, packed, gradients, replay, constants, settings)

    def _refusal(self, error: RuntimeError, also: str = "") -> Exception:
        """Return the error to raise for an error in a step: the error itself if it is ganlib's, or a _CannotRecord."""
        if isinstance(error, GanlibError):
            return error
        where, what = _where(error), str(error).partition("\n")[0]  # the other lines of a CUDA error do not help here
        traceback.clear_frames(error.__traceback__)  # its variables would keep the step's graph alive
        return _CannotRecord(
            GanlibRuntimeError(
                f"{self._setting}: the step cannot be recorded; nothing in it may wait for the device, or copy from "
                f"the host{also}{where}: {what}"
            )
        )

    def _would_keep(self, change: str) -> _CannotRecord:
        return _CannotRecord(
            GanlibRuntimeError(
                f"{self._setting}: the step cannot be recorded; within one step {change}, and a recording would not "
                "repeat that. A value that changes must be a tensor on the device, and be changed in place"
            )
        )

    def _note_change(self, recording: _Recording) -> None:
        """Count the recordings that were replaced soon, and warn if there are many."""
        self._changes = self._changes + 1 if recording.replays < _SOON else 0
        if self._changes == _PATIENCE:
            change = recording.constants.change() or self._setting_that_changed(recording.settings)
            said = (
                f"{self._setting}: the step was recorded again {_PATIENCE} times, since a Python value keeps changing "
                f"(now {change}); a value that changes must be a tensor on the device, and be changed in place (see "
                "training.Schedule); list an attribute that no step reads in unrecorded, a tuple of its class"
            )
            if self._falls_back:
                raise _CannotRecord(GanlibRuntimeError(said))
            warnings.warn(said, stacklevel=5)


@contextlib.contextmanager
def _on_another_stream() -> Iterator[None]:
    """Suppress torch's warning of a graph that is still alive from a step on another stream."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The AccumulateGrad node's stream does not match")
        yield


def _as_metrics(metrics: Metrics) -> Metrics:
    return {f"the metric {name}": value for name, value in metrics.items()}


def _packed(metrics: Metrics) -> list[tuple[list[str], Tensor]]:
    """Stack the metrics of one dtype and device into one tensor, which is copied at once."""
    kinds: dict[Any, list[str]] = {}
    for name, value in metrics.items():
        kinds.setdefault((value.dtype, value.device), []).append(name)
    return [(names, torch.stack([metrics[name] for name in names])) for names in kinds.values()]


def _unpacked(packed: list[tuple[list[str], Tensor]]) -> Metrics:
    return {name: value for names, values in packed for name, value in zip(names, values.clone().unbind(), strict=True)}


def _copy(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source, non_blocking=True)


def _drawn_on_the_host(before: dict[str, Any], device: torch.device) -> str | None:
    after = random_state()
    if after["python"] != before["python"]:
        return "Python's random"
    if after.get("numpy") != before.get("numpy"):
        return "NumPy"
    if device.type != "cpu" and not torch.equal(after["torch"], before["torch"]):
        return "torch on the CPU"
    return None


def _where(error: BaseException) -> str:
    """Find the last line outside torch that an error went through."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "torch" not in Path(frame.filename).parts]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
