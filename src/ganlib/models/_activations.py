"""Compare the activations of a network with those of a file, since weights do not show them."""

from contextlib import suppress
from typing import Any

from torch import nn

from ganlib._recipe import describe
from ganlib._wrappers import unwrapped

__all__ = ["other_activation"]

_ACTIVATIONS = {
    *(f"nn.{name}" for name in ("ELU", "GELU", "Hardtanh", "Identity", "LeakyReLU", "Mish", "ReLU", "ReLU6", "SELU")),
    *(f"nn.{name}" for name in ("SiLU", "Sigmoid", "Softmax", "Softplus", "Tanh")),
}
_NO_EFFECT = {"inplace"}


def other_activation(recipe: Any, module: nn.Module) -> str | None:
    """Return the first activation in which a module differs from the recipe of a file, in words, or None.

    Other arguments change shapes, which loading checks, or only the training.

    Example:
        >>> recipe = describe(nn.Sequential(nn.Linear(2, 2), nn.Tanh()))
        >>> other_activation(recipe, nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()))
        'Tanh() there and Sigmoid() here'
    """
    with suppress(Exception):  # the module has no recipe, or the file has a damaged one
        return _difference(recipe, describe(unwrapped(module, averages=True)))
    return None


def _difference(saved: Any, own: Any) -> str | None:
    if isinstance(saved, list) and isinstance(own, list) and len(saved) == len(own):
        pairs = [*zip(saved, own, strict=True)]
    elif not (isinstance(saved, dict) and isinstance(own, dict)):
        return None
    elif "makes" in saved and "makes" in own:
        pairs = [(saved["makes"], own["makes"])]
    elif {saved.get("name"), own.get("name")} <= _ACTIVATIONS:
        there, here = _shown(saved), _shown(own)
        return None if there == here else f"{there} there and {here} here"
    elif saved.get("name") == own.get("name") and "arguments" in saved and "arguments" in own:
        pairs = [(value, own["arguments"].get(name)) for name, value in saved["arguments"].items()]
    else:
        return None
    return next((found for pair in pairs if (found := _difference(*pair)) is not None), None)


def _shown(recipe: dict[str, Any]) -> str:
    arguments = {name: value for name, value in recipe["arguments"].items() if name not in _NO_EFFECT}
    return f"{recipe['name'].removeprefix('nn.')}({', '.join(f'{name}={value}' for name, value in arguments.items())})"
