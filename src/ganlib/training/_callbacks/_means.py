"""Means of metrics over iterations."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["RunningMeans"]


class RunningMeans:
    """The mean of each metric over the iterations that had it.

    Sums stay on the device of the metric, in float64 if it has that, so that adding to them does not wait.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._iteration = 0

    def start(self, iteration: int) -> None:
        """Forget the sums, unless they end at the iteration that a run starts from."""
        if iteration != self._iteration:
            self.clear()

    def clear(self) -> None:
        """Forget the sums."""
        self._sums = {}

    def add(self, iteration: int, metrics: Mapping[str, Tensor]) -> None:
        """Add the metrics of an iteration."""
        for name, given in metrics.items():
            value = torch.as_tensor(given)
            dtype = torch.float32 if value.device.type == "mps" else torch.float64
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (value.detach().to(dtype) + total, count + 1)
        self._iteration = iteration

    def read(self) -> dict[str, float]:
        """The mean of each metric, in the order of their first appearance; this waits for the device."""
        return {name: float(total) / count for name, (total, count) in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """The sums and counts so far."""
        return {"iteration": self._iteration, "sums": dict(self._sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums and counts."""
        self._sums = {name: (torch.as_tensor(total), int(count)) for name, (total, count) in state["sums"].items()}
        self._iteration = state["iteration"]
