"""How many samples the batches of a loader have, where it knows that."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from ganlib._nest import tensors_of
from ganlib.distributed import world_size

__all__ = ["batch_sizes"]


def batch_sizes(batches: Any) -> tuple[int, int] | None:
    """Find the sizes of a loader's batches, in this process.

    Args:
        batches: a ``DataLoader``, torchdata's, a :class:`ganlib.data.TensorLoader`, a sequence of batches, or what has
            ``loaders``, as :func:`ganlib.data.zip_loaders` and :func:`ganlib.data.map_loader` give it.

    Returns:
        The size of the first batch and that of the smallest one; None where they are not known.

    Example:
        >>> import torch
        >>> batch_sizes(DataLoader(torch.zeros(9, 2), batch_size=4))
        (4, 1)
    """
    if isinstance(batches, DataLoader):
        return _of_data_loader(batches)
    if isinstance(batches, Sequence):
        sizes = [next((len(tensor) for tensor in tensors_of(batch) if tensor.ndim), 0) for batch in batches]
        return (sizes[0], min(sizes)) if sizes and all(sizes) else None
    if isinstance(joined := getattr(batches, "loaders", None), Sequence):
        known = [batch_sizes(loader) for loader in joined]
        sizes_of_all = [one for one in known if one is not None]
        if not known or len(sizes_of_all) < len(known) or len({size for size, _ in sizes_of_all}) > 1:
            return None
        return sizes_of_all[0][0], min(smallest for _, smallest in sizes_of_all)
    samples, size, drop_last = (getattr(batches, name, None) for name in ("samples", "batch_size", "drop_last"))
    if isinstance(samples, Tensor) and isinstance(size, int) and isinstance(drop_last, bool):
        # Several processes share the last batch equally.
        return _sizes(len(samples), size * world_size(), drop_last, shared_by=world_size())
    return None


def _of_data_loader(loader: DataLoader[Any]) -> tuple[int, int] | None:
    sampler: Any = loader.batch_sampler
    if sampler is None or isinstance(loader.dataset, IterableDataset):
        return None
    if isinstance(sampler, Sequence):  # of lists of indices
        sizes = [len(indices) for indices in sampler]
        return (sizes[0], min(sizes)) if sizes and all(sizes) else None
    if type(sampler) is not BatchSampler and type(sampler).__module__.partition(".")[0] != "torchdata":
        return None
    order, size, drop_last = (getattr(sampler, name, None) for name in ("sampler", "batch_size", "drop_last"))
    try:
        return _sizes(len(order), size, bool(drop_last))  # type: ignore[arg-type]  # what has no length says so
    except TypeError:
        return None


def _sizes(samples: int, size: int, drop_last: bool, *, shared_by: int = 1) -> tuple[int, int] | None:
    if samples == 0 or (drop_last and samples < size):
        return None
    rest = samples % size
    smallest = size if drop_last or not rest else rest
    return -(-min(size, samples) // shared_by), -(-smallest // shared_by)
