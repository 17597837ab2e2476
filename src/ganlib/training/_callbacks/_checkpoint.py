"""Save the whole state of a run to disk."""

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
    """Save everything that an exact resume needs, every few iterations and at the end.

    The files are named by iteration, such as ``folder/checkpoints/00000500.pt``. A file is always complete. While a run
    lasts, no other run can use the folder. With several processes, the first one writes and reads for all.

    With ``monitor``, the callback also keeps ``folder/checkpoints/best.pt``, the checkpoint with the best value of a
    metric. A metric that a callback logs (``Evaluate``, or your own with ``run.log``) is compared whenever it is
    logged. A metric of the trainer is compared in every ``every``-th iteration and in the last one. A value that is not
    finite is never the best. A resumed run continues with the best value in the file. Use :meth:`load` to get the best
    generator.

    Args:
        folder: the folder of the run.
        every: number of iterations between two checkpoints, at least 1.
        keep: number of the newest checkpoints to keep, at least 1. ``best.pt`` does not count.
        monitor: the name of a metric of the run, or None.
        mode: "min" if a smaller value of that metric is better, "max" if a larger one is.

    Raises:
        ArgumentTypeError: ``monitor`` is neither a string nor None.
        ArgumentValueError: ``every`` or ``keep`` is below 1, or ``mode`` is invalid.

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
        self._saved: tuple[int, Any] = (-1, None)  # the iteration and the logged metrics of the last checkpoint
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
        """Find the iteration that the run in the folder has reached.

        Returns:
            The iteration of the newest checkpoint, ``best.pt`` included, even if a numbered one is damaged; -1 if there
            is no checkpoint.
        """
        return first_does(lambda: max(map(_iteration, self._all_paths()), default=-1))

    def newest(self, load: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any] | None:
        """Read the newest usable checkpoint, ``best.pt`` included, and warn of newer ones that are not usable.

        With several processes, the first one reads the file and sends the state to the others.

        Args:
            load: a function of the state. If it raises an error, the checkpoint is not usable.

        Returns:
            The state of the run, or None if there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints, but no checkpoint is usable.
        """
        problems: dict[Path, str] = {}
        for path in first_does(lambda: self._all_paths()[::-1]):
            problem: Exception | None = None
            try:
                values = first_does(partial(_read, path))
                if load is not None:
                    load(values["run"])
            except Exception as error:  # a part can raise any error for the state of another training
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
            reason = str(problem or "see the error of another process")
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
        """Create and lock the folder, refuse it if its run has more iterations than this one, and read the best value.

        Args:
            run: the run.

        Raises:
            RunFolderError: the folder cannot be written to, or it contains another run.
        """
        self._best_value = first_does(partial(self._start, run.iteration))

    def on_iteration(self, run: Run) -> None:
        """Save, if it is time or the monitored metric is better; warn if only other metrics are logged.

        Args:
            run: the run.
        """
        self._save(run, numbered=run.iteration % self.every == 0)
        self._warn_if_missing(run, ended=False)

    def on_end(self, run: Run) -> None:
        """Save the last state, unless it is saved already; warn if the run did not have the monitored metric.

        Args:
            run: the run.
        """
        iteration, logged = self._saved
        # Each call of run.log makes a new mapping. Some callbacks log in the first process only.
        self._save(run, numbered=any(agree(run.iteration != iteration or run.logged is not logged)))
        self._warn_if_missing(run, ended=True)

    @staticmethod
    def save(run: Run, path: str | os.PathLike[str]) -> None:
        """Save the whole state of a run to a file of your own.

        The file is always complete, as for all checkpoints. With several processes, all must call this method together,
        so your callback must not have ``rank_zero_only``. The file contains the present state of every callback.
        Callbacks after yours in ``run.callbacks`` have not seen the iteration yet.

        Args:
            run: the run.
            path: the file. Its folder is created.

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
        """Load a checkpoint into a trainer and callbacks, to use the trained networks.

        Loading runs no code from the file. To continue a run, call ``fit`` with ``resume=True`` instead, since ``load``
        does not restore the position in the data and the random numbers. Each process that calls this method reads the
        file.

        Args:
            path: a numbered checkpoint, ``best.pt``, or a file of :meth:`save`.
            trainer: the trainer that receives the state, or None.
            callbacks: each callback with a state receives the state of the callback of the same class. Several of one
                class (``EMA``, ``EMA#2``) are matched in their order. Callbacks without a state are ignored.
            from_code: names of optimizer settings that keep their present values, as in :func:`fit`. All others come
                from the checkpoint, with a warning if they differ.

        Returns:
            A dict of tensors and plain values. ``"iteration"`` is an int. ``"metrics"`` contains the values of that
            iteration by name, as floats. ``"trainer"`` is the trainer's state. With an ``AdversarialTrainer``,
            ``["trainer"]["modules"]["generator"]`` is the state of the generator. ``"callbacks"`` contains the
            callbacks' states by class name.

        Raises:
            CheckpointError: the file is missing, damaged, or not a checkpoint of this version, or it has no matching
                state for a callback.
            ArgumentTypeError: ``trainer`` is not a trainer, or ``callbacks`` or ``from_code`` is not a sequence.
            ArgumentValueError: ``from_code`` contains a name that is not an optimizer setting.

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
            raise ArgumentTypeError(f"callbacks (={shown(callbacks)}) must be a sequence of callbacks, such as a list")
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
        except Exception as error:  # a part can raise any error for the state of another training
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
        """List all checkpoints, oldest first; ``best.pt`` comes before the numbered one of the same iteration."""
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
        """Read ``best.pt``, or return None if it is missing or not usable."""
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
        # The first process decides, even if only the first process has the metric.
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
        """Test whether to compare the metric now; one of the trainer is compared only when a checkpoint is due."""
        due = monitor.name in run.logged or run.iteration % self.every == 0 or run.progress >= 1
        return due and monitor.name in run.metrics

    def _improvement(self, monitor: Monitor, run: Run) -> float | None:
        """Return the value of the monitored metric if it is the best so far."""
        value = monitor.read(run.metrics)
        best = monitor.worst if self._best_value is None else self._best_value
        return value if value is not None and monitor.is_better(value, best) else None

    def _write(self, values: dict[str, Any], better: float | None, *, numbered: bool) -> None:
        # Write best.pt first: if the process is killed between the two writes, a resume starts from best.pt.
        if better is not None and self._monitor is not None:
            best = {"monitor": self._monitor.name, "mode": self._monitor.mode, "value": better}
            save_plain(self._best_path, values | best)
        if numbered:
            save_plain(self.folder / f"{values['iteration']:08d}.pt", values)
            remove_files(self.paths()[: -self.keep])


def _values(run: Run) -> dict[str, Any]:
    """Return the contents of a checkpoint; all processes call this together."""
    return {"format": _FORMAT, "iteration": run.iteration, "run": run.state_dict()}


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint, or raise a CheckpointError if the file is not a checkpoint of this format."""
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
    """Return the iteration of a checkpoint; -1 for a ``best.pt`` that cannot be read."""
    if path.name != "best.pt":
        return int(path.stem)
    try:
        return int(_read(path)["iteration"])
    except CheckpointError:
        return -1
