"""Warn of what a callback keeps and no checkpoint contains."""

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset

from ganlib._held import held
from ganlib._stream import has_state
from ganlib._warning import warn_user
from ganlib.distributed import rank
from ganlib.protocols import Callback
from ganlib.training._callbacks._checkpoint import Checkpoint

__all__ = ["warn_of_unsaved"]

_LARGE = (nn.Module, Optimizer, DataLoader, Dataset)
_COUNTS = {"iteration", "epoch", "progress", "samples"}  # of a run


def warn_of_unsaved(trained: Any, batches: Any, callbacks: Sequence[Callback]) -> None:
    """Warn, once, of torch's schedulers and averages that callbacks without a state reference.

    There is no warning of objects that the trainer or a callback with a state references, or of a callback that finds
    the position itself.

    Args:
        trained: the trainer.
        batches: the loader, which is not searched.
        callbacks: those of ganlib are not searched.
    """
    if rank() != 0 or not any(isinstance(callback, Checkpoint) for callback in callbacks):
        return
    parts = {id(part) for part in (trained, batches, *callbacks)}

    def is_closed(value: Any) -> bool:
        # An instance's own attributes may raise any error here.
        known = any(hasattr(type(value), name) for name in ("train_step", "state_dict"))
        return known or isinstance(value, _LARGE) or id(value) in parts or _is_ganlibs(value)

    users = [callback for callback in callbacks if not has_state(callback) and not _is_ganlibs(callback)]
    found = [(callback, part) for callback in users for part in _kept_by(callback, is_closed)]
    if not found:  # the usual case
        return
    owners = [trained, *filter(has_state, callbacks)]
    owned = {id(part) for owner in owners for part in held(owner, closed=_LARGE)}
    named = [
        f"the {type(part).__name__} of {type(callback).__name__}" for callback, part in found if id(part) not in owned
    ]
    if named:
        warn_user(
            f"the checkpoints of this run do not contain the state of {' and '.join(dict.fromkeys(named))}, so after a "
            "resume it starts again: give this callback a state_dict and a load_state_dict that return and load it"
        )


def _kept_by(callback: Any, is_closed: Callable[[Any], bool]) -> Iterator[Any]:
    """Yield the schedulers, and the averages that are updated, in attributes, closures and globals of a callback."""
    methods = {
        name: function
        for cls in reversed(type(callback).__mro__)
        for name, function in vars(cls).items()
        if isinstance(function, FunctionType) and cls.__module__ != "typing"
    }
    names = {name for function in methods.values() for name in function.__code__.co_names}
    start = set(methods["on_start"].__code__.co_names) if "on_start" in methods else set[str]()
    start.update(*(methods[name].__code__.co_names for name in start & methods.keys()))
    if "last_epoch" in names or start & _COUNTS:
        return
    seen = set[int]()
    # A method references the globals that it uses.
    reached = [
        *held(callback, closed=is_closed),
        *(one for each in methods.values() for one in held(each, within=2, closed=is_closed)),
    ]
    names.update(name for one in reached if isinstance(one, FunctionType) for name in one.__code__.co_names)
    for part in reached:
        is_updated = isinstance(part, AveragedModel) and "update_parameters" in names
        if id(part) not in seen and (is_updated or isinstance(part, LRScheduler | ReduceLROnPlateau)):
            seen.add(id(part))
            yield part


def _is_ganlibs(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "ganlib"
