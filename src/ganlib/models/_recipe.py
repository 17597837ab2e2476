"""How a generator says, in plain values, what rebuilds it."""

import dataclasses
from typing import Any

from ganlib.stacks import StackPlan, Stage

__all__ = ["carry", "describe"]

SAMPLE_RANGE = (-1.0, 1.0)


def carry(generator: Any, name: str, arguments: dict[str, Any], **live: Any) -> None:
    """Give a generator its ``sample_range``, and the recipe that rebuilds it where plain values can say it.

    Args:
        generator: gets the attributes ``sample_range`` and ``recipe``.
        name: the recipe's.
        arguments: those that rebuild it; a StackPlan becomes plain values, an encoder its own recipe.
        live: arguments that may be objects of the user's; only where all of them are plain is there a recipe.
    """
    generator.sample_range = SAMPLE_RANGE
    try:
        generator.recipe = {
            "name": name,
            "arguments": {key: describe(value) for key, value in (arguments | live).items()},
        }
    except TypeError:
        return


def describe(value: Any) -> Any:
    """A value as plain values.

    Args:
        value: a number, string, None, list or tuple of them, a StackPlan, or something with a recipe.

    Returns:
        Plain values.

    Raises:
        TypeError: it is something else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, StackPlan | Stage):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return {"name": type(value).__name__, "arguments": {name: describe(getattr(value, name)) for name in names}}
    if isinstance(value, list | tuple):
        return [describe(member) for member in value]
    if isinstance(getattr(value, "recipe", None), dict):
        return value.recipe
    raise TypeError(f"{value!r} is no plain value")
