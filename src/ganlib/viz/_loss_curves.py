"""Metrics as curves."""

import os
from pathlib import Path
from typing import Any

import torch
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Run
from ganlib.viz._files import check_folder, save_picture

__all__ = ["LossCurves"]


class LossCurves:
    """Plots the losses (above) and all scores (below) of a run, at its end.

    Metrics stay on the device until they are plotted or saved, so noting them waits for nothing. Where a run grows
    beyond ``max_points``, every second point is dropped and the interval doubled: the memory stays bounded.

    Args:
        path: the picture; its folder is made. The ending says the format (``.png``, ``.svg``, ``.pdf``).
        every: iterations between two points, at least 1.
        max_points: at least 2.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> LossCurves("run/losses.png", every=20).every
        20
    """

    rank_zero_only = True

    def __init__(self, path: str | os.PathLike[str], every: int = 10, max_points: int = 2000) -> None:
        if not (isinstance(every, int) and every >= 1):
            raise ArgumentValueError(f"every (={every}) must be a whole number of at least 1")
        if not (isinstance(max_points, int) and max_points >= 2):
            raise ArgumentValueError(f"max_points (={max_points}) must be a whole number of at least 2")
        self.path = Path(path)
        self._format = self.path.suffix.lstrip(".").lower() or "png"
        if self._format not in FigureCanvasBase.filetypes:
            endings = ", ".join(f".{ending}" for ending in FigureCanvasBase.filetypes)
            raise ArgumentValueError(f"path (={self.path}) must end in one of {endings}")
        self.every = every
        self.max_points = max_points
        self._points: list[tuple[int, dict[str, Any]]] = []

    def on_start(self, run: Run) -> None:
        """Make the folder, and forget points of another run.

        Args:
            run: the training.

        Raises:
            RunFolderError: the folder cannot be written to.
        """
        check_folder(self.path.parent)
        self._points = [point for point in self._points if point[0] <= run.iteration]

    def on_iteration(self, run: Run) -> None:
        """Note the metrics, where it is time.

        Args:
            run: the training.
        """
        if run.iteration % self.every == 0:
            self._points.append((run.iteration, dict(run.metrics)))
            if len(self._points) > self.max_points:
                self.every *= 2
                self._points = [point for point in self._points if point[0] % self.every == 0]

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
        if run.metrics and (not points or points[-1][0] != run.iteration):
            points = [*points, (run.iteration, dict(run.metrics))]  # out of turn: a run that goes on must not keep it
        _read(points)
        figure = Figure(figsize=(8, 6), layout="constrained")
        losses, scores = figure.subplots(2, sharex=True)
        for name in dict.fromkeys(name for _, metrics in points for name in metrics):
            shown = [(iteration, metrics[name]) for iteration, metrics in points if name in metrics]
            axes = scores if name.endswith("_score") else losses
            axes.plot(*zip(*shown, strict=True), label=name.replace("_", " "), linewidth=0.8)
        losses.set_ylabel("loss")
        scores.set(xlabel="iteration", ylabel="mean D", ylim=(0, 1))
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
        _read(self._points)
        return {"every": self.every, "points": [[iteration, metrics] for iteration, metrics in self._points]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Args:
            state: what :meth:`state_dict` gave.
        """
        self.every = state["every"]
        self._points = [(iteration, metrics) for iteration, metrics in state["points"]]


def _read(points: list[tuple[int, dict[str, Any]]]) -> None:
    """Bring what is still on the device to the host, with one wait."""
    waiting = [(metrics, name) for _, metrics in points for name, value in metrics.items() if isinstance(value, Tensor)]
    if waiting:
        values = torch.stack([metrics[name].float() for metrics, name in waiting]).tolist()
        for (metrics, name), value in zip(waiting, values, strict=True):
            metrics[name] = value
