"""The whole state of a run, on disk."""

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ganlib._checks import check_sizes
from ganlib._files import FolderLock, load_plain, make_folder, remove_files, remove_leftovers, save_plain
from ganlib._ranks import agree, first_does
from ganlib.distributed import rank
from ganlib.errors import CheckpointError, RunFolderError
from ganlib.protocols import Run

__all__ = ["Checkpoint"]

_FORMAT = 3


class Checkpoint:
    """Saves all that an exact resume needs, every few iterations and at the end.

    The files are ``folder/checkpoints/00000500.pt``, named by iteration. Each is written completely or not at all.
    While a run lasts, no other run can use the folder. In a run of several processes, the first one writes and reads
    for all.

    Args:
        folder: the folder of the run.
        every: iterations between two checkpoints, at least 1.
        keep: number of the newest checkpoints that are kept, at least 1.

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
        check_sizes(every=every, keep=keep)
        self.folder = Path(folder) / "checkpoints"
        self.every = every
        self.keep = keep
        self._passed_over: list[Path] = []
        self._saved_at: int | None = None
        self._lock: FolderLock | None = None

    def paths(self) -> list[Path]:
        """Find the checkpoints in the folder.

        Returns:
            Their paths, oldest first.
        """
        return sorted(self.folder.glob("[0-9]*.pt"), key=lambda path: (len(path.stem), path.stem))

    def furthest(self) -> int:
        """Find how far the run in the folder is.

        Returns:
            The iteration of the newest checkpoint, even if that is damaged; -1 if there is no checkpoint.
        """
        return first_does(lambda: max((int(path.stem) for path in self.paths()), default=-1))

    def newest(self, load: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any] | None:
        """Read the newest checkpoint that can be used, and warn of newer ones that cannot.

        In a run of several processes, the first one reads the file and sends the state to the others.

        Args:
            load: is called with the state; if it raises an error, the checkpoint cannot be used.

        Returns:
            The state of the run, or None if there is no checkpoint.

        Raises:
            CheckpointError: there are checkpoints, and none of them can be used.
        """
        problems: dict[Path, str] = {}
        for path in first_does(lambda: self.paths()[::-1]):
            problem: Exception | None = None
            try:
                state = first_does(partial(_read, path))
                if load is not None:
                    load(state)
            except Exception as error:  # the state of another training can make a part of it raise anything
                problem = error
            if not any(agree(problem is not None)):
                for passed_over, reason in problems.items() if rank() == 0 else ():
                    warnings.warn(
                        f"{passed_over} {reason}; the run continues from {path.name}, which is before it",
                        stacklevel=2 if load is None else 4,  # the line of the user's call of newest, or of fit
                    )
                self._passed_over = list(problems)
                return state
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
        """Make the folder, lock it, and refuse one with a run that is further on.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to, or another run would be mixed with this one.
        """
        first_does(partial(self._start, run.iteration))

    def on_iteration(self, run: Run) -> None:
        """Save, if it is time.

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
        """Release the folder for other runs."""
        if self._lock is not None:
            self._lock.release()

    def _start(self, iteration: int) -> None:
        make_folder(self.folder)
        self._lock = self._lock or FolderLock(self.folder)
        self._lock.acquire()
        remove_leftovers(self.folder)
        further = [path for path in self.paths() if int(path.stem) > iteration and path not in self._passed_over]
        if further:
            raise RunFolderError(
                f"{self.folder} holds a run that is further on ({further[-1].name}) than this one, which is at "
                f"iteration {iteration}: continue that run with resume=True, or choose another folder"
            )
        # A damaged file that keeps its name would count as the newest.
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
        remove_files(self.paths()[: -self.keep])


def _read(path: Path) -> dict[str, Any]:
    """The state of the run in a file; a CheckpointError if the file is not a checkpoint of this format."""
    values = load_plain(path)
    if values.get("format") != _FORMAT or not isinstance(values.get("run"), dict):
        raise CheckpointError(
            f"{path} is a checkpoint of format {values.get('format')!r}, but this version of ganlib reads format "
            f"{_FORMAT}: continue the run with the version that started it, or start a new run in another folder"
        )
    return values["run"]
