"""Save and load the state of a random generator of torch, NumPy or Python, as tensors and plain values."""

import random
from collections.abc import Mapping
from typing import Any

import numpy
import torch

__all__ = ["generator_kind", "generator_state", "is_global", "load_generator_state"]

_GLOBAL_OF_PYTHON = getattr(random.random, "__self__", None)
_GLOBAL_OF_NUMPY = getattr(numpy.random.random, "__self__", None)


def generator_kind(value: Any) -> str | None:
    """Return ``"torch"``, ``"numpy"`` or ``"python"`` for a generator with a state, and None for other objects.

    Example:
        >>> generator_kind(torch.Generator()), generator_kind(random.SystemRandom())
        ('torch', None)
    """
    if isinstance(value, torch.Generator):
        return "torch"
    if isinstance(value, numpy.random.Generator | numpy.random.RandomState):
        return "numpy"
    return "python" if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom) else None


def is_global(generator: Any) -> bool:
    """Test whether it is the generator of a module, which ``random_state`` saves."""
    of_torch = (torch.default_generator, *torch.cuda.default_generators)
    return any(generator is one for one in (_GLOBAL_OF_PYTHON, _GLOBAL_OF_NUMPY, *of_torch))


def generator_state(generator: Any) -> Any:
    """Return the state of a generator of a known kind.

    Example:
        >>> generator = numpy.random.default_rng(1)
        >>> state, first = generator_state(generator), generator.random()
        >>> load_generator_state(generator, state)
        >>> generator.random() == first
        True
    """
    if isinstance(generator, numpy.random.Generator):
        return _plain(generator.bit_generator.state)
    if isinstance(generator, numpy.random.RandomState):
        return _plain(generator.get_state(legacy=False))
    return generator.get_state() if isinstance(generator, torch.Generator) else generator.getstate()


def load_generator_state(generator: Any, state: Any) -> None:
    """Restore a state of :func:`generator_state`."""
    if isinstance(generator, numpy.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)


def _plain(state: Any) -> Any:
    """Return a state of NumPy with lists for arrays."""
    if isinstance(state, Mapping):
        return {name: _plain(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, numpy.ndarray | numpy.generic) else state
