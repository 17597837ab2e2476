"""All random numbers go on as they would have."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, RandomSampler

from ganlib import _random
from ganlib._files import load_plain, save_plain
from ganlib._random import load_random_state, random_state, seed_of_rank, seed_random_numbers
from tests.ranks import Ranks


def test_every_source_goes_on(tmp_path: Path) -> None:
    """Python's, NumPy's, torch's and a loader's own numbers are the same after going back, through a file too."""
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader([0], generator=generator)

    def draw() -> list[float]:
        return [
            random.random(),
            random.gauss(0, 1),
            float(np.random.normal()),
            torch.rand(1).item(),
            torch.rand(1, generator=generator).item(),
        ]

    draw()  # gauss and normal keep a second number back
    save_plain(tmp_path / "state.pt", random_state(loader))
    expected = draw()
    draw()
    load_random_state(load_plain(tmp_path / "state.pt"), loader)
    assert draw() == expected


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_every_source_begins_with_a_seed(seed: int) -> None:
    """All of them, wherever they were: torch's with the numbers of ``torch.manual_seed``; another seed gives others."""
    loader = DataLoader([0], sampler=RandomSampler([0], generator=torch.Generator()))

    def draw() -> list[float]:
        return [
            random.random(),
            float(np.random.normal()),
            torch.rand(1).item(),
            torch.rand(1, generator=loader.sampler.generator).item(),
        ]

    before = random_state()
    seed_random_numbers(seed, loader)
    first = draw()
    draw()
    seed_random_numbers(seed, loader)
    assert draw() == first
    seed_random_numbers(7, loader)
    assert not {*draw()} & {*first}
    assert first[2] == first[3] == torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()
    load_random_state(before)


@pytest.mark.gpu
def test_a_cuda_that_comes_later_is_not_seeded() -> None:
    """A training that moves to a device afterwards has the numbers that its own seed gives there."""
    script = """
import torch
from ganlib._random import load_random_state, random_state, seed_random_numbers
torch.manual_seed(5)
before = random_state()
seed_random_numbers(3)
load_random_state(before)
first = torch.rand(4, device="cuda")
assert torch.equal(first, torch.rand(4, device="cuda", generator=torch.Generator("cuda").manual_seed(5)))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


class FakeDevices:
    """Stands in for ``torch.xpu`` and ``torch.mps``, with two devices or one."""

    def __init__(self, count: int) -> None:
        self.generators = [torch.Generator() for _ in range(count)]

    def device_count(self) -> int:
        """How many there are."""
        return len(self.generators)

    def is_initialized(self) -> bool:
        """They are in use."""
        return True

    def get_rng_state(self, index: int = 0) -> torch.Tensor:
        """That of a device."""
        return self.generators[index].get_state()

    def set_rng_state(self, state: torch.Tensor, index: int = 0) -> None:
        """Go back."""
        self.generators[index].set_state(state)

    def get_rng_state_all(self) -> list[torch.Tensor]:
        """Those of all devices."""
        return [generator.get_state() for generator in self.generators]

    def manual_seed(self, seed: int) -> None:
        """Seed all of them."""
        for generator in self.generators:
            generator.manual_seed(seed)

    manual_seed_all = manual_seed

    def draw(self) -> list[float]:
        """A number from each."""
        return [torch.rand(1, generator=generator).item() for generator in self.generators]


def test_the_numbers_of_mps_and_xpu_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By stand-ins for their modules: all devices go on, and begin with a seed; an earlier state leaves them alone."""
    xpu, mps = FakeDevices(2), FakeDevices(1)
    monkeypatch.setitem(_random._SEVERAL, "xpu", xpu)
    monkeypatch.setattr(torch, "mps", mps)
    save_plain(tmp_path / "state.pt", random_state())
    expected = xpu.draw(), mps.draw()
    load_random_state(load_plain(tmp_path / "state.pt"))
    assert (xpu.draw(), mps.draw()) == expected

    seed_random_numbers(3)
    first = torch.rand(1, generator=torch.Generator().manual_seed(3)).item()
    assert (xpu.draw(), mps.draw()) == ([first, first], [first])

    before = random_state()
    load_random_state({name: value for name, value in before.items() if name not in ("xpu", "mps")})
    del xpu.generators[1], mps.generators[0]  # on another machine
    load_random_state(before)


def seeds() -> list[int]:
    """Those of this rank."""
    return [seed_of_rank(seed) for seed in range(100)]


def test_each_rank_has_seeds_of_its_own(two_ranks: Ranks) -> None:
    """Those of the first are what was given; no two are the same, and all are below 2**64."""
    first, second = two_ranks(seeds)
    assert first == seeds() == list(range(100))
    assert len({*first, *second}) == 200
    assert 0 < min(second) <= max(second) < 2**64
