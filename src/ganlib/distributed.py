"""What a script and its parts need to know of the other processes of a training, where there are several.

Which processes there are, and how they reach each other, is ``torchrun``'s and ``torch.distributed``'s to say. In a
process that is alone everything here is trivial, so a part need not ask.
"""

import os
from typing import Any

import torch
from torch import Tensor, distributed

__all__ = ["join", "mean_over_ranks", "rank", "world_size"]


def join() -> None:
    """Join the processes that ``torchrun`` has started beside this one; one that is alone, or has joined, stays so.

    It is ``torch.distributed.init_process_group()``, on the CUDA device of the local rank where there is one. After a
    restart (``--max-restarts``) on one machine it also keeps away from what the former processes have left in
    torchrun's store: their addresses, at which nobody listens, on which ``init_process_group`` alone fails more often
    than not.

    Example:
        >>> join()  # in a script that is run by python, or by torchrun
        >>> world_size()
        1
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1 or _joined():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    # Here, since not every build of torch has them.
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    store, rank, size = next(rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":  # of several machines, each counts the restarts for itself
        store = PrefixStore(f"life {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    distributed.init_process_group(store=store, rank=rank, world_size=size)


def rank() -> int:
    """Which of the processes this one is.

    Returns:
        From 0 to ``world_size() - 1``; 0 where it is alone.

    Example:
        >>> rank()
        0
    """
    return distributed.get_rank() if _joined() else 0


def world_size() -> int:
    """How many processes train together.

    Returns:
        At least 1.

    Example:
        >>> world_size()
        1
    """
    return distributed.get_world_size() if _joined() else 1


def mean_over_ranks(x: Tensor) -> Tensor:
    r"""The mean of the ranks' tensors, with the gradient that the loss of the whole batch has.

    A loss that couples the samples of a batch by a mean takes this of the mean, and is then the loss of the whole
    batch. For :math:`y = \frac{1}{W} \sum_r x_r`, rank :math:`r` with its own loss :math:`L_r(y)`, and gradients that
    are averaged over ranks, as DistributedDataParallel does,

    .. math:: \frac{1}{W} \sum_s L_s = \text{the loss}, \qquad
        \bar x_r = \frac{1}{W} \sum_s \frac{\partial L_s}{\partial y},

    so that what flows back is again a mean over ranks; it can be differentiated any number of times.

    Args:
        x: of one shape and dtype on all ranks, of which either all or none require a gradient. Each must call this.

    Returns:
        A tensor like x; x itself where the process is alone.

    Example:
        >>> mean_over_ranks(torch.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """
    return _MeanOverRanks.apply(x) if world_size() > 1 else x


class _MeanOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total / world_size()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return mean_over_ranks(gradients[0])


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
