"""How a condition finds its way to those parts that need it."""

from typing import Any

from torch import Tensor

from ganlib.errors import ArgumentValueError

__all__ = ["call", "check_condition", "needs_condition"]


def needs_condition(*modules: object) -> bool:
    """Whether any of these needs a condition beside its input.

    Args:
        modules: any; those that need one have ``needs_condition = True``.

    Returns:
        Whether there is one that does.
    """
    return any(getattr(module, "needs_condition", False) for module in modules)


def call(module: Any, x: Tensor, condition: Tensor | None) -> Any:
    """Call a module with the condition where it needs one, and with x alone where it does not.

    Args:
        module: the module.
        x: what it takes.
        condition: None, or the condition.

    Returns:
        What the module gives.
    """
    return module(x, condition) if getattr(module, "needs_condition", False) else module(x)


def check_condition(module: Any, condition: Tensor | None) -> None:
    """Refuse a condition that nothing in a module would look at, and a missing one that something needs.

    Args:
        module: has ``needs_condition``.
        condition: None, or the condition.

    Raises:
        ArgumentValueError: there is a condition, and no part takes one; or the other way round.
    """
    if condition is None and module.needs_condition:
        raise ArgumentValueError(f"condition (=None) is missing: this {type(module).__name__} has conditional norms")
    if condition is not None and not module.needs_condition:
        raise ArgumentValueError(
            f"condition {tuple(condition.shape)} was given to a {type(module).__name__} that takes none; wrap it in an "
            "adapter of ganlib.conditioning, such as Unconditional to ignore the condition"
        )
