"""Metrics as a table."""

import os
from pathlib import Path

from ganlib._checks import check_sizes
from ganlib._files import prepare_file, write_atomically
from ganlib._table import format_rows, read_table
from ganlib.errors import RunFolderError
from ganlib.protocols import Run
from ganlib.training._callbacks._means import RunningMeans

__all__ = ["CSVLogger"]


class CSVLogger:
    """Writes a row of metrics every few iterations, and one of the last iteration.

    The columns are iteration, epoch, and the metrics in the order of their first appearance. A metric that an iteration
    does not have leaves its cell empty. (A lazy penalty of :class:`AdversarialTrainer` keeps the value that was
    computed last.) A new run starts a new file. A resumed run continues the file, and drops the rows that are ahead of
    it and the row of its last stop, so that its table is that of a run that was never stopped.

    With ``mean=True`` a cell is the mean of its metric over the iterations since the last row that had the metric. The
    sums are kept on the device, and read when a row is written. They are saved in checkpoints. A run that is resumed
    from a checkpoint of ``mean=False`` starts new sums.

    Args:
        path: the file; its folder is made.
        every: iterations between two rows, at least 1. ``len(loader)`` gives a row for each epoch, if the trainer draws
            one batch per iteration.
        mean: whether a row holds means, instead of the values of its iteration.

    Raises:
        ArgumentValueError: ``every`` is below 1.

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

    def __init__(self, path: str | os.PathLike[str], every: int = 50, mean: bool = False) -> None:
        check_sizes(every=every)
        self.path = Path(path)
        self.every = every
        self.mean = mean
        self._means = RunningMeans()
        if mean:  # as methods of the class, they would put a state into the checkpoints of every run that has a table
            self.state_dict = self._means.state_dict
            self.load_state_dict = self._means.load_state_dict
        self._columns: list[str] = []
        self._last = 0

    def on_start(self, run: Run) -> None:
        """Start the file, or drop the rows that a resumed run will write again.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
            CheckpointError: the file of the run that is resumed is not a table of metrics.
        """
        prepare_file(self.path)
        self._means.start(run.iteration)
        rows = read_table(self.path) if run.iteration else []
        rows = [row for row in rows if int(row["iteration"]) <= run.iteration]
        if rows and int(rows[-1]["iteration"]) % self.every and run.progress < 1:
            rows.pop()  # a stop wrote it; a run that is over keeps it as its last row
        self._rewrite(rows)
        self._last = int(rows[-1]["iteration"]) if rows else 0

    def on_iteration(self, run: Run) -> None:
        """Write a row, if it is time.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
        """
        if self.mean:
            self._means.add(run.iteration, run.metrics)
        if run.iteration % self.every == 0:
            self._write(run)
            self._means.clear()  # but not after the row of a stop, whose iterations count for the next row too

    def on_end(self, run: Run) -> None:
        """Write the row of the last iteration, unless it is there.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
        """
        if run.metrics and run.iteration != self._last:
            self._write(run)

    def _write(self, run: Run) -> None:
        """Append a row; a metric without a column gets one, and the file is written again."""
        metrics = self._means.read() if self.mean else {name: float(value) for name, value in run.metrics.items()}
        row = {"iteration": run.iteration, "epoch": run.epoch, **metrics}
        if not {*row} <= {*self._columns}:
            self._rewrite(read_table(self.path), *row)
        try:
            with self.path.open("r+b") as file:  # not "a", which would make a new file if someone removed this one
                file.seek(0, os.SEEK_END)
                file.write(format_rows(self._columns, [row]))
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be written: {error}") from error
        self._last = run.iteration

    def _rewrite(self, rows: list[dict[str, str]], *names: str) -> None:
        """Write these rows, with the columns in which they have a value, and columns of these names."""
        self._columns = [*dict.fromkeys([*(name for row in rows for name in row if row[name]), *names])]
        write_atomically(self.path, lambda file: file.write(format_rows(self._columns, rows, header=True)))
