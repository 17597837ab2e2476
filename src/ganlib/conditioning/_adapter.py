"""What adapters share: the attributes that they copy from their module."""

from typing import Any

__all__ = ["copy_attributes"]


def copy_attributes(adapter: Any, **parts: Any) -> None:
    """Copy ``sample_range`` of the first part to the adapter, and make its ``recipe`` if all parts have one."""
    module = next(iter(parts.values()))
    if hasattr(module, "sample_range"):
        adapter.sample_range = module.sample_range
    recipes = {name: getattr(part, "recipe", None) for name, part in parts.items()}
    if all(recipes.values()):
        adapter.recipe = {"name": type(adapter).__name__, "arguments": recipes}
