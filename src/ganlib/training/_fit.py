"""The loop that drives any trainer."""

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibRuntimeError, TrainingDivergedError
from ganlib.protocols import Callback, OnEnd, OnIteration, OnStart, Stateful, Trainer
from ganlib.training._checkpoint import Checkpoint
from ganlib.training._divergence import DivergenceWatch
from ganlib.training._random import load_random_state, random_state
from ganlib.training._stream import Stream

__all__ = ["fit"]


def fit(
    trainer: Trainer,
    batches: Iterable[Any],
    *,
    iterations: int | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    callbacks: Sequence[Callback] = (),
    resume: bool = False,
    rollbacks: int = 0,
) -> None:
    """Train until the first limit is reached.

    Metrics and weights are looked at every 50 iterations, and before a checkpoint is written: a training that has
    diverged ends within so many iterations, and no checkpoint holds it.

    Args:
        trainer: anything with ``iteration``, ``train_step``, ``state_dict`` and ``load_state_dict``.
        batches: a loader; gone over again and again.
        iterations: total of ``trainer.iteration`` to reach.
        epochs: total of passes over the batches to reach; those before this call are reckoned from
            ``trainer.iteration``, where the batches have a length.
        minutes: wall-clock time of this call.
        callbacks: objects with any of ``on_start(run)``, ``on_iteration(run)`` and ``on_end(run)``, called in this
            order, but a :class:`Checkpoint` begins before all others, and saves after them.
        resume: go on from the newest good file of the ``Checkpoint`` among the callbacks; start afresh where its
            folder holds none.
        rollbacks: how often a training that has diverged may go back to the newest checkpoint, which then meets the
            same samples with other random numbers; at least 0. After that, or without a checkpoint, it is an error.

    Raises:
        ArgumentTypeError: something given is not what it must be.
        ArgumentValueError: no limit, one below 0, ``resume`` or ``rollbacks`` without a ``Checkpoint``, empty batches.
        BatchesExhaustedError: batches that can be iterated only once ran out.
        CheckpointError: every checkpoint that is there is damaged, or of another training.
        GanlibRuntimeError: ``train_step`` did not count an iteration.
        TrainingDivergedError: a metric or a weight is NaN or infinite; it is named, with the iteration.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from ganlib import latents, losses, training
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> trainer = training.AdversarialTrainer(
        ...     generator, discriminator,
        ...     torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters()),
        ...     loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4))
        >>> training.fit(trainer, [torch.randn(8, 2)], iterations=3)
        >>> trainer.iteration
        3
    """
    if not isinstance(trainer, Trainer):
        raise ArgumentTypeError(
            f"trainer (={trainer!r}) must have iteration, train_step, state_dict and load_state_dict"
        )
    if not isinstance(callbacks, Sequence):
        raise ArgumentTypeError(f"callbacks (={callbacks!r}) must be a sequence of them, such as a list")
    for callback in callbacks:
        if not isinstance(callback, OnStart | OnIteration | OnEnd) or isinstance(callback, type):
            raise ArgumentTypeError(f"callback {callback!r} has none of on_start, on_iteration and on_end")
    limits = {"iterations": iterations, "epochs": epochs, "minutes": minutes}
    if all(limit is None for limit in limits.values()):
        raise ArgumentValueError("iterations, epochs and minutes are all None: give at least one limit")
    for name, limit in limits.items():
        if limit is not None and not limit >= 0:
            raise ArgumentValueError(f"{name} (={limit}) must be at least 0")
    if not (isinstance(rollbacks, int) and rollbacks >= 0):
        raise ArgumentValueError(f"rollbacks (={rollbacks}) must be a whole number of at least 0")
    for name, wanted in (("resume", resume), ("rollbacks", rollbacks)):
        if wanted and not any(isinstance(callback, Checkpoint) for callback in callbacks):
            raise ArgumentValueError(f"{name} (={wanted}) needs a training.Checkpoint among the callbacks")
    run = _Run(trainer, batches, callbacks, iterations=iterations, epochs=epochs, minutes=minutes)
    random_numbers = run.resume() if resume else None
    _check_conditions(trainer, batches)
    run.start(random_numbers)
    while True:
        try:
            while not run.is_over():
                run.step()
            run.watch.check()
            break
        except TrainingDivergedError as error:
            if rollbacks == 0 or not run.go_back(error):
                raise
            rollbacks -= 1
    run.end()


