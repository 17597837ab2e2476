"""Metrics as a table."""

import csv
import glob
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ganlib.errors import ArgumentValueError, CheckpointError, RunFolderError
from ganlib.protocols import Run
from ganlib.training._files import make_folder, remove_leftovers, write_atomically
from ganlib.training._means import RunningMeans

__all__ = ["CSVLogger"]


class CSVLogger:
    """Writes a row of metrics every so often, and of the last iteration.

    The columns are iteration, epoch, and the metrics in the order in which they first appear; a metric that an
    iteration lacks leaves its cell empty. (A lazy penalty of :class:`AdversarialTrainer` has the value that was last
    computed.) A resumed run drops the rows that are ahead of it and goes on, and with them the row of its last stop,
    where that was out of turn; a new one begins the file anew.

    The file is bounded: as often as a run outgrows ``max_rows`` intervals, the interval is doubled and the rows between
    are dropped.

    With ``mean=True`` a cell holds the mean of its metric since the last row was written, over the iterations that had
    the metric. Sums are kept on the device and read at a row, so that nothing else waits for them. Where rows are
    dropped, those that stay keep their values: means over the interval of their time, not over the doubled one. The
    sums since the last row go into checkpoints; a run that is resumed from one without them, as of ``mean=False``,
    begins them there.

    Args:
        path: the file; its folder is made.
        every: iterations between two rows, at least 1; ``len(loader)``, for a trainer that draws one batch an
            iteration, gives a row an epoch.
        max_rows: rows besides the last iteration's, at least 2.
        mean: whether a row holds means, instead of the values of its iteration.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> import tempfile
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

    def __init__(
        self, path: str | os.PathLike[str], every: int = 50, max_rows: int = 20_000, mean: bool = False
    ) -> None:
        if not (isinstance(every, int) and every >= 1):
            raise ArgumentValueError(f"every (={every}) must be a whole number of at least 1")
        if not (isinstance(max_rows, int) and max_rows >= 2):
            raise ArgumentValueError(f"max_rows (={max_rows}) must be a whole number of at least 2")
        self.path = Path(path)
        self.every = every
        self.max_rows = max_rows
        self.mean = mean
        self._means = RunningMeans()
        if mean:  # of the class, they would put a state into the checkpoints of every run that has a table
            self.state_dict = self._means.state_dict
            self.load_state_dict = self._means.load_state_dict
        self._columns: list[str] = []
        self._interval, self._last, self._stop = every, 0, 0

    def on_start(self, run: Run) -> None:
        """Begin the file, or drop what a resumed run will write again.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
            CheckpointError: the file of the run that is resumed is no table of metrics.
        """
        make_folder(self.path.parent)
        remove_leftovers(self.path.parent, glob.escape(self.path.name))
        self._columns, self._last = [], 0
        self._means.begin(run.iteration)
        self._interval = self._interval_at(run.iteration)
        # Whether the row of a stop goes is seen when the run goes on: of one that is over it is the last row.
        self._stop = run.iteration if run.iteration % self._interval else 0
        rows = self._read() if run.iteration else []
        self._keep(rows, lambda iteration: iteration <= run.iteration)

    def on_iteration(self, run: Run) -> None:
        """Write a row, where it is time.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
        """
        before, stop = self._interval, self._stop
        self._interval, self._stop = self._interval_at(run.iteration), 0
        if stop or self._interval != before:
            self._keep(
                self._read(),
                lambda iteration: iteration != stop and (iteration % self._interval == 0 or self._interval == before),
            )
        if self.mean:
            self._means.add(run.iteration, run.metrics)
        if run.iteration % self._interval == 0:
            self._write(run)
            self._means.clear()  # not after the row of a stop: a run that goes on writes one over all its iterations

    def on_end(self, run: Run) -> None:
        """Write the row of the last iteration, unless that has been done.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
        """
        if run.metrics and run.iteration != self._last:
            self._write(run)

    def _interval_at(self, iteration: int) -> int:
        """From the iteration alone, so that a resumed run needs no memory of it."""
        interval = self.every
        while iteration > self.max_rows * interval:
            interval *= 2
        return interval

    def _write(self, run: Run) -> None:
        row = {"iteration": run.iteration, "epoch": run.epoch, **(self._means.read() if self.mean else _values(run))}
        if set(row) - set(self._columns):
            rows = self._read()
            self._columns += [name for name in row if name not in self._columns]
            self._rewrite(rows)
        line = _lines([[row.get(name, "") for name in self._columns]])
        try:
            with self.path.open("r+b") as file:  # not "a", which begins a file without a header where it has gone
                file.seek(0, os.SEEK_END)
                file.write(line)
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be written: {error}") from error
        self._last = run.iteration

    def _keep(self, rows: list[dict[str, str]], wanted: Callable[[int], bool]) -> None:
        """Rewrite the file with the rows of these iterations."""
        kept, stops = [], []
        for row in rows:
            iteration = int(row["iteration"])
            if wanted(iteration):
                kept.append(row)
            elif iteration % self._interval_at(iteration):
                stops.append(row)
        # A metric that only the row of a stop had takes its place among the columns when it comes again.
        self._columns = [
            name for name in self._columns if any(row[name] for row in kept) or not any(row[name] for row in stops)
        ]
        self._rewrite(kept)
        self._last = int(kept[-1]["iteration"]) if kept else 0

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        table = _lines([self._columns, *([row.get(name, "") for name in self._columns] for row in rows)])
        write_atomically(self.path, lambda file: file.write(table))

    def _read(self) -> list[dict[str, str]]:
        """The rows of the file, whose columns are taken over."""
        try:
            content = self.path.read_bytes()
            # A row without its end was cut by a kill, and so perhaps was its iteration.
            text = content[: content.rfind(b"\n") + 1].decode()
            table = list(csv.reader(io.StringIO(text, newline=""), strict=True))
            self._columns = table[0] if table else []
            rows = [_row(self._columns, cells) for cells in table[1:]]
            iterations = [int(row["iteration"]) for row in rows]
            if "\0" in text or iterations != sorted({*iterations}):
                raise ValueError("its iterations do not rise")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read: {error}") from error
        except (csv.Error, ValueError) as error:
            raise CheckpointError(f"{self.path} is no table of metrics: {error}") from error
        return rows


def _values(run: Run) -> dict[str, float]:
    values = torch.stack([value.float() for value in run.metrics.values()]).tolist()  # one wait for all of them
    return dict(zip(run.metrics, values, strict=True))


def _lines(rows: list[list[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(row for row in rows if row)
    return text.getvalue().encode()


def _row(columns: list[str], cells: list[str]) -> dict[str, str]:
    row = dict(zip(columns, cells, strict=True))
    if not (columns[:2] == ["iteration", "epoch"] and len(row) == len(columns) and row["iteration"].isdecimal()):
        raise ValueError(f"it has the row {', '.join(cells):.200}")
    for cell in cells:
        float(cell or 0)
    return row
