"""Multi-GPU training: start the process group, and compute means over processes.

``torchrun`` starts the processes, and :mod:`torch.distributed` communicates between them. In a single process all
functions work too, so the same code runs on one GPU and on several.
"""

import os
from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["init", "mean_over_ranks", "rank", "world_size"]


def init() -> None:
    """Start the process group of the processes that ``torchrun`` has started.

    It calls :func:`torch.distributed.init_process_group`. It does nothing in a single process, or if there is a process
    group already.

    With CUDA, each process uses the GPU of its local rank, and the backend is NCCL. If there is an XPU for each
    process, the backend is XCCL. Otherwise the backend is Gloo, which supports the CPU only. On a machine with MPS,
    several processes therefore train on the CPU.

    After a restart on one machine (``--max-restarts``), it ignores the addresses that the previous processes left in
    torchrun's store. With ``init_process_group`` alone, a restart often fails because of these addresses.

    Example:
        >>> init()  # in a script that you start with python or torchrun
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
    # Imported here, because not every build of torch has them.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # several machines may count the restarts differently
        store = PrefixStore(f"life {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    backend = "gloo" if there is not None and on_cpu else None  # None: torch uses the default of the device
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
    r"""Return the mean of a tensor over all ranks, with a gradient.

    Use it for a loss that contains a mean over the batch, to compute the loss of the whole batch. It requires gradients
    that are averaged over ranks, as :class:`torch.nn.parallel.DistributedDataParallel` does. Let :math:`W` be the
    number of ranks, :math:`x_r` the tensor of rank :math:`r`, and :math:`L_r(y)` its loss. Then

    .. math:: y = \frac{1}{W} \sum_r x_r, \qquad L = \frac{1}{W} \sum_r L_r(y), \qquad
        \bar x_r = \frac{1}{W} \sum_s \frac{\partial L_s}{\partial y}.

    The gradient :math:`\bar x_r` is again a mean over ranks. It can be differentiated any number of times.

    Args:
        x: a tensor of the same shape and dtype on all ranks. It requires a gradient on all ranks or on no rank. All
            ranks must call this function together.

    Returns:
        A tensor like ``x``; ``x`` itself in a single process.

    Example:
        >>> mean_over_ranks(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return _MeanOverRanks.apply(x) if world_size() > 1 else x


class _MeanOverRanks(torch.autograd.Function):
    """Compute a mean over ranks; the backward pass is the same mean."""

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
