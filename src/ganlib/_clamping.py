"""Warn of transforms of torchvision that clamp samples in another range to [0, 1]."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from ganlib._held import held
from ganlib._nest import tensors_of
from ganlib._warning import warn_user

__all__ = ["clamping_parts", "clamps", "of_package", "warn_of_clamping", "watching"]

# Transforms of torchvision that silently clamp floats to [0, 1].
_CLAMPS = (
    *("AugMix", "AutoAugment", "ColorJitter", "GaussianNoise", "RandAugment", "RandomAdjustSharpness"),
    *("RandomAutocontrast", "RandomEqualize", "RandomInvert", "RandomPhotometricDistort", "RandomPosterize"),
    *("RandomSolarize", "TrivialAugmentWide"),
)
_TOLERANCE = 0.25  # samples in [0, 1] that were resized reach a little further

Range = tuple[str, float, float]


def of_package(transform: Any, package: str = "torchvision") -> bool:
    """Return whether a transform's class, or one of its base classes, belongs to a package."""
    return any(f"{kind.__module__}.".startswith(f"{package}.") for kind in type(transform).__mro__)


def clamps(module: nn.Module) -> bool:
    """Return whether a transform of torchvision clamps floats to [0, 1]."""
    return type(module).__name__ in _CLAMPS and bool(getattr(module, "clip", True))


def clamping_parts(function: Any) -> list[nn.Module]:
    """Return the transforms of torchvision in a function, or any other object, that clamp floats to [0, 1]."""
    parts = held(function, within=12)
    return [part for part in parts if isinstance(part, nn.Module) and of_package(part) and clamps(part)]


@contextmanager
def watching(parts: Sequence[nn.Module]) -> Iterator[list[Range]]:
    """Note in this context the name of each part that gets floats outside [0, 1], with their lowest and highest value.

    This reads values on the host.
    """
    found: list[Range] = []

    def look(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = next(tensors_of(inputs), None)  # of several tensors, the first one has the colors
        if given is not None and given.is_floating_point() and given.numel():
            low, high = (float(value) for value in given.detach().aminmax())
            if low < -_TOLERANCE or high > 1 + _TOLERANCE:
                found.append((type(module).__name__, low, high))

    hooks = [part.register_forward_pre_hook(look) for part in parts]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def warn_of_clamping(name: str, found: Sequence[Range]) -> None:
    """Warn of the first part that was found by :func:`watching` in the argument ``name``, if there is one."""
    for part, low, high in found[:1]:
        warn_user(
            f"{name} contains torchvision's {part}, which clamps floats to [0, 1], but it gets values from {low:.4g} "
            f"to {high:.4g}: scale them for it and back, by lambda x: 2 * transform((x + 1) / 2) - 1 for samples in "
            "[-1, 1]"
        )
