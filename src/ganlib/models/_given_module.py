"""Load weights into a module of the user: all of them, or those that fit, or none."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganlib._wrappers import renamed
from ganlib.errors import ArgumentValueError

__all__ = ["fill"]

_SHOWN = 3  # differing tensors in a message


def fill(module: nn.Module, weights: Any, *, partial: bool) -> list[str]:
    """Load weights into a module without wrappers; on an error the module keeps its own weights.

    Returns:
        Descriptions of the tensors that did not fit, if ``partial`` is True.

    Raises:
        ArgumentValueError: if the module has tensors without values.
        Exception: of any type, if the weights are of another architecture.
    """
    own = module.state_dict(keep_vars=True)
    weights = dict(renamed(weights, own))
    for name, tensor in own.items():
        if isinstance(tensor, Tensor) and tensor.is_meta:
            raise ArgumentValueError(
                f"module has {name} on the meta device, where nothing can be loaded: create it on a device, or call "
                "module.to_empty(device=...) first"
            )
    left_out = _left_out(weights, own) if partial else {}
    weights = {name: tensor for name, tensor in weights.items() if name not in left_out}
    if partial and not weights:
        raise ValueError("not one tensor has a name and a shape that fit the module")
    _check_values(weights, own)
    _make_writable(module)
    put_back = _keep(module)
    try:
        module.load_state_dict(weights, strict=not partial)
    except Exception as error:
        put_back()
        if differ := [f"{name} {why}" for name, why in _differing(weights, own).items()]:
            more = f"; and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
            raise ValueError("; ".join(differ[:_SHOWN]) + more) from error
        raise
    return [f"{name} {why}" for name, why in left_out.items()]


def _make_writable(module: nn.Module) -> None:
    """Replace tensors that torch cannot copy values into."""
    for part in module.modules():
        for kind in ("_parameters", "_buffers"):
            members = vars(part).get(kind, {})
            for name, tensor in members.items():
                if tensor is None or is_lazy(tensor) or tensor.is_meta:
                    continue
                if tensor.is_inference() and not torch.is_inference_mode_enabled():
                    copy = tensor.clone()
                    members[name] = nn.Parameter(copy) if isinstance(tensor, nn.Parameter) else copy
                elif 0 in tensor.stride():  # an expanded tensor: several elements share one number
                    tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)


def _differing(weights: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, str]:
    """Return the tensors that do not fit, with the reasons."""
    found = dict[str, str]()
    for name in [*own, *(name for name in weights if name not in own)]:
        there, here = weights.get(name), own.get(name)
        if there is None:
            found[name] = "is not in the file"
        elif not isinstance(here, Tensor):
            found[name] = f"{_shown(there)} is not in the module"
        elif not is_lazy(here) and there.shape != here.shape:
            found[name] = f"is {_shown(there)} in the file and {_shown(here)} in the module"
        elif why := _cannot_be_cast(there, here):
            found[name] = why
    return found


def _left_out(weights: Mapping[str, Tensor], own: Mapping[str, Any]) -> dict[str, str]:
    """Return the tensors to skip, with the reasons.

    Buffers of a layer, and tensors that make one weight, such as its norm and its direction, are loaded together only.
    """
    found = _differing(weights, own)
    layers = {_layer(name): name for name in reversed(found)}
    for name, tensor in own.items():
        together = not isinstance(tensor, nn.Parameter) or ".parametrizations." in f".{name}"
        if name not in found and together and _layer(name) in layers:
            found[name] = f"belongs to {layers[_layer(name)]}"
    for norm in [name for name in own if name.endswith("_g")]:  # the hook of torch.nn.utils.weight_norm
        direction = f"{norm.removesuffix('_g')}_v"
        if direction in own and len(missing := {norm, direction} & found.keys()) == 1:
            (other,) = missing
            found[direction if other == norm else norm] = f"belongs to {other}"
    return found


def _check_values(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Refuse values that torch would round to whole numbers, or overwrite."""
    first = dict[int, str]()
    for name, here in own.items():
        if name not in weights:
            continue
        there, one = weights[name], first.setdefault(id(here), name)
        if why := _cannot_be_cast(there, here):
            raise ValueError(f"{name} {why}")
        if there is not weights[one] and not torch.equal(there, weights[one]):
            raise ValueError(f"{one} and {name} are the same tensor in the module, but differ in the file")


def _cannot_be_cast(there: Tensor, here: Tensor) -> str | None:
    if not torch.can_cast(there.dtype, here.dtype):
        return f"is {there.dtype} in the file and {here.dtype} in the module"
    if there.dtype == here.dtype or there.is_complex() or here.is_complex():
        return None
    cast = there.to(here.dtype)
    lost = there.isfinite() & ~cast.isfinite() if here.is_floating_point() else cast.to(there.dtype) != there
    return f"holds numbers that {here.dtype} of the module cannot hold" if bool(lost.any()) else None


def _keep(module: nn.Module) -> Callable[[], None]:
    """Copy the tensors of a module, and return a function that restores them."""
    copies, lazy = list[tuple[Tensor, Tensor]](), list[tuple[dict[str, Any], str, Tensor]]()
    for tensor in (*module.parameters(), *module.buffers()):
        if not is_lazy(tensor):
            copies.append((tensor, tensor.detach().clone()))
    for part in module.modules():
        for kind in ("_parameters", "_buffers"):
            members = vars(part).get(kind, {})
            lazy += [(members, name, tensor) for name, tensor in members.items() if is_lazy(tensor)]
    unmade = [(members, name, _unmade(tensor)) for members, name, tensor in lazy]

    @torch.no_grad()
    def put_back() -> None:
        for tensor, copy in copies:
            tensor.copy_(copy)
        for members, name, tensor in unmade:
            members[name] = tensor

    return put_back


def _unmade(tensor: Any) -> Tensor:
    """Return another uninitialized tensor, since torch refuses to copy one."""
    again: Tensor = type(tensor)(device=tensor.device, dtype=tensor.dtype)
    return again


def _layer(name: str) -> str:
    """Return the layer of a tensor, or the parametrization that it belongs to, as ``0.parametrizations.weight``."""
    return re.sub(r"(parametrizations\.\w+)\..*", r"\1", name.rpartition(".")[0])


def _shown(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
