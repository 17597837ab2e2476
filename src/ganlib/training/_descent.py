"""One update of one player."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ganlib.errors import ArgumentValueError
from ganlib.protocols import Batch

__all__ = ["descend"]


def descend(
    optimizer: torch.optim.Optimizer,
    losses: Callable[[Batch], tuple[Tensor, dict[str, Tensor]]],
    minibatches: Sequence[Batch],
    clip_norm: float | None,
) -> dict[str, Tensor]:
    """Take one step down the mean gradient of several minibatches.

    Gradients are computed for the optimizer's parameters that require them, and for nothing else.

    Args:
        optimizer: steps once.
        losses: of a minibatch: the total to descend, and metrics.
        minibatches: at least one.
        clip_norm: largest norm of the gradient, or None.

    Returns:
        The metrics, detached, averaged over the minibatches.

    Raises:
        ArgumentValueError: none of the parameters requires a gradient.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if not trained:
        raise ArgumentValueError(
            f"{type(optimizer).__name__} holds no parameter that requires a gradient: all of its network is frozen"
        )
    optimizer.zero_grad(set_to_none=True)
    seen: dict[str, list[Tensor]] = {}
    for minibatch in minibatches:
        total, metrics = losses(minibatch)
        torch.autograd.backward(total / len(minibatches), inputs=trained)
        for name, value in metrics.items():
            seen.setdefault(name, []).append(value.detach())
    if clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(trained, clip_norm)
    optimizer.step()
    return {name: values[0] if len(values) == 1 else torch.stack(values).mean() for name, values in seen.items()}
