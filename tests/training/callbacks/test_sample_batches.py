"""How batches of a sampler and of a loader of real samples are read; test_evaluate_over_ranks.py has shares."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from ganlib import data
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Batch
from ganlib.training._callbacks._sample_batches import check_batches, from_start, parts_of, restarts, share_of

SAMPLES = torch.arange(12.0)


@pytest.mark.parametrize("batches", [SAMPLES, Batch(SAMPLES, None), 3, None])
def test_what_gives_no_batches_is_refused(batches: Any) -> None:
    """Items of a tensor or of a batch are no batches, though both are iterable."""
    with pytest.raises(ArgumentTypeError, match="sampler .* must give batches"):
        check_batches("sampler", batches)


@pytest.mark.parametrize("batch", [SAMPLES, Batch(SAMPLES, None), (SAMPLES,), [SAMPLES, None], (SAMPLES, None, "more")])
def test_samples_of_any_batch(batch: Any) -> None:
    """A batch without a condition has None for it."""
    sample, condition = parts_of(batch, "real")
    assert sample is SAMPLES
    assert condition is None


@pytest.mark.parametrize("batch", [(), [], ({"image": SAMPLES},), None, torch.tensor(1.0)])
def test_a_batch_without_samples_is_refused(batch: Any) -> None:
    """The error names the role."""
    with pytest.raises(ArgumentTypeError, match="real gave a"):
        parts_of(batch, "real")


def test_a_tensor_loader_starts_again_and_goes_on() -> None:
    """The reader gets the batches of the first epoch; the loader itself goes on as if nobody had read it."""

    def batches(loader: Any) -> Iterator[list[float]]:
        return (batch.sample.flatten().tolist() for batch in loader)

    loader, other = (data.TensorLoader(list(SAMPLES[:, None]), 5, seed=3) for _ in range(2))
    first = [*batches(loader)]
    assert [*batches(other)] == first
    stream, alone = batches(loader), batches(other)
    assert next(stream) == next(alone)
    with from_start(loader) as again:
        assert [*batches(again)] == first
    assert [*stream] == [*alone]
    assert [*batches(loader)] == [*batches(other)]


def test_an_order_by_epoch_is_restored() -> None:
    """A sampler with ``set_epoch`` gives the order of its first epoch, and is at its own epoch afterwards."""
    order = DistributedSampler(SAMPLES, num_replicas=1, rank=0, seed=4)  # type: ignore[arg-type]
    loader: DataLoader[Tensor] = DataLoader(SAMPLES, batch_size=12, sampler=order)  # type: ignore[arg-type]
    (first,) = loader
    order.set_epoch(7)
    (later,) = loader
    with from_start(loader) as again:
        assert torch.equal(next(iter(again)), first)
    assert not torch.equal(first, later)
    assert torch.equal(next(iter(loader)), later)


def test_one_process_reads_all() -> None:
    """Its share is each batch, of any loader."""
    tensors = data.TensorLoader(list(SAMPLES[:, None]), 4)
    assert restarts(tensors)
    for loader in ([SAMPLES], DataLoader(SAMPLES, 4), tensors):  # type: ignore[arg-type]
        assert sum(len(parts_of(batch, "real")[0]) for batch in share_of(loader)) == 12
