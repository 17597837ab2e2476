"""One pass of the discriminator over real and fake samples together."""

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.utils.parametrizations import _SpectralNorm

from ganlib.errors import ArgumentValueError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from ganlib.training._networks import Minibatch, as_output, call

__all__ = ["judge_together", "makes_no_difference"]

Answer = Callable[[Tensor, Tensor | None], Any]


def judge_together(
    answer: Answer, minibatch: Minibatch, fake: Tensor
) -> tuple[DiscriminatorOutput, DiscriminatorOutput]:
    """Judge real and fake samples in one pass.

    Args:
        answer: the discriminator, called with samples and conditions.
        minibatch: the real samples, and the conditions of both.
        fake: as many fake samples.

    Returns:
        What it says of the real ones, and of the fake ones.

    Raises:
        ArgumentValueError: one side has conditions and the other has none, or other ones.
        ShapeError: it does not answer for each sample.

    Example:
        >>> real, fake = judge_together(lambda x, _: x.sum(1), Minibatch(torch.ones(2, 3)), torch.zeros(2, 3))
        >>> real.logits, fake.logits
        (tensor([3., 3.]), tensor([0., 0.]))
    """
    if not _alike(minibatch.condition, minibatch.fake_condition):
        raise ArgumentValueError("joint_pass (=True) needs conditions of one kind for real and fake samples, or none")
    n = len(fake)
    output = as_output(answer(*_together(minibatch, fake)))
    for part in _tensors(output):
        if part.shape[:1] != (2 * n,):
            raise ShapeError(
                f"joint_pass (=True) needs one answer a sample, but discriminator gave {tuple(part.shape)} for {2 * n}"
            )
    halves = [iter(part.split(n)) for part in _tensors(output)]
    return _rebuilt(output, map(next, halves)), _rebuilt(output, map(next, halves))


def makes_no_difference(
    discriminator: nn.Module, minibatch: Minibatch, augment: Callable[[Tensor], Tensor] | None = None
) -> bool:
    """Whether the discriminator says the same of samples in one pass as in two, and leaves the same behind.

    It does where no sample's answer depends on another's, no random numbers are drawn and no buffer changes: batch norm
    and dropout in training mode are in the way, and so is the power iteration of a spectral norm. What depends on what
    is found out by NaNs in place of the fake samples: they reach whatever depends on them, whatever the weights are.

    Args:
        discriminator: in the mode in which it is trained; a copy of it is looked at.
        minibatch: the real samples, and the conditions of both.
        augment: samples -> samples, where the discriminator is given augmented ones.

    Returns:
        False also where it cannot be told.

    Example:
        >>> makes_no_difference(nn.Linear(3, 1), Minibatch(torch.ones(2, 3)))
        True
        >>> makes_no_difference(nn.BatchNorm1d(3), Minibatch(torch.ones(2, 3)))
        False
    """
    if not _alike(minibatch.condition, minibatch.fake_condition):
        return False
    known = _BatchNorm | _DropoutNd | _SpectralNorm
    if any(module.training and isinstance(module, known) for module in discriminator.modules()):
        return False
    n, device = len(minibatch.sample), minibatch.sample.device
    samples, conditions = _together(minibatch, torch.full_like(minibatch.sample, torch.nan))
    numbers, drawn = random.getstate(), _random_numbers(device)
    with (
        torch.no_grad(),
        torch.random.fork_rng([] if device.type == "cpu" else [device], device_type=device.type),
        torch.compiler.set_stance("force_eager"),
    ):
        try:
            twin = copy.deepcopy(discriminator)
            output = as_output(call(twin, samples if augment is None else augment(samples), conditions))
            draws = random.getstate() != numbers or not torch.equal(_random_numbers(device), drawn)
        except Exception:  # it may refuse to be copied, or to look at NaNs, in any way: then nothing is known
            return False
        finally:
            random.setstate(numbers)
    changes = (not torch.equal(*pair) for pair in zip(twin.buffers(), discriminator.buffers(), strict=True))
    return not (draws or any(changes)) and all(
        part.shape[:1] == (2 * n,)
        and part.is_floating_point()
        and bool(part[:n].isfinite().all())
        and bool(part[n:].reshape(n, -1).isnan().any(1).all())
        for part in _tensors(output)
    )


def _alike(condition: Tensor | None, other: Tensor | None) -> bool:
    if condition is None or other is None:
        return condition is other
    return condition.shape[1:] == other.shape[1:] and condition.dtype == other.dtype


def _together(minibatch: Minibatch, fake: Tensor) -> tuple[Tensor, Tensor | None]:
    sample, condition, fake_condition, _ = minibatch
    conditions = None if condition is None or fake_condition is None else torch.cat([condition, fake_condition])
    return torch.cat([sample, fake]), conditions


def _tensors(output: DiscriminatorOutput) -> list[Tensor]:
    logits = output.logits if isinstance(output.logits, tuple) else (output.logits,)
    return [*logits, *([] if output.class_logits is None else [output.class_logits]), *output.features]


def _rebuilt(output: DiscriminatorOutput, parts: Iterator[Tensor]) -> DiscriminatorOutput:
    """An output of the same structure, of other tensors."""
    logits = tuple(next(parts) for _ in output.logits) if isinstance(output.logits, tuple) else next(parts)
    return DiscriminatorOutput(logits, None if output.class_logits is None else next(parts), tuple(parts))


def _random_numbers(device: torch.device) -> Tensor:
    state = torch.get_rng_state()
    return state if device.type == "cpu" else torch.cat([state, torch.get_device_module(device).get_rng_state(device)])
