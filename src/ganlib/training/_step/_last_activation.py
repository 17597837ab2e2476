"""Find the generator's last activation, which autocast must not compute in half precision."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganlib._warning import warn_user

__all__ = ["Call", "last_activation", "recorded_calls", "widened"]

_HALVES = (torch.bfloat16, torch.float16)


class Call(NamedTuple):
    """Record one call of a module without submodules.

    Args:
        module: the module.
        given: its first argument, if that is a tensor.
        made: its output.
    """

    module: nn.Module
    given: Tensor | None
    made: Tensor


@contextmanager
def recorded_calls(network: nn.Module) -> Iterator[list[Call]]:
    """Record the calls of a network's modules that have no submodules.

    Args:
        network: the network, which you call inside the context.

    Returns:
        A context that yields the list of calls, which grows with each call.

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

    with contextlib.ExitStack() as hooks:
        for module in network.modules():
            # torch allows no hooks on TorchScript modules.
            if next(module.children(), None) is None and not isinstance(module, torch.jit.ScriptModule):
                hooks.callback(module.register_forward_hook(note).remove)
        yield calls


def last_activation(calls: list[Call], samples: Tensor, *, warn: bool) -> nn.Module | None:
    """Find the activation that makes a generator's samples, if autocast computes it in half precision.

    In half precision a tanh can round to 1 (in bfloat16 from a pre-activation of 3.5 on). Its gradient is then exactly
    0, so the pixel does not learn any more.

    Args:
        calls: the generator's calls, from :func:`recorded_calls`.
        samples: the generator's output in these calls.
        warn: whether to warn of half-precision samples that another operation makes.

    Returns:
        A module without parameters, to be called inside :func:`widened`; None if there is no such module or autocast is
        off.
    """
    if not torch.is_autocast_enabled(samples.device.type):
        return None
    call = _maker(calls, samples)
    if call is not None and call.made.dtype in _HALVES and _is_activation(call):
        return call.module
    if samples.dtype in _HALVES and warn:
        warn_user(
            f"generator gives samples in {str(samples.dtype).removeprefix('torch.')}. If the last operation is a "
            "tanh or another activation, write it as the last module, such as nn.Tanh(): the trainer computes that "
            "in float32, since a tanh that rounds to 1 has no gradient. Otherwise this does no harm; return "
            "samples.float() to silence this warning"
        )
    return None


def widened(activation: nn.Module | None) -> contextlib.AbstractContextManager[object]:
    """Compute an activation in float32 under autocast, inside the context.

    Args:
        activation: the result of :func:`last_activation`.

    Returns:
        A context. The module is unchanged after it.

    Example:
        >>> tanh = nn.Tanh()
        >>> with torch.autocast("cpu", torch.bfloat16), widened(tanh):
        ...     tanh(torch.ones((), dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return contextlib.nullcontext() if activation is None else activation.register_forward_pre_hook(_widen)


def _maker(calls: list[Call], samples: Tensor) -> Call | None:
    """Find the last call that computed the samples' values; calls that only reshape, such as Flatten, do not count."""
    for call in reversed(calls):
        made = call.made
        if made.numel() != samples.numel() or (_share_memory(call) and not getattr(call.module, "inplace", False)):
            continue
        if torch.equal(made.reshape(samples.shape).to(samples.dtype), samples):
            return call
    return None


def _is_activation(call: Call) -> bool:
    plain = next(call.module.parameters(), None) is None and next(call.module.buffers(), None) is None
    return plain and call.given is not None and call.given.shape == call.made.shape


def _share_memory(call: Call) -> bool:
    one = call.given
    return one is not None and one.untyped_storage().data_ptr() == call.made.untyped_storage().data_ptr()


def _widen(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    x = arguments[0] if arguments else None
    if isinstance(x, Tensor) and x.dtype in _HALVES and torch.is_autocast_enabled(x.device.type):
        return (x.float(), *arguments[1:])
    return None
