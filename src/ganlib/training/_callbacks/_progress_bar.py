"""Show a progress bar in the terminal."""

import math
import time
from typing import Any

from tqdm import tqdm

from ganlib._checks import check_number
from ganlib._shown import described
from ganlib.protocols import Run

__all__ = ["ProgressBar"]

_SHORT = {
    "discriminator_loss": "D loss",
    "generator_loss": "G loss",
    "real_score": "D(x)",
    "fake_score": "D(G(z))",
}


class ProgressBar:
    """Show the progress of the training, its speed in images per second, and the metrics.

    Metrics that callbacks have logged stay on the bar until they are logged again. The bar does not show their standard
    deviations (``<name>_std``). It estimates the remaining time from this call of ``fit``. The speed does not include
    the time of callbacks with ``untimed = True``. Reading metrics waits for the device, so the bar reads them only when
    it is updated.

    Args:
        seconds: the shortest time between two updates, at least 0.

    Raises:
        ArgumentValueError: ``seconds`` is below 0.

    Example:
        >>> from ganlib import training
        >>> training.ProgressBar(seconds=2.0).seconds
        2.0
    """

    rank_zero_only = True
    reads_metrics = True

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds: float = check_number("seconds", seconds)
        self._updated = -math.inf
        self._seconds_at_start, self._samples_at_start = 0.0, 0
        self._bar: Any = None

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "seconds")

    def on_start(self, run: Run) -> None:
        """Open the bar.

        Args:
            run: the run.
        """
        self._seconds_at_start, self._samples_at_start = run.seconds, run.samples
        self._updated = -math.inf
        if self._bar is not None:  # a run that returns to a checkpoint starts again
            self._bar.close()
        self._bar = tqdm(
            total=1.0, initial=run.progress, bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}{postfix}"
        )

    def on_iteration(self, run: Run) -> None:
        """Update the bar, if it is time.

        Args:
            run: the run.
        """
        if time.monotonic() - self._updated >= self.seconds:
            self._update(run)

    def on_end(self, run: Run) -> None:
        """Update the bar for the last time, and close it.

        Args:
            run: the run.
        """
        if run.metrics:
            self._update(run)
        self._bar.close()

    def _update(self, run: Run) -> None:
        self._updated = time.monotonic()
        rate = (run.samples - self._samples_at_start) / max(run.seconds - self._seconds_at_start, 1e-9)
        shown = [
            f"{_SHORT.get(name, name)} {float(value):{'.4g' if name in run.logged else '.3f'}}"
            for name, value in {**run.metrics, **run.logged}.items()
            if not (name.endswith("_std") and name.removesuffix("_std") in run.logged)
        ]
        self._bar.n = run.progress
        self._bar.set_postfix_str(f"iteration {run.iteration}, {', '.join(shown)}, {rate:.0f} images/s", refresh=True)
