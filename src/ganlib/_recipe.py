"""Recipes: describe a module in plain values, and rebuild it."""

import dataclasses
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, ValuesView
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlib._wrappers import unwrapped

__all__ = ["describe", "rebuild", "rebuildable"]

ClassT = TypeVar("ClassT", bound=type)

# Layers of torch that store their arguments as attributes.
_TORCH = [
    *(
        f"{kind}{n}d"
        for kind in ("AdaptiveAvgPool", "AvgPool", "BatchNorm", "Conv", "ConvTranspose")
        for n in (1, 2, 3)
    ),
    *(f"{kind}{n}d" for kind in ("Dropout", "InstanceNorm", "MaxPool") for n in (1, 2, 3)),
    *(f"{kind}Pad{n}d" for kind in ("Reflection", "Replication", "Zero") for n in (1, 2, 3)),
    *(
        "ELU",
        "GELU",
        "Hardtanh",
        "LeakyReLU",
        "Mish",
        "PReLU",
        "ReLU",
        "ReLU6",
        "SELU",
        "SiLU",
        "Sigmoid",
        "Softmax",
        "Softplus",
    ),
    *("Dropout", "Embedding", "Flatten", "GroupNorm", "Identity", "LayerNorm", "Linear", "PixelShuffle"),
    *("PixelUnshuffle", "RMSNorm", "Sequential", "Tanh", "Unflatten", "Upsample"),
]

# A recipe can make only these classes.
_CLASSES: dict[str, type] = {f"nn.{name}": getattr(nn, name) for name in _TORCH}

_LONGEST = 10_000  # values in a recipe, including repeated ones; each stage of a stack has a few
_REPEATED = {"layers", "scales"}  # arguments that set the number of repetitions in a constructor
_REPETITION = 100  # the number of values that one repetition counts as
_REFUSED = {"device", "dtype"}  # arguments that no recipe has; a device could make a file use GPU memory


class BatchNorm(_BatchNorm):
    """Replace ``SyncBatchNorm`` in a rebuilt module; both accept any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any number of dimensions."""


_CLASSES["BatchNorm"] = BatchNorm


