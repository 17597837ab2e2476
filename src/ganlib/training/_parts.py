"""The state of a trainer's parts."""

import warnings
from typing import TYPE_CHECKING, Any

from ganlib.errors import CheckpointError
from ganlib.protocols import Stateful

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["load_parts", "parts_state", "stateful_parts"]


def parts_state(trainer: "AdversarialTrainer") -> dict[str, Any]:
    """The states of all the parts that have one, with what they are and where they were.

    Args:
        trainer: whose parts.

    Returns:
        A state for each name of a part that has one, ``kinds`` and ``device``.
    """
    states = {name: part.state_dict() for name, part in stateful_parts(trainer).items()}
    return {"kinds": _kinds(trainer), "device": trainer.device.type, **states}


def load_parts(trainer: "AdversarialTrainer", state: dict[str, Any]) -> None:
    """Give every part its state back, and warn of what will go on otherwise than it would have.

    Args:
        trainer: whose parts.
        state: may hold more than the parts' states.

    Raises:
        CheckpointError: an optimizer is of another kind, or a part has no state there, or one of another architecture.
    """
    own, saved = _kinds(trainer), state["kinds"]
    changed = [name for name in own | saved if own.get(name) != saved.get(name)]
    for name in changed:
        if name.endswith("optimizer"):
            raise CheckpointError(f"the state is of a training whose {name} was {saved.get(name)}, not {own.get(name)}")
    for name, part in stateful_parts(trainer).items():
        if name not in state and name.endswith("scaler"):
            continue  # the precision is another one now: a scaler soon finds its scale
        if name not in state:
            raise CheckpointError(f"the state holds no {name}, only {', '.join(sorted(state))}")
        try:
            part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the state of {name} is of another {type(part).__name__}: {error}") from error
    for name in changed:
        _warn(f"its {name} was {saved.get(name)}, and is {own.get(name)} now")
    device = trainer.device.type
    if state["device"] != device:
        _warn(f"it ran on {state['device']}, and runs on {device} now")


def _warn(change: str) -> None:
    warnings.warn(f"the training goes on, but not as it would have, bit for bit: {change}", stacklevel=4)


def stateful_parts(trainer: "AdversarialTrainer") -> dict[str, Stateful]:
    """The parts that have a state.

    Args:
        trainer: whose parts.

    Returns:
        Each by its name.
    """
    return {name: part for name, part in _parts(trainer).items() if isinstance(part, Stateful)}


def _kinds(trainer: "AdversarialTrainer") -> dict[str, str]:
    """What decides how a training goes on, beside the networks: those are known by their weights."""
    parts = {name: part for name, part in _parts(trainer).items() if part is not None}
    for name in ("generator", "discriminator", "generator_scaler", "discriminator_scaler"):
        parts.pop(name, None)
    kinds = {name: getattr(part, "__name__", type(part).__name__) for name, part in parts.items()}
    return {"precision": trainer.precision, "reuse_fakes": str(trainer.reuse_fakes), **kinds}


def _parts(trainer: "AdversarialTrainer") -> dict[str, Any]:
    parts: dict[str, Any] = {
        "generator": trainer.generator,
        "discriminator": trainer.discriminator,
        "generator_optimizer": trainer.generator_optimizer,
        "discriminator_optimizer": trainer.discriminator_optimizer,
        "generator_scaler": trainer._generator_scaler,
        "discriminator_scaler": trainer._discriminator_scaler,
        "loss": trainer.loss,
        "latent": trainer.latent,
        "fake_conditions": trainer.fake_conditions,
        "augment": trainer.augment,
    }
    for kind, members in (("terms", trainer.terms), ("penalties", trainer.penalties)):
        parts |= {f"{kind}.{index}": member for index, member in enumerate(members)}
    return parts
