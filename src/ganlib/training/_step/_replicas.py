"""Keep the copies of a trainer in several processes equal, with different random numbers."""

import hashlib
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ganlib._devices import widest
from ganlib._random import random_state
from ganlib._ranks import gather, host_group
from ganlib.distributed import mean_over_ranks, rank, world_size

__all__ = ["Replicas", "metrics_over_ranks", "move_random_numbers_apart"]


class Replicas:
    """Keep the modules of a trainer equal in all processes; a single process needs nothing.

    All processes start with the weights of rank 0, and each with its own random numbers. Gradients are averaged, so
    weights stay equal. Buffers, such as the running statistics of batch norm, become different. Before each step, all
    processes copy the buffers of rank 0. Checkpoints contain the buffers of rank 0, so a resumed run has them too. A
    module with ``per_process = True`` is left unchanged.

    Args:
        modules: the modules to keep equal.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        self._modules = list(modules)
        self._begun = False

    def align(self) -> None:
        """Make all processes equal, before a step."""
        if world_size() == 1:
            return
        parts = [part for module in self._modules for part in _shared_modules(module)]
        tensors = [buffer for part in parts for buffer in part.buffers(recurse=False)]
        if not self._begun:
            tensors += [parameter.detach() for part in parts for parameter in part.parameters(recurse=False)]
            move_random_numbers_apart()
            self._begun = True
        _take_from_first(list({id(tensor): tensor for tensor in tensors}.values()))


def metrics_over_ranks(metrics: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average each metric over the processes, in one communication."""
    if world_size() == 1 or not metrics:
        return metrics
    # A user's loss may be a constant on the host.
    device = max((value.device for value in metrics.values()), key=lambda device: device.type != "cpu")
    names = sorted(metrics)  # a dict may have another order in another process
    together = torch.stack([metrics[name].detach().to(device, widest(device)) for name in names])
    means = dict(zip(names, mean_over_ranks(together).unbind(), strict=True))
    return {name: means[name].to(value.dtype) for name, value in metrics.items()}


def move_random_numbers_apart() -> None:
    """Reseed the random numbers of a rank that equal those of a lower rank; rank 0 keeps its own.

    Python's, torch's and NumPy's random numbers are compared one by one. A rank with its own seed keeps it.
    """
    if world_size() == 1:
        return
    seeds: dict[str, Callable[[int], Any]] = {"python": random.seed, "torch": torch.manual_seed}
    if "numpy" in sys.modules:
        seeds["numpy"] = lambda seed: sys.modules["numpy"].random.seed(seed % 2**32)
    state = random_state()
    digests = {kind: hashlib.sha256(repr(_plain(state[kind])).encode()).hexdigest() for kind in seeds}
    below = gather(digests)[: rank()]
    for kind, seed in seeds.items():
        if any(digests[kind] == other.get(kind) for other in below):
            seed(random.Random(f"{digests[kind]}/{rank()}").getrandbits(63))


def _plain(state: Any) -> Any:
    return state.tolist() if isinstance(state, Tensor) else state


def _shared_modules(module: nn.Module) -> Iterator[nn.Module]:
    """Yield a module and its submodules, without those that are separate in each process."""
    if not getattr(module, "per_process", False):
        yield module
        for child in module.children():
            yield from _shared_modules(child)


def _take_from_first(tensors: list[Tensor]) -> None:
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    with torch.no_grad():
        for (device, _), group in kinds.items():
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            distributed.broadcast(flat, 0, group=host_group() if device.type == "cpu" else None)
            if rank() > 0:
                for tensor, values in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
                    tensor.copy_(values.view(tensor.shape))
