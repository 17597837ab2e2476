"""Tests of finding what an object holds."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from torch import nn

from ganlib._held import held


class Treasure:
    """What is looked for."""


class Chest:
    """Holds something in an attribute, or in a slot."""

    def __init__(self, inside: Any) -> None:
        self.inside = inside

    def method(self) -> Any:
        """Use it."""
        return self.inside


class Slotted:
    """Holds something in a slot."""

    __slots__ = ("inside",)

    def __init__(self, inside: Any) -> None:
        self.inside = inside


def _generator(inside: Any) -> Any:
    yield inside
    yield inside


def _started(inside: Any) -> Any:
    generator = _generator(inside)
    next(generator)
    return generator


def _function(inside: Any) -> Callable[[], Any]:
    return lambda: inside


def _default(inside: Any) -> Callable[..., Any]:
    def function(x: Any = inside, *, y: Any = None) -> Any:
        return x, y

    return function


@pytest.mark.parametrize(
    "wrap",
    [
        Chest,
        Slotted,
        _generator,
        _started,
        _function,
        _default,
        lambda inside: Chest(inside).method,
        lambda inside: Chest(Chest(inside)),
        lambda inside: {"a": [(inside,)]},
        lambda inside: partial(max, inside),
        lambda inside: map(len, [inside]),
        lambda inside: zip([inside], strict=True),
        lambda inside: Chest(_function(inside)),
    ],
)
def test_what_is_held_is_found(wrap: Callable[[Any], Any]) -> None:
    """In attributes, slots, closures, defaults, variables of generators, and what Python's iterators go through."""
    treasure = Treasure()
    assert any(value is treasure for value in held(wrap(treasure)))


GLOBAL = Treasure()


def test_a_global_of_an_inner_function_is_found() -> None:
    """A function in a function, and a comprehension, may be the only ones that use it."""
    for function in (lambda: [[GLOBAL for _ in range(2)] for _ in range(2)], lambda: lambda: GLOBAL):
        assert any(value is GLOBAL for value in held(function))


def test_what_is_closed_or_far_is_not_looked_into() -> None:
    """A module is given, but not what it holds, unless it is the root; the distance is limited."""
    module, treasure = nn.Linear(1, 1), Treasure()
    module.treasure = treasure  # type: ignore[assignment]
    assert any(value is module for value in held(Chest(module), closed=(nn.Module,)))
    assert not any(value is treasure for value in held(Chest(module), closed=(nn.Module,)))
    assert any(value is treasure for value in held(module, closed=(nn.Module,)))
    nest: Any = treasure
    for _ in range(20):
        nest = [nest]
    assert not any(value is treasure for value in held(nest))


def test_a_circle_ends() -> None:
    """What holds itself is given once."""
    chest = Chest(None)
    chest.inside = chest
    assert sum(value is chest for value in held(chest)) == 1
