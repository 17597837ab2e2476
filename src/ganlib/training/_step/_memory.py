"""All that a step changes: kept, put back, and compared with what another step has made of it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganlib._random import load_random_state, random_state

__all__ = ["METRIC", "Memory", "difference"]

METRIC = "the metric "  # the names of metrics begin with it
_TOLERANCE = 1e-4
_TINY = 1e-6
_NOISE = 10


class Memory:
    """Keeps what a step is about to change: tensors, gradient scalers, and random states.

    Args:
        tensors: by name; a step changes them in place.
        scalers: of the gradients.
    """

    def __init__(self, tensors: Mapping[str, Tensor], scalers: Sequence[torch.amp.GradScaler]) -> None:
        self._tensors = tensors
        self._scalers = scalers
        self._kept = self.contents()
        self._scales = [scaler.state_dict() for scaler in scalers]
        self._random = random_state()

    def contents(self) -> dict[str, Tensor]:
        """Copies of what the tensors hold now."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors.items()}

    @torch.no_grad()
    def put_back(self) -> None:
        """Make all as it was."""
        for name, kept in self._kept.items():
            if not torch.equal(self._tensors[name], kept):  # one that is expanded, say, cannot be written
                self._tensors[name].copy_(kept)
        for scaler, state in zip(self._scalers, self._scales, strict=True):
            scaler.load_state_dict(state)
            vars(scaler)["_per_optimizer_states"].clear()  # where a step ended before its scaler was updated
        load_random_state(self._random)


def difference(expected: Mapping[str, Tensor], actual: Mapping[str, Tensor], again: Mapping[str, Tensor]) -> str | None:
    """Say which values of a recording differ most from those of an ordinary step; None where they agree.

    They agree if they differ by at most 1e-4 of the largest, and ten times as much as the recording differs from
    itself: some kernels add up in another order each time. For a metric that is no more than a hundredth; if it differs
    by more, something was not put back between the steps.

    Args:
        expected: of the ordinary step, by name.
        actual: of the recording.
        again: of the recording once more, from the same state.

    Example:
        >>> one, other = {"loss": torch.tensor(1.0)}, {"loss": torch.tensor(1.5)}
        >>> difference(one, other, other)
        'loss (by 0.5, where the largest is 1)'
    """
    worst, said = 0.0, None
    for name, value in expected.items():
        largest, distance = _largest(value), _distance(value, actual[name])
        noise = _NOISE * _distance(actual[name], again[name])
        if name.startswith(METRIC):
            noise = min(noise, max(largest, 1.0) / 100)
        allowed = _TOLERANCE * largest + noise + _TINY
        if not distance <= allowed and not distance / allowed <= worst:
            worst, said = distance / allowed, f"{name} (by {distance:.2g}, where the largest is {largest:.2g})"
    return said


def _largest(value: Tensor) -> float:
    return float(value.detach().double().nan_to_num(0, 0, 0).abs().amax()) if value.numel() else 0.0


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference; what is not a number in both is equal."""
    one, other = one.detach().double(), other.detach().double()
    same = (one == other) | (one.isnan() & other.isnan())
    return float((one - other).abs().masked_fill(same, 0).amax()) if one.numel() else 0.0
