"""Refuse to change attributes that are used only when an object is created."""

from collections.abc import Callable
from typing import Any, TypeVar

from ganlib._shown import shown

__all__ = ["fixed", "without_transform"]

ClassT = TypeVar("ClassT", bound=type)


def fixed(*names: str, unless: Callable[[Any], bool] = lambda _: False) -> Callable[[ClassT], ClassT]:
    """Make attributes of a class read-only after their first assignment, because a change would have no effect.

    A subclass may use the names for something else, so its attributes can be changed.

    Args:
        names: the attributes.
        unless: function of the object that returns whether a change takes effect.

    Example:
        >>> @fixed("size")
        ... class Images:
        ...     def __init__(self, size):
        ...         self.size = size
        >>> Images(8).size = 16
        Traceback (most recent call last):
        AttributeError: Images.size (=8) is used only at construction, so 16 would have no effect: create a new object
    """

    def refuse(owner: Any, name: str, value: Any) -> None:
        if name in names and name in vars(owner) and not unless(owner):
            raise AttributeError(
                f"{type(owner).__name__}.{name} (={shown(vars(owner)[name])}) is used only at construction, so "
                f"{shown(value)} would have no effect: create a new object"
            )

    return _checked(refuse)


def without_transform(cls: ClassT) -> ClassT:
    """Refuse the transforms that torchvision's data sets have as attributes, in a data set that calls no transforms."""

    def refuse(owner: Any, name: str, value: Any) -> None:
        if name in ("transform", "target_transform", "transforms") and value is not None:
            raise AttributeError(
                f"{type(owner).__name__} calls no {name}, so {shown(value)} would have no effect: pass it as transform "
                "to data.TensorLoader, or apply it in a data set of your own that reads the items of this one"
            )

    return _checked(refuse)(cls)


def _checked(refuse: Callable[[Any, str, Any], None]) -> Callable[[ClassT], ClassT]:
    """Call a function before each assignment to an attribute, except those of subclasses."""

    def decorate(cls: ClassT) -> ClassT:
        target: Any = cls
        assign = target.__setattr__

        def assign_checked(self: Any, name: str, value: Any) -> None:
            if type(self) is cls:
                refuse(self, name, value)
            assign(self, name, value)

        target.__setattr__ = assign_checked
        return cls

    return decorate
