"""States of random generators of torch, NumPy and Python: for checkpoints, trials and recorded steps alike."""

import io
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from ganlib._generators import generator_kind, generator_state, is_global, load_generator_state
from ganlib.training._callbacks._untouched import untouched
from ganlib.training._kept import kept
from ganlib.training._step._constants import Constants

KINDS: dict[str, tuple[str, Callable[[], Any], Callable[[Any], Any]]] = {
    "torch": ("torch", torch.Generator, lambda one: torch.rand((), generator=one).item()),
    "PCG64": ("numpy", lambda: np.random.default_rng(1), lambda one: one.normal()),
    "MT19937": ("numpy", lambda: np.random.Generator(np.random.MT19937(1)), lambda one: one.integers(2**31)),
    "Philox": ("numpy", lambda: np.random.Generator(np.random.Philox(1)), lambda one: one.random()),
    "RandomState": ("numpy", lambda: np.random.RandomState(1), lambda one: one.normal()),
    "Random": ("python", lambda: random.Random(1), lambda one: one.gauss()),
}


@pytest.fixture(params=KINDS)
def given(request: pytest.FixtureRequest) -> tuple[str, Any, Callable[[], Any]]:
    """The kind, a generator that has drawn a number, and a function that draws the next one."""
    kind, make, draw = KINDS[request.param]
    generator = make()
    draw(generator)
    return kind, generator, partial(draw, generator)


def test_a_loaded_state_gives_the_same_numbers(given: tuple[str, Any, Callable[[], Any]]) -> None:
    """Also after it was in a file of plain values, and of a second number that a normal distribution keeps."""
    kind, generator, draw = given
    assert generator_kind(generator) == kind
    assert not is_global(generator)
    file = io.BytesIO()
    torch.save(generator_state(generator), file)
    first = [draw() for _ in range(3)]
    file.seek(0)
    load_generator_state(generator, torch.load(file, weights_only=True))
    assert [draw() for _ in range(3)] == first


def test_trials_restore_each_kind(given: tuple[str, Any, Callable[[], Any]]) -> None:
    """A trial of a function, and one of an iteration, leave the next number as it was."""

    class Holder:
        own = None

    _, generator, draw = given
    holder = Holder()
    holder.own = generator
    state = generator_state(generator)
    for trial in (untouched(lambda: generator), kept(holder)):
        with trial:
            first = draw()
        assert draw() == first
        load_generator_state(generator, state)


def test_a_recorded_step_notices_each_kind_on_the_host(given: tuple[str, Any, Callable[[], Any]]) -> None:
    """A number that a step draws from it would be a constant of the recording; torch's own are part of it."""
    kind, generator, draw = given
    constants = Constants({"step": lambda: generator}, torch.device("cpu"))
    assert constants.change(within=True) is None
    draw()
    assert (constants.change(within=True) is None) == (kind == "torch")


def test_global_and_system_generators() -> None:
    """The modules' own generators are saved elsewhere, and one of the system has no state to save."""
    for one in (torch.default_generator, np.random.random.__self__, random.random.__self__):  # type: ignore[attr-defined]
        assert is_global(one)
    system = random.SystemRandom()
    assert generator_kind(system) is None
    holder = type("Holder", (), {})()
    holder.own = system
    with untouched(lambda: system), kept(holder):
        pass
    assert Constants({"step": lambda: system}, torch.device("cpu")).change() is None
