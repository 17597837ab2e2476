"""Detect that a training has diverged."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._ranks import agree
from ganlib.errors import TrainingDivergedError

__all__ = ["DivergenceWatch"]

_EVERY = 50
_NAMED = 3


class DivergenceWatch:
    """Keep the metrics of the last iterations on their device, and read all of them every 50 iterations.

    Reading waits for the device, so it is not done in each iteration. The kept metrics show in which iteration the
    divergence began. Weights and buffers are checked too, except those that were not finite at the start, such as the
    mask of an attention.

    Args:
        networks: a function that returns the networks, by name.
    """

    def __init__(self, networks: Callable[[], Mapping[str, nn.Module]]) -> None:
        self._networks = networks
        self._kept: list[tuple[int, Mapping[str, Tensor]]] = []
        self._never_finite: list[str] = []
        self._iteration = 0

    def begin(self, iteration: int) -> None:
        """Start from the present weights, and forget all metrics."""
        self._iteration = iteration
        self._kept = []
        self._never_finite = []
        self._never_finite = self._bad_weights()

    def note(self, iteration: int, metrics: Mapping[str, Tensor]) -> None:
        """Keep the metrics of an iteration, and check them if it is time.

        Raises:
            TrainingDivergedError: something is not finite.
        """
        self._iteration = iteration
        # Copy the mapping, since a trainer may fill the same one in every iteration.
        self._kept.append((iteration, {name: _detached(value) for name, value in metrics.items()}))
        if len(self._kept) >= _EVERY:
            self.check()

    def check(self) -> None:
        """Read the kept metrics and the weights.

        Raises:
            TrainingDivergedError: something is not finite. The error names it and the iteration.
        """
        kept, self._kept = self._kept, []
        labels = [(iteration, name) for iteration, metrics in kept for name in metrics]
        scalars = [value.sum() if value.ndim else value for _, metrics in kept for value in metrics.values()]
        together = [scalar.to(scalars[0].device) for scalar in scalars]
        values = torch.stack(together).tolist() if together else []  # wait for the device only once
        bad = [(*label, value) for label, value in zip(labels, values, strict=True) if not abs(value) < float("inf")]
        weights = self._bad_weights()
        if not any(agree(bool(bad or weights))):  # all processes return together, or some would wait forever
            return
        parts = [] if bad or weights else ["on another rank"]
        if bad:
            first = bad[0][0]
            parts.append(
                f"in iteration {first} "
                + " and ".join(f"{name} was {value}" for iteration, name, value in bad if iteration == first)
            )
        if weights:
            more = f" and {len(weights) - _NAMED} more" if len(weights) > _NAMED else ""
            parts.append(
                f"by iteration {self._iteration} {', '.join(weights[:_NAMED])}{more} held values that are not finite"
            )
        raise TrainingDivergedError(f"training diverged: {'; '.join(parts)}")

    def _bad_weights(self) -> list[str]:
        bad = []
        for network_name, network in self._networks().items():
            named = {
                f"{network_name}.{name}": value
                for name, value in network.state_dict().items()
                if isinstance(value, Tensor) and not is_lazy(value) and torch.is_floating_point(value)
            }
            for name in self._never_finite:
                named.pop(name, None)
            if named and not torch.nn.utils.get_total_norm(list(named.values())).isfinite():
                bad += [name for name, value in named.items() if not value.isfinite().all()]
        return bad


def _detached(value: Any) -> Tensor:
    if isinstance(value, Tensor) and not value.requires_grad:
        return value  # the usual case; the call below takes longer than a small layer
    return torch.as_tensor(value).detach()
