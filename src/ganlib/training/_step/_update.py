"""Update one player."""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ganlib._ending import flat_operation
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, GanlibRuntimeError
from ganlib.training._step._networks import held_by, scalar

__all__ = ["SINGLE_VALUE", "Update"]

SINGLE_VALUE = "Expected more than 1 value per channel"  # from the error of torch's batch norm
_SINGLE_POSITION = "Expected more than 1 spatial element"  # from that of its instance norm
_BROKEN_GRAPHS = ("modified by an inplace operation", "through the graph a second time", "derivative for")
_UNSUITABLE = "closure|dense gradients"  # from the errors of torch's SparseAdam, and of optimizers such as SAM

Losses = Callable[[Any], tuple[Tensor, dict[str, Tensor]]]


class Update:
    """Step down the gradient of an objective, averaged over several batches and processes.

    Gradients are computed only for the optimizer's parameters that require gradients.

    Args:
        player: the player's name.
        optimizer: steps once in each update.
        objective: a function from a batch to a scalar, or to a scalar and named metrics.
        context: a function that makes the context of the objective.
        scaler: keeps half-precision gradients in range, and skips a step with gradients that are not finite; or None.
        max_grad_norm: largest norm of the gradient, or None.
        owners: the player of each metric, by the metric's name; shared by all players.
        joined: the modules that average gradients over processes, by set of parameters; shared by all players. A set
            must not have two such modules, since the hooks of each would see the backward pass of the other.
        look: called with the objective's value, with its graph, until the first step is taken; or None.
    """

    def __init__(
        self,
        player: str,
        optimizer: torch.optim.Optimizer,
        objective: Callable[[Any], Any],
        *,
        context: Callable[[], AbstractContextManager[object]],
        scaler: torch.amp.GradScaler | None,
        max_grad_norm: float | None,
        owners: dict[str, str],
        joined: dict[tuple[int, ...], DistributedDataParallel],
        look: Callable[[Tensor], None] | None = None,
    ) -> None:
        self._player = player
        self._optimizer = optimizer
        self._objective = objective
        self._context = context
        self._scaler = scaler
        self._max_grad_norm = max_grad_norm
        self._owners = owners
        self._joined = joined
        self._look = look
        self._tried = False
        self._flat: str | None = None

    def __call__(self, batches: Sequence[Any], *, retain_graph: bool) -> dict[str, Tensor]:
        """Take one step.

        Args:
            batches: at least one batch.
            retain_graph: whether another player's update backpropagates through the same graph of a prepared batch.

        Returns:
            The metrics of this process, detached, averaged over the batches.

        Raises:
            ArgumentValueError, ArgumentTypeError: the objective returned something that cannot be minimized.
        """
        trained = self.join()
        _drop_gradients(self._optimizer)
        seen: dict[str, list[Tensor]] = {}
        for position, batch in enumerate(batches, start=1):
            with self._over_processes(trained, average=position == len(batches)) as losses:
                total, metrics = losses(batch)
                if len(batches) > 1:
                    total = total / len(batches)
                if self._scaler is not None:
                    total = self._scaler.scale(total)
                try:
                    torch.autograd.backward(total, inputs=trained, retain_graph=retain_graph)
                except RuntimeError as error:
                    if any(part in str(error) for part in _BROKEN_GRAPHS):
                        raise GanlibRuntimeError(
                            f"the gradient of the objective of {self._player} cannot be computed: {error}"
                        ) from error
                    raise
            for name, value in metrics.items():
                seen.setdefault(name, []).append(_detached(value))
        if not self._tried:
            self._check_gradients(trained)
        if self._max_grad_norm is not None:
            if self._scaler is not None:
                self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(trained, self._max_grad_norm)
        try:
            if self._scaler is None:
                self._optimizer.step()
            else:
                self._scaler.step(self._optimizer)
                self._scaler.update()
        except (TypeError, AssertionError, RuntimeError, ValueError) as error:
            if not isinstance(error, GanlibError) and re.search(_UNSUITABLE, str(error), re.IGNORECASE):
                raise ArgumentValueError(
                    f"the optimizer of {self._player} (={type(self._optimizer).__name__}) cannot take a plain step: "
                    f"{error}. The trainer calls its step() without a closure, on dense gradients: use Adam or SGD, "
                    "for example"
                ) from error
            raise
        torch.clear_autocast_cache()  # an autocast around the whole step caches weights from before the update
        return {name: values[0] if len(values) == 1 else torch.stack(values).mean() for name, values in seen.items()}

    def join(self) -> list[nn.Parameter]:
        """Join the processes, if there are several, and return the parameters to train.

        The first call changes the weights in place, so it must come before a forward pass that several updates share.

        Raises:
            ArgumentValueError: no parameter requires a gradient.
        """
        trained = [p for group in self._optimizer.param_groups for p in group["params"] if p.requires_grad]
        if not trained:
            raise ArgumentValueError(
                f"the optimizer of {self._player} ({type(self._optimizer).__name__}) contains no parameter that "
                "requires a gradient: all of its network is frozen"
            )
        # The trained parameters may change between steps: a user may freeze or unfreeze layers.
        if world_size() > 1 and (*map(id, trained),) not in self._joined:
            joined = DistributedDataParallel(_Objective(trained), find_unused_parameters=True)
            self._joined[(*map(id, trained),)] = joined
        return trained

    def _losses(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total with its graph, and the metrics without."""
        with self._context():
            try:
                given = self._objective(batch)
            except ValueError as error:
                if SINGLE_VALUE in str(error) and not isinstance(error, GanlibError):
                    raise ArgumentValueError(
                        f"a batch norm in the objective of {self._player} has no statistics for a batch of one: "
                        f"{error}. If it is the last batch of an epoch, leave it out: use drop_last (=True) of the "
                        "loader"
                    ) from error
                if _SINGLE_POSITION in str(error) and not isinstance(error, GanlibError):
                    raise ArgumentValueError(
                        f"an instance norm in the objective of {self._player} has no statistics where a sample has one "
                        f"value per channel: {error}. Use another norm there, or none"
                    ) from error
                raise
        total, named = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
        total = scalar(total, f"the objective of {self._player}")
        if not total.requires_grad:
            raise ArgumentValueError(
                f"the objective of {self._player} gave a scalar that does not depend on any parameter, so it cannot "
                "train anything"
            )
        if not self._tried:
            if self._look is not None:
                self._look(total)
            self._flat = flat_operation(total, held_by(self._optimizer))
        if not isinstance(named, dict):
            raise ArgumentTypeError(
                f"the objective of {self._player} gave the metrics {shown(named)}; they must be a dict of scalars"
            )
        metrics = {f"{self._player}_loss": total} | named
        for name, value in metrics.items():
            owner = self._owners.setdefault(name, self._player)
            if owner != self._player:
                raise ArgumentValueError(
                    f"the objective of {self._player} gives the metric {shown(name)}, which {owner} gives already; "
                    "use another name"
                )
            value = _detached(scalar(value, f"the metric {name} of {self._player}"))
            metrics[name] = value if value.is_floating_point() else value.float()  # a count must have a mean
        return total, metrics

    def _check_gradients(self, trained: list[nn.Parameter]) -> None:
        self._tried = True
        if all(parameter.grad is None for parameter in trained):
            raise ArgumentValueError(
                f"the objective of {self._player} does not depend on any of the {len(trained)} parameters that its "
                "optimizer holds: do they belong to another network, or was an output detached?"
            )
        # The gradient is read too, since a hook may replace it.
        flat = self._flat is not None and not any(bool(p.grad.any()) for p in trained if p.grad is not None)
        if flat and rank() == 0:
            warn_user(
                f"the objective of {self._player} depends on its parameters only through {self._flat}, whose gradient "
                f"is 0, so {self._player} learns nothing. Leave it out, or let the gradient through: "
                f"x + (x.{self._flat}() - x).detach()"
            )

    def _over_processes(self, trained: list[nn.Parameter], *, average: bool) -> AbstractContextManager[Losses]:
        """Return the losses; several processes average the gradients in the backward pass of the last batch."""
        if not self._joined or world_size() == 1:
            return contextlib.nullcontext(self._losses)
        return self._averaged(self._joined[(*map(id, trained),)], average=average)

    @contextlib.contextmanager
    def _averaged(self, joined: DistributedDataParallel, *, average: bool) -> Iterator[Losses]:
        with contextlib.nullcontext() if average else joined.no_sync(), warnings.catch_warnings():
            # The warning is a false alarm: a weight with one channel has the same layout in both memory formats.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            yield partial(joined, self._losses, average=average)


def _drop_gradients(optimizer: torch.optim.Optimizer) -> None:
    if getattr(optimizer.zero_grad, "__func__", None) is not torch.optim.Optimizer.zero_grad:  # it is overridden
        optimizer.zero_grad(set_to_none=True)
        return
    # The same as torch's zero_grad, which takes ten times as long: as long as the forward pass of a few layers.
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def _detached(value: Tensor) -> Tensor:
    return value.detach() if value.requires_grad else value


class _Objective(nn.Module):
    """Compute losses of given parameters in a forward method, which shows DistributedDataParallel the whole graph.

    The objective may then run a network several times, differentiate twice, and leave parameters out. A
    DistributedDataParallel around the network alone fails in each of these cases.
    """

    def __init__(self, trained: list[nn.Parameter]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(trained)

    def forward(self, losses: Losses, batch: Any, *, average: bool) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the losses; those to average get a zero contribution from every parameter with a gradient.

        Without this contribution, DistributedDataParallel would not average the gradient of a parameter that only
        earlier batches use.
        """
        total, metrics = losses(batch)
        if average:
            total = sum((0 * p.flatten()[:1].sum() for p in self.trained if p.grad is not None), total)
        return total, metrics
