"""Batch sizes of loaders."""

from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset, default_collate

from ganlib._nest import tensors_of

__all__ = ["batch_sizes", "sizes_of_epoch"]


def batch_sizes(batches: Any) -> tuple[int, int] | None:
    """Return the sizes of the first and the smallest batch of a loader in this process, or None if unknown.

    They are known for a ``DataLoader`` of torch or torchdata with default batching, for a list or tuple of batches, and
    for a loader of ganlib with ``batch_sizes``.

    Example:
        >>> import torch
        >>> batch_sizes(DataLoader(torch.zeros(9, 2), batch_size=4))
        (4, 1)
    """
    if isinstance(batches, DataLoader):
        return _of_data_loader(batches)
    if type(batches) in (list, tuple):  # any other sequence may read a batch from a file
        return _known([next((len(tensor) for tensor in tensors_of(batch) if tensor.ndim), 0) for batch in batches])
    if type(batches).__module__.partition(".")[0] == "ganlib":
        sizes: tuple[int, int] | None = getattr(batches, "batch_sizes", None)
        return sizes
    return None


def sizes_of_epoch(samples: int, size: int, *, drop_last: bool) -> tuple[int, int] | None:
    """Return the sizes of the first and the smallest batch of an epoch, or None if it has no batch.

    Example:
        >>> sizes_of_epoch(9, 4, drop_last=False)
        (4, 1)
    """
    if samples == 0 or (drop_last and samples < size):
        return None
    return min(size, samples), size if drop_last else samples % size or size


def _of_data_loader(loader: DataLoader[Any]) -> tuple[int, int] | None:
    sampler: Any = loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or loader.collate_fn is not default_collate or not _torchs(loader):
        return None
    try:
        if type(sampler) in (list, tuple):  # each item is a list of indices
            return _known([len(indices) for indices in sampler])
        order = getattr(sampler, "sampler", None)
        if not (isinstance(sampler, BatchSampler) and _torchs(sampler) and _torchs(order)):
            return None
        return sizes_of_epoch(len(order), sampler.batch_size, drop_last=bool(sampler.drop_last))  # type: ignore[arg-type]
    except TypeError:  # no length
        return None


def _known(sizes: list[int]) -> tuple[int, int] | None:
    return (sizes[0], min(sizes)) if sizes and all(sizes) else None


def _torchs(loader: Any) -> bool:
    """Return whether ``__iter__`` is a method of torch or torchdata; subclasses can inherit it."""
    iterates = getattr(type(loader), "__iter__", None)
    return getattr(iterates, "__module__", "").partition(".")[0] in ("torch", "torchdata")
