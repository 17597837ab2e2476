"""What a trial of a function leaves as it was."""

import random
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.training._callbacks._untouched import untouched

GLOBAL = torch.Generator().manual_seed(5)


class Counting:
    """A latent that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> float:
        """Count."""
        self.calls += 1
        return self.calls

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back."""
        self.calls = state["calls"]


def make(kind: str) -> Any:
    """A function with a state of its own."""
    generator = torch.Generator().manual_seed(1)
    match kind:
        case "closure":
            return lambda: torch.rand(1, generator=generator).item()
        case "global":
            return lambda: torch.rand(1, generator=GLOBAL).item()
        case "partial":
            return partial(lambda given: torch.rand(1, generator=given["one"]).item(), {"one": generator})
        case "method":
            return random.Random(2).random
        case "numpy":
            return partial(np.random.Generator.random, np.random.default_rng(3))
        case "old numpy":
            own = np.random.RandomState(4)
            return lambda: own.rand()
        case _:
            latent = Counting()
            return lambda: latent()


@pytest.mark.parametrize("kind", ["closure", "global", "partial", "method", "numpy", "old numpy", "latent"])
def test_a_function_gives_again_what_it_gave(kind: str) -> None:
    """Its own random numbers and counts are put back."""
    function = make(kind)
    with untouched(function):
        first = [function() for _ in range(3)]
    assert [function() for _ in range(3)] == first
    assert function() not in first


def test_networks_keep_modes_and_buffers() -> None:
    """Also if the function changes them."""
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()).eval()
    network[1].train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with untouched(networks=[network]):
        network.train()
        network(torch.randn(8, 2))
    assert [module.training for module in network.modules()] == [False, False, True]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
