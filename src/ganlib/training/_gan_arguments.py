"""Check the arguments of AdversarialTrainer."""

import inspect
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ganlib._checks import check_sizes
from ganlib._held import held
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import AdversarialLoss, AuxiliaryLoss
from ganlib.training._step._networks import held_by

__all__ = ["check_networks", "check_parts", "metric_names", "warn_of_ascent", "warn_of_useless_signs"]


def check_networks(
    generator: Any, discriminator: Any, generator_optimizer: Any, discriminator_optimizer: Any, *, reuse_fakes: Any
) -> None:
    """Refuse networks and optimizers that cannot be trained together.

    Raises:
        ArgumentValueError, ArgumentTypeError: an argument is wrong. The error names the argument and quotes its value.
    """
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        if not isinstance(network, nn.Module):
            raise ArgumentTypeError(f"{name} (={shown(network)}) must be a torch.nn.Module")
        if next(network.parameters(), None) is None:
            raise ArgumentValueError(f"{name} (={shown(network)}) has no parameters to train")
    if generator is discriminator:
        raise ArgumentValueError("generator and discriminator are the same module; they must be two")
    _check_optimizer("generator", generator_optimizer, generator, discriminator)
    _check_optimizer("discriminator", discriminator_optimizer, discriminator, generator)
    if reuse_fakes and held_by(discriminator_optimizer) & {id(p) for p in generator.parameters()}:
        raise ArgumentValueError(
            "reuse_fakes (=True) needs networks of their own, without shared parameters: discriminator_optimizer holds "
            "parameters of the generator, and changes them before the generator's update uses them"
        )


def check_parts(
    loss: Any,
    penalties: Any,
    auxiliary_losses: Any,
    functions: dict[str, Any],
    choices: dict[str, Any],
) -> None:
    """Refuse a loss, penalties, functions or options that a trainer cannot use.

    Args:
        loss: the adversarial loss.
        penalties: the penalties.
        auxiliary_losses: the auxiliary losses.
        functions: arguments that must be callable, by name; each may be None except ``latent``.
        choices: arguments that must be True or False, by name.

    Raises:
        ArgumentValueError, ArgumentTypeError: an argument is wrong. The error names the argument and quotes its value.
    """
    if isinstance(loss, type) or not isinstance(loss, AdversarialLoss):
        raise ArgumentTypeError(
            f"loss (={shown(loss)}) must be an object with the methods discriminator(real_logits, fake_logits) and "
            "generator(fake_logits, real_logits=None)"
        )
    for name, value in functions.items():
        if isinstance(value, type) or (not callable(value) and not (value is None and name != "latent")):
            raise ArgumentTypeError(f"{name} (={shown(value)}) must be callable, and not a class")
    _check_members(
        "penalties",
        penalties,
        _is_penalty,
        "a penalty is an object called with (discriminator, real, fake, condition, fake_condition), by position (use a "
        "regularizer of the generator, such as PathLength, as the objective of a player of GameTrainer)",
    )
    _check_members(
        "auxiliary_losses",
        auxiliary_losses,
        lambda member: isinstance(member, AuxiliaryLoss),
        "an auxiliary loss is an object with a weight and the methods discriminator(step) and generator(step) (a "
        "gradient penalty belongs in penalties)",
    )
    for one in auxiliary_losses:
        if not type(one).__module__.startswith("ganlib."):
            continue  # it may be both, and act on its own every
        if any(one is penalty for penalty in penalties):
            raise ArgumentValueError(
                f"{shown(one)} is in penalties and in auxiliary_losses, so it would be added twice: leave it in one"
            )
        if getattr(one, "every", 1) != 1:
            warn_user(
                f"auxiliary_losses holds {type(one).__name__} with every (={shown(one.every)}), which has no effect "
                "there: it is added in every iteration. Leave every 1, or put it into penalties"
            )
    for penalty in penalties:
        check_sizes(**{f"every of {type(penalty).__name__}": getattr(penalty, "every", 1)})
    for name, value in choices.items():
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"{name} (={shown(value)}) must be True or False")


