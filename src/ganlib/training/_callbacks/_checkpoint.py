"""The whole state of a run, on disk."""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ganlib._checks import check_count, check_path_like
from ganlib._files import FolderLock, load_plain, make_folder, remove_files, remove_leftovers, save_plain
from ganlib._ranks import agree, first_does
from ganlib._shown import described, shown
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, CheckpointError, RunFolderError
from ganlib.protocols import Callback, Run, Trainer
from ganlib.training._callbacks._monitor import Mode, Monitor
from ganlib.training._callbacks._stateful import named_states
from ganlib.training._step._settings import OptimizerSettings, optimizers_of

__all__ = ["Checkpoint"]

_FORMAT = 3


class Checkpoint:
    """Saves all that an exact resume needs, every few iterations and at the end.

    The files are ``folder/checkpoints/00000500.pt``, named by iteration. Each is written completely or not at all.
    While a run lasts, no other run can use the folder. In a run of several processes, the first one writes and reads
    for all.

    With ``monitor`` it also keeps ``folder/checkpoints/best.pt``, the checkpoint with the best value of a metric. A
    metric that a callback logs (``Evaluate``, or your own by ``run.log``) is looked at whenever it is logged. A
    metric of the trainer, which is there in every iteration, is looked at in every ``every``-th iteration and in the
    last. A value that is not finite is never the best. A resumed run goes on with the value that is in the file.
    :meth:`load` gets the best generator out of it.

    Args:
        folder: the folder of the run.
        every: iterations between two checkpoints, at least 1.
        keep: number of the newest checkpoints that are kept, at least 1; ``best.pt`` is one more.
        monitor: the name of a metric of the run, or None.
        mode: "min" if a smaller value of that metric is better, "max" if a larger one is.

    Raises:
        ArgumentTypeError: ``monitor`` is neither a string nor None.
        ArgumentValueError: ``every`` or ``keep`` is below 1, or ``mode`` is another one.

    Example:
        >>> import tempfile, torch
        >>> from torch import nn
        >>> from ganlib import latents, losses, training
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> trainer = training.AdversarialTrainer(
        ...     generator, discriminator,
        ...     torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters()),
        ...     loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     checkpoint = training.Checkpoint(folder, every=10)
        ...     training.fit(trainer, [torch.randn(8, 2)], iterations=25, callbacks=[checkpoint])
        ...     [path.name for path in checkpoint.paths()]
        ['00000010.pt', '00000020.pt', '00000025.pt']
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1000,
        keep: int = 3,
        *,
        monitor: str | None = None,
        mode: Mode = "min",
    ) -> None:
        self.folder: Path = check_path_like("folder", folder) / "checkpoints"
        self.every: int = check_count("every", every, least=1)
        self.keep: int = check_count("keep", keep, least=1)
        self._monitor = None if monitor is None else Monitor(monitor, mode)
        self._best_path = self.folder / "best.pt"
        self._best_value: float | None = None
        self._passed_over: list[Path] = []
        self._saved: tuple[int, Any] = (-1, None)  # the iteration, and what had been logged
        self._lock: FolderLock | None = None

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "folder", "every", "keep", monitor=lambda: self._monitor and self._monitor.name)

    def paths(self) -> list[Path]:
        """Find the numbered checkpoints in the folder.

        Returns:
            Their paths, oldest first, without ``best.pt``.
        """
        return sorted(self.folder.glob("[0-9]*.pt"), key=lambda path: (len(path.stem), path.stem))

    def furthest(self) -> int:
        """Find how far the run in the folder is.

        Returns:
            The iteration of the newest checkpoint, ``best.pt`` included, even if a numbered one is damaged; -1 if
            there is no checkpoint.
        """
        return first_does(lambda: max(map(_iteration, self._all_paths()), default=-1))

    def newest(self, load: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any] | None:
        """Read the newest checkpoint that can be used, ``best.pt`` included, and warn of newer ones that cannot.

        In a run of several processes, the first one reads the file and sends the state to the others.

        Args:
            load: is called with the state; if it raises an error, the checkpoint cannot be used.

        Returns:
            The state of the run, or None if there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints, and none of them can be used.
        """
        problems: dict[Path, str] = {}
        for path in first_does(lambda: self._all_paths()[::-1]):
            problem: Exception | None = None
            try:
                values = first_does(partial(_read, path))
                if load is not None:
                    load(values["run"])
            except Exception as error:  # the state of another training can make a part of it raise anything
                problem = error
            if not any(agree(problem is not None)):
                for passed_over, reason in problems.items() if rank() == 0 else ():
                    warnings.warn(
                        f"{passed_over} {reason}; the run continues from {path.name}, of iteration "
                        f"{values['iteration']}",
                        stacklevel=2 if load is None else 4,  # the line of the user's call of newest, or of fit
                    )
                self._passed_over = list(problems)
                return values["run"]
            reason = str(problem or "another process says why")
            named = reason.startswith(f"{path} ")
            problems[path] = reason.removeprefix(f"{path} ") if named else f"cannot be resumed: {reason}"
        if problems:
            same: dict[str, list[str]] = {}
            for path, reason in problems.items():
                same.setdefault(reason, []).append(path.name)
            reasons = "; ".join(f"{', '.join(names)} {reason}" for reason, names in same.items())
            raise CheckpointError(f"none of the checkpoints in {self.folder} can be used: {reasons}")
        return None

    def on_start(self, run: Run) -> None:
        """Make the folder, lock it, refuse one with a run that is further on, and read the best value so far.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to, or another run would be mixed with this one.
        """
        self._best_value = first_does(partial(self._start, run.iteration))

    def on_iteration(self, run: Run) -> None:
        """Save, if it is time or the monitored metric is better; warn if others are logged, and not that one.

        Args:
            run: the training.
        """
        self._save(run, numbered=run.iteration % self.every == 0)
        self._warn_if_missing(run, ended=False)

    def on_end(self, run: Run) -> None:
        """Save the last state, unless that has just been done; warn if the run did not have the monitored metric.

        Args:
            run: the training.
        """
        iteration, logged = self._saved
        # Each log makes a new mapping; some log in the first process alone.
        self._save(run, numbered=any(agree(run.iteration != iteration or run.logged is not logged)))
        self._warn_if_missing(run, ended=True)

    @staticmethod
    def save(run: Run, path: str | os.PathLike[str]) -> None:
        """Write the whole state of a running training to a file of your own.

        It is complete or not there at all, as all checkpoints. In a run of several processes all must call this
        together, so a callback that does has no ``rank_zero_only``. The file holds the state of every callback as it is
        at that moment: those that come later in ``run.callbacks`` have not seen the iteration yet.

        Args:
            run: the training.
            path: the file; its folder is made.

        Raises:
            RunFolderError: the file cannot be written.

        Example:
            >>> from ganlib import training
            >>> class SaveMilestones:
            ...     def on_iteration(self, run):
            ...         if run.iteration in (10_000, 100_000):
            ...             training.Checkpoint.save(run, f"run/milestones/{run.iteration}.pt")
        """
        first_does(partial(save_plain, check_path_like("path", path), _values(run)))

    @staticmethod
    def load(
        path: str | os.PathLike[str],
        trainer: Trainer | None = None,
        callbacks: Sequence[Callback] = (),
        *,
        from_code: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Read a checkpoint of any kind, and load it into a trainer and callbacks, to use what was trained.

        It runs no code from the file. To continue a run, call ``fit`` with ``resume=True`` instead: this leaves the
        position in the data and the random numbers as they are. Each process that calls this reads the file.

        Args:
            path: a numbered checkpoint, ``best.pt``, or a file of :meth:`save`.
            trainer: is given the trainer's state, if it is not None.
            callbacks: each that has a state is given the one that the run's callback of the same class had. Several of
                one class (``EMA``, ``EMA#2``) are matched in their order. Those without a state are ignored.
            from_code: the settings of the trainer's optimizers that stay as they are, as in :func:`fit`; the others
                become those of the checkpoint, with a warning where they differ.

        Returns:
            A dict of tensors and plain values. ``"iteration"`` is an int. ``"metrics"`` has the values of that
            iteration by name, as floats. ``"trainer"`` is the trainer's state; of an ``AdversarialTrainer``,
            ``["trainer"]["modules"]["generator"]`` is the generator's. ``"callbacks"`` has their states by class name.

        Raises:
            CheckpointError: the file is missing, damaged, or not a checkpoint of this version; it holds no state for
                one of the callbacks, or one that does not fit.
            ArgumentTypeError: ``trainer`` is not a trainer, or ``callbacks`` or ``from_code`` is not a sequence.
            ArgumentValueError: ``from_code`` holds what is no setting of an optimizer.

        Example:
            >>> import tempfile, torch
            >>> from torch import nn
            >>> from ganlib import latents, losses, training
            >>> def make():
            ...     generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
            ...     return training.EMA(generator), training.AdversarialTrainer(
            ...         generator, discriminator,
            ...         torch.optim.Adam(generator.parameters()), torch.optim.Adam(discriminator.parameters()),
            ...         loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     ema, trainer = make()
            ...     checkpoint = training.Checkpoint(folder, every=5, monitor="generator_loss")
            ...     training.fit(trainer, [torch.randn(8, 2)], iterations=20, callbacks=[ema, checkpoint])
            ...     ema, trainer = make()
            ...     best = training.Checkpoint.load(f"{folder}/checkpoints/best.pt", trainer, [ema])
            >>> trainer.iteration == best["iteration"]
            True
            >>> sorted(best["callbacks"])
            ['EMA']
        """
        if not (trainer is None or isinstance(trainer, Trainer)):
            raise ArgumentTypeError(f"trainer (={shown(trainer)}) must be a trainer, or None")
        if not isinstance(callbacks, Sequence):
            raise ArgumentTypeError(f"callbacks (={shown(callbacks)}) must be a sequence of them, such as a list")
        settings = None if trainer is None else OptimizerSettings(optimizers_of(trainer), from_code)
        values = _read(check_path_like("path", path))
        try:
            own, states = named_states(callbacks), dict(values["run"]["callbacks"])
            if missing := own.keys() - states.keys():
                raise CheckpointError(
                    f"it holds no state of {', '.join(sorted(missing))}, only of {', '.join(sorted(states)) or 'none'}"
                )
            metrics = {name: torch.as_tensor(value) for name, value in values["run"]["metrics"].items()}
            loaded = {
                "iteration": values["iteration"],
                "metrics": {name: float(value) for name, value in metrics.items() if value.ndim == 0},
                "trainer": values["run"]["trainer"],
                "callbacks": states,
            }
            overridden = []
            if settings is not None and trainer is not None:
                trainer.load_state_dict(loaded["trainer"])
                overridden = settings.loaded(values["run"].get("optimizers", {}))
            for name, callback in own.items():
                callback.load_state_dict(states[name])
        except Exception as error:  # the state of another training can make a part of it raise anything
            reason = error if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
            raise CheckpointError(f"{path} cannot be loaded: {reason}") from error
        for sentence in overridden:
            warnings.warn(sentence, stacklevel=2)
        return loaded

    def close(self) -> None:
        """Release the folder for other runs."""
        if self._lock is not None:
            self._lock.release()

    def _all_paths(self) -> list[Path]:
        """All checkpoints, oldest first; of two from one iteration the numbered one comes last."""
        best = [self._best_path] if self._best_path.exists() else []
        return sorted([*best, *self.paths()], key=_iteration)

    def _start(self, iteration: int) -> float | None:
        make_folder(self.folder)
        self._lock = self._lock or FolderLock(self.folder)
        self._lock.acquire()
        remove_leftovers(self.folder)
        best = self._read_best()
        further = [path for path in self.paths() if int(path.stem) > iteration and path not in self._passed_over]
        further += [self._best_path] * (best is not None and best["iteration"] > iteration)
        if further:
            raise RunFolderError(
                f"{self.folder} holds a run that is further on ({further[-1].name}) than this one, which is at "
                f"iteration {iteration}: continue that run with resume=True, or choose another folder"
            )
        value = None
        if self._monitor is not None and best is not None:
            saved, own = (best.get("monitor"), best.get("mode")), (self._monitor.name, self._monitor.mode)
            if saved != own:
                raise RunFolderError(
                    f"{self._best_path} is the best by monitor and mode {saved!r:.80}, and {own!r} would replace it: "
                    "rename it, or keep its monitor and mode"
                )
            value = best.get("value")
        # A damaged file that keeps its name would count as the newest.
        try:
            for damaged in self._passed_over:
                damaged.rename(damaged.with_suffix(".damaged"))
        except OSError as error:
            raise RunFolderError(f"the folder {self.folder} cannot be written to: {error}") from error
        self._passed_over = []
        return value

    def _read_best(self) -> dict[str, Any] | None:
        """What is in ``best.pt``, if that is there and can be used."""
        if self._best_path in self._passed_over or not self._best_path.exists():
            return None
        try:
            return _read(self._best_path)
        except CheckpointError as error:
            warnings.warn(f"{error}; it is put aside", stacklevel=8)  # the line of the user's call of fit
            self._passed_over.append(self._best_path)
            return None

    def _save(self, run: Run, *, numbered: bool) -> None:
        better = None
        # The first process decides, also where it alone has the metric.
        if self._monitor is not None and any(agree(self._is_due(self._monitor, run))):
            better = first_does(partial(self._improvement, self._monitor, run))
        if better is None and not numbered:
            return
        first_does(partial(self._write, _values(run), better, numbered=numbered))
        if numbered:
            self._saved = run.iteration, run.logged
        if better is not None:
            self._best_value = better

    def _warn_if_missing(self, run: Run, *, ended: bool) -> None:
        if self._monitor and self._best_value is None:
            self._monitor.warn_if_missing(run, f"there is no {self._best_path}", ended=ended)

    def _is_due(self, monitor: Monitor, run: Run) -> bool:
        """Whether the metric is there; one of the trainer, which always is, only where a checkpoint is due."""
        due = monitor.name in run.logged or run.iteration % self.every == 0 or run.progress >= 1
        return due and monitor.name in run.metrics

    def _improvement(self, monitor: Monitor, run: Run) -> float | None:
        """The value of the monitored metric, where it is the best so far."""
        value = monitor.read(run.metrics)
        best = monitor.worst if self._best_value is None else self._best_value
        return value if value is not None and monitor.is_better(value, best) else None

    def _write(self, values: dict[str, Any], better: float | None, *, numbered: bool) -> None:
        # The best comes first: after a kill in between, the run goes on from it, and not from the other one without it.
        if better is not None and self._monitor is not None:
            best = {"monitor": self._monitor.name, "mode": self._monitor.mode, "value": better}
            save_plain(self._best_path, values | best)
        if numbered:
            save_plain(self.folder / f"{values['iteration']:08d}.pt", values)
            remove_files(self.paths()[: -self.keep])


