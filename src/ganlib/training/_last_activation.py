"""The generator's last activation, which autocast must not compute in half precision."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["Call", "recorded_calls", "widen_last_activation"]


class Call(NamedTuple):
    """One call of a module without submodules.

    Args:
        module: what was called.
        given: its first argument, where that is a tensor.
        made: what it gave.
    """

    module: nn.Module
    given: Tensor | None
    made: Tensor


@contextmanager
def recorded_calls(network: nn.Module) -> Iterator[list[Call]]:
    """Record the calls of a network's modules that have no submodules.

    Args:
        network: whatever is called inside the context.

    Returns:
        A context that gives the list, which grows with each call.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 1), nn.Tanh())
        >>> with recorded_calls(network) as calls:
        ...     _ = network(torch.zeros(1, 2))
        >>> [type(call.module).__name__ for call in calls]
        ['Linear', 'Tanh']
    """
    calls = list[Call]()

    def note(module: nn.Module, arguments: tuple[Any, ...], made: Any) -> None:
        if isinstance(made, Tensor):
            given = arguments[0] if arguments and isinstance(arguments[0], Tensor) else None
            calls.append(Call(module, given, made))

    leaves = [module for module in network.modules() if next(module.children(), None) is None]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def widen_last_activation(calls: list[Call], samples: Tensor, *, warn: bool) -> None:
    """Have a generator's last activation computed in float32 under autocast, from its next call on.

    A tanh that rounds to 1 in half precision (in bfloat16 from a pre-activation of 3.5 on) has a gradient of exactly 0,
    so the pixel learns nothing any more. Where the samples are made by something else than an activation without
    parameters, nothing is changed.

    Args:
        calls: of the generator, as :func:`recorded_calls` gives them.
        samples: what the generator made in these calls, under autocast.
        warn: whether to warn of half-precision samples that stay so.
    """
    if samples.dtype not in (torch.bfloat16, torch.float16):
        return
    activation = _activation(calls, samples)
    if activation is not None:
        activation.register_forward_pre_hook(_widen)
    elif warn:
        warnings.warn(
            f"generator gives samples in {str(samples.dtype).removeprefix('torch.')}: they are rounded, and a tanh "
            "that rounds to 1 has no gradient. Let its last module be the activation, such as nn.Tanh(), or compute "
            "that from x.float()",
            stacklevel=2,
        )


def _activation(calls: list[Call], samples: Tensor) -> nn.Module | None:
    """The module that made the samples, if it is an activation without parameters."""
    for module, given, made in reversed(calls):
        if not _share_memory(made, samples):
            continue
        if _share_memory(given, made) and not getattr(module, "inplace", False):
            continue  # only another view, such as Flatten's
        plain = next(module.parameters(), None) is None and next(module.buffers(), None) is None
        return module if plain and given is not None and given.shape == made.shape else None
    return None


def _share_memory(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _widen(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    x = arguments[0]
    if x.dtype in (torch.bfloat16, torch.float16) and torch.is_autocast_enabled(x.device.type):
        return (x.float(), *arguments[1:])
    return None
