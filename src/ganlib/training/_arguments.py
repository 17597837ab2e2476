"""What AdversarialTrainer's arguments must be, said with the values that were given."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import AdversarialLoss, Term

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["check_arguments", "metric_names"]


def _is_term(member: Any) -> bool:
    return isinstance(member, Term)


def _is_penalty(member: Any) -> bool:
    # Every nn.Module can be called, but to no avail without a forward of its own, as a mere term is.
    return callable(member) and not (isinstance(member, nn.Module) and type(member).forward is nn.Module.forward)


_KINDS = {
    "penalties": (
        _is_penalty,
        "a penalty is an object called with (discriminator, real, fake, condition, fake_condition)",
    ),
    "terms": (
        _is_term,
        "a term is an object with a weight and the methods discriminator and generator (a gradient penalty belongs in "
        "penalties)",
    ),
}


def check_arguments(trainer: "AdversarialTrainer") -> None:
    """Refuse arguments with which no training could work.

    Args:
        trainer: its attributes are the arguments.

    Raises:
        ArgumentValueError, ArgumentTypeError: naming the argument that is wrong, and its value.
    """
    for name in ("generator", "discriminator"):
        network = getattr(trainer, name)
        if not isinstance(network, nn.Module):
            raise ArgumentTypeError(f"{name} (={network!r}) must be a torch.nn.Module")
        if next(network.parameters(), None) is None:
            raise ArgumentValueError(f"{name} (={network!r}) has no parameters to train")
    _check_optimizer("generator", trainer.generator_optimizer, trainer.generator, trainer.discriminator)
    _check_optimizer("discriminator", trainer.discriminator_optimizer, trainer.discriminator, trainer.generator)
    if trainer.reuse_fakes and _held(trainer.discriminator_optimizer) & {id(p) for p in trainer.generator.parameters()}:
        raise ArgumentValueError(
            "reuse_fakes (=True) needs networks of their own: discriminator_optimizer holds parameters of the "
            "generator, and changes them before the generator's update uses them"
        )
    if isinstance(trainer.loss, type) or not isinstance(trainer.loss, AdversarialLoss):
        raise ArgumentTypeError(
            f"loss (={trainer.loss!r}) must be an object with the methods discriminator(real_logits, fake_logits) and "
            "generator(fake_logits, real_logits=None)"
        )
    for name in ("latent", "fake_conditions", "augment"):
        value = getattr(trainer, name)
        if isinstance(value, type) or (not callable(value) and not (value is None and name != "latent")):
            raise ArgumentTypeError(f"{name} (={value!r}) must be callable, and no class")
    for name in ("penalties", "terms"):
        members = getattr(trainer, name)
        if not isinstance(members, Sequence):
            raise ArgumentTypeError(f"{name} (={members!r}) must be a sequence of them, such as a list")
        for member in members:
            is_one, what_one_is = _KINDS[name]
            if isinstance(member, type) or not is_one(member):
                raise ArgumentTypeError(f"{name} holds {member!r}, which is none: {what_one_is}")
    for name in ("discriminator_steps", "accumulate"):
        value = getattr(trainer, name)
        if not (isinstance(value, int) and value >= 1):
            raise ArgumentValueError(f"{name} (={value!r}) must be a whole number of at least 1")
    if trainer.clip_norm is not None and not trainer.clip_norm > 0:
        raise ArgumentValueError(f"clip_norm (={trainer.clip_norm}) must be above 0, or None")
    for name in ("reuse_fakes", "channels_last", "compile", "cuda_graph", "joint_pass"):
        value = getattr(trainer, name)
        if not (isinstance(value, bool) or (value is None and name == "joint_pass")):
            choice = "True, False or None" if name == "joint_pass" else "True or False"
            raise ArgumentTypeError(f"{name} (={value!r}) must be {choice}")
    if trainer.cuda_graph:
        _check_recordable(trainer)


def metric_names(*groups: Sequence[Any]) -> tuple[list[str], ...]:
    """Names for the metrics of terms and penalties: their class's or function's in snake case, numbered if repeated.

    Args:
        groups: the terms, the penalties.

    Returns:
        One list of names a group; all names differ.

    Example:
        >>> class WeightDecay: ...
        >>> metric_names([WeightDecay(), WeightDecay()], [])
        (['weight_decay', 'weight_decay_2'], [])
    """
    counts: dict[str, int] = {}
    groups_of_names = []
    for group in groups:
        names = []
        for member in group:
            word = getattr(member, "__name__", type(member).__name__)
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).lower()
            counts[name] = counts.get(name, 0) + 1
            names.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
        groups_of_names.append(names)
    return tuple(groups_of_names)


def _check_recordable(trainer: "AdversarialTrainer") -> None:
    device = next(trainer.generator.parameters()).device
    if device.type != "cuda":
        raise ArgumentValueError(f"cuda_graph (=True) needs a CUDA device, but generator is on {device}")
    for name in ("generator_optimizer", "discriminator_optimizer"):
        for group in getattr(trainer, name).param_groups:
            if group.get("capturable") is False:
                raise ArgumentValueError(
                    f"cuda_graph (=True) needs {name} to be one that can be recorded: give it capturable=True"
                )


def _held(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def _check_optimizer(player: str, optimizer: Any, own: nn.Module, other: nn.Module) -> None:
    name = f"{player}_optimizer"
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentTypeError(f"{name} (={optimizer!r}) must be a torch.optim.Optimizer")
    held = _held(optimizer)
    owned, foreign = {id(p) for p in own.parameters()}, {id(p) for p in other.parameters()}
    if held & (foreign - owned):
        raise ArgumentValueError(
            f"{name} (={type(optimizer).__name__}) holds {len(held & (foreign - owned))} parameters of the other "
            f"network; it must hold those of the {player}"
        )
    if not held & owned:
        raise ArgumentValueError(
            f"{name} (={type(optimizer).__name__}) holds none of the {player}'s parameters (was it made before the "
            "network was moved or copied?)"
        )
