"""Find the Python values and tensor addresses that a CUDA graph treats as constant."""

import collections
import copy
import enum
import functools
import operator
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganlib._generators import generator_kind, generator_state, load_generator_state
from ganlib._shown import shown

__all__ = ["Constants"]

_PLAIN = (bool, int, float, str, type(None), torch.dtype, enum.Enum)
_LONGEST = 64  # entries of a list; a longer one is data
_LARGEST = 2**24  # elements of a tensor
_DEEPEST = 6
_LIBRARIES = {"torch", "torchvision", "numpy", "builtins", "functools", "enum", "abc", "typing", "collections"}
_OF_EVERY_MODULE = {*vars(nn.Module())} - {"training"}
_COPIED = (list, dict, collections.deque)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS_OF_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_HOOKS_OF_OPTIMIZERS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


class _Entry(NamedTuple):
    name: str
    holder: Any
    key: Any
    value: Any
    pointer: int = 0  # of a tensor
    trained: bool = False
    registered: bool = False  # whether it is a parameter, a buffer, or in the state of an optimizer
    within: bool = False  # whether it may change between steps, but not within a step


class _Look(NamedTuple):
    """Describe a value that is compared by equality: numbers on the host, sets, states of random generators."""

    name: str
    read: Callable[[], Any]
    value: Any
    write: Callable[[Any], object] | None = None
    within: bool = False


