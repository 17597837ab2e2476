"""Save and load random generators of the user's own, which parts of a training reference."""

import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from ganlib._generators import generator_kind, generator_state, is_global, load_generator_state
from ganlib._held import held
from ganlib._warning import warn_user
from ganlib.distributed import rank

__all__ = ["OwnGenerators"]

_CLOSED = (nn.Module, Optimizer, DataLoader, Dataset)
_LIBRARIES = {"ganlib", "numpy", "torch", "torchvision", *sys.stdlib_module_names} - {"__main__"}


class OwnGenerators:
    """Find the generators of a trainer and of callbacks once, before the first iteration, in a fixed order.

    Generators of loaders, data sets and Python modules are left out. A run saves these elsewhere.

    Args:
        trained: the trainer, with its parts.
        batches: the loader, which is not searched.
        callbacks: those of ganlib are not searched.
    """

    def __init__(self, trained: Any, batches: Any, callbacks: Sequence[Any]) -> None:
        parts = {id(part) for part in (trained, batches, *callbacks)}
        self._owners = {"trainer": [*_generators(trained, parts)]}
        for callback in callbacks:
            if type(callback).__module__.partition(".")[0] != "ganlib":
                self._owners.setdefault(type(callback).__name__, []).extend(_generators(callback, parts))

    def state_dict(self) -> dict[str, Any]:
        """Return the kind and the state of each generator, by the owner's name."""
        return {
            owner: [[generator_kind(one), generator_state(one)] for one in generators]
            for owner, generators in self._owners.items()
            if generators
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the states of each owner that has the same kinds of generators as before."""
        for owner, generators in self._owners.items():
            saved = state.get(owner, [])
            if [generator_kind(one) for one in generators] == [kind for kind, _ in saved]:
                for one, (_, own) in zip(generators, saved, strict=True):
                    load_generator_state(one, own)

    def warn_of_others(self, state: Mapping[str, Any]) -> None:
        """Warn if the trainer's parts use other generators than those that were saved."""
        own, saved = ([kind for kind, _ in one.get("trainer", [])] for one in (self.state_dict(), state))
        if own and saved and own != saved and rank() == 0:
            warn_user(
                f"the trainer's parts use other random generators ({', '.join(own)}) than when the run was saved "
                f"({', '.join(saved)}), so these start as they were made"
            )


def _generators(root: Any, parts: set[int]) -> Iterator[Any]:
    """Yield the generators that an object references, each once."""

    def is_closed(value: Any) -> bool:
        if isinstance(value, FunctionType):  # its globals are not of the user
            return str(value.__module__).partition(".")[0] in _LIBRARIES
        return id(value) in parts or isinstance(value, _CLOSED)

    seen = set[int]()
    for part in held(root, within=8, closed=is_closed):
        modules = part.modules() if isinstance(part, nn.Module) else ()
        for one in [part, *(value for module in modules for value in vars(module).values())]:
            if id(one) not in seen and _is_saved(one):
                seen.add(id(one))
                yield one


def _is_saved(value: Any) -> bool:
    if generator_kind(value) is None or is_global(value):
        return False
    # A subclass of random.Random may have any state.
    return not isinstance(value, random.Random) or type(value).getstate is random.Random.getstate