def rebuildable(cls: ClassT) -> ClassT:
    """Make instances of a class store their arguments, so that a recipe can rebuild them.

    Modules store them as ``made_with``. A function that makes norms or activations is stored as the modules that it
    made, because a file cannot contain a function. Dataclasses have their arguments as fields.
    """
    _CLASSES[cls.__name__] = cls
    if dataclasses.is_dataclass(cls) or issubclass(cls, nn.Sequential):
        return cls
    target: Any = cls
    plain_init = target.__init__
    signature = inspect.signature(plain_init)

    @wraps(plain_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:  # the constructor raises a better error
            bound = None
        if bound is None or type(self) is not cls:  # a subclass has other arguments
            plain_init(self, *args, **kwargs)
            return
        bound.apply_defaults()
        (_, *names), (_, *values) = zip(*bound.arguments.items(), strict=True)
        arguments = {name: _remembered(name, value) for name, value in zip(names, values, strict=True)}
        plain_init(self, **arguments)
        for name, value in arguments.items():
            if isinstance(value, _Maker):
                value.make = None
            elif isinstance(value, nn.Module) and getattr(self, name, None) is value:
                arguments[name] = _Attribute
        vars(self)["made_with"] = arguments

    target.__init__ = init
    return cls


def describe(module: nn.Module) -> dict[str, Any]:
    """Return the recipe of a module: numbers, strings, None, lists and dicts; raise a TypeError if it has no recipe."""
    return _described(module, {})


def rebuild(recipe: Any, makers: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """Rebuild a module from a recipe, with ``makers`` for additional names; it can raise any error."""
    _size(recipe, {})
    return _made(recipe, _CLASSES | dict(makers or {}), {})


class _Maker:
    """Store the modules that a function makes, so that a recipe can rebuild them."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make: Callable[..., Any] | None = make
        self.made = list[Any]()

    def __call__(self, *args: Any) -> Any:
        assert self.make is not None
        self.made.append(self.make(*args))
        return self.made[-1]

    def __repr__(self) -> str:
        return repr(self.make)


class _Attribute:
    """Mark an argument that is read from the attribute of the same name, because a user may replace it."""


def _remembered(name: str, value: Any) -> Any:
    if name.endswith(("norm", "activation")) and callable(value) and not isinstance(value, nn.Module):
        return _Maker(value)
    # Copy it, because the constructor exhausts an iterator, and the user may change a list later.
    return list(value) if isinstance(value, list | Iterator | ValuesView | nn.ModuleList) else value


def _described(value: Any, seen: dict[int, dict[str, Any]]) -> Any:
    """Describe a value in plain values; ``seen`` has the recipes of modules by id, for modules that occur twice."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple | range):
        return [_described(member, seen) for member in value]
    if isinstance(value, _Maker):
        return {"makes": _described(value.made, seen)}
    if isinstance(value, nn.Module):
        value = unwrapped(value)
    if id(value) in seen:
        first = seen[id(value)]
        first.setdefault("id", sum("id" in recipe for recipe in seen.values()))
        return {"same_as": first["id"]}
    cls = BatchNorm if type(value) is nn.SyncBatchNorm else type(value)
    name = f"nn.{cls.__name__}" if cls.__module__.startswith("torch.nn.") else cls.__name__
    if _CLASSES.get(name) is not cls:
        raise TypeError(f"{cls.__module__}.{cls.__qualname__} has no recipe")
    recipe: dict[str, Any] = {"name": name}
    if isinstance(value, nn.Module):
        seen[id(value)] = recipe
    recipe["arguments"] = {key: _described(argument, seen) for key, argument in _arguments(cls, value)}
    return recipe


def _arguments(cls: type, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, nn.Sequential):
        yield from value._modules.items()  # named_children omits modules that occur twice
    elif dataclasses.is_dataclass(value):
        yield from ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value) if field.init)
    elif hasattr(value, "made_with"):
        for name, argument in value.made_with.items():
            yield name, getattr(value, name) if argument is _Attribute else argument
    else:
        affine = getattr(value, "affine", getattr(value, "elementwise_affine", True))
        for name, parameter in inspect.signature(cls).parameters.items():
            attribute = getattr(value, name, parameter.default)
            if name == "bias":
                attribute = attribute is not None or not affine
            if attribute != parameter.default:  # omit defaults, because other versions of torch may lack the argument
                yield name, attribute


def _size(described: Any, sizes: dict[int, int]) -> int:
    """Count the values of a recipe, including repeated ones; ``sizes`` has the counts of modules by id."""
    size = 1
    if isinstance(described, list):
        parts = described
    elif not isinstance(described, dict):
        return size
    elif "same_as" in described:
        return sizes[described["same_as"]]
    elif "makes" in described:
        parts = [described["makes"]]
    else:
        arguments = described["arguments"]
        counts = [arguments[name] for name in _REPEATED & arguments.keys()]
        size += sum(_REPETITION * count for count in counts if isinstance(count, int) and count > 0)
        parts = [*arguments.values()]
    for part in parts:
        size += _size(part, sizes)
        if size > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} values")
    if isinstance(described, dict) and "id" in described and "makes" not in described:
        sizes[described["id"]] = size
    return size


def _made(described: Any, makers: Mapping[str, Callable[..., Any]], known: dict[int, Any]) -> Any:
    if isinstance(described, list):
        return tuple(_made(member, makers, known) for member in described)
    if not isinstance(described, dict):
        if not isinstance(described, bool | int | float | str | None):
            raise TypeError(f"it holds a {type(described).__name__}")
        return described
    if "same_as" in described:
        return known[described["same_as"]]
    if "makes" in described:
        modules = iter(_made(described["makes"], makers, known))
        return lambda *_: next(modules)
    arguments = {name: _made(value, makers, known) for name, value in described["arguments"].items()}
    make = makers[described["name"]]
    sequence = isinstance(make, type) and issubclass(make, nn.Sequential)
    if _REFUSED & arguments.keys() and not sequence:
        raise ValueError(f"it has the arguments {sorted(_REFUSED & arguments.keys())}")
    value = make(OrderedDict(arguments)) if sequence else make(**arguments)
    if "id" in described:
        known[described["id"]] = value
    return value
