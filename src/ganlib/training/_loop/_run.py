"""Keep the state of a run, which ``fit`` changes and callbacks read."""

import contextlib
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn

from ganlib._files import as_plain
from ganlib._random import load_random_state, random_state
from ganlib._ranks import agree, gather
from ganlib._shown import shown
from ganlib._stream import Stream
from ganlib._warning import warn_user
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
from ganlib.training._callbacks._evaluate import Evaluate
from ganlib.training._callbacks._stateful import named_states
from ganlib.training._loop._divergence import DivergenceWatch
from ganlib.training._loop._layout import Layout, check_layout, layout_of
from ganlib.training._loop._modes import ModeWatch
from ganlib.training._loop._own_generators import OwnGenerators
from ganlib.training._loop._signals import Signals
from ganlib.training._step._networks import networks_of
from ganlib.training._step._replicas import move_random_numbers_apart
from ganlib.training._step._settings import OptimizerSettings, optimizers_of

__all__ = ["OngoingRun"]


class OngoingRun:
    """Keep the state of a run; see :class:`ganlib.protocols.Run`."""

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
        self._layout: Layout = {}
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
        self._generators = OwnGenerators(trainer, batches, callbacks)

    @property
    def iteration(self) -> int:
        """Number of iterations that the trainer has completed."""
        return self.trainer.iteration

    @property
    def epoch(self) -> int:
        """Number of complete epochs."""
        return self._stream.epoch

    @property
    def samples(self) -> int:
        """Number of samples drawn."""
        return self._stream.samples

    @property
    def progress(self) -> float:
        """Progress from 0 to 1, by the nearest limit."""
        done = (
            (self.iteration, self._iterations),
            (self._stream.epochs, self._epochs),
            (self._elapsed / 60, self._minutes),
        )
        return min(1.0, max(now / total if total else 1.0 for now, total in done if total is not None))

    @property
    def seconds(self) -> float:
        """Time of this call, up to its last iteration, without the untimed callbacks."""
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
        # Make new mappings, since a trainer may return the same one again.
        self.metrics, self.logged = {**self.metrics, **added}, {**self.logged, **added}

    def stop(self) -> None:
        """End the run after this iteration."""
        self._stopped = True

    def is_over(self) -> bool:
        """Test whether a limit is reached, or a process wants to stop.

        All processes agree on the time here, so everything that depends on the progress is the same in all of them. The
        method draws one batch ahead, to see the end of an epoch of unknown length.
        """
        passed = time.monotonic() - self._began
        ended = self._stopped or self.progress >= 1
        # Time that one process spent in untimed callbacks is untimed in all, since the others have waited for it.
        passed, self._untimed, ended_anywhere, received = agree(passed, self._untimed, ended, self._signals.received)
        self._elapsed = max(self._elapsed, passed - self._untimed)
        if received:  # a 0 must not overwrite a signal that has arrived in the meantime
            self._signals.received = int(received)
            self.interrupted = True
        over = bool(ended_anywhere or received)
        while not over and self.progress < 1:
            try:
                if self._stream.peek():
                    break
            except Exception:
                # A signal to a process group also ends a loader's workers. The last iteration is complete, so a single
                # process can still end in order. With several processes, others may be in the next iteration already.
                if not self._signals.received or world_size() > 1:
                    raise
                over = self.interrupted = True
        else:
            over = True
        if self._epochs is not None and self._stream.length is None:
            over = any(agree(over))  # an epoch may end in one process earlier than in another
        return over

    def start(self, random_numbers: dict[str, Any] | None) -> None:
        """Start the clock and the callbacks, then set the random numbers of a resumed run."""
        self._began = time.monotonic()
        gather(None)  # makes the group of the processes; if one failed before that, the others would wait for it
        self._start_callbacks()
        if random_numbers is not None:
            self._load_random_state(random_numbers)
        move_random_numbers_apart()

    def go_back(self, error: TrainingDivergedError) -> bool:
        """Load the newest checkpoint, but keep the random state; return whether there was a checkpoint."""
        random_numbers = self._random_state()
        if self.resume() is None:
            return False
        warnings.warn(f"{error}; goes back to iteration {self.iteration}", stacklevel=4)
        self._start_callbacks()
        self._load_random_state(random_numbers)
        return True

    def _start_callbacks(self) -> None:
        self.watch.begin(self.iteration)
        # Checkpoints start first, since other callbacks must not write into a folder that a checkpoint refuses.
        for callback in sorted(self._called, key=lambda callback: not isinstance(callback, Checkpoint)):
            if isinstance(callback, OnStart):
                began = time.monotonic()
                callback.on_start(self)
                if _is_untimed(callback):
                    self._untimed += time.monotonic() - began

    def step(self) -> None:
        """Run one iteration and the callbacks after it."""
        if self._tries_left:
            self._tries_left -= 1
            self._try_state()
        before = self.iteration
        self.metrics = self.trainer.train_step(self._stream)
        if self.iteration <= before:
            raise GanlibRuntimeError(f"train_step left iteration (={self.iteration}) as it was; it must increase it")
        self.watch.note(self.iteration, self.metrics)
        if self.logged.keys() & self.metrics.keys():  # a metric that train_step returns belongs to no callback
            self.logged = {name: value for name, value in self.logged.items() if name not in self.metrics}
        for index, (callback, untimed) in enumerate(self._watching):
            began = time.monotonic()
            try:
                callback.on_iteration(self)
            except Exception as error:
                later = [each for each, _ in self._watching[index + 1 :]]
                if _is_saved_at(error) and self._complete_without(callback, untimed, later):
                    self._save_before(callback)
                raise
            if untimed:
                self._untimed += time.monotonic() - began
        if rank() == 0:
            self.modes.look(self.iteration)

    def end(self) -> None:
        """Call ``on_end`` of the callbacks; after a signal, checkpoints come first, since time may run out."""
        self._ended = time.monotonic()
        hurried = [callback for callback in self._called if self.interrupted and isinstance(callback, Checkpoint)]
        for callback in [*hurried, *(callback for callback in self._called if callback not in hurried)]:
            if isinstance(callback, OnEnd):
                try:
                    callback.on_end(self)
                except Exception as error:
                    if _is_saved_at(error):
                        self._save_before(callback)
                    raise

    def _complete_without(self, failed: Callback, untimed: bool, later: Sequence[Any]) -> bool:
        """Return whether all other callbacks have seen the iteration; after one that only reads, call the others.

        An average or a table that has not seen it would be wrong in the checkpoint.
        """
        if not (untimed or getattr(failed, "reads_metrics", False)):
            return all(isinstance(callback, Checkpoint) for callback in later)
        for callback in later:
            with contextlib.suppress(Exception):
                callback.on_iteration(self)
        return True

    def _save_before(self, failed: Callback) -> None:
        """Save the state before the error of a callback ends the run; the error itself is more important than this."""
        interrupted, self.interrupted = self.interrupted, True  # a metric that is missing now is no mistake
        for checkpoint in self._checkpoints():
            if checkpoint is not failed:
                with contextlib.suppress(Exception):
                    checkpoint.on_end(self)
        self.interrupted = interrupted

    def close(self) -> None:
        """Release the folders of the run, however it ended."""
        for callback in self._checkpoints():
            callback.close()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that an exact resume needs."""
        self.watch.check()  # no checkpoint may contain a diverged training
        return {
            "trainer": self.trainer.state_dict(),
            "metrics": {name: torch.as_tensor(value).detach() for name, value in self.metrics.items()},
            "logged": dict(self.logged),
            "callbacks": {name: callback.state_dict() for name, callback in named_states(self.callbacks).items()},
            "ranks": gather({"batches": self._stream.state_dict(), "random": self._random_state()}),
            "optimizers": self._settings.state_dict(),
        }

    @property
    def to_draw(self) -> float | None:
        """Number of batches to draw, including those already drawn in the present epoch; None without a limit."""
        if self._iterations is None:
            return None
        left = self._iterations - self.iteration
        return left * getattr(self.trainer, "batches_per_iteration", 1) + self._stream.position

    def _try_state(self) -> None:
        """Refuse a state that a checkpoint could not save, and networks that could not be loaded from it.

        This runs before the first iteration and again before the second, since optimizers have a state only after the
        first. The loader has already drawn the next batch, so its state does not start an epoch.
        """

        def state_of(part: Stateful) -> Any:
            try:
                return part.state_dict()
            except Exception:
                if self._tries_left:  # its state may need something that the first iteration creates
                    return None
                raise

        problem: Exception | None = None
        random_numbers = self._random_state()
        try:
            states = {name: state_of(callback) for name, callback in named_states(self.callbacks).items()}
            state = {"trainer": state_of(self.trainer), "callbacks": states, "batches": state_of(self._stream)}
            try:
                as_plain(state, "run", lazy=True)
            except (ArgumentTypeError, ArgumentValueError) as error:
                raise type(error)(f"a checkpoint of this run could not be saved: {error}") from None
            networks = networks_of(self.trainer) if type(self.trainer).__module__.startswith("ganlib.") else {}
            if self._tries_left:
                self._layout = layout_of(networks)
            else:
                check_layout(networks, self._layout)
        except Exception as error:
            problem = error
        finally:
            self._load_random_state(random_numbers)
        if any(gather(problem is not None)):  # all processes stop together, or some would wait forever
            if problem is None:
                raise GanlibRuntimeError("a checkpoint could not be saved: see the error of another process")
            raise problem

    def resume(self) -> dict[str, Any] | None:
        """Load the newest good checkpoint, and return its random state; None if there is no checkpoint."""
        # Another Checkpoint refuses to start if its folder contains a run with more iterations.
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
        self._warn_of_new(own, state["callbacks"])
        self.overridden = self._settings.loaded(state.get("optimizers", {}))
        ranks = state["ranks"]
        mine = ranks[rank() % len(ranks)]
        self._stream.load_state_dict(mine["batches"], other_ranks=len(ranks) != world_size())
        self._load_random_state(mine["random"])  # start() does this again; here it shows a damaged state
        self._generators.warn_of_others(mine["random"].get("own", {}))
        self._random_numbers = mine["random"]

    def _random_state(self) -> dict[str, Any]:
        return {**random_state(self.batches), "own": self._generators.state_dict()}

    def _load_random_state(self, state: dict[str, Any]) -> None:
        load_random_state(state, self.batches)
        self._generators.load_state_dict(state.get("own", {}))  # an earlier version saved none

    def _warn_of_new(self, own: Mapping[str, Stateful], saved: Mapping[str, Any]) -> None:
        """Warn of callbacks that begin without a state although it matters: of a class that has states, and modules."""
        new = [name for name in own if name not in saved and not name.startswith(Evaluate.__name__)]
        kinds = {name.partition("#")[0] for name in saved}
        modules = {type(callback).__name__ for callback in self.callbacks if isinstance(callback, nn.Module)}
        for name in new if rank() == 0 else ():
            kind = name.partition("#")[0]
            if kind in kinds:
                held = ", ".join(other for other in saved if other.partition("#")[0] == kind)
                warn_user(
                    f"the checkpoint holds the state of {held}, but of no {name}, which starts as it was made. States "
                    "of callbacks of one class are matched in their order: put a new one after the earlier ones"
                )
            elif kind in modules:
                warn_user(
                    f"the checkpoint holds no state of the {name}, which starts with the weights that it was made "
                    "with, and not with those of the checkpoint: to start with those, make it after "
                    "Checkpoint.load(path, trainer)"
                )

    def _checkpoints(self) -> list[Checkpoint]:
        return [callback for callback in self.callbacks if isinstance(callback, Checkpoint)]


def _is_untimed(callback: Callback) -> bool:
    return bool(getattr(callback, "untimed", False))


def _turn(callback: Callback) -> tuple[bool, ...]:
    """Sort callbacks: averages update first, then evaluations, then loggers, then checkpoints."""
    traits = (getattr(callback, trait, False) for trait in ("reads_metrics", "untimed"))
    return isinstance(callback, Checkpoint), *map(bool, traits)


def _scalar(name: str, value: object) -> Tensor:
    """Copy a logged value into a tensor that nobody else changes."""
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


def _is_saved_at(error: Exception) -> bool:
    """Return whether the state is worth saving, and can be: several processes save together, and others may go on."""
    return world_size() == 1 and not isinstance(error, TrainingDivergedError)
