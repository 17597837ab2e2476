"""Keep everything that a step changes, restore it, and compare it with the result of another step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ganlib._random import load_random_state, random_state

__all__ = ["Memory", "difference", "distances"]

_OF_CHANGE, _TINY = 2e-3, 1e-12
_OF_METRIC, _TINY_METRIC = 1e-4, 1e-6
_NOISE, _NOISE_OF_METRIC = 5, 1.5
_NUDGE = 2**-16  # larger than the difference between sums of float32 numbers in two orders


class Memory:
    """Keep what a step will change: tensors, gradient scalers, and random states.

    Args:
        tensors: the tensors that a step changes in place, by name.
        scalers: the gradient scalers.

    Attributes:
        before: the values of the tensors, by name.
    """

    def __init__(self, tensors: Mapping[str, Tensor], scalers: Sequence[torch.amp.GradScaler]) -> None:
        self._tensors = tensors
        self._scalers = scalers
        self._nudges: dict[str, Tensor] = {}
        self.before = self.contents()
        self._scales = [scaler.state_dict() for scaler in scalers]
        self._random = random_state()

    @torch.no_grad()
    def contents(self) -> dict[str, Tensor]:
        """Copy the present values of the tensors, without the nudge."""
        found = {name: tensor.detach().clone() for name, tensor in self._tensors.items()}
        for name, nudge in self._nudges.items():
            found[name] -= nudge
        return found

    @torch.no_grad()
    def put_back(self, *, nudged: bool = False) -> None:
        """Restore everything; ``nudged`` changes the elements of trained tensors by about 1e-5 of their values."""
        for name, kept in self.before.items():
            if not torch.equal(self._tensors[name], kept):  # some, such as expanded tensors, cannot be written
                self._tensors[name].copy_(kept)
        trained = {name: one for name, one in self._tensors.items() if nudged and one.requires_grad and one.is_leaf}
        for tensor in trained.values():
            tensor.addcmul_(tensor, torch.randn_like(tensor), value=_NUDGE)
        self._nudges = {name: tensor - self.before[name] for name, tensor in trained.items()}
        for scaler, state in zip(self._scalers, self._scales, strict=True):
            scaler.load_state_dict(state)
            vars(scaler)["_per_optimizer_states"].clear()  # a step may have ended before it updated its scaler
        load_random_state(self._random)


def distances(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, float]:
    """Compute mean absolute differences, by name; NaN in both tensors counts as equal."""
    return {name: _distance(value, other[name]) for name, value in one.items()}


def difference(
    before: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    actual: Mapping[str, Tensor],
    noise: Mapping[str, float],
) -> str | None:
    """Describe the value of a recording that differs most from that of an ordinary step; return None if all agree.

    Differences are means over a tensor, since in every tensor the gradients of a few elements are only rounding errors.
    A tensor agrees if it differs by at most 0.2 % of what the step changes, plus 4 units in its last place, plus 5
    times the noise. A metric agrees if it differs by at most 1e-4 of itself plus 1.5 times the noise. The part for the
    noise is at most a hundredth of the metric, or 0.01 if the metric is below 1. If a metric differs by more,
    something was not restored between the steps.

    Args:
        before: the tensors before the step, by name, without metrics.
        expected: the results of the ordinary step.
        actual: the results of the recording.
        noise: :func:`distances` between runs of the recording that should agree up to rounding.

    Example:
        >>> one, other = {"loss": torch.tensor(1.0)}, {"loss": torch.tensor(1.5)}
        >>> difference({}, one, other, noise={"loss": 0.0})
        'loss (by 0.5, where it is 1)'
    """
    worst, said = 0.0, None
    for name, value in expected.items():
        size, distance = _size(value), _distance(value, actual[name])
        if name in before:
            change = _size(value.double() - before[name].double())
            last_place = torch.finfo(value.dtype).eps * size if value.is_floating_point() else 0.0
            allowed = _OF_CHANGE * change + 4 * last_place + _NOISE * noise[name] + _TINY
            note = f"by {distance:.2g} on average, where the step changes it by {change:.2g}"
        else:
            around = min(_NOISE_OF_METRIC * noise[name], max(size, 1.0) / 100)
            allowed = _OF_METRIC * size + around + _TINY_METRIC
            note = f"by {distance:.2g}, where it is {size:.2g}"
        if not distance <= allowed and not distance / allowed <= worst:
            worst, said = distance / allowed, f"{name} ({note})"
    return said


def _size(value: Tensor) -> float:
    return float(value.detach().double().nan_to_num(0, 0, 0).abs().mean()) if value.numel() else 0.0


def _distance(one: Tensor, other: Tensor) -> float:
    one, other = one.detach().double(), other.detach().double()
    same = (one == other) | (one.isnan() & other.isnan())
    return float((one - other).abs().masked_fill(same, 0).mean()) if one.numel() else 0.0
