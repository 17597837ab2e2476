"""The loop that drives any trainer."""

import contextlib
import math
import os
import warnings
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Any

from torch import Tensor

from ganlib._checks import check_count, check_flag, check_number
from ganlib._shown import shown
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, TrainingDivergedError
from ganlib.protocols import Callback, OnEnd, OnIteration, OnStart, Trainer
from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._loop._loaders import warn_of_loader
from ganlib.training._loop._run import OngoingRun
from ganlib.training._loop._signals import Signals
from ganlib.training._loop._start import check_start
from ganlib.training._step._networks import networks_of
from ganlib.training._step._settings import optimizers_of

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
    from_code: Sequence[str] = (),
) -> None:
    """Train until the first limit is reached.

    Metrics and weights are checked every 50 iterations, and before a checkpoint is written: a training that has
    diverged ends within so many iterations, and no checkpoint contains it.

    SIGTERM, SIGINT (Ctrl-C) and SIGUSR1 end the run after its iteration, with a checkpoint. Then a handler of your own
    is called, SIGINT is a ``KeyboardInterrupt``, and any other signal a ``SystemExit`` with 128 and its number. Where
    ``torch.distributed`` has joined several processes, each calls ``fit``; they start and stop together, and callbacks
    with ``rank_zero_only = True`` are called only in the first one.

    Args:
        trainer: anything with ``iteration``, ``train_step``, ``state_dict`` and ``load_state_dict``.
        batches: a loader; iterated epoch after epoch.
        iterations: total of ``trainer.iteration`` to reach; infinity, as for the other limits, trains until a callback
            or a signal stops the run.
        epochs: total of epochs to reach; those before this call are computed from ``trainer.iteration``, where the
            batches have a length.
        minutes: wall-clock time of this call, without that of callbacks with ``untimed = True``.
        callbacks: objects with any of ``on_start(run)``, ``on_iteration(run)`` and ``on_end(run)``, called in this
            order, except that those with ``untimed = True`` (:class:`Evaluate`) come after the others, then those with
            ``reads_metrics = True`` (the loggers), which see what any of them has logged. A :class:`Checkpoint` begins
            before all others, and saves after them.
        resume: go on from the newest good file of the ``Checkpoint`` among the callbacks; start from the beginning
            where its folder has none.
        rollbacks: how often a training that has diverged may go back to the newest checkpoint; it then sees the same
            samples with other random numbers. At least 0; after that, or without a checkpoint, it is an error.
        from_code: the settings of the trainer's optimizers that a resume takes from them as they are now, such as
            ``("lr", "betas")`` or ``"lr"``; all others come from the checkpoint, with a warning where they differ. A
            :class:`LearningRateSchedule` then starts from the same base rate.

    Raises:
        ArgumentTypeError: something given is not what it must be.
        ArgumentValueError: no limit, one below 0, ``resume`` or ``rollbacks`` without a ``Checkpoint``, empty batches,
            a smallest batch that cannot be trained on, weights that are NaN.
        BatchesExhaustedError: batches that can be iterated only once ran out.
        CheckpointError: every checkpoint that is there is damaged, or of another training.
        GanlibRuntimeError: ``train_step`` did not count an iteration.
        RunFolderError: a folder or file of the run cannot be written, or another run is using it.
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
            f"trainer (={shown(trainer)}) must have iteration, train_step, state_dict and load_state_dict"
        )
    if not isinstance(callbacks, Sequence):
        raise ArgumentTypeError(f"callbacks (={shown(callbacks)}) must be a sequence of them, such as a list")
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
        _check_conditions(trainer, batches)
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
    """Step until the run is over, and go back where it has diverged."""
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


def _check_conditions(trainer: Trainer, batches: Any) -> None:
    """Check the conditions of a whole data set once, before training: on a device each batch would not be."""
    # A joint transform may make other conditions of them.
    changed = getattr(batches, "joint_transform", None) is not None
    conditions = None if changed else getattr(batches, "conditions", None)
    if isinstance(conditions, Tensor) and hasattr(trainer, "check_conditions"):
        trainer.check_conditions(conditions.cpu())
