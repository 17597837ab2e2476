"""What the order of a loader's samples comes from, and who gets them."""

from typing import Any

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from ganlib.training._callbacks._order import gives_all, is_torchs, order_of

DATASET = TensorDataset(torch.arange(8))


class MyOrder(RandomSampler):
    """A user's, which may give each process what it likes."""


class MyBatches:
    """A user's batch sampler."""

    def __iter__(self) -> Any:
        return iter([[0, 1], [2, 3]])

    def __len__(self) -> int:
        return 2


class Endless(IterableDataset[int]):
    """A data set without an order of its own."""

    def __iter__(self) -> Any:
        return iter(range(8))


SHARED = DistributedSampler(DATASET, num_replicas=2, rank=0)
MINE, BATCHES = MyOrder(DATASET), MyBatches()


@pytest.mark.parametrize(
    ("options", "order", "all_of_it"),
    [
        ({}, "SequentialSampler", True),
        ({"shuffle": True}, "RandomSampler", True),
        ({"shuffle": True, "batch_size": None}, "RandomSampler", True),
        ({"batch_sampler": BatchSampler(SequentialSampler(DATASET), 2, False)}, "SequentialSampler", True),
        ({"batch_sampler": BatchSampler(SHARED, 2, False)}, SHARED, False),
        ({"sampler": SHARED}, SHARED, False),
        ({"sampler": MINE}, MINE, False),
        ({"sampler": WeightedRandomSampler([1.0] * 8, 8)}, "WeightedRandomSampler", False),
        ({"batch_sampler": BATCHES}, BATCHES, False),
        ({"dataset": Endless()}, "_InfiniteConstantSampler", False),
    ],
)
@pytest.mark.parametrize("kind", ["torch", "torchdata"])
def test_the_order_and_who_gets_it(options: Any, order: Any, all_of_it: bool, kind: str) -> None:
    """It is what decides; only torch's own orders of the whole data set are known to be the same for every process."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    loader: Any = (DataLoader if kind == "torch" else StatefulDataLoader)(**{"dataset": DATASET, **options})
    found = order_of(loader)
    assert found is order or type(found).__name__ == order
    assert gives_all(loader) is all_of_it


def test_a_class_of_the_same_name_is_not_torchs() -> None:
    """It is the name and where it is from."""
    other = type("RandomSampler", (), {})()
    assert not is_torchs(other, "RandomSampler")
    assert is_torchs(RandomSampler(DATASET), "SequentialSampler", "RandomSampler")
    assert not is_torchs(RandomSampler(DATASET), "SequentialSampler")