class Constants:
    """Find the Python values and the tensors that a step can reach, and detect changes.

    A recording contains numbers and addresses, so it would not notice a changed number or a replaced buffer. The class
    checks the parameters, buffers, children, hooks and attributes of modules, the attributes of other objects, and the
    states of optimizers. For a function, it checks the outside variables that the function's code names. For an object
    whose method is an objective, it checks only the attributes that the reached functions name. An object may list
    attributes that no step reads in ``unrecorded``; these may change between steps.

    Args:
        parts: functions, modules, optimizers and other objects, by name.
        device: the device of the step. A kernel on another device treats a small CPU tensor as a number.

    Example:
        >>> layer = nn.LeakyReLU(0.1)
        >>> constants = Constants({"activation": layer}, torch.device("cpu"))
        >>> layer.negative_slope = 0.2
        >>> constants.change()
        'activation.negative_slope was 0.1, and is 0.2'
    """

    def __init__(self, parts: Mapping[str, Any], device: torch.device) -> None:
        self._device = device
        own = [part for part in parts.values() if isinstance(part, torch.optim.Optimizer)]
        self._compared_elsewhere = {id(group) for optimizer in own for group in optimizer.param_groups}
        self._named: set[str] = set()
        known = -1
        while known < len(self._named):  # a function that is reached late may name attributes that were skipped
            known = len(self._named)
            self._entries: list[_Entry] = []
            self._looks: list[_Look] = []
            self._containers: list[tuple[str, Any, int, Any]] = []
            self._seen: dict[Any, tuple[int, Any]] = {}
            for name, part in parts.items():
                self._enter(name, part, _DEEPEST)
        self._seen.clear()
        self._columns = _columns(self._entries, self._containers)

    def hold(self) -> bool:
        """Test whether nothing has changed since the last step; its loops run in C, since every step calls it."""
        holders, keys, values, tensors, pointers, trained, containers, lengths = self._columns
        try:
            same = all(map(operator.is_, map(operator.getitem, holders, keys), values))
        except (LookupError, AttributeError, ValueError):  # something was deleted
            return False
        if not same or list(map(len, containers)) != lengths:
            return self.change() is None  # an equal number may be another object
        now = [tensor.data_ptr() for tensor in tensors]
        same = now == pointers and [tensor.requires_grad for tensor in tensors] == trained
        return same and all(one.within or one.read() == one.value for one in self._looks)

    def change(self, *, within: bool = False) -> str | None:
        """Describe the first change; None if nothing has changed.

        Args:
            within: whether to compare with the beginning of the same step.
        """
        for name, holder, key, value, pointer, trained, _, only_within in self._entries:
            now = _read(holder, key)
            if only_within and not within:
                continue
            if isinstance(value, Tensor):
                if now is not value or _pointer(now) != pointer:
                    return f"{name} was replaced by another tensor"
                if now.requires_grad != trained:
                    return f"{name} {'needs no' if trained else 'needs a'} gradient now"
            elif now is not value and not _is_plain(value):
                return f"{name} was replaced by another object"
            elif now is not value and now != value:
                return f"{name} was {shown(value)}, and is {shown(now)}"
        for name, container, length, _ in self._containers:
            if len(container) != length:
                return f"{name} had {length} entries, and has {len(container)}"
        for one in self._looks:
            if (within or not one.within) and one.read() != one.value:
                if one.within:
                    return f"random numbers were drawn from {one.name}"
                return f"{one.name} was {shown(one.value)}, and is {shown(one.read())}"
        return None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a step may change, by name; large attributes count as data."""
        found: dict[str, Tensor] = {}
        for one in self._entries:
            if isinstance(one.value, Tensor) and (one.registered or one.value.numel() <= _LARGEST):
                name = one.name
                while name in found:
                    name += "'"
                found[name] = one.value
        return found

    def leave_out_what_passes(self) -> None:
        """Forget the attributes that a step has set to another tensor or object, such as a last output."""
        self._entries = [
            one
            for one in self._entries
            if one.registered or _is_plain(one.value) or _read(one.holder, one.key) is one.value
        ]
        self._columns = _columns(self._entries, self._containers)

    def put_back(self) -> None:
        """Undo the changes of a step to attributes, variables, containers and random generators."""
        for _, container, length, copied in self._containers:
            if len(container) != length and copied is not None:
                container.clear()
                container.update(copied) if isinstance(container, dict) else container.extend(copied)
        for one in self._entries:
            if _read(one.holder, one.key) is not one.value and not isinstance(one.holder, tuple):
                one.holder[one.key] = one.value
        for look in self._looks:
            if look.write is not None and look.read() != look.value:
                look.write(look.value)

    def _add(
        self, name: str, holder: Any, keys: Iterable[Any], depth: int, *, registered: bool = False, within: bool = False
    ) -> None:
        """Add the members of a mapping or a sequence."""
        for key in keys:
            value, path = _read(holder, key), _path(name, key)
            if isinstance(value, Tensor):
                self._entries.append(
                    _Entry(path, holder, key, value, _pointer(value), value.requires_grad, registered, within)
                )
                self._add_tensor(path, value, registered=registered)
            else:
                self._entries.append(_Entry(path, holder, key, value, within=within))
                if not within:
                    self._enter(path, value, depth)

    def _add_tensor(self, path: str, tensor: Tensor, *, registered: bool) -> None:
        """Add the hooks of a tensor, and its values if it is on the CPU and the step is not."""
        if tensor.is_leaf and tensor.requires_grad:
            names = {key: key for key in _HOOKS_OF_TENSORS if hasattr(tensor, key)}
            self._add(path, _Attributes(tensor, names), names, _DEEPEST)
        elif tensor.device.type == "cpu" != self._device.type and tensor.numel() <= _LONGEST and not registered:
            self._looks.append(_Look(f"{path} (a tensor on the CPU)", tensor.tolist, tensor.tolist()))

    def _enter(self, name: str, value: Any, depth: int) -> None:
        """Search an object once, or again if the limit on the depth cut off an earlier search."""
        identity = (id(value.__func__), id(value.__self__)) if isinstance(value, MethodType) else id(value)
        if depth <= self._seen.get(identity, (0, None))[0] or _is_plain(value):
            return
        self._seen[identity] = depth, value  # keeps it alive, so no other object gets its id
        if isinstance(value, nn.Module):
            self._enter_module(name, value, depth)
        elif isinstance(value, torch.optim.Optimizer):
            self._enter_optimizer(name, value, depth)
        elif isinstance(value, FunctionType):
            self._enter_function(value, depth)
        elif isinstance(value, MethodType):
            self._named |= _names_of_method(value)
            self._enter(name, value.__func__, depth)
            if isinstance(value.__self__, nn.Module) or generator_kind(value.__self__):
                self._enter("", value.__self__, depth)
            else:
                self._add_attributes("", value.__self__, list(_attributes(value.__self__)), depth, all_of_them=False)
        elif isinstance(value, functools.partial):
            self._add(name, [value.func, value.args, value.keywords], range(3), depth - 1)
        elif generator_kind(value) in ("python", "numpy"):
            read, write = functools.partial(generator_state, value), functools.partial(load_generator_state, value)
            self._looks.append(_Look(name, read, read(), write, within=True))
        elif isinstance(value, dict | list | tuple | collections.deque):
            if len(value) <= _LONGEST:
                copied = copy.copy(value) if type(value) in _COPIED else None
                self._containers.append((name, value, len(value), copied))
                self._add(name, value, list(value) if isinstance(value, dict) else range(len(value)), depth - 1)
        elif type(value).__module__ == "numpy" and getattr(value, "size", _LONGEST + 1) <= _LONGEST:
            self._looks.append(_Look(name, value.tolist, value.tolist()))
        elif isinstance(value, set):
            if len(value) <= _LONGEST:
                self._looks.append(_Look(name, lambda: set(value), set(value)))
        elif isinstance(value, type | ModuleType):
            module = value.__name__ if isinstance(value, ModuleType) else value.__module__
            if not _of_a_library(module) and module.split(".")[0] not in sys.stdlib_module_names:
                kinds = value.__mro__ if isinstance(value, type) else [value]
                found = {key: key for kind in kinds for key in vars(kind) if key in self._named and key[:2] != "__"}
                self._add(name, _Attributes(value, found), found, depth - 1)
        elif not _of_a_library(type(value).__module__):
            self._add_attributes(name, value, list(_attributes(value)), depth)

    def _enter_module(self, name: str, module: nn.Module, depth: int) -> None:
        own = vars(module)
        for registered in (own["_parameters"], own["_buffers"]):
            self._add(name, registered, registered, 1, registered=True)
        self._add_attributes(name, module, [key for key in own if key not in _OF_EVERY_MODULE], depth)
        self._add(name, own["_modules"], own["_modules"], _DEEPEST)
        for key in ("_parameters", "_buffers", "_modules", *_HOOKS):
            self._containers.append((_path(name, key), own[key], len(own[key]), None))
        for key in _HOOKS:
            self._add(_path(name, key), own[key], own[key], depth - 1)

    def _enter_optimizer(self, name: str, optimizer: torch.optim.Optimizer, depth: int) -> None:
        own = vars(optimizer)
        self._entries.append(_Entry(f"{name}.state", own, "state", own["state"]))
        for index, state in enumerate(optimizer.state.values()):
            self._add(f"{name}.state[{index}]", state, state, 1, registered=True)
        for index, group in enumerate(optimizer.param_groups):
            if id(group) not in self._compared_elsewhere:
                self._add(f"{name}.param_groups[{index}]", group, [key for key in group if key != "params"], 1)
        for key in _HOOKS_OF_OPTIMIZERS:
            self._containers.append((_path(name, key), own[key], len(own[key]), None))
            self._add(_path(name, key), own[key], own[key], depth - 1)
        self._add_attributes(name, optimizer, [key for key in own if key not in _of_every_optimizer()], depth)

    def _add_attributes(self, name: str, owner: Any, keys: list[str], depth: int, *, all_of_them: bool = True) -> None:
        """Add the attributes of an object and its classes, and search its methods: all, or only the named ones."""
        own, unrecorded = _attributes(owner), {*getattr(type(owner), "unrecorded", ())} - self._named
        keys = [key for key in keys if all_of_them or key in self._named]
        self._add(name, own, [key for key in keys if key not in unrecorded], depth - 1)
        self._add(name, own, [key for key in keys if key in unrecorded], 1, within=True)
        found = {}  # attributes of classes that the object does not override
        for kind in type(owner).__mro__:
            for key, value in vars(kind).items() if not _of_a_library(kind.__module__) else ():
                if not (all_of_them or key in self._named):
                    continue
                if isinstance(value, FunctionType | staticmethod | classmethod | property | functools.cached_property):
                    method = next(
                        (getattr(value, one) for one in ("fget", "func", "__func__") if hasattr(value, one)), value
                    )
                    self._enter(_path(name, key), method, depth - 1)
                elif _is_plain(value) and key[:2] != "__" and key not in own and key not in unrecorded:
                    found[key] = key
        self._add(name, _Attributes(owner, found), found, 1)

    def _enter_function(self, function: FunctionType, depth: int) -> None:
        """Add the outside variables that the function's code names, its defaults and its attributes."""
        if _of_a_library(function.__module__) or function.__module__.split(".")[0] == "ganlib":  # constant globals
            return
        outside, named = function.__globals__, _names(function.__code__)
        self._named |= named
        for cell, variable in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
            self._add("", _Attributes(cell, {variable: "cell_contents"}), [variable], depth - 1)
        self._add("", outside, sorted(named & outside.keys()), depth - 1)
        for carried in (function.__defaults__ or (), function.__kwdefaults__ or {}, vars(function)):
            self._add(
                function.__name__,
                carried,
                range(len(carried)) if isinstance(carried, tuple) else list(carried),
                depth - 1,
            )