def _values(run: Run) -> dict[str, Any]:
    """What a checkpoint holds; all processes call this together."""
    return {"format": _FORMAT, "iteration": run.iteration, "run": run.state_dict()}


def _read(path: Path) -> dict[str, Any]:
    """What is in a file; a CheckpointError if it is not a checkpoint of this format."""
    values = load_plain(path)
    if values.get("format") != _FORMAT or not isinstance(values.get("run"), dict):
        raise CheckpointError(
            f"{path} is a checkpoint of format {values.get('format')!r}, but this version of ganlib reads format "
            f"{_FORMAT}: continue the run with the version that started it, or start a new run in another folder"
        )
    iteration, value = values.get("iteration"), values.get("value", 0.0)
    if not (type(iteration) is int and iteration >= 0 and type(value) is float and math.isfinite(value)):
        raise CheckpointError(
            f"{path} cannot be used: its iteration (={shown(iteration)}) is not a count, or its value "
            f"(={shown(value)}) not a finite number"
        )
    return values


def _iteration(path: Path) -> int:
    """The iteration of a checkpoint; -1 of a ``best.pt`` that cannot be read."""
    if path.name != "best.pt":
        return int(path.stem)
    try:
        return int(_read(path)["iteration"])
    except CheckpointError:
        return -1
