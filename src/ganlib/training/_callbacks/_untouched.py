"""Try a user's function, and leave its own random numbers as they were."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from ganlib._generators import generator_kind, generator_state, load_generator_state
from ganlib._held import held
from ganlib.protocols import Stateful, Trainer

__all__ = ["CLOSED", "untouched"]

CLOSED = (nn.Module, Optimizer, Dataset, DataLoader)
"""Classes of large objects, whose parts sampling does not change."""


@contextmanager
def untouched(*functions: Any, networks: Iterable[nn.Module] = ()) -> Iterator[None]:
    """Restore at the end of this context what a trial of functions may change.

    These are the random generators and the states of latents that the functions refer to, and the modes and buffers of
    the networks.
    """
    restore = [put_back for value in held(functions, within=6, closed=CLOSED) for put_back in _keep(value)]
    modules = [module for network in networks for module in network.modules()]
    modes = [(module, module.training) for module in modules]
    buffers = [
        (buffer, buffer.clone())
        for module in modules
        for buffer in module.buffers(recurse=False)
        if not (is_lazy(buffer) or buffer.is_meta)
    ]
    try:
        yield
    finally:
        for put_back in restore:
            put_back()
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)


def _keep(value: Any) -> Iterator[Callable[[], Any]]:
    """Yield functions that restore the present state of an object."""
    if generator_kind(value):
        yield partial(load_generator_state, value, generator_state(value))
    elif callable(value) and isinstance(value, Stateful) and not isinstance(value, type | Trainer | nn.Module):
        # A latent or a source of conditions.
        yield partial(value.load_state_dict, copy.deepcopy(value.state_dict()))
