"""Detect state that a network gets in its first iteration, and that a new network could not load."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._wrappers import plain
from ganlib.errors import ArgumentValueError

__all__ = ["Layout", "check_layout", "layout_of"]

Layout = dict[str, dict[str, torch.Size | None]]


def layout_of(networks: Mapping[str, nn.Module]) -> Layout:
    """Return the shape of every tensor in the states of networks, by name; None if its shape is not known yet."""
    return {name: dict(_shapes(network)) for name, network in networks.items()}


def _shapes(network: nn.Module) -> Iterator[tuple[str, torch.Size | None]]:
    for key, value in plain(network).state_dict().items():
        if isinstance(value, Tensor):
            yield key, None if is_lazy(value) else value.shape


def check_layout(networks: Mapping[str, nn.Module], before: Layout) -> None:
    """Refuse a state with other names or shapes than before, unless a module has its own way of loading.

    Args:
        networks: the networks, by name.
        before: their layout when they were new.

    Raises:
        ArgumentValueError: a checkpoint of them could not be loaded.
    """
    for name, network in networks.items():
        own, now = before.get(name, {}), dict(_shapes(network))
        for key in {**own, **now} if name in before else {}:
            shape, other = own.get(key, ()), now.get(key, ())
            if key in own and key in now and (shape is None or shape == other):
                continue
            if any(map(_loads_itself, _path(plain(network), key))):
                continue
            shown = [str(tuple(sizes[key] or ())) if key in sizes else "absent" for sizes in (own, now)]
            leaf = key.rpartition(".")[2]
            raise ArgumentValueError(
                f"{name}.{key} changed in the first iteration from {shown[0]} to {shown[1]}, so no checkpoint of this "
                f"run could be loaded into a new {name}: create it with its final shape in __init__, as in "
                f"register_buffer({leaf!r}, torch.zeros(...)), or leave it out of the state with persistent=False"
            )


def _path(network: nn.Module, key: str) -> Iterator[nn.Module]:
    """Yield the modules that take part in loading a tensor of a state."""
    module: Any = network
    for segment in key.split("."):
        if isinstance(module, nn.Module):
            yield module
        module = getattr(module, segment, None)


def _loads_itself(module: nn.Module) -> bool:
    """Return whether a module does more than torch's modules at a load, and may accept other shapes."""
    methods = (getattr(type(module), name) for name in ("load_state_dict", "_load_from_state_dict"))
    return not all(method.__module__.startswith("torch.nn.") for method in methods) or bool(
        getattr(module, "_load_state_dict_pre_hooks", None)
    )
