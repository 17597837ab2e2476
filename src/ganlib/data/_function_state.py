"""Save and load what a function keeps between calls: states of objects, buffers of modules and random generators."""

import copy
from collections.abc import Iterable, Iterator
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only
from torch.utils.data import DataLoader, Dataset

from ganlib._generators import generator_kind, generator_state, is_global, load_generator_state
from ganlib._held import held
from ganlib._shown import shown
from ganlib._stream import has_state
from ganlib._warning import warn_user
from ganlib._wrappers import load_plain_state, plain_state
from ganlib.errors import CheckpointError, GanlibError

__all__ = ["function_state", "load_function_state"]


def function_state(function: Any) -> list[list[Any]]:
    """Return the kind and the state of each part of a function that has a state, as tensors and plain values.

    If the function is an object with a state, or a method of one, its whole state is saved. Of other modules that it
    uses, the buffers are saved, because a call does not change parameters. Global random generators are not saved.

    Example:
        >>> generator = torch.Generator()
        >>> def noise(batch):
        ...     return torch.rand(3, generator=generator)
        >>> state = function_state(noise)
        >>> first = noise(None)
        >>> load_function_state(noise, state, "function")
        >>> bool((noise(None) == first).all())
        True
    """
    return [
        [kind, copy.deepcopy(tree_map_only(Tensor, Tensor.detach, _saved(kind, part)))]
        for kind, part in _parts(function)
    ]


def load_function_state(function: Any, state: list[list[Any]], name: str) -> None:
    """Load a state of :func:`function_state`, and warn if the function has other parts; the name is for messages.

    Raises:
        CheckpointError: a part cannot load its state.
    """
    parts = list(_parts(function))
    if [kind for kind, _ in parts] != [kind for kind, _ in state]:
        warn_user(
            f"{name} (={shown(function)}) keeps other states or random generators than when the run was saved, so the "
            "saved ones are not loaded, and its batches can differ"
        )
        return
    for (kind, part), (_, saved) in zip(parts, state, strict=True):
        try:
            _load(kind, part, saved)
        except GanlibError:
            raise
        except Exception as error:  # the object is the user's
            raise CheckpointError(
                f"{name} (={shown(function)}): its {type(part).__name__} cannot load the saved state "
                f"({type(error).__name__}: {error})"
            ) from error


def _parts(function: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts that have a state, each with its kind, always in the same order."""
    owner = function
    while isinstance(owner, partial | MethodType):
        owner = owner.func if isinstance(owner, partial) else owner.__self__
    seen = set[int]()
    if has_state(owner):
        yield "state", owner
        seen.update(map(id, owner.modules() if isinstance(owner, nn.Module) else [owner]))
    for part in [*held(function, closed=_is_closed), *held(owner, closed=_is_closed)]:
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, nn.Module):
            seen.update(map(id, part.modules()))
            if next(part.buffers(), None) is not None:
                yield "buffers", part
        elif kind := generator_kind(part):
            if not is_global(part):
                yield kind, part
        elif has_state(part) and not isinstance(part, Optimizer | Dataset) and not _trains(part) and not _loads(part):
            yield "state", part


def _is_closed(value: Any) -> bool:
    """Return whether an object saves its own parts, or has many that a function does not use."""
    return isinstance(value, nn.Module | Optimizer | DataLoader | Dataset) or has_state(value) or _trains(value)


def _loads(value: Any) -> bool:
    """Return whether an object is a loader: an iterator of it, which the function uses, does not follow its state."""
    return isinstance(value, Iterable) and not isinstance(value, Iterator)


def _trains(value: Any) -> bool:
    return hasattr(value, "train_step")  # ``fit`` saves a trainer


def _saved(kind: str, part: Any) -> Any:
    if kind == "buffers":
        return dict(part.named_buffers())
    return plain_state(part) if kind == "state" else generator_state(part)


def _load(kind: str, part: Any, saved: Any) -> None:
    if kind == "state":
        load_plain_state(part, copy.deepcopy(saved))
    elif kind == "buffers":
        own = dict(part.named_buffers())
        if own.keys() != saved.keys():
            raise CheckpointError(f"its buffers are {sorted(own)}, but {sorted(saved)} were saved")
        with torch.no_grad():
            for name, buffer in own.items():
                buffer.copy_(saved[name])
    else:
        load_generator_state(part, saved)
