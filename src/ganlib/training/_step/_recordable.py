"""Prepare optimizers for a CUDA graph, and save their states in a form that every trainer can load."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentValueError
from ganlib.training._step._adam import adam_step

__all__ = ["WAYS", "RecordableOptimizer", "load_portable_state", "plain_number", "portable_state", "refilled"]

WAYS = ("capturable", "foreach", "fused", "differentiable")  # settings that do not change what is computed
_COUNTS = {"step", "mu_product"}  # tensors in a parameter's state that torch may keep on the host


class RecordableOptimizer:
    """Make an optimizer step in a way that a recording can repeat, without a change to the user's settings.

    During a step, ``capturable`` is on, and the step counts and learning rates are on the device. The betas of an Adam
    are on the device too, once they change. Between steps, the groups contain the user's numbers, which any scheduler
    may change; :meth:`refresh` writes them to the device. If an optimizer reads its learning rate on the host, the
    recording contains it as a number.

    Args:
        optimizer: any optimizer.
        name: its name.
        setting: the setting that requires a recording, for messages.
        scaled: whether a gradient scaler steps it.

    Raises:
        ArgumentValueError: it cannot be recorded.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, name: str, setting: str, scaled: bool) -> None:
        self._optimizer = optimizer
        self._name = name
        self._counts_on_host = isinstance(optimizer, torch.optim.Adagrad)
        self._rates: list[_Mirror | None] = []
        self._betas: list[tuple[_Mirror, _Mirror]] = []
        plain_adam = type(optimizer) in (torch.optim.Adam, torch.optim.AdamW) and not scaled
        self._first_betas = [group["betas"] for group in optimizer.param_groups] if plain_adam else None
        said = f"{setting} cannot record {name} (={type(optimizer).__name__})"
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ArgumentValueError(f"{said}: it calls a closure several times in a step")
        if self._counts_on_host and any(group["lr_decay"] for group in optimizer.param_groups):
            raise ArgumentValueError(f"{said}: its lr_decay reads the number of steps on the CPU; set lr_decay=0")
        if scaled and not getattr(optimizer, "_step_supports_amp_scaling", False):
            raise ArgumentValueError(
                f"{said} with precision (='fp16'): its gradient scaler waits for the device; "
                "set fused=True, or use precision='bf16'"
            )

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Make the optimizer recordable inside the context; call :meth:`refresh` before it."""
        own, groups = vars(self._optimizer), self._optimizer.param_groups
        swapped = [_recordable_ways(self._optimizer, group) for group in groups]
        for ways, rate in zip(swapped, self._rates, strict=True):
            if rate is not None:
                ways["lr"] = rate.tensor
        before = [{name: group[name] for name in ways} for group, ways in zip(groups, swapped, strict=True)]
        for group, ways in zip(groups, swapped, strict=True):
            group.update(ways)
            if group.get("capturable"):
                self._move_counts(group, to_device=True)
            if group.get("fused") and group.get("momentum") and not group["dampening"]:
                _begin_momentum(self._optimizer, group)
        step = own.get("step")
        if self._betas:
            own["step"] = functools.partial(_step_with_hooks, self._optimizer, self._step_with_betas)
        try:
            with warnings.catch_warnings():  # torch warns that capturable is slow in a step that is not recorded
                warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
                yield
        finally:
            own.pop("step", None)
            if step is not None:
                own["step"] = step
            for group, kept in zip(groups, before, strict=True):
                group.update(kept)

    def refresh(self) -> None:
        """Write changed learning rates and betas to the tensors that a recording reads."""
        groups = self._optimizer.param_groups
        for group in groups[len(self._rates) :]:
            self._rates.append(self._mirror(group) if _reads_tensors(self._optimizer, group) else None)
        for group, rate in zip(groups, self._rates, strict=True):
            if rate is not None:
                rate.write(group["lr"])
        if self._first_betas is None:
            return
        betas = [group["betas"] for group in groups]
        on_device = any(isinstance(beta, Tensor) for pair in betas for beta in pair)
        # A run that goes on must step with a schedule's betas as the run before did, even while they do not change.
        scheduled = any("initial_betas" in group for group in groups)
        if self._betas or on_device or scheduled or betas[: len(self._first_betas)] != self._first_betas:
            self._betas += [(self._mirror(group), self._mirror(group)) for group in groups[len(self._betas) :]]
            for mirrors, pair in zip(self._betas, betas, strict=True):
                for mirror, beta in zip(mirrors, pair, strict=True):
                    mirror.write(beta)

    def settings(self) -> dict[tuple[int, str], object]:
        """Return the settings that a recording keeps as numbers, by group and name: all except the mirrored ones."""
        kept: dict[tuple[int, str], object] = {}
        for index, (group, rate) in enumerate(zip(self._optimizer.param_groups, self._rates, strict=True)):
            mirrored = {"params", "lr" if rate is not None else "", "betas" if self._betas else ""}
            kept |= {(index, name): plain_number(value) for name, value in group.items() if name not in mirrored}
            kept[index, "params"] = len(group["params"])
        return kept

    def change(self, before: Mapping[tuple[int, str], object]) -> str | None:
        """Describe the first setting that differs from before."""
        now = self.settings()
        for index, name in [*before, *(key for key in now if key not in before)]:
            old, new = before.get((index, name)), now.get((index, name))
            if old != new:
                return f"{self._name}.param_groups[{index}][{name!r}] was {old}, and is {new}"
        return None

    def mirrors(self) -> list[float]:
        """Return the numbers that a recording reads on the device; this waits for the device."""
        pairs = [mirror for pair in self._betas for mirror in pair]
        return [float(mirror.tensor) for mirror in [*self._rates, *pairs] if mirror is not None]

    def parameters(self) -> list[nn.Parameter]:
        """List all parameters of the optimizer."""
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]

    def states(self) -> int:
        """Count the values in the states of its parameters."""
        return sum(len(state) for state in self._optimizer.state.values())

    def put_back(self, groups: list[dict[str, Any]]) -> None:
        """Restore the settings of the groups."""
        for group, before in zip(self._optimizer.param_groups, groups, strict=True):
            group.update(before)
        self._rates, self._betas = [], []  # a step may have changed them

    def groups(self) -> list[dict[str, Any]]:
        """Copy the groups and their settings, for :meth:`put_back`."""
        return [dict(group) for group in self._optimizer.param_groups]

    def _step_with_betas(self, _: torch.optim.Optimizer) -> None:
        for group, rate, (beta1, beta2) in zip(self._optimizer.param_groups, self._rates, self._betas, strict=True):
            if rate is not None:
                adam_step(self._optimizer, group, rate.tensor, beta1.tensor, beta2.tensor)

    def _mirror(self, group: dict[str, Any]) -> "_Mirror":
        parameters = group["params"] or self._optimizer.param_groups[0]["params"]
        ways = {**group, **_recordable_ways(self._optimizer, group)}
        return _Mirror(parameters[0], fused=bool(ways.get("fused")))

    def count(self, steps: int) -> None:
        """Count the steps of a recording, if the optimizer counts on the host."""
        if self._counts_on_host:
            for state in self._optimizer.state.values():
                if state["step"].is_cpu:
                    state["step"] += steps

    def release(self) -> None:
        """Move step counts back to where the optimizer's own settings need them."""
        for group in self._optimizer.param_groups:
            if not (group.get("capturable") or group.get("fused")):
                self._move_counts(group, to_device=False)

    def _move_counts(self, group: dict[str, Any], *, to_device: bool) -> None:
        for parameter in group["params"]:
            state = self._optimizer.state.get(parameter, {})
            for name in state.keys() & _COUNTS:
                state[name] = state[name].to(parameter.device if to_device else "cpu")


