"""Read batches of a sampler, and real samples of a loader from its start."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from ganlib._shown import shown
from ganlib.distributed import rank, world_size
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Batch, Stateful
from ganlib.training._callbacks._order import gives_all, order_of

__all__ = ["check_batches", "from_start", "parts_of", "restarts", "share_of"]


def check_batches(role: str, batches: Any) -> Any:
    """Return what gives batches one after another, or raise an error that names its role."""
    # A tensor or a Batch is iterable too, but its items are not batches.
    if not isinstance(batches, Iterable) or isinstance(batches, Tensor | Batch):
        given = f"a {type(batches).__name__}" if isinstance(batches, Tensor | Batch) else f"{shown(batches)}"
        raise ArgumentTypeError(f"{role} (={given}) must give batches, one after another, such as [samples]")
    return batches


def parts_of(batch: Any, role: str) -> tuple[Tensor, Any]:
    """Split a batch into samples and conditions."""
    sample, condition, *_ = (*batch, None) if isinstance(batch, tuple | list) and batch else (batch, None)
    if not isinstance(sample, Tensor) or not sample.ndim:
        raise ArgumentTypeError(f"{role} gave a {type(sample).__name__}; it must give samples, or (sample, condition)")
    return sample, condition


@contextmanager
def from_start(loader: Any) -> Iterator[Any]:
    """Start a loader at its first epoch, without a change to a training that uses the same loader."""
    if restarts(loader):
        loader = copy.copy(loader)
        loader.load_state_dict({**loader.state_dict(), "epoch": 0, "position": 0})
    order: Any = order_of(loader) if isinstance(loader, DataLoader) else None
    if not (hasattr(order, "set_epoch") and hasattr(order, "epoch")):
        yield loader
        return
    epoch = order.epoch
    order.set_epoch(0)  # the order and the shares of a DistributedSampler depend on the epoch
    try:
        yield loader
    finally:
        order.set_epoch(epoch)


def restarts(loader: Any) -> bool:
    """Test whether a loader is a ``TensorLoader``, of which a copy can start at the beginning of the data."""
    return isinstance(loader, Stateful) and hasattr(loader, "samples")


def share_of(loader: Any) -> Iterable[Any]:
    """Return this process's batches; a loader that returns each process its own share is used unchanged."""
    whole = gives_all(loader) if isinstance(loader, DataLoader) else not restarts(loader)
    return islice(loader, rank(), None, world_size()) if whole else loader
