"""Loaders that silently do something else than their user expects."""

import warnings
from collections.abc import Sequence
from typing import Any

from torch.utils.data import DataLoader

from ganlib.distributed import rank, world_size
from ganlib.protocols import Callback, Stateful
from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._order import gives_all, is_torchs, order_of

__all__ = ["warn_of_loader"]


def warn_of_loader(batches: Any, callbacks: Sequence[Callback]) -> None:
    """Warn where a ``DataLoader`` may not resume exactly, or gives every process the whole data set.

    Called by ``fit`` itself, so that the warning points to where ``fit`` was called; only rank 0 warns.
    """
    if not isinstance(batches, DataLoader) or rank() > 0:
        return
    reason = _why_not_exact(batches)
    if reason is not None and any(isinstance(callback, Checkpoint) for callback in callbacks):
        warnings.warn(
            f"this run cannot be counted on to resume exactly from its checkpoints: batches is a "
            f"{type(batches).__name__} with {reason}",
            stacklevel=3,
        )
    order = order_of(batches)
    if world_size() > 1 and gives_all(batches):
        warnings.warn(
            f"each of the {world_size()} processes gets the whole data set of its {type(batches).__name__}, whose "
            f"sampler is a {type(order).__name__}: unless that data set is the process's own share already, "
            "give sampler=torch.utils.data.DistributedSampler(dataset) instead of shuffle, or take a data.TensorLoader",
            stacklevel=3,
        )


def _why_not_exact(loader: DataLoader[Any]) -> str | None:
    stateful = isinstance(loader, Stateful)
    order = order_of(loader)
    if loader.num_workers > 1 and not getattr(loader, "in_order", True):  # torchdata's has it since 0.11
        return "in_order=False, which gives out batches in the order that its workers happen to end in; leave it True"
    if loader.persistent_workers and not stateful:
        return (
            "persistent_workers=True, whose random numbers go on from epoch to epoch where no checkpoint has them, "
            "and change how its order is drawn; take persistent_workers=False, a data.TensorLoader, or, where the data "
            "set draws no random numbers, torchdata's StatefulDataLoader"
        )
    names = ("RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler")
    if stateful and type(order).__module__.startswith("torch.") and is_torchs(order, *names):
        return (
            f"torch's {type(order).__name__}, which draws another order when it is resumed within an epoch; take "
            "shuffle=True, which brings a sampler that can be resumed, or torch's own DataLoader"
        )
    return None
