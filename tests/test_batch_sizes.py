"""The sizes of a loader's batches are those of the batches that it gives."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

from ganlib import data
from ganlib._batch_sizes import batch_sizes
from ganlib._nest import tensors_of


def rows(n: int) -> TensorDataset:
    """A data set of n samples."""
    return TensorDataset(torch.randn(n, 2))


class Stream(IterableDataset[Any]):
    """A stream of nine samples."""

    def __iter__(self) -> Any:
        return iter(torch.randn(9, 2))


class Lazy(Sequence[Any]):
    """Reads each batch when it is asked for."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("read before the training")


class Skips(DataLoader[Any]):
    """Leaves small batches out."""

    def __iter__(self) -> Any:
        return (batch for batch in super().__iter__() if len(batch[0]) == 4)


class Named(DataLoader[Any]):
    """Changes no batch."""


class First(RandomSampler):
    """Gives fewer indices than it says."""

    def __iter__(self) -> Any:
        return iter(range(8))


class Own(data.TensorLoader):
    """A user's."""

    def __iter__(self) -> Any:
        return (batch for batch in super().__iter__() if len(batch[0]) == 4)


class Duck:
    """A user's class that has names which ganlib's loaders have."""

    samples, batch_size, drop_last, batch_sizes, loaders = torch.zeros(9, 2), 4, False, (4, 1), [torch.zeros(1, 2)]

    def __iter__(self) -> Any:
        return iter(torch.zeros(2, 4, 2))


class Two(BatchSampler):
    """An own sampler."""

    def __iter__(self) -> Any:
        return iter([[0, 1, 2], [3]])


KNOWN: dict[str, Callable[[int], Any]] = {
    "DataLoader": lambda n: DataLoader(rows(n), 4),
    "drop_last": lambda n: DataLoader(rows(n), 4, drop_last=True),
    "shuffle": lambda n: DataLoader(rows(n), 4, shuffle=True),
    "sampler": lambda n: DataLoader(rows(n), 4, sampler=RandomSampler(rows(n), replacement=True, num_samples=n + 3)),
    "BatchSampler": lambda n: DataLoader(rows(n), batch_sampler=BatchSampler(SequentialSampler(rows(n)), 4, False)),
    "indices": lambda n: DataLoader(rows(n), batch_sampler=[[*range(n - 1)], [n - 1]]),
    "TensorLoader": lambda n: data.TensorLoader(rows(n), 4, drop_last=False),
    "TensorLoader, drop_last": lambda n: data.TensorLoader(rows(n), 4),
    "mapped": lambda n: data.map_loader(DataLoader(rows(n), 4), lambda batch: batch),
    "subclass": lambda n: Named(rows(n), 4),
    "zipped": lambda n: data.zip_loaders(DataLoader(rows(n), 4), DataLoader(rows(n), 4)),
    "list": lambda n: [torch.zeros(n, 2), (torch.zeros(2, 2), torch.zeros(2))],
}
UNKNOWN: dict[str, Callable[[], Any]] = {
    "stream": lambda: DataLoader(Stream(), 4),
    "batches as items": lambda: DataLoader(rows(9), batch_size=None),
    "own sampler": lambda: DataLoader(rows(9), batch_sampler=Two(SequentialSampler(rows(9)), 4, False)),
    "generator": lambda: iter([torch.zeros(4, 2)]),
    "zipped of two sizes": lambda: data.zip_loaders(DataLoader(rows(9), 4), DataLoader(rows(9), 3)),
    "zipped of two lengths": lambda: data.zip_loaders(DataLoader(rows(9), 4), DataLoader(rows(12), 4)),
    "zipped of two rests": lambda: data.zip_loaders(DataLoader(rows(9), 4), DataLoader(rows(10), 4)),
    "empty list": list,
    "lazy sequence": Lazy,
    "collate function": lambda: DataLoader(rows(9), 4, collate_fn=lambda items: torch.zeros(4, 2)),
    "own iteration": lambda: Skips(rows(9), 4),
    "own order": lambda: DataLoader(rows(9), 4, sampler=First(rows(9))),
    "own TensorLoader": lambda: Own(rows(9), 4, drop_last=False),
    "names alone": Duck,
}


@pytest.mark.parametrize("n", [4, 5, 8, 9, 11])
@pytest.mark.parametrize("name", KNOWN)
def test_known_sizes_are_those_of_the_batches(name: str, n: int) -> None:
    """The first one's, and the smallest one's."""
    loader = KNOWN[name](n)
    sizes = [len(next(tensors_of(batch))) for batch in loader]
    assert batch_sizes(loader) == (sizes[0], min(sizes))


@pytest.mark.parametrize("name", UNKNOWN)
def test_others_are_not_guessed(name: str) -> None:
    """A wrong size would be a false alarm."""
    assert batch_sizes(UNKNOWN[name]()) is None
