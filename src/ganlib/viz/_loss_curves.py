"""Metrics as curves."""

import io
import math
import os
import warnings
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ganlib._checks import check_option, check_path_like
from ganlib._files import prepare_file
from ganlib._shown import described
from ganlib._table import read_table
from ganlib.errors import ArgumentValueError, CheckpointError, GanlibError, MissingExtraError
from ganlib.protocols import Run
from ganlib.viz._images import check_path, save_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["LossCurves"]

_HUGE = 1e100  # larger values are not drawn, as infinite ones
_LONG = 60  # letters of a name
_WIDE = 30  # a larger ratio of the largest to the smallest value needs a logarithmic axis


class LossCurves:
    """Plots the metrics of a run at its end: the scores below, all others, such as losses, above.

    The curves are those of the table that a :class:`ganlib.training.CSVLogger` writes: a point for each row, or for the
    mean of many iterations with ``CSVLogger(mean=True)``. A metric has no point where its cell is empty. A run in which
    nothing is trained leaves the image as it is.

    Metrics that callbacks have logged (``run.log``), such as those of an evaluation, have axes of their own below.
    Those whose largest values are within a factor of 4 share them. Each value is a marker, and ``<name>_std`` is the
    error bar of ``<name>``.

    Args:
        path: the image; its folder is made. The suffix is its format (``.png``, ``.svg``, ``.pdf``).
        table: the file of the CSVLogger, which must come before this callback; None is ``metrics.csv`` in the folder of
            the image.
        against: ``"iteration"``, or ``"epoch"``, with fractions of an epoch if the number of batches is known.

    Raises:
        ArgumentValueError: an argument is not one of its options.
        MissingExtraError: the package matplotlib is not installed.

    Example:
        >>> LossCurves("run/losses.png").table.as_posix()
        'run/metrics.csv'
    """

    rank_zero_only = True
    reads_metrics = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        table: str | os.PathLike[str] | None = None,
        *,
        against: Literal["iteration", "epoch"] = "iteration",
    ) -> None:
        check_option("against", against, ("iteration", "epoch"))
        self.path: Path = check_path(path)
        self.table: Path = self.path.with_name("metrics.csv") if table is None else check_path_like("table", table)
        self.against = against
        self._format = self.path.suffix.lstrip(".").lower() or "png"
        formats = _figure().canvas.get_supported_filetypes()
        if self._format not in formats:
            suffixes = ", ".join(f".{suffix}" for suffix in formats)
            raise ArgumentValueError(f"path (={self.path}) must end in one of {suffixes}")

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "path", "table", "against")

    def on_start(self, run: Run) -> None:
        """Make the folder, and warn if no callback before this one writes the table.

        Args:
            run: the training.

        Raises:
            ArgumentValueError: matplotlib cannot write the format here.
            RunFolderError: the image cannot be written there.
        """
        prepare_file(self.path)
        try:
            _figure().savefig(io.BytesIO(), format=self._format)
        except Exception as error:  # some formats need other programs, or a newer Pillow
            raise ArgumentValueError(
                f"path (={self.path}) has a format that cannot be written here: {type(error).__name__}: {error}"
            ) from error
        before = takewhile(lambda callback: callback is not self, run.callbacks)
        paths = [getattr(callback, "path", None) for callback in before]
        written = [os.path.abspath(path) for path in paths if isinstance(path, str | os.PathLike)]
        if os.path.abspath(self.table) not in written:
            warnings.warn(
                f"no callback before LossCurves writes {self.table}, from which it draws: put a "
                f"training.CSVLogger({str(self.table)!r}) before it",
                stacklevel=5,
            )

    def on_end(self, run: Run) -> None:
        """Plot the table; a damaged one is warned of, since the run's last checkpoint is not written yet.

        Args:
            run: the training.

        Raises:
            RunFolderError: the image cannot be written.
        """
        if not run.metrics and self.path.exists():
            return
        try:
            rows = read_table(self.table)
        except CheckpointError as error:
            warnings.warn(f"LossCurves draws nothing: {error}", stacklevel=4)
            return
        try:
            save_image(self.path, self._plot(rows, run).savefig, format=self._format, dpi=100)
        except GanlibError:
            raise
        except Exception as error:  # matplotlib refuses values and sizes that it cannot draw
            warnings.warn(f"LossCurves draws nothing: {type(error).__name__}: {error}", stacklevel=4)

    def _plot(self, rows: list[dict[str, str]], run: Run) -> "Figure":
        columns = list(rows[0])[2:] if rows else []
        deviations = {f"{name}_std" for name in run.logged} & {*run.logged}
        groups = _groups(
            {
                name: [float(row[name]) for row in rows if row[name]]
                for name in columns
                if name in run.logged and name not in deviations
            }
        )
        figure = _figure(figsize=(8, 6 + 1.5 * len(groups)), layout="constrained")
        losses, scores, *below = figure.subplots(2 + len(groups), sharex=True, height_ratios=[2, 2, *[1] * len(groups)])
        axes_of_logged = {name: axes for axes, group in zip(below, groups, strict=True) for name in group}
        for name in columns:
            points = [(self._position(row, run), _drawable(row[name])) for row in rows if row[name]]
            if name in deviations or not points:
                continue
            axes = axes_of_logged.get(name, scores if name.endswith("_score") else losses)
            marker = "." if name in axes_of_logged or len(points) == 1 else None  # a line of one point is invisible
            label = name[:_LONG].replace("_", " ").replace("$", r"\$")  # dollars would be around mathematics
            axes.plot(*zip(*points, strict=True), label=label, linewidth=0.8, marker=marker)
            if name in axes_of_logged and f"{name}_std" in columns:
                errors = [abs(_drawable(row[f"{name}_std"] or "nan")) for row in rows if row[name]]
                axes.errorbar(*zip(*points, strict=True), errors, fmt="none", ecolor=axes.lines[-1].get_color())
        for axes in below:
            values = [value for line in axes.lines for value in line.get_ydata() if math.isfinite(value)]
            if values and max(values) > _WIDE * min(values) > 0:
                axes.set_yscale("log")
        losses.set_ylabel("loss")
        scores.set(ylabel="mean D", ylim=(0, 1))
        figure.axes[-1].set_xlabel(self.against)
        for axes in figure.axes:
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")  # outside, not over the curves
        return figure

    def _position(self, row: dict[str, str], run: Run) -> float:
        iteration, epoch = int(row["iteration"]), int(row["epoch"])
        if self.against == "iteration":
            return iteration
        try:
            drawn = iteration * getattr(run.trainer, "batches_per_iteration", 1)
            return min(max(drawn / len(run.batches), epoch), epoch + 1)
        except (TypeError, ZeroDivisionError):  # the number of batches is not known
            return epoch


def _figure(**options: Any) -> "Figure":
    """Make an empty figure; all else of ganlib works without matplotlib, and does not wait for it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed, which LossCurves draws with: pip install matplotlib"
        ) from error
    return Figure(**options)


def _drawable(cell: str) -> float:
    """The value, or NaN beyond what matplotlib can divide an axis into."""
    value = float(cell)
    return value if abs(value) < _HUGE else math.nan


def _groups(columns: dict[str, list[float]]) -> list[list[str]]:
    """Names whose largest values are within a factor of 4 of that of the first one of their group.

    Shares, such as precision, count as 1: next to each other they can be compared.
    """
    groups = list[tuple[float, list[str]]]()
    for name, values in columns.items():
        largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
        if largest <= 1 and not name.endswith(("distance", "divergence")):
            largest = 1.0
        for first, names in groups:
            if first / 4 <= largest <= first * 4:
                names.append(name)
                break
        else:
            groups.append((largest, [name]))
    return [names for _, names in groups]
