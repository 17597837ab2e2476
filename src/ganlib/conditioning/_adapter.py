"""Shared code of adapters."""

from typing import Any

from torch import nn

from ganlib._wrappers import unwrapped

__all__ = ["copy_sample_range"]


def copy_sample_range(adapter: Any, module: Any) -> None:
    """Copy ``sample_range`` from the module to the adapter, if the module has one."""
    if isinstance(module, nn.Module):  # a wrapper may hide the attributes of its module
        module = unwrapped(module, averages=True)
    if hasattr(module, "sample_range"):
        adapter.sample_range = module.sample_range