class _Attributes:
    """Map names in messages to attributes of an object."""

    def __init__(self, owner: Any, names: dict[str, str]) -> None:
        self._owner = owner
        self._names = names

    def __iter__(self) -> Any:
        return iter(self._names)

    def __contains__(self, key: str) -> bool:
        return key in self._names

    def __getitem__(self, key: str) -> Any:
        return getattr(self._owner, self._names[key])

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self._owner, self._names[key], value)


def _attributes(owner: Any) -> Any:
    """Return an object's own attributes as a mapping."""
    if hasattr(owner, "__dict__"):
        return vars(owner)
    slots = (slot for kind in type(owner).__mro__ for slot in getattr(kind, "__slots__", ()))
    return _Attributes(owner, {slot: slot for slot in slots if slot[:2] != "__" and hasattr(owner, slot)})


def _columns(entries: list[_Entry], containers: list[tuple[str, Any, int, Any]]) -> tuple[list[Any], ...]:
    """Arrange the entries as ``hold`` reads them."""
    entries = [one for one in entries if not one.within]
    tensors = [one for one in entries if one.pointer]
    return (
        [one.holder for one in entries],
        [one.key for one in entries],
        [one.value for one in entries],
        [one.value for one in tensors],
        [one.pointer for one in tensors],
        [one.trained for one in tensors],
        [container for _, container, _, _ in containers],
        [length for _, _, length, _ in containers],
    )


