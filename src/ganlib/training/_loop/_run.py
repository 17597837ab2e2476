"""A run: what ``fit`` drives, and callbacks see."""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor

from ganlib._files import as_plain
from ganlib._random import load_random_state, random_state
from ganlib._ranks import agree, gather
from ganlib._shown import shown
from ganlib._stream import Stream
from ganlib.distributed import rank, world_size
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    CheckpointError,
    GanlibRuntimeError,
    TrainingDivergedError,
)
from ganlib.protocols import Callback, OnEnd, OnIteration, OnStart, Stateful, Trainer
from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._stateful import named_states
from ganlib.training._loop._divergence import DivergenceWatch
from ganlib.training._loop._modes import ModeWatch
from ganlib.training._loop._signals import Signals
from ganlib.training._step._networks import networks_of
from ganlib.training._step._replicas import move_random_numbers_apart
from ganlib.training._step._settings import OptimizerSettings, optimizers_of

__all__ = ["OngoingRun"]


class OngoingRun:
    """A run; see :class:`ganlib.protocols.Run`."""

    def __init__(
        self,
        trainer: Trainer,
        batches: Iterable[Any],
        callbacks: Sequence[Callback],
        signals: Signals,
        *,
        iterations: float | None,
        epochs: float | None,
        minutes: float | None,
        from_code: Sequence[str] = (),
    ) -> None:
        self.trainer = trainer
        self.batches = batches
        self.callbacks = sorted(callbacks, key=_turn)
        self.metrics: Mapping[str, Tensor] = {}
        self.logged: Mapping[str, Tensor] = {}
        self.interrupted = False
        self.overridden: list[str] = []
        self.watch = DivergenceWatch(partial(networks_of, trainer))
        optimizers = optimizers_of(trainer)
        self._settings = OptimizerSettings(optimizers, from_code)
        self.modes = ModeWatch(networks_of(trainer), optimizers.values())
        self._tries_left = 2 if self._checkpoints() else 0
        self._signals = signals
        self._called = [
            callback for callback in self.callbacks if rank() == 0 or not getattr(callback, "rank_zero_only", False)
        ]
        self._watching = [
            (callback, _is_untimed(callback)) for callback in self._called if isinstance(callback, OnIteration)
        ]
        self._stream = Stream(batches)
        if self._stream.length:
            drawn = trainer.iteration * getattr(trainer, "batches_per_iteration", 1)
            self._stream.epoch = drawn // self._stream.length
        self._iterations, self._epochs, self._minutes = iterations, epochs, minutes
        self._began, self._elapsed, self._untimed = time.monotonic(), 0.0, 0.0
        self._ended: float | None = None
        self._stopped = False
        self._random_numbers: dict[str, Any] = {}

    @property
    def iteration(self) -> int:
        """The trainer's count."""
        return self.trainer.iteration

    @property
    def epoch(self) -> int:
        """Complete epochs so far."""
        return self._stream.epoch

    @property
    def samples(self) -> int:
        """Samples drawn so far."""
        return self._stream.samples

    @property
    def progress(self) -> float:
        """From 0 to 1, by whichever limit is nearest."""
        done = (
            (self.iteration, self._iterations),
            (self._stream.epochs, self._epochs),
            (self._elapsed / 60, self._minutes),
        )
        return min(1.0, max(now / total if total else 1.0 for now, total in done if total is not None))

    @property
    def seconds(self) -> float:
        """The time of this call, up to its last iteration, without the untimed callbacks."""
        now = time.monotonic() if self._ended is None else self._ended
        return now - self._began - self._untimed

    def log(self, values: Mapping[str, float | Tensor]) -> None:
        """Add metrics to those of this iteration."""
        if not isinstance(values, Mapping):
            raise ArgumentTypeError(f"values (={shown(values)}) must be a mapping from names to values, such as a dict")
        added = {}
        for name, value in values.items():
            if not isinstance(name, str):
                raise ArgumentTypeError(f"the name of a metric (={shown(name)}) must be a string")
            if name in self.metrics and name not in self.logged:
                raise ArgumentValueError(
                    f"the metric {shown(name)} was given by train_step in this iteration; log under another name"
                )
            added[name] = _scalar(name, value)
        # New mappings, since a trainer may return the same one again.
        self.metrics, self.logged = {**self.metrics, **added}, {**self.logged, **added}

    def stop(self) -> None:
        """End after this iteration."""
        self._stopped = True

    def is_over(self) -> bool:
        """Whether a limit is reached, or one of the processes wants to stop.

        The clock is read only here, and agreed on, so that what depends on the progress is the same in all processes.
        It draws one batch ahead, so that the end of an epoch is seen where the length is unknown.
        """
        passed = time.monotonic() - self._began
        ended = self._stopped or self.progress >= 1
        # What only one process was busy with is left out in all: the others have waited for it.
        passed, self._untimed, ended_anywhere, received = agree(passed, self._untimed, ended, self._signals.received)
        self._elapsed = max(self._elapsed, passed - self._untimed)
        if received:  # a 0 must not overwrite one that came meanwhile
            self._signals.received = int(received)
            self.interrupted = True
        over = bool(ended_anywhere or received)
        while not over and self.progress < 1:
            try:
                if self._stream.peek():
                    break
            except Exception:
                # A signal to a whole group ends a loader's workers too. The last iteration is complete, so this process
                # can still end in order; of several processes, the others may be in the next iteration already.
                if not self._signals.received or world_size() > 1:
                    raise
                over = self.interrupted = True
        else:
            over = True
        if self._epochs is not None and self._stream.length is None:
            over = any(agree(over))  # an epoch may have ended in one process and not in another
        return over

    def start(self, random_numbers: dict[str, Any] | None) -> None:
        """Start the clock and the callbacks, and then set the random numbers, where a resume brings some."""
        self._began = time.monotonic()
        self._start_callbacks()
        if random_numbers is not None:
            load_random_state(random_numbers, self.batches)
        move_random_numbers_apart()

    def go_back(self, error: TrainingDivergedError) -> bool:
        """Go to the newest checkpoint, and keep the random state; return whether there was one."""
        random_numbers = random_state(self.batches)
        if self.resume() is None:
            return False
        warnings.warn(f"{error}; goes back to iteration {self.iteration}", stacklevel=4)
        self._start_callbacks()
        load_random_state(random_numbers, self.batches)
        return True

    def _start_callbacks(self) -> None:
        self.watch.begin(self.iteration)
        # Checkpoints start first: the others must not touch a folder that a checkpoint refuses.
        for callback in sorted(self._called, key=lambda callback: not isinstance(callback, Checkpoint)):
            if isinstance(callback, OnStart):
                began = time.monotonic()
                callback.on_start(self)
                if _is_untimed(callback):
                    self._untimed += time.monotonic() - began

    def step(self) -> None:
        """One iteration, and the callbacks that follow it."""
        if self._tries_left:
            self._tries_left -= 1
            self._try_state()
        before = self.iteration
        self.metrics = self.trainer.train_step(self._stream)
        if self.iteration <= before:
            raise GanlibRuntimeError(f"train_step left iteration (={self.iteration}) as it was; it must count it")
        self.watch.note(self.iteration, self.metrics)
        if self.logged.keys() & self.metrics.keys():  # what train_step gives from now on is no longer a callback's
            self.logged = {name: value for name, value in self.logged.items() if name not in self.metrics}
        for callback, untimed in self._watching:
            began = time.monotonic()
            callback.on_iteration(self)
            if untimed:
                self._untimed += time.monotonic() - began
        if rank() == 0:
            self.modes.look(self.iteration)

    def end(self) -> None:
        """The callbacks' end; after a signal the checkpoints come first, since time may run out."""
        self._ended = time.monotonic()
        hurried = [callback for callback in self._called if self.interrupted and isinstance(callback, Checkpoint)]
        for callback in [*hurried, *(callback for callback in self._called if callback not in hurried)]:
            if isinstance(callback, OnEnd):
                callback.on_end(self)

    def close(self) -> None:
        """Release what the run holds, however it ended."""
        for callback in self._checkpoints():
            callback.close()

    def state_dict(self) -> dict[str, Any]:
        """Everything that an exact resume needs."""
        self.watch.check()  # so the newest checkpoint is always one to go back to
        return {
            "trainer": self.trainer.state_dict(),
            "metrics": {name: torch.as_tensor(value).detach() for name, value in self.metrics.items()},
            "logged": dict(self.logged),
            "callbacks": {name: callback.state_dict() for name, callback in named_states(self.callbacks).items()},
            "ranks": gather({"batches": self._stream.state_dict(), "random": random_state(self.batches)}),
            "optimizers": self._settings.state_dict(),
        }

    @property
    def to_draw(self) -> float | None:
        """Batches that are left to draw, with those that this epoch has given; None where that is not limited."""
        if self._iterations is None:
            return None
        left = self._iterations - self.iteration
        return left * getattr(self.trainer, "batches_per_iteration", 1) + self._stream.position

    def _try_state(self) -> None:
        """Refuse what a checkpoint could not hold, before an iteration; optimizers have a state only after the first.

        The next batch has been drawn already, so the loader's state begins no epoch.
        """

        def state_of(part: Stateful) -> Any:
            try:
                return part.state_dict()
            except Exception:
                if self._tries_left:  # it may need what the first iteration makes
                    return None
                raise

        problem: Exception | None = None
        random_numbers = random_state(self.batches)
        try:
            states = {name: state_of(callback) for name, callback in named_states(self.callbacks).items()}
            state = {"trainer": state_of(self.trainer), "callbacks": states, "batches": state_of(self._stream)}
            try:
                as_plain(state, "run", lazy=True)
            except (ArgumentTypeError, ArgumentValueError) as error:
                raise type(error)(f"a checkpoint of this run could not be saved: {error}") from None
        except Exception as error:
            problem = error
        finally:
            load_random_state(random_numbers, self.batches)
        if any(gather(problem is not None)):  # a process that stopped alone would leave the others waiting
            if problem is None:
                raise GanlibRuntimeError("a checkpoint could not be saved, as another process says")
            raise problem

    def resume(self) -> dict[str, Any] | None:
        """Go to the newest good checkpoint, if there is one; returns the random state to begin with."""
        # The others refuse to start where their folder holds a run that is further on.
        furthest = max(self._checkpoints(), key=Checkpoint.furthest)
        return self._random_numbers if furthest.newest(self._load) is not None else None

    def _load(self, state: dict[str, Any]) -> None:
        self.trainer.load_state_dict(state["trainer"])
        count: Any = self.iteration
        if isinstance(count, bool) or not isinstance(count, Integral) or int(count) < 0:
            raise CheckpointError(f"its iteration (={shown(self.iteration)}) is not a count")
        self.metrics, self.logged = _scalars(state["metrics"]), _scalars(state.get("logged", {}))
        own = named_states(self.callbacks)
        for name, callback_state in state["callbacks"].items():
            if name in own:
                own[name].load_state_dict(callback_state)
            else:
                warnings.warn(f"the checkpoint holds the state of a {name}, which is not among callbacks", stacklevel=5)
        self.overridden = self._settings.loaded(state.get("optimizers", {}))
        ranks = state["ranks"]
        mine = ranks[rank() % len(ranks)]
        self._stream.load_state_dict(mine["batches"], other_ranks=len(ranks) != world_size())
        load_random_state(mine["random"], self.batches)  # once more at the start; here, so that a bad one is found
        self._random_numbers = mine["random"]

    def _checkpoints(self) -> list[Checkpoint]:
        return [callback for callback in self.callbacks if isinstance(callback, Checkpoint)]


def _is_untimed(callback: Callback) -> bool:
    return bool(getattr(callback, "untimed", False))


def _turn(callback: Callback) -> tuple[bool, ...]:
    """What callbacks are sorted by: an average is updated, then measured, then the results are shown and saved."""
    traits = (getattr(callback, trait, False) for trait in ("reads_metrics", "untimed"))
    return isinstance(callback, Checkpoint), *map(bool, traits)


def _scalar(name: str, value: object) -> Tensor:
    """A logged value as a tensor that nobody else changes."""
    if isinstance(value, Tensor) and value.ndim == 0 and not value.is_complex():
        return value.detach().clone()
    if isinstance(value, Real):
        return torch.tensor(float(value), dtype=torch.float64)
    raise ArgumentTypeError(
        f"the metric {shown(name)} (={shown(value)}) must be a real number or a tensor of no dimensions"
    )


def _scalars(saved: Mapping[str, Any]) -> dict[str, Tensor]:
    values = {name: torch.as_tensor(value) for name, value in saved.items()}
    return {name: value for name, value in values.items() if value.ndim == 0}
