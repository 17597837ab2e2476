"""The whole state of a run, on disk."""

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ganlib.distributed import rank
from ganlib.errors import ArgumentValueError, CheckpointError, RunFolderError
from ganlib.protocols import Run
from ganlib.training._files import load_plain, make_folder, remove_leftovers, save_plain
from ganlib.training._lock import FolderLock
from ganlib.training._ranks import agree, first_does

__all__ = ["Checkpoint"]

_FORMAT = 2


class Checkpoint:
    """Saves everything that an exact resume needs, every so often and at the end.

    Files are ``folder/checkpoints/00000500.pt``, by iteration, each written whole or not at all. As long as a run
    lasts, no other may use the folder. Of several processes, the first one writes and reads for all.

    Args:
        folder: the run's folder.
        every: iterations between two checkpoints, at least 1.
        keep: how many of the newest are kept, at least 1.

    Raises:
        ArgumentValueError: ``every`` or ``keep`` is below 1.

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

    def __init__(self, folder: str | os.PathLike[str], every: int = 1000, keep: int = 3) -> None:
        for name, value in (("every", every), ("keep", keep)):
            if not (isinstance(value, int) and value >= 1):
                raise ArgumentValueError(f"{name} (={value}) must be a whole number of at least 1")
        self.folder = Path(folder) / "checkpoints"
        self.every = every
        self.keep = keep
        self._passed_over: list[Path] = []
        self._saved_at: int | None = None
        self._lock: FolderLock | None = None

    def paths(self) -> list[Path]:
        """The checkpoints that are there.

        Returns:
            Their paths, oldest first.
        """
        return sorted(self.folder.glob("[0-9]*.pt"), key=lambda path: (len(path.stem), path.stem))

    def furthest(self) -> int:
        """How far the run in the folder is.

        Returns:
            The iteration of the newest checkpoint, whether it is good or not; -1 where there is none.
        """
        return first_does(lambda: max((int(path.stem) for path in self.paths()), default=-1))

    def newest(self, load: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any] | None:
        """Read the newest checkpoint that is good, and warn of newer ones that are not.

        Of several processes the first one reads, and hands on what it has read.

        Args:
            load: called with the state; a checkpoint on which it raises is not good either.

        Returns:
            The state of the run, or None where there is no checkpoint at all.

        Raises:
            CheckpointError: there are some, and none of them is good.
        """
        problems: dict[Path, str] = {}
        for path in first_does(lambda: self.paths()[::-1]):
            problem: Exception | None = None
            try:
                state = first_does(partial(_read, path))
                if load is not None:
                    load(state)
            except Exception as error:  # whatever a state of something else makes a part raise
                problem = error
            if not any(agree(problem is not None)):
                for passed_over, reason in problems.items() if rank() == 0 else ():
                    warnings.warn(
                        f"{passed_over} {reason}; {path.name}, before it, is used instead",
                        stacklevel=2 if load is None else 4,  # of fit, it is for who called that
                    )
                self._passed_over = list(problems)
                return state
            reason = str(problem or "another rank says why")
            named = reason.startswith(f"{path} ")
            problems[path] = reason.removeprefix(f"{path} ") if named else f"cannot be resumed: {reason}"
        if problems:
            alike: dict[str, list[str]] = {}
            for path, reason in problems.items():
                alike.setdefault(reason, []).append(path.name)
            reasons = "; ".join(f"{', '.join(names)} {reason}" for reason, names in alike.items())
            raise CheckpointError(f"none of the checkpoints in {self.folder} can be used: {reasons}")
        return None

    def on_start(self, run: Run) -> None:
        """Make the folder, keep other runs out of it, and refuse one that holds a run which is further on.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to, or another run would be mixed with this one.
        """
        first_does(partial(self._begin, run.iteration))

    def on_iteration(self, run: Run) -> None:
        """Save, where it is time.

        Args:
            run: the training.
        """
        if run.iteration % self.every == 0:
            self._save(run)

    def on_end(self, run: Run) -> None:
        """Save the last state, unless that has just been done.

        Args:
            run: the training.
        """
        if run.iteration != self._saved_at:
            self._save(run)

    def close(self) -> None:
        """Let other runs into the folder."""
        if self._lock is not None:
            self._lock.release()

    def _begin(self, iteration: int) -> None:
        make_folder(self.folder)
        self._lock = self._lock or FolderLock(self.folder)
        self._lock.acquire()
        remove_leftovers(self.folder)
        further = [path for path in self.paths() if int(path.stem) > iteration and path not in self._passed_over]
        if further:
            raise RunFolderError(
                f"{self.folder} holds a run that is further on ({further[-1].name}) than this one, at iteration "
                f"{iteration}: go on from there with resume=True, or take another folder"
            )
        # What a resume passed over cannot be used; left among the others, it would count as the newest.
        try:
            for damaged in self._passed_over:
                damaged.rename(damaged.with_suffix(".damaged"))
        except OSError as error:
            raise RunFolderError(f"the folder {self.folder} cannot be written to: {error}") from error
        self._passed_over = []

    def _save(self, run: Run) -> None:
        values = {"format": _FORMAT, "iteration": run.iteration, "run": run.state_dict()}
        first_does(partial(self._write, run.iteration, values))
        self._saved_at = run.iteration

    def _write(self, iteration: int, values: dict[str, Any]) -> None:
        save_plain(self.folder / f"{iteration:08d}.pt", values)
        try:
            for old in self.paths()[: -self.keep]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise RunFolderError(f"the folder {self.folder} cannot be written to: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    values = load_plain(path)
    if values.get("format") != _FORMAT or not isinstance(values.get("run"), dict):
        raise CheckpointError(
            f"{path} is no checkpoint of format {_FORMAT}, which this ganlib reads (its format is "
            f"{values.get('format')!r})"
        )
    return values["run"]
