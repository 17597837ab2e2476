"""The copies of a trainer on several ranks: alike in all that they have learnt, each with random numbers of its own."""

import hashlib
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ganlib.distributed import mean_over_ranks, rank, world_size
from ganlib.training._random import random_state
from ganlib.training._ranks import gather, host_group

__all__ = ["Replicas", "metrics_over_ranks", "move_random_numbers_apart"]


class Replicas:
    """Keeps a trainer's modules alike on all ranks; does nothing where a process is alone.

    All begin with the weights of rank 0, and each with random numbers of its own. Gradients are averaged, so weights
    stay alike. Buffers, such as batch norm's running statistics, do not: before each step all take those of rank 0.
    They are what a checkpoint holds, so a resumed run has them too.

    Args:
        parts: gives the trainer's parts; those that are modules are kept alike.
    """

    def __init__(self, parts: Callable[[], Iterable[Any]]) -> None:
        self._parts = parts
        self._begun = False

    def align(self) -> None:
        """Make all alike, before a step."""
        if world_size() == 1:
            return
        modules = [part for part in self._parts() if isinstance(part, nn.Module)]
        shared = [buffer for module in modules for buffer in module.buffers()]
        if not self._begun:
            shared += [parameter.detach() for module in modules for parameter in module.parameters()]
            move_random_numbers_apart()
            self._begun = True
        _take_from_first(shared)


def metrics_over_ranks(metrics: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each metric over ranks, all sent together.

    Args:
        metrics: scalars, of the same names on all ranks.

    Returns:
        Likewise; the same where the process is alone.
    """
    if world_size() == 1 or not metrics:
        return metrics
    together = torch.stack([value.detach().to(torch.float64) for value in metrics.values()])
    means = mean_over_ranks(together).unbind()
    return {name: mean.to(metrics[name].dtype) for name, mean in zip(metrics, means, strict=True)}


def move_random_numbers_apart() -> None:
    """Give a rank whose random numbers would be those of a lower one others; one that was seeded apart keeps its own.

    Of Python's, torch's and NumPy's each for itself; rank 0 always keeps its own.
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


def _take_from_first(tensors: list[Tensor]) -> None:
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    with torch.no_grad():
        for (device, _), alike in kinds.items():
            flat = torch.cat([tensor.reshape(-1) for tensor in alike])
            distributed.broadcast(flat, 0, group=host_group() if device.type == "cpu" else None)
            if rank() > 0:
                for tensor, values in zip(alike, flat.split([tensor.numel() for tensor in alike]), strict=True):
                    tensor.copy_(values.view(tensor.shape))
