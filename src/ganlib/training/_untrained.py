"""Warn of parameters that a network uses, but that no optimizer trains."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib.distributed import rank
from ganlib.training._step._networks import held_by, leaves_of

__all__ = ["HiddenParts", "Untrained", "find_untrained", "warn_of_untrained"]

_OF_TORCH = frozenset(vars(nn.Module()))  # attributes that torch itself gives each module
_MOST = 1000  # entries of a container that are searched


class Untrained(NamedTuple):
    """Describe a parameter that requires a gradient, but that no optimizer holds.

    Args:
        network: the network's name.
        name: the parameter's name; for one that torch does not know, the attribute that holds it.
        parameter: the parameter.
        container: the list, tuple or dict that hides it from torch; None if the network has it.
    """

    network: str
    name: str
    parameter: nn.Parameter
    container: Any = None


def find_untrained(networks: Mapping[str, nn.Module], optimizers: Iterable[torch.optim.Optimizer]) -> list[Untrained]:
    """Find the parameters that require a gradient, but that no optimizer holds.

    Parts in a plain list, tuple or dict of a network with trained parameters count too, unless they are in evaluation
    mode, as a pretrained network is.

    Args:
        networks: the networks, by name.
        optimizers: all optimizers.

    Example:
        >>> network = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1))
        >>> [one.name for one in find_untrained({"critic": network}, [torch.optim.Adam(network[0].parameters())])]
        ['1.weight', '1.bias']
    """
    held = {key for optimizer in optimizers for key in held_by(optimizer)}
    found = dict[int, Untrained]()
    for network, module in networks.items():
        for name, parameter in module.named_parameters():
            found.setdefault(id(parameter), Untrained(network, name, parameter))
    for network, module in networks.items():
        if not any(id(parameter) in held for parameter in module.parameters()):
            continue  # nothing in it is trained, as in a perceptual loss
        for name, container, parameter in _hidden(module):
            found.setdefault(id(parameter), Untrained(network, name, parameter, container))
    return [one for key, one in found.items() if one.parameter.requires_grad and key not in held]


def warn_of_untrained(untrained: Iterable[Untrained], used: set[int]) -> None:
    """Warn once for each network, and once for each container, of untrained parameters that the networks use.

    Args:
        untrained: the result of :func:`find_untrained`.
        used: the ids of the parameters on which samples and logits depend.
    """
    groups = dict[tuple[str, int], list[Untrained]]()
    for one in untrained:
        if id(one.parameter) in used:
            groups.setdefault((one.network, id(one.container)), []).append(one)
    for group in groups.values():
        network, name, _, container = group[0]
        how_many = "a parameter" if len(group) == 1 else f"{len(group)} parameters"
        if container is None:
            warn_user(
                f"{network} has {how_many} without an optimizer, so they are never trained (the first is "
                f"{shown(name)}): make {network}_optimizer from {network}.parameters() after all layers are in place, "
                "or call requires_grad_(False) on what is frozen on purpose"
            )
        else:
            instead = "nn.ModuleDict" if isinstance(container, dict) else "nn.ModuleList"
            warn_user(
                f"{network} uses {how_many} in a plain {type(container).__name__} (attribute {name}), which torch does "
                f"not see: they are never trained, moved to a device or saved. Use {instead} (nn.ParameterList for "
                "parameters), or call requires_grad_(False) on what is frozen on purpose"
            )


class HiddenParts:
    """Warn of parts in plain containers that an objective depends on, once for each container.

    Args:
        networks: the networks, by name.
        optimizers: all optimizers.
    """

    def __init__(self, networks: Mapping[str, nn.Module], optimizers: Iterable[torch.optim.Optimizer]) -> None:
        self._networks = networks
        self._optimizers = [*optimizers]
        self._known = set[int]()

    def __call__(self, total: Tensor) -> None:
        """Look at the graph of an objective.

        Args:
            total: the objective's value.
        """
        if rank() != 0:
            return
        found = [one for one in find_untrained(self._networks, self._optimizers) if one.container is not None]
        if new := [one for one in found if id(one.container) not in self._known]:
            used = leaves_of(total)
            self._known.update(id(one.container) for one in new if id(one.parameter) in used)
            warn_of_untrained(new, used)


def _hidden(network: nn.Module) -> Iterator[tuple[str, Any, nn.Parameter]]:
    """Yield the attribute, its container and the parameter for what plain containers of a network's modules hold."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if name not in _OF_TORCH and isinstance(value, list | tuple | dict):
                for part in _parts(value, depth=3):
                    inner = [part] if isinstance(part, nn.Parameter) else _trained(part)
                    yield from ((f"{type(module).__name__}.{name}", value, parameter) for parameter in inner)


def _parts(container: Any, depth: int) -> Iterator[nn.Module | nn.Parameter]:
    for value in islice(container.values() if isinstance(container, dict) else container, _MOST):
        if isinstance(value, nn.Module | nn.Parameter):
            yield value
        elif isinstance(value, list | tuple | dict) and depth > 1:
            yield from _parts(value, depth - 1)


def _trained(module: nn.Module) -> Iterator[nn.Parameter]:
    for part in module.modules():
        if part.training:
            yield from part.parameters(recurse=False)
