"""Plot metrics as curves."""

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

_HUGE = 1e100  # larger values are not drawn, like infinity
_LONG = 60  # characters of a name
_WIDE = 30  # ratio of the largest to the smallest value above which an axis is logarithmic


class LossCurves:
    """Plot the metrics of a run at its end: losses and other metrics above, scores below.

    The curves come from the CSV file of a :class:`ganlib.training.CSVLogger`. Each row is a point, and with
    ``CSVLogger(mean=True)`` each point is a mean over many iterations. Empty cells give no point. If ``fit`` trains
    nothing, an existing image is kept.

    Metrics that callbacks log with ``run.log``, such as those of an evaluation, have their own axes below. Metrics
    share axes if their largest values differ by at most a factor of 4. Each value is a marker, and ``<name>_std``
    becomes the error bar of ``<name>``.

    Args:
        path: the image. Its folder is created. The suffix sets the format (``.png``, ``.svg``, ``.pdf``).
        table: the file of the CSVLogger, which must come before this callback. None is ``metrics.csv`` in the folder of
            the image.
        against: the horizontal axis, ``"iteration"`` or ``"epoch"``. Epochs have fractions if the number of batches is
            known.

    Raises:
        ArgumentValueError: if an argument is invalid.
        MissingExtraError: if matplotlib is not installed.

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
        """Create the folder, and warn if no callback before this one writes the table.

        Args:
            run: the training.

        Raises:
            ArgumentValueError: if matplotlib cannot write the format.
            RunFolderError: if the image cannot be written to this path.
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
                f"no callback before LossCurves writes {self.table}, which LossCurves reads: put a "
                f"training.CSVLogger({str(self.table)!r}) before it",
                stacklevel=5,
            )

    def on_end(self, run: Run) -> None:
        """Plot the table. A damaged table causes a warning, since the last checkpoint is not written yet.

        Args:
            run: the training.

        Raises:
            RunFolderError: if the image cannot be written.
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
        except Exception as error:  # matplotlib can raise any error for values it cannot draw
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
            label = name[:_LONG].replace("_", " ").replace("$", r"\$")  # no mathematics between dollars
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
        except (TypeError, ZeroDivisionError):  # the number of batches is unknown
            return epoch


def _figure(**options: Any) -> "Figure":
    """Return an empty figure; import matplotlib late, since the rest of ganlib works without it."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed, which LossCurves needs: pip install matplotlib"
        ) from error
    return Figure(**options)


def _drawable(cell: str) -> float:
    """Return the value, or NaN if it is too large for an axis of matplotlib."""
    value = float(cell)
    return value if abs(value) < _HUGE else math.nan


def _groups(columns: dict[str, list[float]]) -> list[list[str]]:
    """Group names whose largest values are within a factor of 4; shares, such as precision, count as 1."""
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
