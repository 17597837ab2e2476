"""What adapters share: the attribute that they copy from their module."""

from typing import Any

from torch import nn

from ganlib._wrappers import unwrapped

__all__ = ["copy_sample_range"]


def copy_sample_range(adapter: Any, module: Any) -> None:
    """Copy ``sample_range`` of the module to the adapter, if it has one."""
    if isinstance(module, nn.Module):  # what is put around one may not show its attributes
        module = unwrapped(module, averages=True)
    if hasattr(module, "sample_range"):
        adapter.sample_range = module.sample_range
