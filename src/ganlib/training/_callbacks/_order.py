"""Find the order and the share in which a ``DataLoader`` returns its samples."""

from typing import Any

from torch.utils.data import DataLoader

__all__ = ["gives_all", "is_torchs", "order_of"]


def order_of(loader: DataLoader[Any]) -> Any:
    """Return the sampler that decides the order; with a batch sampler, the loader does not use its ``sampler``."""
    batch_sampler: Any = loader.batch_sampler
    if batch_sampler is None:
        return loader.sampler
    return batch_sampler.sampler if is_torchs(batch_sampler, "BatchSampler") else batch_sampler


def gives_all(loader: DataLoader[Any]) -> bool:
    """Test whether the loader gives each of several processes the whole data set."""
    return is_torchs(order_of(loader), "RandomSampler", "SequentialSampler")


def is_torchs(part: Any, *names: str) -> bool:
    """Test whether the class of a part is one of these classes of torch or torchdata, and not a user's subclass."""
    # Compare names, since torchdata has classes of the same names and may not be installed.
    kind = type(part)
    return kind.__name__ in names and kind.__module__.partition(".")[0] in ("torch", "torchdata")
