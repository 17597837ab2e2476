"""A metric of a run that a callback watches."""

import difflib
import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal

from ganlib._checks import check_option
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Run

__all__ = ["Mode", "Monitor"]

Mode = Literal["min", "max"]


class Monitor:
    """Reads one metric, compares its values, and warns where a run never had it.

    Args:
        name: of the metric.
        mode: whether a smaller or a larger value is better.

    Attributes:
        worst: a value that every finite one is better than.

    Raises:
        ArgumentTypeError: the name is not a string.
        ArgumentValueError: the mode is another one.
    """

    def __init__(self, name: str, mode: Mode) -> None:
        if not isinstance(name, str):
            raise ArgumentTypeError(f"monitor (={name!r}) must be the name of a metric, a string")
        check_option("mode", mode, ("min", "max"))
        self.name, self.mode = name, mode
        self.worst = math.inf if mode == "min" else -math.inf

    def read(self, metrics: Mapping[str, Any]) -> float | None:
        """The value, if the metric is there; this waits for the device."""
        return float(metrics[self.name]) if self.name in metrics else None

    def is_better(self, value: float, best: float, by: float = 0.0) -> bool:
        """Whether a value is finite, and better than the best by more than a margin."""
        return math.isfinite(value) and (best - value if self.mode == "min" else value - best) > by

    def warn_if_missing(self, run: Run, consequence: str) -> None:
        """Warn, in the first process and after a whole run, if it had other metrics only; for an ``on_end``."""
        names = {**run.metrics, **run.logged}
        whole = run.progress >= 1 and not run.interrupted
        if rank() == 0 and whole and names and self.name not in names:
            close_first = dict.fromkeys([*difflib.get_close_matches(self.name, names), *names])
            warnings.warn(
                f"the run had no metric monitor (={self.name!r}), so {consequence}; it had "
                f"{', '.join(map(repr, close_first))}",
                stacklevel=5,  # the line of the user's call of fit
            )
