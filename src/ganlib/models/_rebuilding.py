"""Rebuild a network from the recipe in its file."""

import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ganlib._recipe import describe, rebuild
from ganlib._wrappers import replaces_forward
from ganlib.errors import CheckpointError
from ganlib.models._conditional_dcgan import conditional_dcgan
from ganlib.models._dcgan import dcgan
from ganlib.models._mlp_gan import mlp_gan

__all__ = ["rebuilt", "recipe_of"]

# Files of format 1 store the name of the function that made the generator.
_MAKERS: dict[str, Callable[..., Any]] = {
    "conditional_dcgan": lambda **arguments: conditional_dcgan(**arguments)[0],
    "dcgan": lambda **arguments: dcgan(**arguments)[0],
    "mlp_gan": lambda **arguments: mlp_gan(**arguments)[0],
}


def recipe_of(network: nn.Module, kind: str) -> tuple[Any, str | None]:
    """Return the recipe and None, or None and the reason why the network has no recipe."""
    try:
        recipe = describe(network)
        with _without_memory():
            again = rebuild(json.loads(json.dumps(recipe)))
    except Exception as error:  # parts of the user can raise any error; the file stores the reason
        return None, f"{error!s:.300}"
    name = type(network).__name__
    if _is_changed(network, again):
        reason = f"{name} was changed after it was made, so its recipe would rebuild another {kind}"
        warnings.warn(f"{reason}: the file holds its weights only, and load_{kind} needs a module", stacklevel=4)
        return None, reason
    for part in network.modules():
        if part._forward_hooks or part._forward_pre_hooks or replaces_forward(part):
            warnings.warn(
                f"{name} has hooks, or a forward that was replaced, in a {type(part).__name__}: the file does not hold "
                f"them, so a {kind} that is rebuilt from it will not have them",
                stacklevel=4,
            )
            break
    return recipe, None


def rebuilt(path: str | os.PathLike[str], weights: Any, values: Mapping[str, Any]) -> nn.Module:
    """Build the network from a file's recipe, with the weights of the file."""
    shared = values["shared"]
    try:
        with _without_memory():
            module: nn.Module = rebuild(values["recipe"], _MAKERS)
            state = module.state_dict(keep_vars=True)
            tensors = {id(tensor): tensor for name, tensor in state.items() if name not in shared}.values()
    except Exception as error:  # a damaged or hostile recipe can cause any error
        raise CheckpointError(f"{path} holds a recipe that this ganlib cannot rebuild: {error!r:.500}") from error
    if sum(tensor.numel() for tensor in tensors) > Path(path).stat().st_size:  # each number takes at least one byte
        needed = sum(tensor.nbytes for tensor in tensors)
        raise CheckpointError(f"{path} holds a recipe of {needed:,} bytes of weights, but the file is smaller")
    try:
        module.load_state_dict(_as_parameters(weights, state), assign=True)
    except Exception as error:  # a module can raise any error for weights of another architecture
        raise CheckpointError(f"{path} is of another architecture than {type(module).__name__}: {error}") from error
    return module


def _is_changed(network: nn.Module, again: nn.Module) -> bool:
    """Return whether layers, settings, names, shapes or shared tensors differ from those of the recipe."""
    state, new_state = (each.state_dict(keep_vars=True) for each in (network, again))
    shapes, new_shapes = ({name: tensor.shape for name, tensor in each.items()} for each in (state, new_state))
    if _layers(network) != _layers(again) or shapes != new_shapes:
        return True
    buffers, new_buffers = ({name for name, _ in each.named_buffers()} for each in (network, again))
    settings = _settings(network)
    if buffers != new_buffers or any(settings.get(key) != value for key, value in _settings(again).items()):
        return True
    first = dict[int, str]()  # first name of each tensor of the rebuilt network, by its id
    shared = ((name, first.setdefault(id(tensor), name)) for name, tensor in new_state.items())
    return any(state[name] is not state[other] for name, other in shared)


def _layers(module: nn.Module) -> str:
    layers = re.sub(r"torch\.Size|[][(),]", "", repr(module))  # in a recipe, tuples become lists
    return re.sub(r"(Sync)?BatchNorm(\dd)?", "BatchNorm", layers)  # recipes have no synchronized batch norm


def _settings(network: nn.Module) -> dict[tuple[str, str], Any]:
    """Return the plain attributes of modules, such as the eps of a norm."""
    return {
        (path, name): value
        for path, module in network.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, bool | int | float | str | np.generic) and name != "training" and name[0] != "_"
    }


def _as_parameters(weights: Any, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the weights, as parameters where the module has parameters; shared tensors become one parameter."""
    made = dict[int, nn.Parameter]()
    unexpected = sorted(weights.keys() - state.keys())
    if unexpected:  # load_state_dict would be slow: it searches all of them for each layer
        raise ValueError(f"the file has weights that the network does not have: {', '.join(unexpected):.300}")
    for name, tensor in weights.items():
        if isinstance(state.get(name), nn.Parameter):
            trained = tensor.is_floating_point() or tensor.is_complex()
            made.setdefault(id(tensor), nn.Parameter(tensor, requires_grad=trained))
    return {name: made.get(id(tensor), tensor) for name, tensor in weights.items()}


# Functions that spectral norm calls when it is created. On the meta device only shapes matter, but torch needs seconds
# to compute these: it imports its compiler for that.
_ONLY_SHAPES: dict[Any, Callable[..., Any]] = {
    nn.functional.normalize: lambda x, **_: x,
    torch.mv: lambda matrix, _: matrix.new_empty(len(matrix)),
    torch.vdot: lambda x, _: x.new_empty(()),
    Tensor.normal_: lambda x, *_: x,
    Tensor.div: lambda x, _: x,  # the divisor is a number
}


class _OnlyShapes(TorchFunctionMode):
    """Compute only shapes."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call a function, or a faster function that returns a tensor of the same shape."""
        return _ONLY_SHAPES.get(function, function)(*arguments, **(named or {}))


@contextmanager
def _without_memory() -> Iterator[None]:
    """Create modules on the meta device, which needs no memory and draws no random numbers."""
    with torch.device("meta"), _OnlyShapes():
        yield
