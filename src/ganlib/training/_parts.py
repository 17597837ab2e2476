"""The state of a trainer's parts."""

from typing import TYPE_CHECKING, Any

from ganlib.errors import CheckpointError
from ganlib.protocols import Stateful

if TYPE_CHECKING:
    from ganlib.training._adversarial_trainer import AdversarialTrainer

__all__ = ["load_parts", "parts_state"]


def parts_state(trainer: "AdversarialTrainer") -> dict[str, Any]:
    """The states of all the parts that have one.

    Args:
        trainer: whose parts.

    Returns:
        A state for each name of a part.
    """
    return {name: part.state_dict() for name, part in _stateful_parts(trainer).items()}


def load_parts(trainer: "AdversarialTrainer", state: dict[str, Any]) -> None:
    """Give every part its state back.

    Args:
        trainer: whose parts.
        state: may hold more than the parts' states.

    Raises:
        CheckpointError: a part has no state there, or one of another architecture.
    """
    for name, part in _stateful_parts(trainer).items():
        if name not in state:
            raise CheckpointError(f"the state holds no {name}, only {', '.join(sorted(state))}")
        try:
            part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"the state of {name} is of another {type(part).__name__}: {error}") from error


def _stateful_parts(trainer: "AdversarialTrainer") -> dict[str, Stateful]:
    parts: dict[str, Any] = {
        "generator": trainer.generator,
        "discriminator": trainer.discriminator,
        "generator_optimizer": trainer.generator_optimizer,
        "discriminator_optimizer": trainer.discriminator_optimizer,
        "loss": trainer.loss,
        "latent": trainer.latent,
        "augment": trainer.augment,
    }
    for kind, members in (("terms", trainer.terms), ("penalties", trainer.penalties)):
        parts |= {f"{kind}.{index}": member for index, member in enumerate(members)}
    return {name: part for name, part in parts.items() if isinstance(part, Stateful)}
