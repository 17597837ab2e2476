"""What a CUDA graph takes for constant: the Python values that a step reads, and the addresses of its tensors."""

import enum
import functools
import operator
from collections.abc import Iterable, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Constants"]

_PLAIN = (bool, int, float, str, type(None), torch.dtype, enum.Enum)
_LONGEST = 64  # a longer list is data
_DEEPEST = 5
_LARGEST = 2**20  # elements of a tensor
_LIBRARIES = {"torch", "torchvision", "numpy", "builtins", "functools", "enum", "abc", "typing"}
_OF_EVERY_MODULE = {*vars(nn.Module())} - {"training"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class _Entry(NamedTuple):
    name: str
    holder: Any
    key: Any
    value: Any
    pointer: int = 0  # of a tensor
    trained: bool = False
    registered: bool = False  # as a parameter or buffer, or in the state of an optimizer


class Constants:
    """The Python values and the tensors that a step can reach.

    A recording keeps numbers and addresses, so a number that becomes another one, and a buffer that is replaced, would
    go unnoticed. Looked at are the parameters, buffers, children and attributes of modules, the attributes of other
    objects, the states of optimizers, and of functions the outside variables that their code names. An object may list
    in ``unrecorded`` the attributes that only the host uses; they count where a function of the user's names them.

    Args:
        parts: functions, modules, optimizers and other objects, by name.
        device: of the step. A 0-dim tensor on the CPU is a mere number to a kernel elsewhere.

    Example:
        >>> layer = nn.LeakyReLU(0.1)
        >>> constants = Constants({"activation": layer}, torch.device("cpu"))
        >>> layer.negative_slope = 0.2
        >>> constants.change()
        'activation.negative_slope was 0.1, and is 0.2'
    """

    def __init__(self, parts: Mapping[str, Any], device: torch.device) -> None:
        self._device = device
        self._entries: list[_Entry] = []
        self._containers: list[tuple[str, Any, int]] = []
        self._named: set[str] = set()
        self._seen: dict[Any, Any] = {}
        for name, part in parts.items():
            self._enter(name, part, _DEEPEST)
        self._seen.clear()
        self._columns = _columns(self._entries, self._containers)

    def hold(self) -> bool:
        """Whether all is as it was. It is asked at every step, so its loops run in C."""
        holders, keys, values, tensors, pointers, trained, containers, lengths = self._columns
        try:
            same = all(map(operator.is_, map(operator.getitem, holders, keys), values))
        except (LookupError, AttributeError, ValueError):  # something is gone
            return False
        if not same or list(map(len, containers)) != lengths:
            return self.change() is None  # an equal number may be another object
        now = [tensor.data_ptr() for tensor in tensors]
        return now == pointers and [tensor.requires_grad for tensor in tensors] == trained

    def change(self) -> str | None:
        """Say what is not as it was; None where all is."""
        for name, holder, key, value, pointer, trained, _ in self._entries:
            now = _read(holder, key)
            if isinstance(value, Tensor):
                if now is not value or _pointer(now) != pointer:
                    return f"{name} was replaced by another tensor"
                if now.requires_grad != trained:
                    return f"{name} {'needs no' if trained else 'needs a'} gradient now"
            elif now is not value and not _is_plain(value):
                return f"{name} was replaced by another object"
            elif now is not value and now != value:
                return f"{name} was {value!r}, and is {now!r}"
        for name, container, length in self._containers:
            if len(container) != length:
                return f"{name} had {length} entries, and has {len(container)}"
        return None

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that a step may change, by name; large attributes are data."""
        found: dict[str, Tensor] = {}
        for one in self._entries:
            if isinstance(one.value, Tensor) and (one.registered or one.value.numel() <= _LARGEST):
                name = one.name
                while name in found:
                    name += "'"
                found[name] = one.value
        return found

    def leave_out_what_passes(self) -> None:
        """Forget the attributes that a step has bound to other tensors or objects, such as a last output."""
        self._entries = [
            one
            for one in self._entries
            if one.registered or _is_plain(one.value) or _read(one.holder, one.key) is one.value
        ]
        self._columns = _columns(self._entries, self._containers)

    def put_back(self) -> None:
        """Undo what a step has changed: attributes, variables, and what they are bound to."""
        for one in self._entries:
            if _read(one.holder, one.key) is not one.value and not isinstance(one.holder, _Number | tuple):
                one.holder[one.key] = one.value

    def _add(self, name: str, holder: Any, keys: Iterable[Any], depth: int, *, registered: bool = False) -> None:
        """Look at what a mapping, or a sequence, holds."""
        for key in keys:
            value, path = _read(holder, key), _path(name, key)
            if isinstance(value, Tensor):
                self._entries.append(_Entry(path, holder, key, value, _pointer(value), value.requires_grad, registered))
                if value.ndim == 0 and value.device.type == "cpu" != self._device.type:
                    number = _Number(value)
                    self._entries.append(_Entry(f"{path} (a tensor on the CPU)", number, 0, number[0]))
            else:
                self._entries.append(_Entry(path, holder, key, value))
                self._enter(path, value, depth)

    def _enter(self, name: str, value: Any, depth: int) -> None:
        """Look into an object, once."""
        identity = (id(value.__func__), id(value.__self__)) if isinstance(value, MethodType) else id(value)
        if depth == 0 or _is_plain(value) or identity in self._seen or isinstance(value, type | ModuleType):
            return
        self._seen[identity] = value  # which keeps it alive, and its id its own
        if isinstance(value, nn.Module):
            own = vars(value)
            for registered in (own["_parameters"], own["_buffers"]):
                self._add(name, registered, registered, 1, registered=True)
            self._add_attributes(name, value, [key for key in own if key not in _OF_EVERY_MODULE], depth)
            self._add(name, own["_modules"], own["_modules"], _DEEPEST)
            for key in ("_parameters", "_buffers", "_modules", *_HOOKS):
                self._containers.append((_path(name, key), own[key], len(own[key])))
        elif isinstance(value, torch.optim.Optimizer):
            self._add(name, vars(value), ["state"], 0)
            for index, state in enumerate(value.state.values()):
                self._add(f"{name}.state[{index}]", state, state, 1, registered=True)
        elif isinstance(value, FunctionType):
            self._enter_function(value, depth)
        elif isinstance(value, MethodType):
            self._enter(name, value.__func__, depth)
            holder, named = _attributes(value.__self__), _names(getattr(value.__func__, "__code__", None))
            self._add("", holder, [key for key in holder if key in named], depth - 1)
            for method in (getattr(type(value.__self__), key, None) for key in named):
                if isinstance(method, FunctionType):
                    self._enter(name, method.__get__(value.__self__), depth - 1)
        elif isinstance(value, functools.partial):
            self._add(name, [value.func, value.args, value.keywords], range(3), depth - 1)
        elif isinstance(value, dict | list | tuple):
            if len(value) <= _LONGEST:
                self._containers.append((name, value, len(value)))
                self._add(name, value, list(value) if isinstance(value, dict) else range(len(value)), depth - 1)
        elif not _of_a_library(type(value).__module__):
            self._add_attributes(name, value, list(_attributes(value)), depth)

    def _add_attributes(self, name: str, owner: Any, keys: list[str], depth: int) -> None:
        """Look at attributes of an object, at those of its classes, and into its methods."""
        own = _attributes(owner)
        unrecorded = {*getattr(owner, "unrecorded", ())} - self._named
        self._add(name, own, [key for key in keys if key not in unrecorded], depth - 1)
        kinds = [kind for kind in type(owner).__mro__ if not _of_a_library(kind.__module__)]
        found = {}  # an attribute of its own may take the place of one of a class
        for key, value in ((key, value) for kind in kinds for key, value in vars(kind).items()):
            if isinstance(value, FunctionType | staticmethod | classmethod | property):
                method = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                self._enter(_path(name, key), method, depth - 1)
            elif _is_plain(value) and key[:2] != "__" and key not in own and key not in unrecorded:
                found[key] = key
        self._add(name, _Attributes(owner, found), found, 1)

    def _enter_function(self, function: FunctionType, depth: int) -> None:
        """Look at the variables from outside that its code names, and at what it names of modules and classes."""
        if _of_a_library(function.__module__) or function.__module__.split(".")[0] == "ganlib":  # there all is constant
            return
        outside, named = function.__globals__, _names(function.__code__)
        self._named |= named
        for cell, variable in zip(function.__closure__ or (), function.__code__.co_freevars, strict=True):
            self._add("", _Attributes(cell, {variable: "cell_contents"}), [variable], depth - 1)
        for name in sorted(named & outside.keys()):
            value = outside[name]
            if isinstance(value, type | ModuleType):
                if not _of_a_library(value.__name__ if isinstance(value, ModuleType) else value.__module__):
                    found = {key: key for key in sorted(named & vars(value).keys())}
                    self._add(name, _Attributes(value, found), found, depth - 1)
            else:
                self._add("", outside, [name], depth - 1)


class _Attributes:
    """Attributes of an object as a mapping, by the names that they have in messages."""

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


class _Number:
    """What a 0-dim tensor on the CPU holds."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, key: int) -> Any:
        return self._tensor.item()


def _attributes(owner: Any) -> Any:
    """The attributes that an object has of its own, as a mapping."""
    if hasattr(owner, "__dict__"):
        return vars(owner)
    slots = (slot for kind in type(owner).__mro__ for slot in getattr(kind, "__slots__", ()))
    return _Attributes(owner, {slot: slot for slot in slots if slot[:2] != "__" and hasattr(owner, slot)})


def _columns(entries: list[_Entry], containers: list[tuple[str, Any, int]]) -> tuple[list[Any], ...]:
    """The entries as ``hold`` reads them."""
    tensors = [one for one in entries if one.pointer]
    return (
        [one.holder for one in entries],
        [one.key for one in entries],
        [one.value for one in entries],
        [one.value for one in tensors],
        [one.pointer for one in tensors],
        [one.trained for one in tensors],
        [container for _, container, _ in containers],
        [length for _, _, length in containers],
    )


def _of_a_library(module: str | None) -> bool:
    return (module or "").split(".")[0] in _LIBRARIES


def _names(code: Any) -> set[str]:
    """The names that code uses, also in the functions and comprehensions inside it."""
    inside = [constant for constant in getattr(code, "co_consts", ()) if isinstance(constant, CodeType)]
    return {*getattr(code, "co_names", ())}.union(*map(_names, inside))


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple) and all(map(_is_plain, value)))


def _path(name: str, key: Any) -> str:
    if isinstance(key, int):
        return f"{name}[{key}]"
    return f"{name}.{key.lstrip('_')}".lstrip(".") if isinstance(key, str) else f"{name}[...]"


def _pointer(tensor: Tensor) -> int:
    try:
        return tensor.data_ptr()
    except (RuntimeError, ValueError):  # it is sparse, or lazy
        return 0


def _read(holder: Any, key: Any) -> Any:
    try:
        return holder[key]
    except (LookupError, AttributeError, ValueError):  # it is gone, or was never bound
        return None
