"""What every adapter does when it is made: hand on what its module carries."""

from typing import Any

from torch import Tensor

__all__ = ["call_module", "keep_what_it_carries"]


def call_module(module: Any, x: Tensor, condition: Tensor) -> Any:
    """Call an adapter's module; a stack with conditional norms inside takes the condition a second time.

    Args:
        module: the module.
        x: what it takes.
        condition: handed on where the module has ``needs_condition``.

    Returns:
        What the module gives.
    """
    return module(x, condition) if getattr(module, "needs_condition", False) else module(x)


def keep_what_it_carries(adapter: Any, **parts: Any) -> None:
    """Give an adapter its module's ``sample_range``, and a recipe where all its parts have one.

    Args:
        adapter: gets the attributes ``sample_range`` and ``recipe``.
        parts: the parts by the names of the adapter's arguments; the first is the module.

    Example:
        >>> from ganlib.conditioning import Unconditional
        >>> from torch import nn
        >>> generator = nn.Tanh()
        >>> generator.sample_range = (-1.0, 1.0)
        >>> Unconditional(generator).sample_range
        (-1.0, 1.0)
    """
    module = next(iter(parts.values()))
    if hasattr(module, "sample_range"):
        adapter.sample_range = module.sample_range
    recipes = {name: getattr(part, "recipe", None) for name, part in parts.items()}
    if all(recipes.values()):
        adapter.recipe = {"name": type(adapter).__name__, "arguments": recipes}
