"""Decide which optimizer settings a resumed training uses: those of the code or those of the checkpoint."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.training._step._recordable import WAYS, plain_number, refilled

__all__ = ["OptimizerSettings", "optimizers_of"]

Groups = list[dict[str, Any]]

_FIRST = {"lr": "initial_lr", "betas": "initial_betas"}  # where a schedule keeps the first value of a setting
_WITH_STATE = {"amsgrad", "centered"}  # an optimizer with one of these settings keeps additional averages


class OptimizerSettings:
    """Remember the settings of optimizers before a state is loaded into them.

    Args:
        optimizers: the optimizers by name, from :func:`optimizers_of`.
        from_code: names of settings that keep their present values, or one name.

    Raises:
        ArgumentTypeError: ``from_code`` is neither a name nor a sequence of names.
        ArgumentValueError: no optimizer has such a setting.
    """

    def __init__(self, optimizers: Mapping[str, torch.optim.Optimizer], from_code: Sequence[str] = ()) -> None:
        self._optimizers = dict(sorted(optimizers.items()))
        self._code = {name: _settings(optimizer) for name, optimizer in self._optimizers.items()}
        self._from_code = _checked(from_code, self._code)
        self._bases = {name: [_base(group) for group in groups] for name, groups in self._code.items()}

    def state_dict(self) -> dict[str, Groups]:
        """Return the settings from the start of the training, which a schedule may have changed since."""
        return self._bases

    def loaded(self, bases: Mapping[str, Groups]) -> list[str]:
        """Restore the settings in ``from_code`` after a state was loaded, and describe other settings that differ.

        Args:
            bases: the result of :meth:`state_dict` in the saved run; empty if unknown.

        Returns:
            A sentence for each optimizer whose code has another setting than the one it continues with.
        """
        notes = []
        self._check_states()
        for name, optimizer in self._optimizers.items():
            now, code = _settings(optimizer), self._code[name]
            if len(now) != len(code):
                continue
            before = bases.get(name, [])
            before = before if len(before) == len(now) else [{}] * len(now)
            known = _constructor_arguments(optimizer)
            changes = dict[str, str]()
            for index, (group, own, first) in enumerate(zip(now, code, before, strict=True)):
                for setting, (theirs, mine) in _changes(group, own, first).items():
                    if setting in known and setting not in self._from_code:
                        where = f"{setting} of group {index}" if len(now) > 1 else setting
                        changes.setdefault(setting, f"{where} (={theirs}), not with yours (={mine})")
            self._bases[name] = [{**_base(group), **first} for group, first in zip(now, before, strict=True)]
            self._put_back(name)
            if changes:
                taken = tuple(setting for setting in changes if setting not in _WITH_STATE)
                notes.append(
                    f"{name} goes on with the checkpoint's {', and with '.join(changes.values())}"
                    + (f": to use yours, pass from_code={taken!r}" if taken else "")
                )
        return notes

    def _check_states(self) -> None:
        """Refuse a setting from the code that needs a state which the checkpoint does not contain."""
        for name, optimizer in self._optimizers.items():
            for group, own in zip(optimizer.param_groups, self._code[name], strict=False):
                for setting in self._from_code & _WITH_STATE:
                    if own.get(setting) and not group.get(setting):
                        raise ArgumentValueError(
                            f"from_code holds {setting!r}, but {name} was saved without it, so the checkpoint lacks "
                            "the averages that it needs: start a new run, or remove it from from_code"
                        )

    def _put_back(self, name: str) -> None:
        groups = zip(self._optimizers[name].param_groups, self._code[name], self._bases[name], strict=True)
        for group, own, base in groups:
            for setting in self._from_code & own.keys():
                group[setting] = refilled(group.get(setting), own[setting])
                if setting in (given := _base(own)):
                    base[setting] = given[setting]
            for setting in self._from_code & _FIRST.keys():
                if (first := _FIRST[setting]) in own:
                    group[first] = own[first]
                else:
                    group.pop(first, None)


def optimizers_of(trainer: Any) -> dict[str, torch.optim.Optimizer]:
    """Find the optimizers of any trainer by name, in its ``optimizers`` or its attributes, each once."""
    held = getattr(trainer, "optimizers", None)
    if not isinstance(held, Mapping):
        held = dict[str, Any]()
        for cls in type(trainer).__mro__:
            slots = vars(cls).get("__slots__", ())
            held |= {name: getattr(trainer, name, None) for name in ([slots] if isinstance(slots, str) else slots)}
        held |= getattr(trainer, "__dict__", {})
    found = dict[str, torch.optim.Optimizer]()
    for name, value in held.items():
        for key, one in _members(str(name), value):
            if isinstance(one, torch.optim.Optimizer) and all(one is not other for other in found.values()):
                found[key] = one
    return found


def _members(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield an attribute, or the members of a list or dict."""
    if isinstance(value, Mapping):
        yield from ((f"{name}[{key!r}]", one) for key, one in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"{name}[{index}]", one) for index, one in enumerate(value))
    else:
        yield name, value