def metric_names(*groups: Sequence[Any]) -> tuple[list[str], ...]:
    """Name metrics after the class or function, in snake case, with a number if the name is taken.

    Args:
        groups: the auxiliary losses, the penalties.

    Returns:
        One list of names for each group; all names differ.

    Example:
        >>> class WeightDecay: ...
        >>> metric_names([WeightDecay(), WeightDecay()], [])
        (['weight_decay', 'weight_decay_2'], [])
    """
    taken = {"discriminator_loss", "generator_loss", "real_score", "fake_score"}
    groups_of_names = []
    for members in groups:
        names = []
        for member in members:
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", getattr(member, "__name__", type(member).__name__)).lower()
            numbered = (f"{name}_{number}" for number in itertools.count(2))
            names.append(next(one for one in itertools.chain([name], numbered) if one not in taken))
            taken.add(names[-1])
        groups_of_names.append(names)
    return tuple(groups_of_names)


def warn_of_ascent(loss: Any, optimizers: dict[str, torch.optim.Optimizer], *, stacklevel: int) -> None:
    """Warn of optimizers with ``maximize=True``; ganlib's losses are to be minimized.

    Args:
        loss: the adversarial loss.
        optimizers: the optimizers, by the names of the arguments.
        stacklevel: stack level of the warning, from the caller.
    """
    for name, optimizer in optimizers.items():
        if type(loss).__module__.startswith("ganlib.") and any(
            group.get("maximize") for group in optimizer.param_groups
        ):
            warnings.warn(
                f"{name} has maximize=True, but both players minimize their part of {type(loss).__name__}: leave it "
                "False",
                stacklevel=stacklevel + 1,
            )


def warn_of_useless_signs(loss: Any, augment: Any, *, stacklevel: int) -> None:
    """Warn of an augmentation that adapts to the sign of logits, if it gets no logits, or their sign means nothing.

    Args:
        loss: the adversarial loss.
        augment: the augmentation, or None.
        stacklevel: stack level of the warning, from the caller.
    """
    inner = [] if hasattr(augment, "observe") else [part for part in held(augment) if isinstance(part, nn.Module)]
    for part in filter(_adapts, inner):
        warnings.warn(
            f"augment (={type(augment).__name__}) holds {type(part).__name__}, which adapts to the discriminator's "
            "logits, but has no method observe to pass them on: pass it itself, or add the method",
            stacklevel=stacklevel + 1,
        )
    if _adapts(augment) and not getattr(loss, "separates_at_zero", not getattr(loss, "needs_real_logits", False)):
        warnings.warn(
            f"augment (={type(augment).__name__}) adapts to the sign of the discriminator's logits, but loss "
            f"(={type(loss).__name__}) does not separate real from fake samples at 0, so their sign means nothing: "
            "pass target=None to it, and let a Schedule write its p",
            stacklevel=stacklevel + 1,
        )


def _adapts(augment: Any) -> bool:
    return hasattr(augment, "observe") and getattr(augment, "target", None) is not None


def _check_members(name: str, members: Any, is_one: Callable[[Any], bool], what: str) -> None:
    if not isinstance(members, Sequence):
        raise ArgumentTypeError(f"{name} (={shown(members)}) must be a sequence, such as a list")
    for member in members:
        if isinstance(member, type) or not is_one(member):
            raise ArgumentTypeError(f"{name} holds {shown(member)}, which is invalid: {what}")
    for index, member in enumerate(members):
        if any(member is other for other in members[:index]):
            raise ArgumentValueError(
                f"{name} holds {shown(member)} twice, so it would be added twice: raise its weight, or pass two objects"
            )


def _is_penalty(member: Any) -> bool:
    # Every nn.Module is callable, even one without a forward method, such as an auxiliary loss.
    if not callable(member) or (isinstance(member, nn.Module) and type(member).forward is nn.Module.forward):
        return False
    try:
        function = member.forward if isinstance(member, nn.Module) else member
        inspect.signature(function, follow_wrapped=False).bind(*range(5))
    except TypeError:  # it has other arguments, like PathLength, which regularizes a generator
        return False
    except ValueError:  # a function written in C has no signature
        pass
    return True


def _check_optimizer(player: str, optimizer: Any, own: nn.Module, other: nn.Module) -> None:
    name = f"{player}_optimizer"
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ArgumentTypeError(f"{name} (={shown(optimizer)}) must be a torch.optim.Optimizer")
    held = held_by(optimizer)
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
