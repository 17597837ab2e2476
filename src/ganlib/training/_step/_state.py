"""Save and load the states of named parts, and warn of settings that have changed."""

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
    """Return the state of each part, without the names that wrappers add."""
    return {name: plain_state(part) for name, part in parts.items()}


def reprs_of(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return the reprs of ganlib's own parts, except parts with a tensor attribute, since its value may change."""
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
    """Load each part's state; with ``exactly``, every part must have a state, and no other state may exist.

    Raises:
        CheckpointError: a state is missing, does not belong to a part, or has another architecture.
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
    """Describe the numbers of parameters of an optimizer and of its state, if they differ."""
    try:
        own, saved = (
            [len(group["params"]) for group in groups] for groups in (part.param_groups, state["param_groups"])
        )
    except (AttributeError, KeyError, TypeError):  # not an optimizer, or not the state of one
        return ""
    counts = (
        f"; the state is of {saved} parameters in its groups, and the optimizer has {own}: are other layers frozen?"
    )
    return counts if own != saved else ""


def warn_of_changes(own: Mapping[str, str], saved: Mapping[str, str]) -> None:
    """Warn, once, of all settings that differ between the saved training and this one.

    Args:
        own: the settings of this training, by name.
        saved: the settings of the saved training, by name.

    Raises:
        CheckpointError: an optimizer has another class.
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
            f"the training continues, but not bit for bit as the saved one would have: {'; '.join(changes)}",
            stacklevel=4,
        )


def _modules_of(part: Any) -> list[Any]:
    return [*part.modules()] if isinstance(part, nn.Module) else [part]


def _holds_tensors(part: Any) -> bool:
    """Test whether a public attribute is a tensor; parameters and buffers are a state, which no repr shows."""
    shown = {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}
    return any(isinstance(leaf, Tensor) for leaf in tree_leaves(shown))
