"""Logits of discriminators: conversion, scales and checks."""

import weakref
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ganlib._ending import Ending, last_operation
from ganlib._warning import warn_user
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import DiscriminatorOutput, Logits

__all__ = [
    "as_dtype",
    "as_output",
    "at_least_float32",
    "check_output",
    "look_again",
    "scales",
    "sum_over_scales",
    "warn_of_probabilities",
    "without_autocast",
]

_looks = weakref.WeakKeyDictionary[Any, int]()  # how often the end of the graph was checked for each loss
_MOST_LOOKS = 12  # enough for some iterations with several discriminators
_known = weakref.WeakSet[nn.Module]()  # networks of earlier trainings


def as_dtype(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a tensor to a dtype; skip the call of ``to`` if possible, because it takes as long as a small kernel."""
    return x if x.dtype is dtype else x.to(dtype)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert a half-precision tensor to float32, and return other tensors unchanged."""
    # The common case comes first, because the code below takes longer than a small loss.
    if x.dtype is torch.float32:
        return x
    # torch has no type promotion for 8-bit floats.
    narrow = x.is_floating_point() and x.dtype.itemsize == 1
    return x.to(torch.float32 if narrow else torch.promote_types(x.dtype, torch.float32))


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Return a context without autocast; the meta device has no autocast."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


def as_output(output: Any) -> DiscriminatorOutput:
    """Return the output of a discriminator as a DiscriminatorOutput with logits in float32 or float64."""
    if isinstance(output, Tensor):
        return DiscriminatorOutput(at_least_float32(output))
    output = output if isinstance(output, DiscriminatorOutput) else DiscriminatorOutput(output)
    logits = output.logits
    if isinstance(logits, Tensor):
        return output._replace(logits=at_least_float32(logits))
    if not (isinstance(logits, tuple) and logits and all(isinstance(scale, Tensor) for scale in logits)):
        raise ArgumentTypeError(
            f"discriminator gave {type(logits).__name__}; it must return logits (a tensor, or a tuple of tensors) or a "
            "DiscriminatorOutput"
        )
    return output._replace(logits=tuple(at_least_float32(scale) for scale in logits))


def scales(output: Logits | DiscriminatorOutput) -> tuple[Tensor, ...]:
    """Return the logits of an output in float32 or float64, one tensor per scale."""
    logits = output.logits if isinstance(output, DiscriminatorOutput) else output
    return (at_least_float32(logits),) if isinstance(logits, Tensor) else tuple(as_output(logits).logits)


def sum_over_scales(formula: Callable[..., Tensor], loss: Any = None, /, **logits: Logits | None) -> Tensor:
    """Compute a formula of logits, summed over scales, and warn once for each loss about probabilities."""
    if all(isinstance(value, Tensor) and _is_plain(value) for value in logits.values()):
        for value in logits.values():
            warn_of_probabilities(loss, value)
        return formula(*logits.values())  # one scale, and nothing to convert; the rest would slow down small networks
    parts = {name: _checked(name, value) for name, value in logits.items()}
    if len({len(tensors) for tensors in parts.values()}) > 1:
        raise ArgumentValueError(
            "logits must have the same number of scales, but "
            + " and ".join(f"{name} has {len(tensors)}" for name, tensors in parts.items())
        )
    for tensors in parts.values():
        warn_of_probabilities(loss, tensors[0])
    values = [formula(*tensors) for tensors in zip(*parts.values(), strict=True)]
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def look_again(networks: Iterable[nn.Module], *, trained_before: bool = True) -> None:
    """Check the logits of each loss again, since another training begins, which may use the same loss.

    Args:
        networks: the networks of the training.
        trained_before: whether to do this also if one of the networks belongs to an earlier training.
    """
    networks = [*networks]
    if trained_before or _known.isdisjoint(networks):
        _looks.clear()
    _known.update(networks)


def warn_of_probabilities(loss: Any, logits: Any, name: str = "the discriminator") -> None:
    """Warn once for each loss if the logits end in a sigmoid or similar; ``name`` is the network with this ending.

    If the loss has ``needs_unbounded_logits = True`` (the default is False), it converts logits to probabilities, so a
    tanh or a relu at the end is a mistake too. If it has ``needs_negative_logits = True``, a relu is one.
    """
    if loss is None or torch.compiler.is_compiling() or (looks := _looks.get(loss, 0)) == _MOST_LOOKS:
        return
    _looks[loss] = looks + 1
    ending = last_operation(logits)
    wrong = ending is not None and _is_wrong(ending, loss)
    if ending is None or ending == "clamp":
        inner = last_operation(logits, arithmetic=True)
        if inner in ("sigmoid", "hardsigmoid", "softmax", "tanh"):
            wrong = wrong or _are_probabilities(logits, least=16 if inner == "tanh" else 1)
            ending = inner
            _looks[loss] = _MOST_LOOKS  # no more checks, because reading values waits for the device
    if wrong:
        _looks.update(dict.fromkeys(loss.modules(), _MOST_LOOKS))  # a weighted sum has several losses
        warn_user(
            f"{name} ends in a {ending}, but {type(loss).__name__} takes logits, which can be any numbers: remove the "
            f"{ending}"
        )


def _is_wrong(ending: Ending, loss: Any) -> bool:
    """Return whether no loss, or not this one, takes logits with these bounds."""
    low, high = ending.bounds
    if (low >= 0 and high <= 1) or ending in ("logsigmoid", "log_softmax"):
        return True
    unbounded = getattr(loss, "needs_unbounded_logits", False)
    if low >= 0:
        return bool(unbounded or getattr(loss, "needs_negative_logits", False))
    return bool(unbounded and low >= -1 and high <= 1)


def check_output(output: Any, side: str) -> DiscriminatorOutput:
    """Return the DiscriminatorOutput for an auxiliary loss; the side, real or fake, is for the errors."""
    if output is None:
        raise ArgumentValueError(f"{side}_output (=None) is missing: this auxiliary loss needs it")
    if not isinstance(output, DiscriminatorOutput):
        raise ArgumentTypeError(
            f"{side}_output is a {type(output).__name__}, but it must be a DiscriminatorOutput; bare logits have "
            "neither class_logits nor features, so the discriminator must return one"
        )
    return output


def _is_plain(value: Tensor) -> bool:
    return value.dtype is torch.float32 and value.numel() > 0 and value.layout is torch.strided


def _are_probabilities(logits: Tensor, least: int) -> bool:
    """Return whether there are at least ``least`` values, and all are in [0, 1]."""
    if logits.numel() < least or logits.is_meta or (logits.is_cuda and torch.cuda.is_current_stream_capturing()):
        return False
    low, high = logits.detach().aminmax()
    return bool((low >= 0) & (high <= 1))


def _checked(name: str, logits: Logits | None) -> tuple[Tensor, ...]:
    """Return the scales of logits; raise an error unless they are floating point and not empty."""
    if logits is None:
        raise ArgumentValueError(
            f"{name} (=None) is missing; a loss with needs_real_logits = True needs real_logits in both updates"
        )
    if isinstance(logits, DiscriminatorOutput):
        raise ArgumentTypeError(f"{name} is a DiscriminatorOutput; give its logits")
    parts = logits if isinstance(logits, tuple | list) else (logits,)
    if not parts:
        raise ArgumentValueError(f"{name} (=()) holds no logits")
    for part in parts:
        if not isinstance(part, Tensor):
            raise ArgumentTypeError(f"{name} must be a tensor or a tuple of tensors, but holds {type(part).__name__}")
        if not part.is_floating_point() or part.layout is not torch.strided:
            raise DTypeError(
                f"{name} must be dense and floating point, but is {str(part.layout)[6:]} and of dtype {part.dtype}"
            )
        if not part.numel():
            raise ShapeError(f"{name} {tuple(part.shape)} must hold at least one number, because an empty mean is NaN")
    return tuple(at_least_float32(part) for part in parts)
