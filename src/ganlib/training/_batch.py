"""The gate that every batch passes before it trains anything."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    DTypeError,
    ShapeError,
)
from ganlib.protocols import Batch, ConditionChecker
from ganlib.training._networks import channels_last_format
from ganlib.training._rehearsal import rehearse

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["BatchGate"]

# Interpolation may carry a sample a rounding error past its range.
_TOLERANCE = 1e-3


class BatchGate:
    """Takes batches as users give them, checks them, and moves them to the generator's device.

    Values are checked where that costs nothing: on the host. A batch that is on a device already is looked at only
    when it is the first of its kind, and so is the rehearsal: one forward pass of both networks, in evaluation mode,
    that leaves no trace.

    Args:
        trainer: whose networks the batches must fit.
    """

    def __init__(self, trainer: "AdversarialTrainer") -> None:
        self._trainer = trainer
        self._rehearsed: Any = None
        self._checkers: list[ConditionChecker] | None = None

    def next(self, batches: Iterator[Any]) -> Batch:
        """The next batch, checked, on the generator's device.

        Args:
            batches: what ``train_step`` was given.

        Returns:
            The batch.

        Raises:
            ArgumentValueError, ArgumentTypeError: it cannot be trained on.
            BatchesExhaustedError: there is none.
        """
        trainer = self._trainer
        try:
            batch = _as_batch(next(batches))
        except StopIteration:
            raise BatchesExhaustedError(
                "batches ran out: an iteration needs discriminator_steps "
                f"(={trainer.discriminator_steps}) * accumulate (={trainer.accumulate}) of them"
            ) from None
        # The discriminator's mode too: whether it judges each sample by itself hangs on it.
        kind = [(part.shape[1:], part.dtype) for part in batch if part is not None], trainer.discriminator.training
        new = kind != self._rehearsed
        if new:  # looked for once, not at every batch: it takes longer than all the checks
            self._checkers = self._find_checkers()
        self._check(batch, whatever_the_device=new)
        batch = self._moved(batch)
        if new:
            rehearse(trainer, batch, first=self._rehearsed is None)
            self._rehearsed = kind
        return batch

    def check_conditions(self, condition: Tensor) -> None:
        """Refuse conditions that an encoder in either network cannot take.

        Args:
            condition: any number of them.

        Raises:
            ArgumentValueError, ArgumentTypeError: from the encoder.
        """
        for checker in self._find_checkers() if self._checkers is None else self._checkers:
            checker.check(condition)

    def _find_checkers(self) -> list[ConditionChecker]:
        """Encoders that are given the whole condition; one inside a user's own network may be given a part of it."""
        found = []
        for player in (self._trainer.generator, self._trainer.discriminator):
            module: Any = player
            while module is not None:
                takers = module.modules() if getattr(module, "needs_condition", False) else [module]
                found += [getattr(taker, "encoder", None) for taker in takers]
                module = getattr(module, "module", None)
        shared = {id(encoder): encoder for encoder in found if isinstance(encoder, ConditionChecker)}
        return list(shared.values())  # one encoder may serve many places; it is asked once

    def _check(self, batch: Batch, *, whatever_the_device: bool) -> None:
        sample, condition = batch
        if not sample.is_floating_point():
            raise DTypeError(
                f"sample must be floating point, but its dtype is {sample.dtype}; scale whole numbers to the "
                "generator's range first"
            )
        if len(sample) == 0:
            raise ShapeError(f"sample {tuple(sample.shape)} holds no samples")
        if whatever_the_device or sample.device.type == "cpu":
            low, high = (float(value) for value in sample.detach().aminmax())
            if not (abs(low) < float("inf") and abs(high) < float("inf")):
                raise ArgumentValueError(f"sample holds values that are not finite (from {low} to {high})")
            bounds = getattr(self._trainer.generator, "sample_range", None)
            if bounds is not None and (low < bounds[0] - _TOLERANCE or high > bounds[1] + _TOLERANCE):
                raise ArgumentValueError(
                    f"sample lies in [{low:.4g}, {high:.4g}], but the generator's sample_range is "
                    f"[{bounds[0]:.4g}, {bounds[1]:.4g}]"
                )
        if condition is None:
            return
        if condition.ndim == 0 or len(condition) != len(sample):
            raise ShapeError(
                f"condition {tuple(condition.shape)} must have one entry for each of the {len(sample)} samples"
            )
        if whatever_the_device:
            self.check_conditions(condition.cpu())
        elif condition.device.type == "cpu":
            self.check_conditions(condition)

    def _moved(self, batch: Batch) -> Batch:
        device = self._trainer.device
        sample, condition = batch
        sample = sample.to(device, non_blocking=True)
        if self._trainer.channels_last:
            sample = sample.contiguous(memory_format=channels_last_format(sample))
        return Batch(sample, None if condition is None else condition.to(device, non_blocking=True))


def _as_batch(item: Any) -> Batch:
    parts = (item,) if isinstance(item, Tensor) else item
    if not isinstance(parts, tuple | list) or not 1 <= len(parts) <= 2:
        what = f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__
        raise ArgumentTypeError(
            f"a batch (={what}) must be a tensor of samples, (sample,), (sample, condition) or a Batch"
        )
    sample, condition = parts if len(parts) == 2 else (parts[0], None)
    if not isinstance(sample, Tensor):
        raise ArgumentTypeError(f"sample must be a tensor, but it is a {type(sample).__name__}")
    if condition is not None and not isinstance(condition, Tensor):
        raise ArgumentTypeError(f"condition must be a tensor or None, but it is a {type(condition).__name__}")
    if sample.ndim == 0:
        raise ShapeError("sample () must have a batch dimension")
    return Batch(sample, condition)