class _Run:
    """A training under way; see :class:`ganlib.protocols.Run`."""

    def __init__(
        self,
        trainer: Trainer,
        batches: Iterable[Any],
        callbacks: Sequence[Callback],
        *,
        iterations: int | None,
        epochs: int | None,
        minutes: float | None,
    ) -> None:
        self.trainer = trainer
        self.batches = batches
        self.callbacks = sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoint))
        self.metrics: Mapping[str, Tensor] = {}
        self.watch = DivergenceWatch(trainer)
        self._watching = [callback for callback in self.callbacks if isinstance(callback, OnIteration)]
        self._stream = Stream(batches)
        if self._stream.length:
            drawn = trainer.iteration * getattr(trainer, "batches_per_iteration", 1)
            self._stream.epoch = drawn // self._stream.length
        self._iterations, self._epochs, self._minutes = iterations, epochs, minutes
        self._began = time.monotonic()
        self._stopped = False

    @property
    def iteration(self) -> int:
        return self.trainer.iteration

    @property
    def epoch(self) -> int:
        return self._stream.epoch

    @property
    def samples(self) -> int:
        return self._stream.samples

    @property
    def progress(self) -> float:
        minutes = (time.monotonic() - self._began) / 60
        done = ((self.iteration, self._iterations), (self._stream.passes, self._epochs), (minutes, self._minutes))
        return min(1.0, max(now / total if total else 1.0 for now, total in done if total is not None))

    def stop(self) -> None:
        self._stopped = True

    def is_over(self) -> bool:
        """Whether a limit is reached; looks ahead, so that the end of a pass is seen where the length is unknown."""
        while not self._stopped and self.progress < 1:
            if self._stream.peek():
                return False
        return True

    def start(self, random_numbers: dict[str, Any] | None) -> None:
        self._began = time.monotonic()
        self._start_callbacks()
        if random_numbers is not None:
            load_random_state(random_numbers, self.batches)

    def go_back(self, error: TrainingDivergedError) -> bool:
        """Go to the newest checkpoint, with the random numbers of now; says whether there was one."""
        random_numbers = random_state(self.batches)
        if self.resume() is None:
            return False
        self.metrics = {}  # those of an iteration that has been undone
        warnings.warn(f"{error}; goes back to iteration {self.iteration}", stacklevel=3)
        self._start_callbacks()
        load_random_state(random_numbers, self.batches)
        return True

    def _start_callbacks(self) -> None:
        self.watch.begin()
        # Checkpoints begin first: a folder that they refuse must not have been touched by the others.
        for callback in sorted(self.callbacks, key=lambda callback: not isinstance(callback, Checkpoint)):
            if isinstance(callback, OnStart):
                callback.on_start(self)

    def step(self) -> None:
        before = self.iteration
        self.metrics = self.trainer.train_step(self._stream)
        if self.iteration <= before:
            raise GanlibRuntimeError(f"train_step left iteration (={self.iteration}) as it was; it must count it")
        self.watch.note(self.iteration, self.metrics)
        for callback in self._watching:
            callback.on_iteration(self)

    def end(self) -> None:
        for callback in self.callbacks:
            if isinstance(callback, OnEnd):
                callback.on_end(self)

    def state_dict(self) -> dict[str, Any]:
        self.watch.check()  # what goes into a checkpoint has not diverged, so the newest one is good to go back to
        return {
            "trainer": self.trainer.state_dict(),
            "batches": self._stream.state_dict(),
            "callbacks": {name: callback.state_dict() for name, callback in self._stateful().items()},
            "random": random_state(self.batches),
        }

    def resume(self) -> dict[str, Any] | None:
        """Go to the newest good checkpoint, if there is one; returns the random state to begin with."""
        checkpoints = [callback for callback in self.callbacks if isinstance(callback, Checkpoint)]
        # The others refuse to begin where their folder holds a run that is further on.
        state = max(checkpoints, key=lambda checkpoint: [int(path.stem) for path in checkpoint.paths()[-1:]]).newest()
        if state is None:
            return None
        self.trainer.load_state_dict(state["trainer"])
        own = self._stateful()
        for name, callback_state in state["callbacks"].items():
            if name in own:
                own[name].load_state_dict(callback_state)
            else:
                warnings.warn(f"the checkpoint holds the state of a {name}, which is not among callbacks", stacklevel=4)
        self._stream.load_state_dict(state["batches"])
        return state["random"]

    def _stateful(self) -> dict[str, Stateful]:
        named: dict[str, Stateful] = {}
        for callback in self.callbacks:
            if isinstance(callback, Stateful):
                name = type(callback).__name__
                count = sum(key.split("#")[0] == name for key in named)
                named[f"{name}#{count + 1}" if count else name] = callback
        return named


def _check_conditions(trainer: Trainer, batches: Any) -> None:
    """Conditions that lie on a device are checked once, all together, before any of them can choke it."""
    conditions = getattr(batches, "conditions", None)
    if isinstance(conditions, Tensor) and hasattr(trainer, "check_conditions"):
        trainer.check_conditions(conditions.cpu())
