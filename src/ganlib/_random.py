"""Random state of a process: Python, torch on every device, NumPy if imported, and the generators of a loader."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ganlib.distributed import rank

__all__ = [
    "generators_of",
    "load_random_state",
    "mixed_seed",
    "random_state",
    "seed_of_rank",
    "seed_random_numbers",
    "seeded",
]

_SEVERAL: dict[str, Any] = {"cuda": torch.cuda, "xpu": torch.xpu}  # kinds with possibly several devices


def random_state(loader: Any = None) -> dict[str, Any]:
    """Return the random state as tensors and plain values, including the generators of a loader.

    Example:
        >>> state = random_state()
        >>> first = torch.rand(1)
        >>> load_random_state(state)
        >>> bool(first == torch.rand(1))
        True
    """
    state: dict[str, Any] = {
        "python": random.getstate(),
        "torch": torch.get_rng_state(),
        **{kind: module.get_rng_state_all() for kind, module in _in_use().items()},
        "mps": [torch.mps.get_rng_state()] if torch.mps.device_count() else [],
        "loader": [generator.get_state() for generator in generators_of(loader)],
    }
    if "numpy" in sys.modules:
        name, keys, position, has_gauss, cached = sys.modules["numpy"].random.get_state()
        state["numpy"] = [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)]
    return state


def load_random_state(state: dict[str, Any], loader: Any = None) -> None:
    """Restore a state of :func:`random_state`, including the generators of a loader."""
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    for kind, module in _SEVERAL.items():
        for index, own in enumerate(state.get(kind, [])[: module.device_count()]):
            module.set_rng_state(own, index)
    for own in state.get("mps", [])[: torch.mps.device_count()]:
        torch.mps.set_rng_state(own)
    if "numpy" in state and "numpy" in sys.modules:
        sys.modules["numpy"].random.set_state(tuple(state["numpy"]))
    for generator, own in zip(generators_of(loader), state["loader"], strict=False):
        generator.set_state(own)


def seed_random_numbers(seed: int, loader: Any = None) -> None:
    """Seed all sources of random numbers in :func:`random_state`, with a seed from 0 to 2**64 - 1."""
    random.seed(seed)
    # torch.manual_seed would also seed CUDA if it is initialized later.
    for generator in (torch.default_generator, *generators_of(loader)):
        generator.manual_seed(seed)
    for module in _in_use().values():
        module.manual_seed_all(seed)
    if torch.mps.device_count():
        torch.mps.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def seed_of_rank(seed: int) -> int:
    """Return a different seed for each rank; the first rank keeps the seed.

    Example:
        >>> seed_of_rank(3)
        3
    """
    return mixed_seed(seed, rank()) if rank() else seed


def mixed_seed(*parts: object) -> int:
    """Mix values into a seed from 0 to 2**63 - 1; other values give a practically independent seed.

    Example:
        >>> mixed_seed(0, 1) == mixed_seed(1, 0)
        False
    """
    # Seeding Python's generator by text mixes well. Sums of small numbers would collide.
    return random.Random("/".join(map(str, parts))).getrandbits(63)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all random numbers within a context, and restore the previous random state afterwards."""
    state = random_state()
    seed_random_numbers(seed)
    try:
        yield
    finally:
        load_random_state(state)


def generators_of(loader: Any) -> list[torch.Generator]:
    """Return the generators of a loader and its samplers, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    found = [getattr(part, "generator", None) for part in parts]
    return list(dict.fromkeys(generator for generator in found if isinstance(generator, torch.Generator)))


def _in_use() -> dict[str, Any]:
    """Return the kinds of devices that are initialized; a query of another kind would initialize it."""
    return {kind: module for kind, module in _SEVERAL.items() if module.is_initialized()}
