"""Warn of loaders that do not resume exactly, or do not share samples correctly between processes."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from io import IOBase
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, IterableDataset

from ganlib._held import held
from ganlib._random import generators_of
from ganlib._stream import has_state
from ganlib.distributed import rank, world_size
from ganlib.protocols import Callback
from ganlib.training._callbacks._checkpoint import Checkpoint
from ganlib.training._callbacks._order import gives_all, is_torchs, order_of

__all__ = ["warn_of_loader"]


def warn_of_loader(batches: Any, callbacks: Sequence[Callback]) -> None:
    """Warn of a loader that may not resume exactly, or that returns a process other samples than its share.

    ``fit`` must call this directly, since the warning points to the caller of ``fit``. Most warnings come from rank 0
    only.
    """
    saved = any(isinstance(callback, Checkpoint) for callback in callbacks)
    if saved and rank() == 0:
        functions = [getattr(loader, "function", None) for loader in _joined(batches) if _loaders_of(loader)]
        for message in filter(None, map(_why_function_not_exact, functions)):
            warnings.warn(message, stacklevel=3)
    for loader in _parts(batches):
        found = [_why_not_exact(loader) if saved and rank() == 0 else None, _why_not_shared(loader)]
        for message in filter(None, found):
            warnings.warn(message, stacklevel=3)


def _parts(batches: Any) -> Iterator[Any]:
    """List the loaders that ``data.zip_loaders`` and ``data.map_loader`` have joined, or the single loader."""
    return (part for part in _joined(batches) if _loaders_of(part) is None)


def _joined(batches: Any) -> Iterator[Any]:
    """List a loader and all loaders that are joined in it."""
    yield batches
    for loader in _loaders_of(batches) or ():
        yield from _joined(loader)


def _loaders_of(batches: Any) -> tuple[Any, ...] | None:
    joined = getattr(batches, "loaders", None)
    return joined if isinstance(joined, tuple) and has_state(batches) else None


def _why_function_not_exact(function: Any) -> str | None:
    """Describe an iterator in a function of ``data.map_loader``: no state of the function contains its position."""
    if function is None or has_state(function):
        return None
    for value in held(function, within=3, closed=_is_closed):
        if isinstance(value, Iterator) and not isinstance(value, IOBase) and not has_state(value):
            return (
                "this run cannot be counted on to resume exactly from its checkpoints: the function of a map_loader "
                f"takes values from a {type(value).__name__}, whose position no checkpoint holds; if it gives batches, "
                "join its loader by data.zip_loaders, else give the function a state_dict and a load_state_dict"
            )
    return None


def _is_closed(value: Any) -> bool:
    return isinstance(value, nn.Module | Optimizer | DataLoader | Dataset | IOBase) or has_state(value)


def _why_not_exact(batches: Any) -> str | None:
    doubt = "this run cannot be counted on to resume exactly from its checkpoints: batches is a"
    kind = type(batches).__name__
    if isinstance(batches, DataLoader) and (reason := _flaw(batches)):
        return f"{doubt} {kind} with {reason}"
    for loader in _hidden(batches):
        inside = type(loader).__name__
        remedy = (
            f"give the {kind} a state_dict and a load_state_dict that forward to it, or create it by data.map_loader "
            "or data.zip_loaders"
        )
        if has_state(loader):
            return f"{doubt} {kind} around a {inside}, whose position no checkpoint holds; {remedy}"
        if generators_of(loader):
            return f"{doubt} {kind} around a {inside} whose random generator no checkpoint holds; {remedy}"
        if reason := _flaw(loader):
            return f"{doubt} {kind} around a {inside} with {reason}"
    return None


def _hidden(batches: Any) -> Iterator[Any]:
    """List the loaders from which an object without a state takes its batches."""
    if isinstance(batches, DataLoader):
        batches = batches.dataset if isinstance(batches.dataset, IterableDataset) else None
    if has_state(batches):
        return
    # Objects of these classes contain many attributes, and take no batches from a loader.
    for value in held(batches, closed=(nn.Module, Optimizer, DataLoader, Dataset)):
        stateful = isinstance(value, Iterable) and not isinstance(value, nn.Module | Dataset) and has_state(value)
        if value is not batches and (stateful or isinstance(value, DataLoader)):
            yield value


def _why_not_shared(loader: Any) -> str | None:
    """Describe what is wrong with the share of samples that a process gets."""
    hidden = not isinstance(loader, DataLoader)
    if hidden:
        loader, outer = next((inner for inner in _hidden(loader) if isinstance(inner, DataLoader)), None), loader
    if loader is None or world_size() == 1:
        return None
    kind, order = type(loader).__name__, order_of(loader)
    if gives_all(loader) and rank() == 0:
        return (
            f"each of the {world_size()} processes gets the whole data set of its {kind}, whose "
            f"sampler is a {type(order).__name__}: unless this data set already contains only the samples of this "
            "process, pass sampler=torch.utils.data.DistributedSampler(dataset) instead of shuffle, or use a "
            "data.TensorLoader"
        )
    if not is_torchs(order, "DistributedSampler"):
        return None
    if (order.num_replicas, order.rank) != (world_size(), rank()):
        return (
            f"the DistributedSampler of this {kind} is for process {order.rank} of {order.num_replicas}, but this is "
            f"{rank()} of {world_size()}: create it after ganlib.distributed.init(), without num_replicas and rank"
        )
    if hidden and order.shuffle and rank() == 0 and not hasattr(outer, "sampler"):
        return (
            f"every epoch has the same order: batches is a {type(outer).__name__} around a {kind} whose "
            "DistributedSampler does not get the epoch; create it by data.map_loader or data.zip_loaders"
        )
    return None


def _flaw(loader: DataLoader[Any]) -> str | None:
    stateful = has_state(loader)
    order = order_of(loader)
    if loader.num_workers > 1 and not getattr(loader, "in_order", True):  # torchdata's has it since 0.11
        return "in_order=False, which returns batches in the order in which its workers finish; leave it True"
    if loader.persistent_workers and not stateful:
        return (
            "persistent_workers=True, which keeps random numbers in the workers, where no checkpoint can save them, "
            "and changes how its order is drawn; use persistent_workers=False, a data.TensorLoader, or, if the data "
            "set draws no random numbers, torchdata's StatefulDataLoader"
        )
    names = ("RandomSampler", "SubsetRandomSampler", "WeightedRandomSampler")
    if stateful and type(order).__module__.startswith("torch.") and is_torchs(order, *names):
        return (
            f"torch's {type(order).__name__}, which draws another order when it is resumed within an epoch; use "
            "shuffle=True, which has a sampler that can be resumed, or torch's own DataLoader"
        )
    return None
