"""Training in several processes: start the process group, and take means over its processes.

``torchrun`` and ``torch.distributed`` decide which processes there are and how they communicate. In a single process
every function here is trivial, so that code for several processes also runs in one.
"""

import os
from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["init", "mean_over_ranks", "rank", "world_size"]


def init() -> None:
    """Start the process group of the processes that ``torchrun`` has started; in a single process, do nothing.

    It calls ``torch.distributed.init_process_group()``, unless a process group is there already. With CUDA each process
    takes the device of its local rank, and they communicate over NCCL; with an XPU for each process, over XCCL.
    Otherwise they do over Gloo, which knows the CPU only: on a machine with MPS, several processes train on the CPU.

    After a restart (``--max-restarts``) on one machine it also ignores the addresses that the previous processes left
    in torchrun's store: nobody listens there, and ``init_process_group`` alone fails more often than not.

    Example:
        >>> init()  # in a script that is run by python, or by torchrun
        >>> world_size()
        1
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or _initialized():
        return
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    on_cpu = there is None or there.type == "mps" or (there.type == "xpu" and torch.xpu.device_count() < local)
    if not on_cpu:
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", 0)))
    # Imported here, since not every build of torch has them.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # of several machines, each counts the restarts for itself
        store = PrefixStore(f"life {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    backend = "gloo" if there is not None and on_cpu else None  # None: torch takes that of the device
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size)


def rank() -> int:
    """Return the index of this process.

    Returns:
        From 0 to ``world_size() - 1``; 0 in a single process.

    Example:
        >>> rank()
        0
    """
    return distributed.get_rank() if _initialized() else 0


def world_size() -> int:
    """Return the number of processes that train together.

    Returns:
        At least 1.

    Example:
        >>> world_size()
        1
    """
    return distributed.get_world_size() if _initialized() else 1


def mean_over_ranks(x: Tensor) -> Tensor:
    r"""Return the mean of the tensors of all ranks, with the gradient of the loss of the whole batch.

    A loss that couples the samples of a batch by a mean applies this to the mean, and is then the loss of the whole
    batch. For :math:`y = \frac{1}{W} \sum_r x_r`, rank :math:`r` with its own loss :math:`L_r(y)`, and gradients that
    are averaged over ranks, as DistributedDataParallel does,

    .. math:: \frac{1}{W} \sum_s L_s = \text{the loss}, \qquad
        \bar x_r = \frac{1}{W} \sum_s \frac{\partial L_s}{\partial y},

    so that the backward pass is again a mean over ranks; it can be differentiated any number of times.

    Args:
        x: of one shape and dtype on all ranks; it requires a gradient on all of them or on none. All ranks must call
            this together.

    Returns:
        A tensor like x; x itself in a single process.

    Example:
        >>> mean_over_ranks(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return _MeanOverRanks.apply(x) if world_size() > 1 else x


class _MeanOverRanks(torch.autograd.Function):
    """The mean, whose backward pass is the mean."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return mean_over_ranks(gradients[0])


def _initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()