def portable_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return an optimizer's state with plain numbers as settings, counts on the CPU, and without ``capturable``."""
    state = optimizer.state_dict()
    groups = [
        {name: plain_number(value, of_any_device=True) for name, value in group.items() if name != "capturable"}
        for group in state["param_groups"]
    ]
    of_parameters = {
        index: {
            name: value.cpu() if name == "step" and isinstance(value, Tensor) else value for name, value in own.items()
        }
        for index, own in state["state"].items()
    }
    return {**state, "state": of_parameters, "param_groups": groups}


def load_portable_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a result of :func:`portable_state`; the optimizer keeps its WAYS, and its tensors of settings."""
    own = [dict(group) for group in optimizer.param_groups]
    groups = state["param_groups"]
    if len(groups) == len(own):
        ways = [{name: group[name] for name in WAYS if name in group} for group in own]
        groups = [{**given, **way} for given, way in zip(groups, ways, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for group, before in zip(optimizer.param_groups, own, strict=True):
        for name in group.keys() & before.keys() - {"params"}:
            group[name] = refilled(before[name], group[name])


class _Mirror:
    """Mirror a number of a group in a tensor on the device of its parameters."""

    def __init__(self, parameter: Tensor, *, fused: bool) -> None:
        wide = parameter.dtype == torch.float64 and not fused  # a fused kernel on CUDA reads a float32
        self.tensor = torch.zeros((), dtype=torch.float64 if wide else torch.float32, device=parameter.device)
        self._written: float | None = None

    def write(self, given: float | Tensor) -> None:
        """Write a number into the tensor; reading a tensor on the device would wait for it."""
        if isinstance(given, Tensor) and not given.is_cpu:
            self.tensor.copy_(given)
            self._written = None
        elif self._written != given:
            self._written = float(given)
            self.tensor.fill_(self._written)


def _reads_tensors(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> bool:
    """Test whether the optimizer reads its learning rate on the device during a recording."""
    ways = {**group, **_recordable_ways(optimizer, group)}
    adam = isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW)
    return "lr" in group and bool(ways.get("fused") or (ways.get("capturable") and (ways.get("foreach") or adam)))


def _recordable_ways(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that make a group recordable; the user's choices stay."""
    free = group.get("foreach") is None and not group.get("fused")
    if "capturable" in group:
        return {"capturable": True} | ({"foreach": True} if free else {})
    if type(optimizer) is torch.optim.SGD and free and not group["dampening"]:
        return {"fused": True}  # SGD reads a learning rate on the device only if it is fused
    return {}


