"""Check a training before its first iteration."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ganlib._batch_sizes import batch_sizes
from ganlib._ranks import gather
from ganlib.errors import ArgumentValueError
from ganlib.training._step._networks import held_by

__all__ = ["check_start"]


def check_start(
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    batches: Any,
    expect: Callable[[int, int], None] | None,
    *,
    to_draw: float | None,
    epochs: float | None,
) -> None:
    """Refuse weights that cannot be trained, and announce the sizes of the batches.

    Args:
        networks: the trainer's networks, by name.
        optimizers: the trainer's optimizers, by name.
        batches: the loader.
        expect: a function of the sizes of the first and of the smallest batch, or None.
        to_draw: number of batches to draw, including those of the present epoch that were already drawn; None without a
            limit.
        epochs: the limit, or None.

    Raises:
        ArgumentValueError: a weight is NaN, or was made in ``torch.inference_mode()``.
    """
    held = set[int]().union(*map(held_by, optimizers.values()))
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            if id(parameter) in held and _holds_nan(parameter):
                raise ArgumentValueError(f"{name}.{key} holds NaN before the first iteration")
            if id(parameter) in held and not is_lazy(parameter) and parameter.is_inference():
                raise ArgumentValueError(
                    f"{name}.{key} was made in torch.inference_mode() and cannot be trained: make or load {name} "
                    "outside torch.inference_mode()"
                )
    if expect is not None:
        sizes = batch_sizes(batches) if _ends_an_epoch(batches, to_draw, epochs) else None
        same = all(other == sizes for other in gather(sizes))  # a trial may need all processes together
        if sizes is not None and same:
            expect(*sizes)


def _holds_nan(parameter: torch.Tensor) -> bool:
    return not is_lazy(parameter) and not parameter.is_meta and bool(parameter.detach().isnan().any())


def _ends_an_epoch(batches: Any, drawn: float | None, epochs: float | None) -> bool:
    """Test whether the last batch of an epoch may be drawn."""
    try:
        length = len(batches)
    except TypeError:
        return True
    return (drawn is None or drawn >= length) and (epochs is None or epochs >= 1)
