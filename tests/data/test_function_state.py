"""What a function keeps between calls is saved and loaded; what is not the function's is left alone."""

import io
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganlib.data._function_state import function_state, load_function_state
from ganlib.errors import CheckpointError
from tests.training.players import MyTrainer


class Counter:
    """An object with a state, whose calls are counted."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, batch: Tensor) -> Tensor:
        """Add the count."""
        self.count += 1
        return batch + self.count

    def method(self, batch: Tensor) -> Tensor:
        """The same."""
        return self(batch)

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it."""
        self.count = state["count"]


class Noise:
    """An object without a state, which has its own generator."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def __call__(self, batch: Tensor) -> Tensor:
        """Add noise."""
        return batch + torch.rand(len(batch), 1, generator=self.generator)


def _add(number: Callable[[], Any], batch: Tensor) -> Tensor:
    return batch + float(number())


def _drawing(generator: torch.Generator, batch: Tensor) -> Tensor:
    return batch + torch.rand(len(batch), 1, generator=generator)


def _both(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda batch: second(first(batch))


def _closure(inside: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda batch: inside(batch)


FUNCTIONS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "an object": Counter,
    "a method": lambda: Counter().method,
    "a partial": lambda: partial(Counter()),
    "a closure of an object": lambda: _closure(Counter()),
    "a module": lambda: nn.BatchNorm1d(3, affine=False),
    "a closure of a module": lambda: _closure(nn.Sequential(nn.BatchNorm1d(3, affine=False))),
    "a generator in a partial": lambda: partial(_drawing, torch.Generator()),
    "a generator in an object": Noise,
    "a generator in a closure": lambda: _closure(_closure(Noise())),
    "Python's generator": lambda: partial(_add, random.Random(0).random),
    "NumPy's generator": lambda: partial(_add, np.random.default_rng(0).random),
    "NumPy's Mersenne Twister": lambda: partial(_add, np.random.Generator(np.random.MT19937(0)).random),
    "NumPy's earlier generator": lambda: partial(_add, np.random.RandomState(0).rand),
    "two parts": lambda: _both(Counter(), Noise()),
}


def _used(function: Callable[[Tensor], Tensor], batches: int) -> list[Tensor]:
    results = [function(torch.arange(12.0).view(4, 3) * (batch + 1)).detach().clone() for batch in range(batches)]
    # A norm in training mode gives what its own batch says, and changes its averages.
    state = function_state(function)
    return [*results, *(value for kind, part in state if kind != "numpy" for value in tree_leaves(part))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_goes_on_where_it_was(name: str) -> None:
    """Another function of the same kind, with a state that went through a file, gives the results of the first."""
    function = FUNCTIONS[name]()
    _used(function, 3)
    file = io.BytesIO()
    torch.save(function_state(function), file)
    expected = _used(function, 2)
    file.seek(0)
    for _ in range(2):  # a state is not used up
        other = FUNCTIONS[name]()
        load_function_state(other, torch.load(file, weights_only=True), "function")
        file.seek(0)
        torch.testing.assert_close(_used(other, 2), expected, rtol=0, atol=0)


def test_what_is_saved_elsewhere_or_has_no_state_is_left_out() -> None:
    """A plain function, networks without buffers, global generators, optimizers and trainers."""
    network, trainer = nn.Linear(3, 3), MyTrainer()
    optimizer = torch.optim.Adam(network.parameters())
    draw, numpys = random.random, np.random.rand

    def function(batch: Tensor) -> Any:
        return network(batch), optimizer, trainer, draw(), numpys(), torch.default_generator

    assert function_state(function) == function_state(torch.neg) == function_state(lambda batch: batch) == []


def test_a_function_with_other_parts_is_warned_of() -> None:
    """It keeps its own state, since the saved one is not its own."""
    noise = Noise()
    with pytest.warns(UserWarning, match=r"^function \(=.*keeps other states or random generators"):
        load_function_state(noise, function_state(Counter()), "function")
    torch.testing.assert_close(noise(torch.zeros(2, 1)), Noise()(torch.zeros(2, 1)), rtol=0, atol=0)


def test_a_state_of_other_sizes_is_refused() -> None:
    """As an error of ours that names the function."""
    for kind in (lambda size: nn.BatchNorm1d(size), lambda size: _closure(nn.BatchNorm1d(size))):
        with pytest.raises(CheckpointError, match=r"^function \(=.*BatchNorm1d cannot load"):
            load_function_state(kind(3), function_state(kind(4)), "function")