def _begin_momentum(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> None:
    """Start momentum at 0, equal to torch's start without dampening; fused SGD needs buffers for all or none."""
    for parameter in group["params"]:
        state = optimizer.state[parameter]
        if state.get("momentum_buffer") is None:
            state["momentum_buffer"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)


def _step_with_hooks(optimizer: torch.optim.Optimizer, step: Callable[[torch.optim.Optimizer], None]) -> None:
    """Step as torch does: call the step hooks, and tell schedulers of the step."""
    torch.optim.Optimizer.profile_hook_step(step)(optimizer)
    vars(optimizer)["_opt_called"] = True


def plain_number(value: Any, *, of_any_device: bool = False) -> Any:
    """Convert a setting to a plain number; read a tensor on another device than the CPU only with ``of_any_device``."""
    if isinstance(value, tuple):
        return tuple(plain_number(one, of_any_device=of_any_device) for one in value)
    if isinstance(value, np.generic):
        return value.item()
    read = isinstance(value, Tensor) and value.numel() == 1 and (of_any_device or value.is_cpu)
    return value.item() if read else value


def refilled(own: Any, loaded: Any) -> Any:
    """Write the loaded value into the existing tensor, which a Schedule or a CUDA graph uses."""
    if isinstance(own, tuple) and isinstance(loaded, tuple) and len(own) == len(loaded):
        return tuple(map(refilled, own, loaded))
    return own.copy_(torch.as_tensor(loaded)) if isinstance(own, Tensor) else loaded
