"""The random state of a process: Python's, torch's, CUDA's, NumPy's where it is in use, and a loader's own."""

import random
import sys
from typing import Any

import torch

__all__ = ["load_random_state", "random_state"]


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
    cuda_in_use = torch.cuda.is_initialized()
    version, internal, gauss = random.getstate()
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda_in_use else [],
    }
    if "numpy" in sys.modules:
        name, keys, position, has_gauss, cached = sys.modules["numpy"].random.get_state()
        state["numpy"] = [name, [int(key) for key in keys], int(position), int(has_gauss), float(cached)]
    generator = getattr(loader, "generator", None)
    if isinstance(generator, torch.Generator):
        state["loader"] = generator.get_state()
    return state


def load_random_state(state: dict[str, Any], loader: Any = None) -> None:
    """Go back to a random state.

    Args:
        state: what :func:`random_state` gave.
        loader: the loader it was given.
    """
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"])
    for index, cuda in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda, index)
    if "numpy" in state and "numpy" in sys.modules:
        sys.modules["numpy"].random.set_state(tuple(state["numpy"]))
    generator = getattr(loader, "generator", None)
    if isinstance(generator, torch.Generator) and "loader" in state:
        generator.set_state(state["loader"])
