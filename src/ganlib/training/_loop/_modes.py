"""Warn of networks that are trained in evaluation mode."""

import inspect
import warnings
from collections.abc import Iterable, Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.spectral_norm import SpectralNorm

from ganlib._logits import look_again
from ganlib._warning import warn_user
from ganlib.training._step._networks import held_by

__all__ = ["ModeWatch", "depends_on_mode"]


class ModeWatch:
    """Warn of networks that are trained in evaluation mode, if the mode changes what they do.

    There is no warning of frozen parts, or of batch norms within a network in training mode.

    Args:
        networks: the trainer's networks, by name.
        optimizers: the optimizers of the trained parameters.
    """

    def __init__(self, networks: Mapping[str, nn.Module], optimizers: Iterable[torch.optim.Optimizer]) -> None:
        look_again(networks.values(), trained_before=False)
        held = set[int]().union(*map(held_by, optimizers))
        self._networks = dict(networks)
        self._trained = {
            name: [
                part
                for part in network.modules()
                if any(p.requires_grad and id(p) in held for p in part.parameters(recurse=False))
            ]
            for name, network in networks.items()
        }

    def begin(self, *, stacklevel: int) -> None:
        """Warn of each network that is not in training mode before the first iteration.

        Args:
            stacklevel: stack level of the warning, from the caller.
        """
        for name, kinds in self._found():
            warnings.warn(
                f"{name} is in evaluation mode, so its {kinds} will not do what they do in training (load_generator "
                f"and pretrained return networks that way): call {name}.train() before fit, or load it with train=True",
                stacklevel=stacklevel + 1,
            )

    def look(self, iteration: int) -> None:
        """Warn, once, of each network that a callback has left in evaluation mode.

        Args:
            iteration: the iteration that has just ended.
        """
        for name, kinds in self._found():
            warn_user(
                f"a callback has left {name} in evaluation mode in iteration {iteration}, so its {kinds} no longer do "
                f"what they do in training: call {name}.train() at its end"
            )

    def _found(self) -> list[tuple[str, str]]:
        """Find networks whose trained parts are all in evaluation mode, each once, and the classes that it affects."""
        found = []
        for name, trained in [*self._trained.items()]:
            if any(part.training for part in trained):  # nearly always true for the first part, so it is fast
                continue
            del self._trained[name]
            parts = self._networks[name].modules()
            kinds = sorted({type(part).__name__ for part in parts if not part.training and depends_on_mode(part)})
            if trained and kinds:
                found.append((name, ", ".join(kinds)))
        return found


def depends_on_mode(module: nn.Module) -> bool:
    """Test whether a module, without its submodules, behaves differently in training and evaluation mode.

    Example:
        >>> depends_on_mode(nn.BatchNorm1d(3)), depends_on_mode(nn.Linear(3, 3)), depends_on_mode(nn.Dropout(0.0))
        (True, False, False)
    """
    if any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()):
        return True
    if isinstance(module, _BatchNorm | _InstanceNorm):
        return module.track_running_stats if isinstance(module, _InstanceNorm) else module.running_mean is not None
    if isinstance(module, _DropoutNd):
        return module.p > 0
    if isinstance(module, nn.RNNBase | nn.MultiheadAttention):
        return module.dropout > 0
    if type(module).__module__.startswith("torch."):
        return isinstance(module, nn.RReLU) or type(module).__name__ == "_SpectralNorm"
    own = [cls for cls in type(module).__mro__ if cls.__module__ != nn.Module.__module__]
    functions = [function for cls in own for function in vars(cls).values() if inspect.isfunction(function)]
    return any("training" in function.__code__.co_names for function in functions)
