"""A bar in the terminal."""

import math
import time
from typing import Any

import torch
from tqdm.auto import tqdm

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Run

__all__ = ["ProgressBar"]

_SHORT = {"discriminator_loss": "D loss", "generator_loss": "G loss", "real_score": "D(x)", "fake_score": "D(G(z))"}


class ProgressBar:
    """Shows how far the training is, its speed in images per second, and the metrics.

    Metrics are read, which waits for the device, only when the bar is drawn anew.

    Args:
        seconds: least time between two readings of the metrics, at least 0.

    Raises:
        ArgumentValueError: ``seconds`` is below 0.

    Example:
        >>> from ganlib import training
        >>> training.ProgressBar(seconds=2.0).seconds
        2.0
    """

    rank_zero_only = True

    def __init__(self, seconds: float = 1.0) -> None:
        if not seconds >= 0:
            raise ArgumentValueError(f"seconds (={seconds}) must be at least 0")
        self.seconds = seconds
        self._drawn, self._began = -math.inf, 0.0
        self._samples_at_start = 0
        self._bar: Any = None

    def on_start(self, run: Run) -> None:
        """Open the bar.

        Args:
            run: the training.
        """
        self._samples_at_start = run.samples
        self._began = time.monotonic()
        self._drawn = -math.inf
        if self._bar is not None:  # a run that goes back to a checkpoint starts again
            self._bar.close()
        self._bar = tqdm(total=1.0, bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}")

    def on_iteration(self, run: Run) -> None:
        """Draw the bar anew, where it is time.

        Args:
            run: the training.
        """
        if time.monotonic() - self._drawn >= self.seconds:
            self._draw(run)

    def on_end(self, run: Run) -> None:
        """Draw the bar for the last time, and close it.

        Args:
            run: the training.
        """
        if run.metrics:
            self._draw(run)
        self._bar.close()

    def _draw(self, run: Run) -> None:
        self._drawn = time.monotonic()
        rate = (run.samples - self._samples_at_start) / max(self._drawn - self._began, 1e-9)
        values = torch.stack([value.float() for value in run.metrics.values()]).tolist()
        shown = [f"{_SHORT.get(name, name)} {value:.3f}" for name, value in zip(run.metrics, values, strict=True)]
        self._bar.n = round(run.progress, 4)
        self._bar.set_postfix_str(f"iteration {run.iteration}, {', '.join(shown)}, {rate:.0f} images/s", refresh=True)
