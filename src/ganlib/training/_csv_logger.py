"""Metrics as a table."""

import csv
import io
import os
from pathlib import Path

import torch

from ganlib.errors import ArgumentValueError, CheckpointError
from ganlib.protocols import Run
from ganlib.training._files import make_folder, write_atomically

__all__ = ["CSVLogger"]


class CSVLogger:
    """Writes a row of metrics every so often, and of the last iteration.

    The columns are iteration, epoch, and the metrics in the order in which they first appear; a metric that an
    iteration lacks leaves its cell empty. (A lazy penalty of :class:`AdversarialTrainer` has the value that was last
    computed.) A resumed run drops the rows that are ahead of it and goes on; a new one begins the file anew.

    Args:
        path: the file; its folder is made.
        every: iterations between two rows, at least 1.

    Raises:
        ArgumentValueError: ``every`` is below 1.

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

    def __init__(self, path: str | os.PathLike[str], every: int = 50) -> None:
        if not (isinstance(every, int) and every >= 1):
            raise ArgumentValueError(f"every (={every}) must be a whole number of at least 1")
        self.path = Path(path)
        self.every = every
        self._columns: list[str] = []
        self._last = 0

    def on_start(self, run: Run) -> None:
        """Begin the file, or drop what a resumed run will write again.

        Args:
            run: the training.

        Raises:
            RunFolderError: the file cannot be written.
            CheckpointError: the file of the run that is resumed is no table of metrics.
        """
        make_folder(self.path.parent)
        self._columns, self._last, rows = [], 0, []
        if run.iteration and self.path.exists():
            text = self.path.read_bytes().decode(errors="replace")
            # A row without its end was cut by a kill, and so perhaps was its iteration.
            reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
            self._columns = list(reader.fieldnames or [])
            rows = [row for row in reader if self._iteration(row) <= run.iteration]
            self._last = max((self._iteration(row) for row in rows), default=0)
        self._rewrite(rows)

    def on_iteration(self, run: Run) -> None:
        """Write a row, where it is time.

        Args:
            run: the training.
        """
        if run.iteration % self.every == 0:
            self._write(run)

    def on_end(self, run: Run) -> None:
        """Write the row of the last iteration, unless that has been done.

        Args:
            run: the training.
        """
        if run.metrics and run.iteration != self._last:
            self._write(run)

    def _write(self, run: Run) -> None:
        values = torch.stack([value.float() for value in run.metrics.values()]).tolist()  # one wait for all of them
        row = {"iteration": run.iteration, "epoch": run.epoch, **dict(zip(run.metrics, values, strict=True))}
        if set(row) - set(self._columns):
            with self.path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            self._columns += [name for name in row if name not in self._columns]
            self._rewrite(rows)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, restval="").writerow(row)
        self._last = run.iteration

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        lines = [self._columns, *([row.get(name) or "" for name in self._columns] for row in rows)]
        text = "".join(",".join(line) + "\r\n" for line in lines if line)
        write_atomically(self.path, lambda file: file.write(text.encode()))

    def _iteration(self, row: dict[str, str]) -> int:
        try:
            return int(row["iteration"])
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{self.path} is no table of metrics: it has the row {row}") from None
