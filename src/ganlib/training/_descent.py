"""The updates of one player."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ganlib.distributed import world_size
from ganlib.errors import ArgumentValueError
from ganlib.training._networks import Minibatch

__all__ = ["Descent"]

Losses = Callable[[Minibatch], tuple[Tensor, dict[str, Tensor]]]


class Descent:
    """Steps down the mean gradient of several minibatches, and of all ranks where there are several.

    Gradients are computed for the optimizer's parameters that require them, and for nothing else.

    Args:
        losses: of a minibatch: the total to descend, and metrics.
        scaler: keeps half-precision gradients in range, and leaves out a step whose gradients are not finite; or None.
    """

    def __init__(self, losses: Losses, scaler: torch.amp.GradScaler | None = None) -> None:
        self._losses = losses
        self._scaler = scaler
        self._joined: DistributedDataParallel | None = None

    def __call__(
        self, optimizer: torch.optim.Optimizer, minibatches: Sequence[Minibatch], clip_norm: float | None = None
    ) -> dict[str, Tensor]:
        """Take one step.

        Args:
            optimizer: steps once.
            minibatches: at least one.
            clip_norm: largest norm of the gradient, or None.

        Returns:
            The metrics of this rank, detached, averaged over the minibatches.

        Raises:
            ArgumentValueError: none of the parameters requires a gradient.
        """
        trained = self.prepare(optimizer)
        optimizer.zero_grad(set_to_none=True)
        seen: dict[str, list[Tensor]] = {}
        for place, minibatch in enumerate(minibatches, start=1):
            with self._on_all_ranks(travels=place == len(minibatches)) as losses:
                total, metrics = losses(minibatch)
                if len(minibatches) > 1:
                    total = total / len(minibatches)
                if self._scaler is not None:
                    total = self._scaler.scale(total)
                torch.autograd.backward(total, inputs=trained)
            for name, value in metrics.items():
                seen.setdefault(name, []).append(value.detach())
        if clip_norm is not None:
            if self._scaler is not None:
                self._scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(trained, clip_norm)
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()
        return {name: values[0] if len(values) == 1 else torch.stack(values).mean() for name, values in seen.items()}

    def prepare(self, optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
        """Join the ranks for an update, where there are several.

        The first time this writes the weights, so it comes before a graph that the update shares with another.

        Args:
            optimizer: what the update will step.

        Returns:
            The parameters that are trained.

        Raises:
            ArgumentValueError: none of the parameters requires a gradient.
        """
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        if not trained:
            raise ArgumentValueError(
                f"{type(optimizer).__name__} holds no parameter that requires a gradient: all of its network is frozen"
            )
        # What is trained may change from one step to the next: a user freezes layers, or thaws them.
        if world_size() > 1 and (
            self._joined is None or [*map(id, self._joined.module.trained)] != [*map(id, trained)]
        ):
            self._joined = DistributedDataParallel(_Objective(self._losses, trained), find_unused_parameters=True)
        return trained

    def _on_all_ranks(self, *, travels: bool) -> contextlib.AbstractContextManager[Losses]:
        """The losses, whose gradients are averaged over ranks in the backward pass; at the last minibatch alone."""
        if world_size() == 1:
            return contextlib.nullcontext(self._losses)
        assert self._joined is not None
        return _travelling(self._joined) if travels else _staying(self._joined)


class _Objective(nn.Module):
    """A player's losses as one forward pass, of which DistributedDataParallel sees the whole graph.

    So it may run a network several times, differentiate twice, and leave parameters out. A wrapper round the network
    alone breaks on each of these.
    """

    def __init__(self, losses: Losses, trained: list[nn.Parameter]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)
        self._losses = losses

    def forward(self, minibatch: Minibatch, *, travels: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses; those of the minibatch whose gradients travel are tied to all that has a gradient already.

        Else, of a parameter that this minibatch happens not to use, what earlier ones gave would stay on its rank.
        """
        total, metrics = self._losses(minibatch)
        if travels:
            total = sum((0 * p.flatten()[:1].sum() for p in self.trained if p.grad is not None), total)
        return total, {name: value.detach() for name, value in metrics.items()}


@contextlib.contextmanager
def _travelling(joined: DistributedDataParallel) -> Iterator[Losses]:
    with warnings.catch_warnings():
        # It remarks that a weight with one channel can be laid out in two ways, which are one.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        yield lambda minibatch: joined(minibatch, travels=True)


@contextlib.contextmanager
def _staying(joined: DistributedDataParallel) -> Iterator[Losses]:
    with joined.no_sync():
        yield lambda minibatch: joined(minibatch, travels=False)
