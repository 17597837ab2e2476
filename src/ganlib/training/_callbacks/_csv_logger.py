"""Write metrics as a table."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganlib._checks import check_count, check_flag, check_path_like
from ganlib._files import prepare_file, write_atomically
from ganlib._shown import described
from ganlib._table import format_rows, read_table
from ganlib.errors import RunFolderError
from ganlib.protocols import Run
from ganlib.training._callbacks._means import RunningMeans

__all__ = ["CSVLogger"]


class CSVLogger:
    """Write a row of metrics to a CSV file every few iterations.

    The logger also writes a row when a callback has logged a metric, and for the last iteration. The columns are
    iteration, epoch, and the metrics in the order of their first appearance. If an iteration does not have a metric,
    its cell is empty. (A penalty of :class:`AdversarialTrainer` with ``every`` keeps the value that was computed last.)

    A new run starts a new file, and a resumed run continues the file. A resumed run first drops the rows after its
    iteration. It also drops the row that was written because the run stopped, unless a callback had logged a metric in
    it. So the table is the same as that of a run without interruption.

    With ``mean=True``, the cell of a trainer's metric is its mean over the iterations since the last multiple of
    ``every``. Values that callbacks have logged are written unchanged. A row at any other iteration does not reset the
    means. The sums stay on the device until a row is written, and checkpoints contain them. A run that resumes from a
    checkpoint of ``mean=False`` starts new sums.

    Args:
        path: the file. Its folder is created.
        every: number of iterations between two rows, at least 1. ``len(loader)`` writes a row for each epoch if the
            trainer draws one batch per iteration.
        mean: whether rows contain means instead of the values of one iteration.

    Raises:
        ArgumentValueError: ``every`` is not a whole number of at least 1.
        ArgumentTypeError: ``mean`` is not a bool.

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
        ...     logger = training.CSVLogger(f"{folder}/metrics.csv", every=2)
        ...     training.fit(trainer, [torch.randn(8, 2)], iterations=4, callbacks=[logger])
        ...     print(logger.path.read_text().splitlines()[0])
        iteration,epoch,discriminator_loss,real_score,fake_score,generator_loss
    """

    rank_zero_only = True
    reads_metrics = True

    def __init__(self, path: str | os.PathLike[str], every: int = 50, mean: bool = False) -> None:
        self.path: Path = check_path_like("path", path)
        self.every: int = check_count("every", every, least=1)
        self.mean: bool = check_flag("mean", mean)
        self._means = RunningMeans()
        if mean:  # methods of the class would add a state to the checkpoints of every run with a CSVLogger
            self.state_dict: Callable[[], dict[str, Any]] = self._means.state_dict
            self.load_state_dict: Callable[[dict[str, Any]], None] = self._means.load_state_dict
        self._columns: list[str] = []
        self._last = self._last_logged = -1  # iterations of the last row, and of the last row with a logged metric

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "path", "every", "mean")

    def on_start(self, run: Run) -> None:
        """Start the file, or drop the rows that a resumed run will write again.

        Args:
            run: the run.

        Raises:
            RunFolderError: the file cannot be written.
            CheckpointError: the file of the resumed run is not a table of metrics.
        """
        prepare_file(self.path)
        self._means.start(run.iteration)
        rows = read_table(self.path) if run.iteration else []
        rows = [row for row in rows if int(row["iteration"]) <= run.iteration]
        if rows and self._is_of_a_stop(int(rows[-1]["iteration"]), run):
            rows.pop()
        self._rewrite(rows)
        self._last = int(rows[-1]["iteration"]) if rows else -1
        self._last_logged = run.iteration if run.iteration == self._last_logged else -1

    def on_iteration(self, run: Run) -> None:
        """Write a row, if it is time.

        Args:
            run: the run.

        Raises:
            RunFolderError: the file cannot be written.
        """
        if self.mean:
            self._means.add(
                run.iteration, {name: value for name, value in run.metrics.items() if name not in run.logged}
            )
        is_due = run.iteration % self.every == 0
        if is_due or _has_logged(run):
            self._write(run)
        if is_due:
            self._means.clear()

    def on_end(self, run: Run) -> None:
        """Write the row of the last iteration; if the row exists, add what callbacks have logged since.

        Args:
            run: the run.

        Raises:
            RunFolderError: the file cannot be written.
        """
        if run.iteration != self._last:
            if run.metrics:
                self._write(run)
        elif logged := {name: str(float(run.metrics[name])) for name in run.logged if name in run.metrics}:
            rows = read_table(self.path)
            for row in rows[-1:]:
                row |= logged | {name: row[name] for name in ("iteration", "epoch")}
            self._rewrite(rows)
            self._last_logged = run.iteration

    def _is_of_a_stop(self, iteration: int, run: Run) -> bool:
        """Test whether the row exists only because an earlier call of ``fit`` ended before its run was complete."""
        if iteration % self.every == 0 or run.progress >= 1:
            return False
        return iteration == run.iteration != self._last_logged and not _has_logged(run)

    def _write(self, run: Run) -> None:
        """Append a row; write the file again if a metric needs a new column."""
        own = {"iteration": run.iteration, "epoch": run.epoch}
        means = self._means.read() if self.mean else {}
        values = {name: float(value) for name, value in run.metrics.items() if not self.mean or name in run.logged}
        row = own | means | values | own  # a metric with the name of one of these two columns has no cell
        if not {*row} <= {*self._columns}:
            self._rewrite(read_table(self.path), *row)
        try:
            with self.path.open("r+b") as file:  # not "a", which would create a new file if someone deleted this one
                file.seek(0, os.SEEK_END)
                file.write(format_rows(self._columns, [row]))
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be written: {error}") from error
        self._last = run.iteration
        if _has_logged(run):
            self._last_logged = run.iteration

    def _rewrite(self, rows: list[dict[str, str]], *names: str) -> None:
        """Write these rows, with the columns that have a value in a row and columns of these names."""
        self._columns = [*dict.fromkeys([*(name for row in rows for name in row if row[name]), *names])]
        write_atomically(self.path, lambda file: file.write(format_rows(self._columns, rows, header=True)))


def _has_logged(run: Run) -> bool:
    """Test whether a callback has logged a metric in this iteration."""
    return bool(run.logged.keys() & run.metrics.keys())
