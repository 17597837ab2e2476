"""Short descriptions of values, for errors and ``repr``."""

import re
import reprlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["described", "network_name", "on_lines", "optimizer_name", "shown"]

_LONGEST = 120
_FEW = 6


class _Shortened(reprlib.Repr):
    """Shorten a repr to one line, with only the names of networks, optimizers and arrays."""

    def repr_instance(self, x: Any, level: int) -> str:
        """Return the repr of an object that is not a container of Python."""
        if isinstance(x, np.ndarray):
            return f"array(shape={x.shape}, dtype={x.dtype})"
        if isinstance(x, Tensor):
            kind = "tensor" if type(x) is Tensor else type(x).__name__
            layout = f", layout={x.layout}" if x.layout != torch.strided else ""
            return f"{kind}(shape={tuple(x.shape)}, dtype={x.dtype}{layout})"
        if isinstance(x, nn.Module | Optimizer):
            return f"{type(x).__name__}(...)"
        return " ".join(super().repr_instance(x, level).split())


_shortened = _Shortened()
_shortened.maxstring = _shortened.maxlong = 60
_shortened.maxother = _LONGEST


def shown(value: Any) -> str:
    """Return the repr if it is short, and otherwise a description on one line; never raise an error."""
    try:
        if not (isinstance(value, list | tuple | dict) and len(value) > _LONGEST):  # a data set would take minutes
            text = repr(value)
            if len(text) <= _LONGEST and ("\n" not in text or (isinstance(value, Tensor) and value.ndim == 0)):
                return text
        text = _shortened.repr(value)
    except Exception:  # the repr of a user's object can fail
        return f"<{type(value).__name__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 20]}...{text[-17:]}"


def described(owner: object, *names: str, **more: Callable[[], Any]) -> str:
    """Return a repr on one line with some attributes and computed values; None values are omitted."""
    getters: dict[str, Callable[[], Any]] = {**{name: partial(getattr, owner, name) for name in names}, **more}
    return f"{type(owner).__name__}({', '.join(f'{name}={text}' for name, text in _texts(getters, _field))})"


def on_lines(owner: object, **texts: Callable[[], str | None]) -> str:
    """Return a repr on several lines, with a text on each line."""
    lines = [f"  {name}: {text}\n" for name, text in _texts(texts, str)]
    return f"{type(owner).__name__}(\n{''.join(lines)})"


def network_name(module: Any) -> str:
    """Return the class and the number of parameters, if there are any."""
    try:
        count = sum(parameter.numel() for parameter in module.parameters())
        return f"{type(module).__name__}, {count:,} parameters" if count else type(module).__name__
    except Exception:  # lazy layers have no shape yet
        return type(module).__name__


def optimizer_name(value: Any) -> str:
    """Return the class and the learning rates."""
    try:
        rates = list(dict.fromkeys(float(group["lr"]) for group in value.param_groups))
        return f"{type(value).__name__}(lr={rates[0] if len(rates) == 1 else rates})"
    except Exception:  # a user's optimizer without a learning rate
        return type(value).__name__


def _texts(getters: Mapping[str, Callable[[], Any]], text_of: Callable[[Any], str]) -> Iterator[tuple[str, str]]:
    for name, get in getters.items():
        with suppress(Exception):  # the object may be partly initialized, and a repr must not hide another error
            value = get()
            if value is not None:
                yield name, text_of(value)


def _field(value: Any) -> str:
    if isinstance(value, nn.Module) and next(value.parameters(), None) is not None:
        return f"<{network_name(value)}>"
    if isinstance(value, Optimizer):
        return optimizer_name(value)
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {value.dtype}".replace("torch.", "")
    if isinstance(value, tuple):
        return f"({', '.join(map(shown, value[:_FEW]))}{', ...' if len(value) > _FEW else ''})"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", shown(str(value) if isinstance(value, PurePath | torch.device) else value))
