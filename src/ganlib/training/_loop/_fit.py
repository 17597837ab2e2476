"""Run the training loop of any trainer."""

import contextlib
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from torch import Tensor, nn

from ganlib._checks import check_count, check_flag, check_number
from ganlib._held import held
from ganlib._shown import shown
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, TrainingDivergedError
from ganlib.protocols import Callback, OnEnd, OnIteration, OnStart, Trainer
from ganlib.training._callbacks._betas_schedule import BetasSchedule
from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._schedule import LearningRateSchedule, Schedule
from ganlib.training._loop._labels import check_labels, conditions_of
from ganlib.training._loop._loaders import warn_of_loader
from ganlib.training._loop._run import OngoingRun
from ganlib.training._loop._signals import Signals
from ganlib.training._loop._start import check_start
from ganlib.training._loop._unsaved import warn_of_unsaved
from ganlib.training._step._networks import networks_of
from ganlib.training._step._settings import optimizers_of

__all__ = ["fit"]

_SCHEDULES = (LearningRateSchedule, Schedule, BetasSchedule)


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
    from_code: Sequence[str] = (),
) -> None:
    """Train until the first limit is reached.

    The loop checks metrics and weights every 50 iterations, and before it writes a checkpoint. So a training that has
    diverged ends within 50 iterations, and no checkpoint contains it.

    SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 end the run after the current iteration, with a checkpoint. Then your own
    signal handler runs, if there is one. Otherwise SIGINT raises ``KeyboardInterrupt``, and the other signals raise
    ``SystemExit`` with 128 plus the signal's number.

    If ``torch.distributed`` has joined several processes, each of them must call ``fit``. They start and stop together.
    Callbacks with ``rank_zero_only = True`` run only in the first process.

    If a callback raises an error, a run of one process saves its state before the error ends it. It does not if another
    callback has not seen the iteration.

    Args:
        trainer: an object with ``iteration``, ``train_step``, ``state_dict`` and ``load_state_dict``.
        batches: a loader, which is iterated once per epoch.
        iterations: the value of ``trainer.iteration`` at which to stop. With infinity, here or in another limit,
            training continues until a callback or a signal stops the run.
        epochs: total number of epochs at which to stop. Earlier epochs are computed from ``trainer.iteration`` if the
            batches have a length.
        minutes: wall-clock time of this call, without the time of callbacks with ``untimed = True``. In a resumed run
            the progress starts at 0 again if this is the only limit, and so do schedules, with a warning.
        callbacks: objects with at least one of ``on_start(run)``, ``on_iteration(run)`` and ``on_end(run)``. They are
            called in this order, with three exceptions. Callbacks with ``untimed = True`` (:class:`Evaluate`) come
            after the others. Callbacks with ``reads_metrics = True`` (the loggers) come next, and see what every
            callback has logged. A :class:`Checkpoint` starts before all others and saves after them.
        resume: whether to continue from the newest good file of the ``Checkpoint`` among the callbacks. If its folder
            contains no checkpoint, training starts from the beginning.
        rollbacks: how often a diverged training may return to the newest checkpoint, at least 0. It then sees the same
            samples with other random numbers. After that many rollbacks, or without a checkpoint, divergence raises an
            error.
        from_code: names of optimizer settings that keep their present values in a resume, such as ``("lr", "betas")``
            or ``"lr"``. All other settings come from the checkpoint, with a warning if they differ. A
            :class:`LearningRateSchedule` then starts from the present base rate.

    Raises:
        ArgumentTypeError: an argument has the wrong type.
        ArgumentValueError: there is no limit, a limit is below 0, ``resume`` or ``rollbacks`` has no ``Checkpoint``,
            the batches are empty, the smallest batch or a label cannot be trained on, or weights are NaN or were made
            in ``torch.inference_mode()``.
        BatchesExhaustedError: batches that can be iterated only once ran out.
        CheckpointError: every checkpoint is damaged, or belongs to another training.
        GanlibRuntimeError: ``train_step`` did not increase ``iteration``.
        RunFolderError: a folder or file of the run cannot be written, or another run is using it.
        TrainingDivergedError: a metric or a weight is NaN or infinite. The error names it and the iteration.

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
            f"trainer (={shown(trainer)}) must have iteration, train_step, state_dict and load_state_dict"
        )
    if not isinstance(callbacks, Sequence):
        raise ArgumentTypeError(f"callbacks (={shown(callbacks)}) must be a sequence of callbacks, such as a list")
    for callback in callbacks:
        if not isinstance(callback, OnStart | OnIteration | OnEnd) or isinstance(callback, type):
            raise ArgumentTypeError(f"callback {shown(callback)} has none of on_start, on_iteration and on_end")
    if len({*map(id, callbacks)}) < len(callbacks):
        raise ArgumentValueError("callbacks holds the same object twice, which would be called twice")
    limits: dict[str, Any] = {"iterations": iterations, "epochs": epochs, "minutes": minutes}
    if all(limit is None for limit in limits.values()):
        raise ArgumentValueError("iterations, epochs and minutes are all None: give at least one limit")
    for name, limit in limits.items():
        limit = limit.item() if isinstance(limit, Tensor) and limit.ndim == 0 else limit
        limits[name] = (
            limit if limit is None or (isinstance(limit, Real) and limit == math.inf) else check_number(name, limit)
        )
    resume, rollbacks = check_flag("resume", resume), check_count("rollbacks", rollbacks, least=0)
    for name, wanted in (("resume", resume), ("rollbacks", rollbacks)):
        if wanted and not any(isinstance(callback, Checkpoint) for callback in callbacks):
            raise ArgumentValueError(f"{name} (={shown(wanted)}) needs a training.Checkpoint among the callbacks")
    warn_of_loader(batches, callbacks)
    warn_of_unsaved(trainer, batches, callbacks)
    if int(os.environ.get("WORLD_SIZE", 1)) > world_size():
        warnings.warn(
            f"torchrun started {os.environ['WORLD_SIZE']} processes, but they have not joined, so each trains alone: "
            "call ganlib.distributed.init() at the start of the script",
            stacklevel=2,
        )
    with (
        Signals() as signals,
        contextlib.closing(OngoingRun(trainer, batches, callbacks, signals, **limits, from_code=from_code)) as run,
    ):
        random_numbers = run.resume() if resume else None
        for overridden in run.overridden if rank() == 0 else ():
            warnings.warn(overridden, stacklevel=2)
        if random_numbers is not None and rank() == 0:
            _warn_of_schedules(run, limits)
        _check_conditions(trainer, batches)
        check_labels(getattr(trainer, "discriminator", None), batches, lambda: held(trainer, closed=(nn.Module,)))
        check_start(
            networks_of(trainer),
            optimizers_of(trainer),
            batches,
            getattr(trainer, "expect_batches", None),
            to_draw=run.to_draw,
            epochs=epochs,
        )
        if rank() == 0:
            run.modes.begin(stacklevel=2)
        run.start(random_numbers)
        _go_on(run, rollbacks)
        run.end()


def _go_on(run: OngoingRun, rollbacks: int) -> None:
    """Train until the run is over, and return to a checkpoint after divergence."""
    done = 0
    while True:
        try:
            while not run.is_over():
                run.step()
            run.watch.check()
            return
        except TrainingDivergedError as error:
            if rollbacks == 0:
                raise
            if done == rollbacks:
                raise TrainingDivergedError(f"{error}; it went back {done} of {rollbacks} times already") from error
            if not run.go_back(error):
                raise TrainingDivergedError(f"{error}; there was no checkpoint yet to go back to") from error
            done += 1


def _warn_of_schedules(run: OngoingRun, limits: Mapping[str, float | None]) -> None:
    """Warn if schedules start again in a resumed run, because only the time of this call limits it."""
    kinds = {type(part).__name__ for part in run.callbacks if isinstance(part, _SCHEDULES)}
    finite = {name: limit for name, limit in limits.items() if limit not in (None, math.inf)}
    if kinds and finite.keys() == {"minutes"} and run.iteration:
        warnings.warn(
            f"minutes (={finite['minutes']:g}) counts from this call, so the progress starts at 0 again at iteration "
            f"{run.iteration}, and so does {' and '.join(sorted(kinds))}: to continue a schedule, limit the run by "
            "iterations or epochs, from its start",
            stacklevel=3,
        )


def _check_conditions(trainer: Trainer, batches: Any) -> None:
    """Check the conditions of a whole data set once: batches on a device are not checked one by one."""
    conditions = conditions_of(batches)
    if conditions is not None and hasattr(trainer, "check_conditions"):
        trainer.check_conditions(conditions.cpu())
