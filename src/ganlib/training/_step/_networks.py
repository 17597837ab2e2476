"""Call networks, lay out their weights, and move batches."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganlib._nest import mapped
from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ShapeError

__all__ = ["call", "held_by", "iterator_of", "lay_out_", "leaves_of", "move", "networks_of", "scalar"]


def call(network: Callable[..., Any], x: Tensor, condition: Any) -> Any:
    """Call a network by ganlib's convention: with the condition only if there is one."""
    return network(x) if condition is None else network(x, condition)


def held_by(optimizer: torch.optim.Optimizer) -> set[int]:
    """Return the ids of an optimizer's parameters."""
    return {id(p) for group in optimizer.param_groups for p in group["params"]}


def iterator_of(batches: Any) -> Iterator[Any]:
    """Turn the argument of ``train_step``, an iterator of batches or one batch, into an iterator.

    Raises:
        ArgumentTypeError: it is a loader.
    """
    if isinstance(batches, Iterator):
        return batches
    if isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
        raise ArgumentTypeError(
            f"train_step takes one batch or an iterator, but got a {type(batches).__name__}: give it iter(loader), or "
            "call training.fit(trainer, loader, ...)"
        )
    return iter([batches])


def scalar(value: Any, name: str) -> Tensor:
    """Return the value if it is one number with its graph; otherwise raise an error.

    Raises:
        ArgumentTypeError: it is not a tensor.
        ShapeError: it contains several numbers. If torch summed them, the step would grow with the batch size.
    """
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(f"{name} gave {shown(value)}, a {type(value).__name__}; it must give a tensor")
    if value.ndim != 0:
        raise ShapeError(f"{name} gave a tensor {tuple(value.shape)}; it must give a scalar, such as a mean")
    return value


def move(batch: Any, device: torch.device, *, channels_last: bool) -> Any:
    """Move the tensors of a nest to a device; a tensor that occurs twice is moved once."""
    copies = dict[int, Tensor]()

    def moved(tensor: Tensor) -> Tensor:
        if tensor.device == device and not channels_last:
            return tensor
        if id(tensor) not in copies:
            there = tensor.to(device, non_blocking=True)
            floats = channels_last and tensor.is_floating_point()
            copies[id(tensor)] = there.to(memory_format=_format(there)) if floats else there
        return copies[id(tensor)]

    return mapped(batch, moved)


def leaves_of(nest: Any) -> set[int]:
    """Return the ids of the parameters in the graphs of a nest's tensors."""
    waiting = [leaf.grad_fn for leaf in tree_leaves(nest) if isinstance(leaf, Tensor)]
    seen, found = set[Any](), set[int]()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found.add(id(getattr(node, "variable", None)))
            waiting += [following for following, _ in node.next_functions]
    return found


def lay_out_(network: nn.Module) -> None:
    """Convert a network's weights to the channels-last memory format, in place; parameters keep their identity."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(memory_format=_format(parameter))


def networks_of(trainer: Any) -> dict[str, nn.Module]:
    """Find the modules of any trainer by name, in its ``modules`` or its attributes."""
    if isinstance(trainer, nn.Module):
        return dict(trainer.named_children())
    held = getattr(trainer, "modules", None)
    held = held if isinstance(held, Mapping) else getattr(trainer, "__dict__", {})
    return {name: value for name, value in held.items() if isinstance(value, nn.Module)}


def _format(x: Tensor) -> torch.memory_format:
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.preserve_format)
