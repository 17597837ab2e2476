"""Compute the penalties of one update, from forward passes of their own or from that of the update."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from ganlib._in_place import is_in_place_error
from ganlib._shown import shown
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Penalty, Step
from ganlib.training._step._networks import scalar
from ganlib.training._step._precision import Precision

__all__ = ["DuePenalties", "check_precisions", "check_reuse_logits"]

_SIDES = ("real", "fake")


class DuePenalties:
    """Hold the penalties of one update of the discriminator.

    With ``reuse_logits``, a penalty with a method ``of(samples, logits)`` and a ``side``, ``"real"`` or ``"fake"``, is
    computed from the logits of the update. For this, the samples of its side get ``requires_grad`` before the
    discriminator is called.

    Args:
        penalties: the penalties by the names of their metrics.
        precision: provides the autocast of penalties that ask for it.
        reuse_logits: whether penalties may use the logits of the update.
    """

    def __init__(self, penalties: Mapping[str, Penalty], precision: Precision, *, reuse_logits: bool) -> None:
        self._penalties = penalties
        self._precision = precision
        self._sides = {name: side_of(one) for name, one in penalties.items()} if reuse_logits else {}
        self._samples: dict[str, Tensor] = {}

    @contextlib.contextmanager
    def forward_pass(self, real: Tensor, fake: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the samples that the discriminator must be called with inside the context.

        Args:
            real: real samples (N, ...).
            fake: fake samples (N, ...), without a graph.
        """
        needed = {side for side in self._sides.values() if side is not None}
        given = {"real": real, "fake": fake}
        self._samples = {side: given[side].detach().requires_grad_() for side in needed}
        with _eager() if needed else contextlib.nullcontext():
            try:
                yield self._samples.get("real", real), self._samples.get("fake", fake)
            except RuntimeError as error:
                if needed and is_in_place_error(error):
                    raise ArgumentValueError(
                        "the discriminator or augment changes its samples in place, so reuse_logits (=True) has no "
                        f"derivative at the samples: use inplace=False in the first layer ({error})"
                    ) from error
                raise

    def add_to(self, total: Tensor, discriminator: Callable[..., Any], step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Add each penalty, multiplied by its interval, to the total; also return their values by name.

        Args:
            total: the loss without penalties.
            discriminator: called with (samples), or with (samples, condition) if there is a condition.
            step: the samples and outputs of the update.
        """
        values = {}
        for name, penalty in self._penalties.items():
            side = self._sides.get(name)
            if side is None:
                with _eager(), self._autocast(penalty, step.real.device.type):
                    value = penalty(discriminator, step.real, step.fake, step.condition, step.fake_condition)
            else:
                with _eager():
                    value = self._of_logits(penalty, side, step)
            values[name] = scalar(value, name)
            every = getattr(penalty, "every", 1)
            total = total + (value if every == 1 else every * value)
        return total, values

    def _of_logits(self, penalty: Any, side: str, step: Step) -> Tensor:
        output: Any = step.real_output if side == "real" else step.fake_output
        return penalty.of(self._samples[side], output.logits)

    def _autocast(self, penalty: Penalty, device_type: str) -> AbstractContextManager[object]:
        return self._precision.autocast(device_type) if _autocasts(penalty) else contextlib.nullcontext()


def side_of(penalty: Any) -> str | None:
    """Return the side whose logits a penalty can be computed from, or None."""
    return getattr(penalty, "side", None) if callable(getattr(penalty, "of", None)) else None


def check_precisions(penalties: Iterable[Penalty], precision: Precision) -> None:
    """Refuse a penalty in the precision of an autocast to float16.

    Raises:
        ArgumentValueError: there is one.
    """
    for penalty in penalties:
        if precision.half is torch.float16 and _autocasts(penalty):
            raise ArgumentValueError(
                f"penalties holds {shown(penalty)}, but precision (='fp16') rounds small derivatives to 0: take "
                "precision='bf16' for the trainer, or precision='fp32' for the penalty"
            )


def check_reuse_logits(penalties: Iterable[Penalty], precision: Precision, *, joint_pass: bool) -> None:
    """Refuse settings with which penalties could not be computed from the logits of the update, or would differ.

    Raises:
        ArgumentValueError: no penalty can use the logits, or they have another precision, or one pass gives them for
            both sides.
    """
    able = [one for one in penalties if side_of(one) is not None]
    if not able:
        raise ArgumentValueError(
            "reuse_logits (=True) needs a penalty with a method of(samples, logits) and a side, such as R1 or R2: add "
            "one, or leave it False"
        )
    for penalty in able:
        if side_of(penalty) not in _SIDES:
            raise ArgumentValueError(f"side (={shown(side_of(penalty))}) of {shown(penalty)} must be 'real' or 'fake'")
        if precision.half is not None and not _autocasts(penalty):
            raise ArgumentValueError(
                f"reuse_logits (=True) with precision (={precision.name!r}) would compute {shown(penalty)} from logits "
                "in half precision: use precision 'bf16' for the trainer and 'autocast' for the penalty, or leave "
                "reuse_logits False"
            )
    if joint_pass:
        raise ArgumentValueError(
            "reuse_logits (=True) and joint_pass (=True) exclude each other, because each derivative would go through "
            "real and fake samples together: leave one of them False"
        )


def _autocasts(penalty: Any) -> bool:
    return getattr(penalty, "precision", "fp32") == "autocast"


def _eager() -> AbstractContextManager[object]:
    """Return a context that compiles nothing, because a compiled module has no second derivative."""
    return torch.compiler.set_stance("force_eager")
