"""What adapters share: the attribute that they copy from their module."""

from typing import Any

__all__ = ["copy_sample_range"]


def copy_sample_range(adapter: Any, module: Any) -> None:
    """Copy ``sample_range`` of the module to the adapter, if it has one."""
    if hasattr(module, "sample_range"):
        adapter.sample_range = module.sample_range
