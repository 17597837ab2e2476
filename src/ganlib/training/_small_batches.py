"""Try batches that are smaller than the earlier ones, such as the last batch of an epoch, before training on them."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganlib._nest import mapped, tensors_of
from ganlib.distributed import world_size
from ganlib.errors import ArgumentValueError
from ganlib.training._dry_run import without_trace
from ganlib.training._kept import kept
from ganlib.training._step._update import SINGLE_VALUE

__all__ = ["SmallBatches", "losses_and_gradients"]

_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError)


class SmallBatches:
    """Try an iteration, in training mode and without side effects, on each batch that is smaller than all earlier ones.

    Batch norm, other batch statistics or a loss may fail or return NaN for a batch of one.

    Args:
        attempt: a function that runs an iteration on a batch and returns the values that must be finite.
        networks: modules to restore after the trial.
        parts: other objects whose states and random generators are restored.
        any_error: whether any error of any small batch counts. If False, only an error of a batch norm and values that
            are not finite count, for an announced batch of one sample, whichever sample it is.
    """

    unrecorded = ("_announced", "_least")

    def __init__(
        self,
        attempt: Callable[[Any], Sequence[Tensor]],
        networks: Sequence[nn.Module],
        parts: Sequence[Any],
        *,
        any_error: bool,
    ) -> None:
        self._attempt = attempt
        self._networks = networks
        self._parts = parts
        self._any_error = any_error
        self._announced: tuple[int, int] | None = None
        self._least: int | None = None

    def announce(self, size: int, smallest: int) -> None:
        """Announce the sizes of the batches; then a part of the first batch with the smallest size is tried.

        Args:
            size: number of samples in the first batch.
            smallest: number of samples in the smallest batch.
        """
        self._announced = size, smallest

    def __call__(self, batch: Any) -> None:
        """Try the batch, or the announced smallest one, if it is smaller than all earlier ones.

        Args:
            batch: a nest of tensors. Tensors with the length of the first one have an entry for each sample.

        Raises:
            ArgumentValueError: it cannot be trained on.
        """
        n = next((len(tensor) for tensor in tensors_of(batch) if tensor.ndim), 0)
        size, smallest = self._announced or (n, n)
        least = smallest if size == n else n
        known = n if self._least is None else self._least
        self._least = min(least, known)
        if least >= known:
            return
        if least < n:
            # Values depend on the process; a trial in some of them would wait for the others.
            if not (self._any_error or (least == 1 and (self._has_batch_norm() or world_size() == 1))):
                return
            error = self._failure(_part(batch, n, 0, least))
            if not self._any_error:
                for start in range(1, min(n, 4)):  # one sample alone may be special, with an empty mask for example
                    error = error and self._failure(_part(batch, n, start, start + least))
            if error is not None and self._failure(batch) is None:
                raise ArgumentValueError(
                    f"the smallest batch of an epoch, of {least}, cannot be trained on, but batches of {n} can: "
                    f"{error}. Leave it out: use drop_last (=True) of the loader, or a batch_size that divides the "
                    "data set"
                ) from error
        # Processes may have batches of different sizes; a trial in some of them would wait for the others.
        elif self._any_error and world_size() == 1 and (error := self._failure(batch)) is not None:
            raise ArgumentValueError(
                f"a batch of {n} cannot be trained on, but earlier batches of {known} or more can: {error}. If it is "
                "the last batch of an epoch, leave it out: use drop_last (=True) of the loader"
            ) from error

    def _has_batch_norm(self) -> bool:
        return any(
            isinstance(module, _BatchNorm) and module.training
            for network in self._networks
            for module in network.modules()
        )

    def _failure(self, batch: Any) -> Exception | None:
        with (
            without_trace(*self._parts, networks=self._networks),
            kept(*self._networks),
            torch.enable_grad(),
            warnings.catch_warnings(record=True) as said,
        ):
            warnings.simplefilter("always")
            try:
                values = self._attempt(batch)
            except torch.OutOfMemoryError:
                raise
            except _ERRORS as error:
                return error if self._any_error or SINGLE_VALUE in str(error) else None
        if not all(value.isfinite().all() for value in values):
            return ArithmeticError("its losses or their gradients are not finite")
        for warning in said:  # repeat them, since some warnings are given only once
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return None


def _part(batch: Any, n: int, start: int, end: int) -> Any:
    return mapped(batch, lambda tensor: tensor[start:end] if tensor.shape[:1] == (n,) else tensor)


def losses_and_gradients(
    players: Sequence[tuple[Callable[[Any], tuple[Tensor, Any]], torch.optim.Optimizer]],
    batch: Any,
    context: Callable[[], AbstractContextManager[object]],
) -> list[Tensor]:
    """Compute each player's loss and gradients, without storing the gradients.

    Args:
        players: pairs of an objective and its optimizer.
        batch: the argument of the objectives.
        context: a function that makes the context of an objective.
    """
    values = []
    for objective, optimizer in players:
        with context():
            total, _ = objective(batch)
        trained = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        values += [total.detach()]
        values += [one for one in torch.autograd.grad(total, trained, allow_unused=True) if one is not None]
    return values
