"""A callback that logs given values, for the tests of what monitors them."""

from collections.abc import Mapping

from ganlib import training
from ganlib.distributed import rank

__all__ = ["Measures", "StopAt"]


class Measures:
    """Logs the value of an iteration under a name, on some of the ranks."""

    def __init__(self, values: Mapping[int, float], name: str = "distance", ranks: tuple[int, ...] = (0, 1)) -> None:
        self.values, self.name, self.ranks = values, name, ranks

    def on_iteration(self, run: training.Run) -> None:
        """Log it."""
        if run.iteration in self.values and rank() in self.ranks:
            run.log({self.name: self.values[run.iteration]})


class StopAt:
    """Stops a run after an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_iteration(self, run: training.Run) -> None:
        """Stop, where it is time."""
        if run.iteration == self.iteration:
            run.stop()
