"""Monitor a metric of a run."""

import difflib
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from ganlib._checks import check_option
from ganlib._shown import shown
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Run

__all__ = ["Mode", "Monitor"]

Mode = Literal["min", "max"]


class Monitor:
    """Read one metric, compare its values, and warn if a run never had it.

    Args:
        name: the name of the metric.
        mode: "min" if a smaller value is better, "max" if a larger one is.

    Attributes:
        worst: a value that is worse than every finite value.

    Raises:
        ArgumentTypeError: the name is not a string.
        ArgumentValueError: the mode is invalid.
    """

    def __init__(self, name: str, mode: Mode) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"monitor (={shown(name)}) must be the name of a metric, a string")
        check_option("mode", mode, ("min", "max"))
        self.name, self.mode = name, mode
        self._warned = False
        self.worst = math.inf if mode == "min" else -math.inf

    def read(self, metrics: Mapping[str, Any]) -> float | None:
        """Return the value, or None if the metric is missing; this waits for the device."""
        return float(metrics[self.name]) if self.name in metrics else None

    def is_better(self, value: float, best: float, by: float = 0.0) -> bool:
        """Test whether a value is finite, and better than the best one by more than a margin."""
        return math.isfinite(value) and (best - value if self.mode == "min" else value - best) > by

    def warn_if_missing(self, run: Run, consequence: str, *, ended: bool) -> None:
        """Warn once, in the first process, if only other metrics are logged, or if the run ended without this one."""
        names = {**run.metrics, **run.logged}
        if ended:
            late = run.progress >= 1 and not run.interrupted
        else:  # every evaluation must have run once
            measuring = (callback for callback in run.callbacks if getattr(callback, "untimed", False))
            late = bool(run.logged.keys() & run.metrics.keys())
            late = late and all(getattr(callback, "every", 0) <= run.iteration for callback in measuring)
        if late and rank() == 0 and names and self.name not in names and not self._warned:
            self._warned = True
            close_first = dict.fromkeys([*difflib.get_close_matches(self.name, names), *names])
            warnings.warn(
                f"the run has no metric monitor (={shown(self.name)}) up to iteration {run.iteration}, so "
                f"{consequence}; it has {', '.join(map(repr, close_first))}",
                stacklevel=6 if ended else 7,  # the line of the user's call of fit
            )
