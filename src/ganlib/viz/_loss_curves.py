"""Metrics as curves."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from torch import Tensor

from ganlib.errors import ArgumentValueError, CheckpointError
from ganlib.protocols import Run
from ganlib.viz._files import check_folder, save_picture

__all__ = ["LossCurves"]


class _Point(NamedTuple):
    iteration: int
    epoch: float | None  # None of a checkpoint that an older ganlib wrote, until the run goes on
    metrics: dict[str, Any]


class LossCurves:
    """Plots the losses (above) and all scores (below) of a run, at its end.

    Metrics stay on the device until they are plotted or saved, so noting them waits for nothing. Where a run grows
    beyond ``max_points``, every second point is dropped and the interval doubled: the memory stays bounded.

    With ``mean=True`` a point is the mean of each metric over the iterations since the point before it, those that had
    the metric, and stands at the last of them. Then no point is dropped: each two are merged into their mean. A run
    that is resumed from a checkpoint without sums, as of ``mean=False``, begins them there.

    Args:
        path: the picture; its folder is made. The ending says the format (``.png``, ``.svg``, ``.pdf``).
        every: iterations between two points, at least 1.
        max_points: at least 2.
        mean: whether a point is a mean, instead of the values of its iteration.
        against: ``"iteration"``, or ``"epoch"`` for the passes over the batches, with the fraction of the one under way
            where the batches have a length.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> LossCurves("run/losses.png", every=20).every
        20
    """

    rank_zero_only = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 10,
        max_points: int = 2000,
        mean: bool = False,
        against: Literal["iteration", "epoch"] = "iteration",
    ) -> None:
        if not (isinstance(every, int) and every >= 1):
            raise ArgumentValueError(f"every (={every}) must be a whole number of at least 1")
        if not (isinstance(max_points, int) and max_points >= 2):
            raise ArgumentValueError(f"max_points (={max_points}) must be a whole number of at least 2")
        if against not in ("iteration", "epoch"):
            raise ArgumentValueError(f"against (={against!r}) must be 'iteration' or 'epoch'")
        self.path = Path(path)
        self._format = self.path.suffix.lstrip(".").lower() or "png"
        if self._format not in FigureCanvasBase.filetypes:
            endings = ", ".join(f".{ending}" for ending in FigureCanvasBase.filetypes)
            raise ArgumentValueError(f"path (={self.path}) must end in one of {endings}")
        self.every = every
        self.max_points = max_points
        self.mean = mean
        self.against = against
        self._points: list[_Point] = []
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._summed_to = 0

    def on_start(self, run: Run) -> None:
        """Make the folder, and forget points of another run.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        check_folder(self.path.parent)
        passes = _passes(run) / max(run.iteration, 1)
        self._points = [
            point if point.epoch is not None else point._replace(epoch=point.iteration * passes)
            for point in self._points
            if point.iteration <= run.iteration
        ]
        if self._summed_to != run.iteration:  # sums of another run, or of iterations that have been undone
            self._sums, self._counts = {}, {}

    def on_iteration(self, run: Run) -> None:
        """Note the metrics, where it is time.

        Args:
            run: the training.
        """
        if self.mean:
            self._add(run)
        if run.iteration % self.every == 0:
            full = len(self._points) >= self.max_points
            self.every *= 2 if full else 1
            if run.iteration % self.every == 0:  # else its sums go on, to a point of the doubled interval
                self._points.append(self._point(run))
                self._sums, self._counts = {}, {}
            if full:
                self._thin()

    def on_end(self, run: Run) -> None:
        """Plot.

        Args:
            run: the training.

        Raises:
            RunFolderError: the picture cannot be written.
        """
        if not run.metrics and self.path.exists():  # nothing was trained: the picture has a last point that is not here
            return
        points = self._points
        if run.metrics and (not points or points[-1].iteration != run.iteration):
            points = [*points, self._point(run)]  # out of turn: a run that goes on must not keep it
        _read((point.metrics for point in points), exact=self.mean)
        figure = Figure(figsize=(8, 6), layout="constrained")
        losses, scores = figure.subplots(2, sharex=True)
        for name in dict.fromkeys(name for point in points for name in point.metrics):
            shown = [(getattr(point, self.against), point.metrics[name]) for point in points if name in point.metrics]
            axes = scores if name.endswith("_score") else losses
            marker = "." if len(shown) == 1 else None  # a line of one point would not be seen
            axes.plot(*zip(*shown, strict=True), label=name.replace("_", " "), linewidth=0.8, marker=marker)
        losses.set_ylabel("loss")
        scores.set(xlabel=self.against, ylabel="mean D", ylim=(0, 1))
        for axes in (losses, scores):
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")  # beside, not over, the curves
        save_picture(self.path, figure.savefig, format=self._format, dpi=100)

    def state_dict(self) -> dict[str, Any]:
        """The points so far.

        Returns:
            A state for :meth:`load_state_dict`.
        """
        _read([*(point.metrics for point in self._points), self._sums], exact=self.mean)
        return {
            "every": self.every,
            "points": [[point.iteration, point.metrics] for point in self._points],
            "epochs": [point.epoch for point in self._points],
            "sums": {name: [total, self._counts[name]] for name, total in self._sums.items()},
            "summed_to": self._summed_to,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Args:
            state: what :meth:`state_dict` gave.

        Raises:
            CheckpointError: its sums are none.
        """
        points, sums, summed_to = state["points"], state.get("sums", {}), state.get("summed_to", 0)
        if type(summed_to) is not int or not all(
            type(total) is float and type(count) is int and count >= 1 for total, count in sums.values()
        ):
            raise CheckpointError(f"its sums (={sums!r:.80}) up to iteration (={summed_to!r:.80}) are none")
        epochs = state.get("epochs", [None] * len(points))
        self.every = state["every"]
        self._points = [
            _Point(iteration, epoch, metrics) for (iteration, metrics), epoch in zip(points, epochs, strict=True)
        ]
        self._sums = {name: total for name, (total, _) in sums.items()}
        self._counts = {name: count for name, (_, count) in sums.items()}
        self._summed_to = summed_to

    def _add(self, run: Run) -> None:
        for name, value in run.metrics.items():
            exact = value.detach().to(torch.float32 if value.device.type == "mps" else torch.float64)
            self._sums[name] = exact + self._sums.get(name, 0.0)
            self._counts[name] = self._counts.get(name, 0) + 1
        self._summed_to = run.iteration

    def _point(self, run: Run) -> _Point:
        if not self.mean:
            return _Point(run.iteration, _passes(run), dict(run.metrics))
        means = {name: total / self._counts[name] for name, total in self._sums.items()}
        return _Point(run.iteration, _passes(run), means)

    def _thin(self) -> None:
        """Leave a point for each interval, now that it is doubled."""
        if not self.mean:
            self._points = [point for point in self._points if point.iteration % self.every == 0]
            return
        _read((point.metrics for point in self._points), exact=True)  # cheaper than to merge each on the device
        merged: dict[int, list[_Point]] = {}
        for point in self._points:
            merged.setdefault(-(-point.iteration // self.every), []).append(point)
        self._points = [points[-1]._replace(metrics=_means(points)) for points in merged.values()]


def _means(points: list[_Point]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for point in points:
        for name, value in point.metrics.items():
            values.setdefault(name, []).append(value)
    return {name: sum(several) / len(several) for name, several in values.items()}


def _passes(run: Run) -> float:
    """Passes over the batches so far, never outside the pass that the run says is under way."""
    try:
        length = len(run.batches)
    except TypeError:
        length = 0
    drawn = run.iteration * getattr(run.trainer, "batches_per_iteration", 1)
    return min(max(drawn / length, run.epoch), run.epoch + 1) if length else run.epoch


def _read(several: Iterable[dict[str, Any]], *, exact: bool) -> None:
    """Bring what is still on the device to the host, with one wait."""
    waiting = [(metrics, name) for metrics in several for name, value in metrics.items() if isinstance(value, Tensor)]
    if waiting:
        values = torch.stack([metrics[name] if exact else metrics[name].float() for metrics, name in waiting]).tolist()
        for (metrics, name), value in zip(waiting, values, strict=True):
            metrics[name] = value
