"""The random state of a process: Python's, torch's on every device, NumPy's where it is in use, and a loader's own."""

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

_SEVERAL: dict[str, Any] = {"cuda": torch.cuda, "xpu": torch.xpu}  # kinds of devices of which there can be several


def random_state(loader: Any = None) -> dict[str, Any]:
    """Everything that random numbers come from, as tensors and plain values.

    Args:
        loader: one whose ``generator`` (a ``DataLoader``'s) belongs to it too.

    Returns:
        A state for :func:`load_random_state`.

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
    """Go back to a random state.

    Args:
        state: what :func:`random_state` gave.
        loader: the loader it was given.
    """
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
    """Begin everything that :func:`random_state` knows with a seed.

    Args:
        seed: from 0 to 2**64 - 1.
        loader: one whose ``generator`` begins with it too.
    """
    random.seed(seed)
    # Not torch.manual_seed, which also seeds a CUDA that is initialized later.
    for generator in (torch.default_generator, *generators_of(loader)):
        generator.manual_seed(seed)
    for module in _in_use().values():
        module.manual_seed_all(seed)
    if torch.mps.device_count():
        torch.mps.manual_seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)


def seed_of_rank(seed: int) -> int:
    """A seed of this rank's own; that of the first rank is the seed itself.

    Example:
        >>> seed_of_rank(3)
        3
    """
    return mixed_seed(seed, rank()) if rank() else seed


def mixed_seed(*parts: object) -> int:
    """A seed from 0 to 2**63 - 1 that is as good as independent of that of any other parts.

    Example:
        >>> mixed_seed(0, 1) == mixed_seed(1, 0)
        False
    """
    # Python's seeding by text mixes well; sums of small numbers would collide.
    return random.Random("/".join(map(str, parts))).getrandbits(63)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context in which all random numbers begin with a seed; afterwards they go on as if nothing had happened."""
    state = random_state()
    seed_random_numbers(seed)
    try:
        yield
    finally:
        load_random_state(state)


def generators_of(loader: Any) -> list[torch.Generator]:
    """A loader's own generator and those of its samplers, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = (loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None))
    found = [getattr(part, "generator", None) for part in parts]
    return list(dict.fromkeys(generator for generator in found if isinstance(generator, torch.Generator)))


def _in_use() -> dict[str, Any]:
    """The kinds of devices that have begun to draw; to ask another one would start it."""
    return {kind: module for kind, module in _SEVERAL.items() if module.is_initialized()}
