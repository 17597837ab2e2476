"""Means of metrics over iterations."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganlib.errors import CheckpointError

__all__ = ["RunningMeans"]


class RunningMeans:
    """The mean of each metric over the iterations that had it.

    Sums stay on the device, in float64 where it has that, so adding to them waits for nothing.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor | float, int]] = {}
        self._iteration = 0

    def begin(self, iteration: int) -> None:
        """Forget what was not added up to this iteration: it is of another run, or has been undone.

        Args:
            iteration: the last one that there has been.
        """
        if iteration != self._iteration:
            self.clear()

    def clear(self) -> None:
        """Forget all sums."""
        self._sums = {}

    def add(self, iteration: int, metrics: Mapping[str, Tensor]) -> None:
        """Add the metrics of an iteration.

        Args:
            iteration: which.
            metrics: scalars.
        """
        for name, value in metrics.items():
            dtype = torch.float32 if value.device.type == "mps" else torch.float64
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (value.detach().to(dtype) + total, count + 1)
        self._iteration = iteration

    def read(self) -> dict[str, float]:
        """Wait for the device, once.

        Returns:
            The mean of each metric, in the order in which they first came.
        """
        return {name: total / count for name, (total, count) in self._read().items()}

    def state_dict(self) -> dict[str, Any]:
        """The sums so far.

        Returns:
            A state for :meth:`load_state_dict`.
        """
        return {"iteration": self._iteration, "sums": {name: [*pair] for name, pair in self._read().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a state.

        Args:
            state: what :meth:`state_dict` gave.

        Raises:
            CheckpointError: it is none.
        """
        iteration, sums = state["iteration"], state["sums"]
        if type(iteration) is not int or not all(
            type(name) is str and type(total) is float and type(count) is int and count >= 1
            for name, (total, count) in sums.items()
        ):
            raise CheckpointError(f"its sums of metrics (={state!r:.80}) are none")
        self._iteration, self._sums = iteration, {name: (total, count) for name, (total, count) in sums.items()}

    def _read(self) -> dict[str, tuple[float, int]]:
        waiting = [total for total, _ in self._sums.values() if isinstance(total, Tensor)]
        values = iter(torch.stack(waiting).tolist() if waiting else [])
        return {
            name: (next(values) if isinstance(total, Tensor) else total, count)
            for name, (total, count) in self._sums.items()
        }