def _settings(optimizer: torch.optim.Optimizer) -> Groups:
    """Copy the settings of each group as plain numbers."""
    return [
        {name: plain_number(value, of_any_device=True) for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]


def _base(group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a group started with; a schedule keeps the first learning rate in ``initial_lr``."""
    base = {
        name: value
        for name, value in group.items()
        if name not in WAYS and name not in _FIRST.values() and isinstance(value, _PLAIN)
    }
    return base | {setting: group[first] for setting, first in _FIRST.items() if first in group}


_PLAIN = (bool, int, float, str, type(None), tuple, list)


def _changes(now: Mapping[str, Any], own: Mapping[str, Any], first: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Find settings with another value than in the code, if the code has changed since the run started."""
    changes = dict[str, tuple[Any, Any]]()
    mine, theirs = _base(own), {name: value for name, value in now.items() if isinstance(value, _PLAIN)}
    theirs |= {setting: now[kept] for setting, kept in _FIRST.items() if kept in own and kept in now}
    scheduled_before_only = {setting for setting, kept in _FIRST.items() if kept in now and kept not in own}
    for name in mine.keys() & theirs.keys():
        as_before = name in first and _same(mine[name], first[name]) and name not in scheduled_before_only
        if not as_before and not _same(mine[name], theirs[name]):
            changes[name] = _shown(theirs[name]), _shown(mine[name])
    return dict(sorted(changes.items(), key=lambda change: (change[0] != "lr", change[0])))


def _same(one: Any, other: Any) -> bool:
    """Test whether two settings are equal, up to the rounding of a tensor to float32."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    numbers = all(isinstance(value, int | float) for value in (one, other))
    return math.isclose(one, other, rel_tol=1e-6) if numbers else bool(one == other)


def _shown(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shown, value))})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _constructor_arguments(optimizer: torch.optim.Optimizer) -> set[str]:
    """Return the names that a user can set; some optimizers also keep counters in their groups."""
    return {"lr"} | {
        name
        for cls in type(optimizer).__mro__
        if issubclass(cls, torch.optim.Optimizer)
        for name in inspect.signature(cls.__init__).parameters
    }


def _checked(from_code: Any, code: Mapping[str, Groups]) -> set[str]:
    if isinstance(from_code, str):
        from_code = (from_code,)
    if not isinstance(from_code, Sequence | set | frozenset):
        raise ArgumentTypeError(f"from_code (={shown(from_code)}) must be a sequence of names, such as ('lr', 'betas')")
    known = dict.fromkeys(name for groups in code.values() for group in groups for name in group)
    for kept in _FIRST.values():  # they belong to lr and betas
        known.pop(kept, None)
    for name in from_code:
        if name not in known:
            has = f"they have {', '.join(map(repr, known))}" if known else "it has none"
            raise ArgumentValueError(f"from_code holds {shown(name)}, no setting of the trainer's optimizers: {has}")
    return {*from_code}
