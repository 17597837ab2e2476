"""Metrics for TensorBoard."""

import importlib
import os
import socket
import time
from pathlib import Path
from typing import Any

from ganlib._checks import check_count
from ganlib._files import make_folder
from ganlib.errors import MissingExtraError, RunFolderError
from ganlib.protocols import Run

__all__ = ["TensorBoardLogger"]


class TensorBoardLogger:
    """Writes the metrics for TensorBoard every few iterations, where a callback has logged some, and at the end.

    The tag is the name of the metric, and the step is the iteration. ``tensorboard --logdir`` with the folder, or with
    one above it, shows the curves, also while the training runs. Each call of ``fit`` writes a new file into the
    folder. Where a resumed run writes iterations again, TensorBoard shows the new points instead of the old ones. A new
    run in the folder of an older one hides all points of that.

    Args:
        folder: the folder of the files; it is made.
        every: iterations between two points, at least 1.

    Raises:
        ArgumentValueError: ``every`` is below 1.
        MissingExtraError: the package tensorboard is not installed.

    Example:
        >>> from ganlib import training
        >>> callbacks = [training.TensorBoardLogger("run/tensorboard", every=100)]  # doctest: +SKIP
    """

    rank_zero_only = True
    reads_metrics = True

    def __init__(self, folder: str | os.PathLike[str], every: int = 50) -> None:
        self.every = check_count("every", every, least=1)
        try:
            # What torch's SummaryWriter consists of. Its thread would write later, and a full disk be an error there.
            self._event = importlib.import_module("tensorboard.compat.proto.event_pb2")
            self._record_writer = importlib.import_module("tensorboard.summary.writer.record_writer").RecordWriter
        except ImportError as error:
            raise MissingExtraError(
                "tensorboard is not installed, which TensorBoardLogger writes with: pip install 'ganlib[tensorboard]'"
            ) from error
        self.folder = Path(folder)
        self._file = self.folder
        self._written: dict[str, float] = {}
        self._written_at = -1

    def on_start(self, run: Run) -> None:
        """Start a file, which hides the points that the run will write again.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        make_folder(self.folder)
        # TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{time.time():017.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = self.folder / name
        self._written_at = run.iteration if run.iteration == self._written_at else -1
        start = {"step": run.iteration + 1, "session_log": {"status": "START"}}
        self._append({"file_version": "brain.Event:2"}, start, mode="xb")

    def on_iteration(self, run: Run) -> None:
        """Write the metrics, if it is time.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
        """
        if run.iteration % self.every == 0 or run.logged.keys() & run.metrics.keys():
            self._write(run)

    def on_end(self, run: Run) -> None:
        """Write those metrics of the last iteration that are not there.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
        """
        self._write(run)

    def _write(self, run: Run) -> None:
        if run.iteration != self._written_at:
            self._written, self._written_at = {}, run.iteration
        values = {name: float(value) for name, value in run.metrics.items()}
        new = [(name, value) for name, value in values.items() if self._written.get(name) != value]
        if new:
            points = [{"tag": name, "simple_value": value} for name, value in new]
            self._append({"step": run.iteration, "summary": {"value": points}})
        self._written |= values

    def _append(self, *events: dict[str, Any], mode: str = "ab") -> None:
        try:
            with self._file.open(mode) as file:
                for event in events:
                    self._record_writer(file).write(
                        self._event.Event(wall_time=time.time(), **event).SerializeToString()
                    )
        except OSError as error:
            raise RunFolderError(f"{self._file} cannot be written: {error}") from error
