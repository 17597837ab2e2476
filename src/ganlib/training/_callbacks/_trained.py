"""Find the optimizers of a run, to warn of callbacks that have no effect on what is trained."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from ganlib._held import held
from ganlib._shown import optimizer_name
from ganlib._warning import warn_user
from ganlib.distributed import rank
from ganlib.protocols import Run
from ganlib.training._step._settings import optimizers_of

__all__ = ["optimizers_in", "warn_of_other_optimizer"]


def optimizers_in(run: Run) -> list[Optimizer]:
    """Return the optimizers of the trainer, and those that the user's callbacks may use.

    The list is empty if the trainer has no optimizers that can be found, for example because it is not one of ganlib's.
    """
    trainer: Any = getattr(run, "trainer", None)
    own = list(optimizers_of(trainer).values())
    if not own:
        return []
    callbacks = [*getattr(run, "callbacks", ())]
    ganlibs = tuple({type(one) for one in callbacks if type(one).__module__.partition(".")[0] == "ganlib"})
    roots = [trainer, *(one for one in callbacks if not isinstance(one, ganlibs))]
    # Other optimizers may be inside a wrapper, or in the closure of an objective.
    found = (part for root in roots for part in held(root, closed=(nn.Module, *ganlibs)))
    return own + [part for part in found if isinstance(part, Optimizer)]


def warn_of_other_optimizer(schedule: object, optimizer: Optimizer, run: Run) -> None:
    """Warn if a schedule changes an optimizer that the run does not use."""
    used = optimizers_in(run)
    groups = {id(group) for one in used for group in one.param_groups}
    if used and groups.isdisjoint(map(id, optimizer.param_groups)) and rank() == 0:
        warn_user(
            f"{type(schedule).__name__} changes an optimizer ({optimizer_name(optimizer)}) that is not the trainer's, "
            "so it has no effect on the training: give it the same object as the trainer; if you make an optimizer "
            "again, make its schedule again too"
        )
