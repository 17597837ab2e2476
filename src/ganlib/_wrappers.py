"""Wrappers of torch around modules, such as torch.compile and DistributedDataParallel."""

from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

__all__ = [
    "in_fsdp",
    "is_sharded",
    "load_plain_state",
    "load_plainly",
    "plain",
    "plain_state",
    "renamed",
    "replaces_forward",
    "uncompiled",
    "unwrapped",
]

T = TypeVar("T")

# Wrappers of torch.compile and of activation checkpoints. Importing the classes would take seconds, so names are used.
_INNER = {"OptimizedModule": "_orig_mod", "ActivationWrapper": "_checkpoint_wrapped_module"}
_SEGMENTS = {*_INNER.values(), "module"}  # what wrappers add to names


def unwrapped(module: nn.Module, *, averages: bool = False) -> nn.Module:
    """Return the module without its wrappers; a weight average counts as a wrapper only with ``averages``."""
    while True:
        inner: Any = None
        if isinstance(module, DataParallel | DistributedDataParallel) or (averages and _is_average(module)):
            inner = module.module
        for cls in type(module).__mro__:
            if cls.__name__ in _INNER and cls.__module__.startswith("torch."):
                inner = getattr(module, _INNER[cls.__name__])
        if inner is None:
            return module
        module = inner


def plain(module: nn.Module, *, averages: bool = False) -> nn.Module:
    """Return the module without wrappers around it and inside it.

    If there are wrappers inside, the result is another module with the same layers, parameters and buffers. Do not call
    this module.
    """
    return _plain(unwrapped(module, averages=averages), averages, {})


def load_plainly(module: nn.Module, load: Callable[[nn.Module], T], *, averages: bool = False) -> T:
    """Call ``load`` with the module without wrappers, and return its result."""
    done = dict[int, tuple[nn.Module, nn.Module]]()
    result = load(_plain(unwrapped(module, averages=averages), averages, done))
    for original, twin in done.values():
        if twin is not original:  # ``load`` may have set attributes
            vars(original).update({**vars(twin), "_modules": vars(original)["_modules"]})
    return result


def uncompiled(function: Any) -> Any:
    """Return what torch.compile has made a function from; any other object is returned as it is."""
    while isinstance(function, FunctionType) and str(function.__globals__.get("__name__")).startswith("torch._dynamo."):
        if "__wrapped__" not in vars(function):
            break
        function = vars(function)["__wrapped__"]
    return function


def replaces_forward(module: nn.Module) -> bool:
    """Return whether a module has a forward of its own that is not its class's, also if that is compiled."""
    forward: Any = uncompiled(vars(module).get("forward"))
    while isinstance(forward, MethodType) and uncompiled(forward.__func__) is not forward.__func__:
        forward = MethodType(uncompiled(forward.__func__), forward.__self__)
    return forward is not None and getattr(forward, "__func__", None) is not type(module).forward


def in_fsdp(module: nn.Module) -> bool:
    """Return whether a module, or one of its submodules, uses FSDP."""
    kinds = {cls.__name__ for part in module.modules() for cls in type(part).__mro__}
    return not kinds.isdisjoint({"FSDPModule", "FullyShardedDataParallel"})


def is_sharded(module: nn.Module) -> bool:
    """Return whether the parameters of a module are sharded over processes, by FSDP or as DTensors."""
    # Compare names, because torch.distributed.tensor takes seconds to import.
    kinds = {cls.__name__ for parameter in module.parameters() for cls in type(parameter).__mro__}
    return "DTensor" in kinds or in_fsdp(module)


def plain_state(part: Any) -> Any:
    """Return the state of an object; a module has the names that it has without wrappers."""
    return (plain(part) if isinstance(part, nn.Module) else part).state_dict()


def load_plain_state(part: Any, state: Any) -> None:
    """Load a state of :func:`plain_state`, also into a module with other wrappers, or a state of an earlier version."""
    if isinstance(part, nn.Module) and isinstance(state, Mapping) and state.keys() != part.state_dict().keys():
        load_plainly(part, lambda bare: bare.load_state_dict(renamed(state, bare.state_dict())))
    else:
        part.load_state_dict(state)


def renamed(state: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    """Rename the keys of a state to these names, if only wrappers make them differ."""
    names = list(names)
    own, others = {_bare(name): name for name in names}, {_bare(name): name for name in state}
    differ = {*state} != {*names} and own.keys() == others.keys()
    if not differ or len(own) < len(names) or len(others) < len(state):
        return state
    return {name: state[others[_bare(name)]] for name in names}


def _bare(name: str) -> str:
    return ".".join(segment for segment in name.split(".") if segment not in _SEGMENTS)


def _is_average(module: nn.Module) -> bool:
    return isinstance(module, AveragedModel) or getattr(type(module), "is_average", False)


def _plain(module: nn.Module, averages: bool, done: dict[int, tuple[nn.Module, nn.Module]]) -> nn.Module:
    if id(module) not in done:
        # TorchScript has its own submodules, without wrappers.
        children = {} if isinstance(module, torch.jit.ScriptModule) else vars(module)["_modules"]
        inside = {
            name: None if child is None else _plain(unwrapped(child, averages=averages), averages, done)
            for name, child in children.items()
        }
        twin = module
        if any(inside[name] is not child for name, child in children.items()):
            twin = object.__new__(type(module))
            vars(twin).update({**vars(module), "_modules": inside})
        done[id(module)] = module, twin
    return done[id(module)][1]
