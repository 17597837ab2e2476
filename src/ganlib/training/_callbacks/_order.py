"""In which order, and in which share, a ``DataLoader`` gives its samples."""

from typing import Any

from torch.utils.data import DataLoader

__all__ = ["gives_all", "is_torchs", "order_of"]


def order_of(loader: DataLoader[Any]) -> Any:
    """What the order of samples comes from; the loader's own ``sampler`` is not used with a given batch sampler."""
    batch_sampler: Any = loader.batch_sampler
    if batch_sampler is None:
        return loader.sampler
    return batch_sampler.sampler if is_torchs(batch_sampler, "BatchSampler") else batch_sampler


def gives_all(loader: DataLoader[Any]) -> bool:
    """Whether the loader gives each of several processes the whole data set."""
    return is_torchs(order_of(loader), "RandomSampler", "SequentialSampler")


def is_torchs(part: Any, *names: str) -> bool:
    """Whether a part is of a class of torch or torchdata of such a name, and not of a user's subclass."""
    # By name: torchdata, which has its own of the same names, may not be installed.
    kind = type(part)
    return kind.__name__ in names and kind.__module__.partition(".")[0] in ("torch", "torchdata")
