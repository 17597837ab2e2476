"""Average metrics over iterations."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganlib._devices import widest

__all__ = ["RunningMeans"]


class RunningMeans:
    """Average each metric over the iterations that had it.

    Sums stay on the device of the metric, in float64 if the device supports it, so adding to them does not wait.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, int]] = {}
        # Most iterations have the same metrics. These are added in one kernel, and split into sums later.
        self._names: tuple[str, ...] = ()
        self._together: Tensor | None = None
        self._count = 0
        self._iteration = 0

    def start(self, iteration: int) -> None:
        """Forget the sums, unless they end at the iteration from which a run starts."""
        if iteration != self._iteration:
            self.clear()

    def clear(self) -> None:
        """Forget the sums."""
        self._join()
        self._sums = {}

    def add(self, iteration: int, metrics: Mapping[str, Tensor]) -> None:
        """Add the metrics of an iteration."""
        self._iteration = iteration
        if not metrics:
            return
        values = [torch.as_tensor(value).detach() for value in metrics.values()]
        device = values[0].device
        names = (*metrics, str(device))
        if names != self._names:
            self._join()
            self._names = names
        stacked = torch.stack([value.to(device) for value in values]).to(widest(device))
        self._together = stacked if self._together is None else self._together + stacked
        self._count += 1

    def _join(self) -> None:
        if self._together is not None:
            for name, added in zip(self._names[:-1], self._together.unbind(), strict=True):
                total, count = self._sums.get(name, (0.0, 0))
                self._sums[name] = (added + total, count + self._count)
        self._names, self._together, self._count = (), None, 0

    def read(self) -> dict[str, float]:
        """Return the mean of each metric, in the order of their first appearance; this waits for the device."""
        self._join()
        return {name: float(total) / count for name, (total, count) in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums and counts."""
        self._join()
        return {"iteration": self._iteration, "sums": dict(self._sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums and counts."""
        self.clear()
        self._sums = {name: (torch.as_tensor(total), int(count)) for name, (total, count) in state["sums"].items()}
        self._iteration = state["iteration"]
