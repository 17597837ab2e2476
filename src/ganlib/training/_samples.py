"""Warn of mistakes in the first batch that no later error would show."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganlib._clamping import clamping_parts, warn_of_clamping, watching
from ganlib._ending import Ending
from ganlib._nest import tensors_of
from ganlib._warning import warn_user
from ganlib.training._dry_run import without_trace

__all__ = ["warn_of_clamps", "warn_of_colors", "warn_of_maps", "warn_of_samples"]

_TOLERANCE = 1e-3
_TRIES = 8  # calls of an augmentation, and samples
_ENOUGH = 16  # fewer values do not show the range
_LEVELS = 8  # of samples made from bytes; fewer can be decimal numbers
_MOST = 2**20
_CONTRAST = 8.0  # larger than the change that an augmentation of colors makes


def warn_of_samples(samples: Tensor, sample_range: tuple[float, float] | None, ending: str | None) -> None:
    """Warn of samples that the generator can never produce, or that are probably not scaled.

    Args:
        samples: (N, ...) float, finite.
        sample_range: the generator's range of values; None if it has no such attribute.
        ending: the generator's last operation, from :func:`ganlib._ending.last_operation`, which implies a range.
    """
    low, high = (float(value) for value in samples.aminmax())
    least, most = _bounds(sample_range, ending) or (-math.inf, math.inf)
    source = "sample_range is" if sample_range is not None else f"last operation is a {ending}, so its samples lie in"
    if low < least - _TOLERANCE or high > most + _TOLERANCE:
        warn_user(
            f"sample lies in [{low:.4g}, {high:.4g}], but the generator's {source} [{least:.4g}, {most:.4g}]: it "
            "can never make samples outside that range; scale the real samples to it"
        )
    elif (least, most) == (-1, 1) and _lie_in_0_and_1(samples, low, high):
        warn_user(
            f"sample lies in [0, 1], as torchvision's ToTensor gives it, but the generator's {source} [-1, 1]: "
            "scale the samples too, 2 * x - 1, which is torchvision's Normalize([0.5], [0.5])"
        )
    elif (
        most == math.inf
        and 0 <= low < 10
        and 100 < high <= 255
        and _are_images(samples)
        and bool((samples == samples.round()).all())
    ):
        scaled = "[-1, 1] first, x / 127.5 - 1" if least < 0 else "[0, 1] first, x / 255"
        warn_user(f"sample holds whole numbers from {low:.4g} to {high:.4g}: scale them to {scaled}")


def warn_of_colors(
    augment: Callable[[Tensor], Tensor] | None, sample_range: tuple[float, float] | None, ending: str | None
) -> None:
    """Warn of an augmentation whose colors assume another range than the generator's.

    Args:
        augment: a function from samples to samples, or None. It assumes its attribute ``sample_range``, if it has one.
        sample_range: the generator's range of values; None if it has no such attribute.
        ending: the generator's last operation, from :func:`ganlib._ending.last_operation`.
    """
    assumed, own = getattr(augment, "sample_range", None), _bounds(sample_range, ending)
    if assumed is not None and own is not None and own[0] >= 0 and assumed[0] < 0:
        warn_user(
            f"augment changes colors of samples in [{assumed[0]:.4g}, {assumed[1]:.4g}], but the generator's samples "
            f"lie in [{own[0]:.4g}, {own[1]:.4g}], so a flip of the brightness makes them negative: scale both to "
            f"[{assumed[0]:.4g}, {assumed[1]:.4g}], or use a policy without colors"
        )


def warn_of_clamps(augment: Callable[[Tensor], Tensor] | None, samples: Tensor) -> None:
    """Warn of an augmentation with a transform of torchvision that clamps the samples to [0, 1].

    Args:
        augment: a function from samples to samples, or None.
        samples: (N, ...) float.
    """
    parts = [] if augment is None else clamping_parts(augment)
    if augment is None or not parts:
        return
    with without_trace(augment), watching(parts) as found:
        for _ in range(_TRIES):  # it may apply its parts at random
            if not found:
                augment(samples[:_TRIES].clone())
    warn_of_clamping("augment", found)


def _bounds(sample_range: tuple[float, float] | None, ending: str | None) -> tuple[float, float] | None:
    if sample_range is not None:
        return sample_range[0], sample_range[1]
    return ending.bounds if isinstance(ending, Ending) else None


def _lie_in_0_and_1(samples: Tensor, low: float, high: float) -> bool:
    """Test whether samples surely have a range of [0, 1], and are not the bright ones of a range of [-1, 1]."""
    if not (0 <= low <= 0.25 and 0.5 <= high <= 1 + _TOLERANCE and samples.numel() >= _ENOUGH):
        return False
    edge = max(0.02, 3 / samples.numel())  # few values may leave a gap
    near = low <= edge and high >= 1 - edge
    levels = 255 * samples.flatten()[:_MOST].float()
    whole = levels.round()
    rounding = max(_TOLERANCE, 128 * torch.finfo(samples.dtype).eps)
    if rounding > 0.25:
        return near and low == 0  # bfloat16 does not show whether levels are odd
    if bool(((levels - whole).abs() > rounding).any()):
        return near
    # Bytes: x / 255 has odd and even levels, and x / 127.5 - 1 = (2 x - 255) / 255 has odd ones only.
    return bool((whole.remainder(2) == 0).any()) and (near or len(whole.unique()) >= _LEVELS)


def _are_images(samples: Tensor) -> bool:
    return samples.ndim == 4 and samples.shape[1] in (1, 3, 4)


def warn_of_maps(augment: Callable[[Tensor], Tensor] | None, samples: Tensor, condition: Any) -> None:
    """Warn if the augmentation moves pixels of the samples, but not the condition maps that belong to them.

    Args:
        augment: a function from samples to samples, or None.
        samples: (N, C, *spatial) float.
        condition: conditions of the samples.
    """
    spatial = samples.ndim - 2
    maps = [
        tensor
        for tensor in tensors_of(condition)
        if tensor.ndim == samples.ndim
        and max(tensor.shape[2:], default=1) > 1  # not class vectors (N, K, 1, 1)
        and (spatial > 1 or tensor.shape[2:] == samples.shape[2:])
    ]
    if augment is None or spatial < 1 or not maps:
        return
    with without_trace(augment):
        if isinstance(p := getattr(augment, "p", None), Tensor):
            p.fill_(1)  # an adaptive augmentation starts at 0; its state is restored
        moves = any(_moves(augment, samples, axis) for axis in range(-spatial, 0))
    if moves:
        warn_user(
            "augment moves the samples within their frame, but not the conditions, which are maps, so the "
            "discriminator gets pairs that do not match. Use an augmentation of colors only, such as "
            "DiffAugment('color'), or move both in the loader: joint_transform=augment.Joint(...) of data.TensorLoader"
        )


def _moves(augment: Callable[[Tensor], Tensor], samples: Tensor, axis: int) -> bool:
    """Test whether pixels move to the other side of the samples; recoloring, noise, blur and cutout do not count."""
    length = samples.shape[axis]
    bright = length // 3 or 1
    if length < 2:
        return False
    probe = samples.new_full((max(8, min(64, 2**22 // samples[0].numel())), *samples.shape[1:]), -_CONTRAST)
    probe.narrow(axis, 0, bright).fill_(_CONTRAST)
    after = augment(probe).float()
    if after.shape != probe.shape:
        return False
    sides = after.narrow(axis, 0, bright), after.narrow(axis, bright, length - bright)
    (low, high), (other_low, other_high) = ((side.flatten(2).amin(2), side.flatten(2).amax(2)) for side in sides)
    brighter = (low >= other_high - _TOLERANCE) & (high > other_high + _TOLERANCE)
    darker = (high <= other_low + _TOLERANCE) & (low < other_low - _TOLERANCE)
    return not bool((brighter | darker).all())
