"""What torch puts around a module, to compile or distribute it: names and weights do not depend on it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

__all__ = ["in_fsdp", "is_sharded", "load_plain_state", "load_plainly", "plain", "plain_state", "renamed", "unwrapped"]

T = TypeVar("T")

# Of torch.compile, and of activation checkpoints; by the names of their classes, which would take seconds to import.
_INNER = {"OptimizedModule": "_orig_mod", "ActivationWrapper": "_checkpoint_wrapped_module"}
_SEGMENTS = {*_INNER.values(), "module"}  # what wrappers add to names


def unwrapped(module: nn.Module, *, averages: bool = False) -> nn.Module:
    """Return what a module is put around; an average of a module is something of its own, unless ``averages``."""
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
    """Return the module without wrappers, also inside it.

    Where there are some inside, it is another module with the same parameters and buffers. It has the state and the
    layers of the module, and is not for calling.
    """
    return _plain(unwrapped(module, averages=averages), averages, {})


def load_plainly(module: nn.Module, load: Callable[[nn.Module], T], *, averages: bool = False) -> T:
    """Load something into a module without wrappers, and return what ``load`` returns."""
    done = dict[int, tuple[nn.Module, nn.Module]]()
    result = load(_plain(unwrapped(module, averages=averages), averages, done))
    for original, twin in done.values():
        if twin is not original:  # it may have set attributes
            vars(original).update({**vars(twin), "_modules": vars(original)["_modules"]})
    return result


def in_fsdp(module: nn.Module) -> bool:
    """Whether a module, or one in it, is one of FSDP."""
    kinds = {cls.__name__ for part in module.modules() for cls in type(part).__mro__}
    return not kinds.isdisjoint({"FSDPModule", "FullyShardedDataParallel"})


def is_sharded(module: nn.Module) -> bool:
    """Whether parameters of a module are spread over processes, by FSDP or as DTensors."""
    # By their names, since torch.distributed.tensor takes seconds to import.
    kinds = {cls.__name__ for parameter in module.parameters() for cls in type(parameter).__mro__}
    return "DTensor" in kinds or in_fsdp(module)


def plain_state(part: Any) -> Any:
    """Return the state of a part of a training; a module has the names that it has without wrappers."""
    return (plain(part) if isinstance(part, nn.Module) else part).state_dict()


def load_plain_state(part: Any, state: Any) -> None:
    """Load what :func:`plain_state` gave, also into a module with other wrappers, or what an earlier version gave."""
    if isinstance(part, nn.Module) and isinstance(state, Mapping) and state.keys() != part.state_dict().keys():
        load_plainly(part, lambda bare: bare.load_state_dict(renamed(state, bare.state_dict())))
    else:
        part.load_state_dict(state)


def renamed(state: Mapping[str, Any], names: Iterable[str]) -> Mapping[str, Any]:
    """Give a state these names, if wrappers are all that its own differ by."""
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
        # TorchScript has its own, in which there are no wrappers.
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
