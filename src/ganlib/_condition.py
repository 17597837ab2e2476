"""Pass conditions to the layers that need them."""

from typing import Any

from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Condition

__all__ = ["call", "check_condition", "needs_condition"]


def needs_condition(*modules: object) -> bool:
    """Return whether any of the modules has ``needs_condition = True``."""
    return any(getattr(module, "needs_condition", False) for module in modules)


def call(module: Any, x: Tensor, condition: Condition) -> Any:
    """Call a module with the condition if it needs one, otherwise with x only."""
    return module(x, condition) if getattr(module, "needs_condition", False) else module(x)


def check_condition(module: Any, condition: Condition) -> None:
    """Raise an ArgumentValueError if no layer takes the condition, or if a layer needs a condition that is missing."""
    if condition is None and module.needs_condition:
        raise ArgumentValueError(f"condition (=None) is missing: this {type(module).__name__} has layers that need it")
    if condition is not None and not module.needs_condition:
        given = tuple(condition.shape) if isinstance(condition, Tensor) else f"(a {type(condition).__name__})"
        raise ArgumentValueError(
            f"condition {given} was given to a {type(module).__name__} that takes none; wrap it in an "
            "adapter of ganlib.conditioning, such as Unconditional to ignore the condition"
        )
