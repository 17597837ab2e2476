"""The states of named parts, and what changes between a saved training and this one."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganlib._wrappers import load_plain_state, plain_state
from ganlib.errors import CheckpointError
from ganlib.protocols import Stateful

__all__ = ["load_states", "reprs_of", "states_of", "warn_of_changes"]


def states_of(parts: Mapping[str, Stateful]) -> dict[str, Any]:
    """The state of each part, whatever is put around it."""
    return {name: plain_state(part) for name, part in parts.items()}


def reprs_of(parts: Mapping[str, Any]) -> dict[str, str]:
    """How ganlib's own parts show their settings, but for those with a number in a tensor, which may change."""
    return {
        name: repr(part)
        for name, part in parts.items()
        if type(part).__module__.startswith("ganlib.") and not any(map(_holds_tensors, _modules_of(part)))
    }


def load_states(
    parts: Mapping[str, Any],
    states: Mapping[str, Any],
    *,
    exactly: bool,
    load: Callable[[Any, Any], object] = load_plain_state,
) -> None:
    """Give each part its state; exactly where each part must have one, and no other may be there.

    Raises:
        CheckpointError: a part has no state there, or one of another architecture, or there is one too many.
    """
    if exactly and (unknown := states.keys() - parts.keys()):
        raise CheckpointError(
            f"the state holds {', '.join(sorted(unknown))}, which this training does not have, but only "
            f"{', '.join(sorted(parts))}"
        )
    for name, part in parts.items():
        if name not in states:
            if exactly:
                raise CheckpointError(f"the state holds no {name}, only {', '.join(sorted(states)) or 'nothing'}")
            continue
        try:
            load(part, states[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(
                f"the state of {name} is of another {type(part).__name__}: {str(error).rstrip('.')}"
                f"{_sizes(part, states[name])}"
            ) from error


def _sizes(part: Any, state: Any) -> str:
    """How many parameters an optimizer has, and its state, where that differs."""
    try:
        own, saved = (
            [len(group["params"]) for group in groups] for groups in (part.param_groups, state["param_groups"])
        )
    except (AttributeError, KeyError, TypeError):  # it is no optimizer, or the state is not of one
        return ""
    counts = (
        f"; the state is of {saved} parameters in its groups, and the optimizer has {own}: are other layers frozen?"
    )
    return counts if own != saved else ""


def warn_of_changes(own: Mapping[str, str], saved: Mapping[str, str]) -> None:
    """Warn, once, of all settings with which the training goes on differently.

    Args:
        own: the settings of this training, by name.
        saved: those of the saved one.

    Raises:
        CheckpointError: an optimizer is of another kind.
    """
    changes = []
    for name in {**own, **saved}:
        before, now = saved.get(name), own.get(name)
        if before != now and name.endswith("_optimizer"):
            raise CheckpointError(f"the state is of a training whose {name} was {before}, not {now}")
        if before != now:
            device = f"it ran on {before}, and runs on {now} now"
            changes.append(device if name == "device" else f"its {name} was {before}, and is {now} now")
    if changes:
        warnings.warn(
            f"the training goes on, but not as it would have, bit for bit: {'; '.join(changes)}",
            stacklevel=4,
        )


def _modules_of(part: Any) -> list[Any]:
    return [*part.modules()] if isinstance(part, nn.Module) else [part]


def _holds_tensors(part: Any) -> bool:
    """Whether an attribute is a tensor; parameters and buffers are a state, which no repr shows."""
    shown = {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(shown))