@functools.cache
def _of_every_optimizer() -> set[str]:
    """Return the attributes of every optimizer; not at import, since torch then loads its compiler for seconds."""
    adam = torch.optim.Adam([torch.zeros(1)], fused=True)
    return {*vars(adam), "step", "_opt_called", "grad_scale", "found_inf"}


def _of_a_library(module: str | None) -> bool:
    return (module or "").split(".")[0] in _LIBRARIES


def _names(code: Any) -> set[str]:
    """Return the names that code uses, also in nested functions and comprehensions, and as strings for ``getattr``."""
    constants = getattr(code, "co_consts", ())
    inside = [constant for constant in constants if isinstance(constant, types.CodeType)]
    words = {constant for constant in constants if isinstance(constant, str) and constant.isidentifier()}
    return words.union(getattr(code, "co_names", ()), *map(_names, inside))


def _names_of_method(method: MethodType) -> set[str]:
    """Return the names that a method uses, and those that it uses by calling other methods of its object."""
    found, waiting = set[str](), [method.__func__]
    while waiting:
        new = _names(getattr(waiting.pop(), "__code__", None)) - found
        found |= new
        waiting += [one for name in new if isinstance(one := getattr(type(method.__self__), name, None), FunctionType)]
    return found


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _path(name: str, key: Any) -> str:
    if isinstance(key, int):
        return f"{name}[{key}]"
    return f"{name}.{key.lstrip('_')}".lstrip(".") if isinstance(key, str) else f"{name}[...]"


def _pointer(tensor: Tensor) -> int:
    try:
        return tensor.data_ptr()
    except (RuntimeError, ValueError):  # a sparse or lazy tensor
        return 0


def _read(holder: Any, key: Any) -> Any:
    try:
        return holder[key]
    except (LookupError, AttributeError, ValueError):  # it was deleted, or never bound
        return None
