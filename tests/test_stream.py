"""The stream gives the batches of one epoch after another, and knows its position."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_leaves
from torch.utils.data import BatchSampler, DataLoader, Dataset, DistributedSampler, TensorDataset

from ganlib import data
from ganlib._random import load_random_state
from ganlib._stream import Stream, has_state
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    CheckpointError,
    GanlibError,
    ShapeError,
)
from ganlib.protocols import Batch


def test_endless() -> None:
    """Three batches are given out again and again, and epochs and samples are counted."""
    stream = Stream([torch.zeros(4), torch.ones(4), torch.ones(2)])
    drawn = [len(next(stream)) for _ in range(7)]
    assert drawn == [4, 4, 2, 4, 4, 2, 4]
    assert (stream.epoch, stream.samples) == (2, 24)
    assert stream.epochs == pytest.approx(2 + 1 / 3)


@pytest.mark.parametrize(
    ("batch", "samples"),
    [
        (torch.zeros(4, 2), 4),
        ((torch.zeros(4, 2), torch.zeros(4)), 4),
        ([torch.zeros(4, 2)], 4),
        ({"image": torch.zeros(4, 2), "label": torch.zeros(4)}, 4),
        ({"path": ["a.png", "b.png"], "image": torch.zeros(2, 3)}, 2),
        ((torch.zeros(4, 2), {"class": torch.zeros(4), "angle": torch.zeros(4)}), 4),
        (torch.tensor(1.0), 0),
        ((), 0),
        ("a name", 0),
    ],
)
def test_samples_are_counted_in_batches_of_any_form(batch: Any, samples: int) -> None:
    """The first tensor of a batch says how many samples it has."""
    stream = Stream([batch])
    for _ in range(3):
        next(stream)
    assert stream.samples == 3 * samples


@pytest.mark.parametrize("workers", [0, 1])
def test_every_epoch_is_whole(workers: int) -> None:
    """Every epoch of torchdata's loader gives each sample once, in an order of its own."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    torch.manual_seed(0)
    loader = StatefulDataLoader(TensorDataset(torch.arange(12)), 4, shuffle=True, num_workers=workers)
    stream = Stream(loader)
    epochs = [[value for _ in range(3) for value in next(stream)[0].tolist()] for _ in range(3)]
    assert [sorted(values) for values in epochs] == [list(range(12))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert stream.epoch == 3


def test_batches_longer_than_they_say_are_all_given_out() -> None:
    """A length that is too small loses no batch."""

    class Modest(list[torch.Tensor]):
        """Says that it is shorter than it is."""

        def __len__(self) -> int:
            return 2

    stream = Stream(Modest([torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)]))
    assert [next(stream).item() for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_looking_ahead_gives_nothing_out() -> None:
    """peek says whether there is a batch, which is then given out once."""
    stream = Stream(iter([torch.zeros(1), torch.ones(1)]))
    assert stream.peek()
    assert stream.peek()
    assert [next(stream).item(), next(stream).item()] == [0, 1]
    assert not stream.peek()
    assert stream.epoch == 1


@pytest.mark.parametrize("batches", [Batch(torch.zeros(8, 2)), {"train": [1]}, "batches", list])
def test_what_gives_no_batches_is_refused(batches: Any) -> None:
    """A batch itself, a dict of loaders, text and a class are an ArgumentTypeError, though most can be iterated."""
    with pytest.raises(ArgumentTypeError, match=r"(?s)^real \(=.* must (give|be)"):
        Stream(batches, "real")


def test_a_length_that_changes_is_followed() -> None:
    """A list that has grown between two epochs is given out whole, and its epochs are counted right."""
    batches = [torch.zeros(1)]
    stream = Stream(batches)
    next(stream)
    batches.append(torch.ones(1))
    assert [next(stream).item() for _ in range(4)] == [0, 1, 0, 1]
    assert (stream.length, stream.epoch) == (2, 3)


def test_a_restart_begins_another_epoch() -> None:
    """What is left of an epoch is not given out, whether or not the loader has a state; a new one is left as it is."""
    for loader in (data.TensorLoader(TensorDataset(torch.arange(8.0)), 2), list(torch.arange(8.0).split(2))):
        stream = Stream(loader)
        next(stream)
        for _ in range(2):
            stream.restart()
            assert stream.epoch == 1
        assert sorted(x for _ in range(4) for x in tree_leaves(next(stream))[0].tolist()) == list(range(8))


def test_a_forwarded_state_is_seen() -> None:
    """A wrapper that forwards by __getattr__ has the state of its loader, in every version of Python."""

    class Forwarding:
        """Has what its loader has."""

        def __getattr__(self, name: str) -> Any:
            return getattr(loader, name)

    loader = data.TensorLoader(TensorDataset(torch.arange(8.0)), 2)
    assert has_state(Forwarding())
    assert has_state(loader)
    assert not has_state([loader])


def test_what_runs_out_or_is_empty_is_refused() -> None:
    """Empty batches, batches without iteration, and an iterator that runs out are told apart."""
    with pytest.raises(ArgumentTypeError, match=r"batches \(=None\)"):
        Stream(None)
    with pytest.raises(ArgumentValueError, match="length 0"):
        Stream([])
    with pytest.raises(ArgumentValueError, match="gave nothing"):
        next(Stream(iter([])))
    stream = Stream(iter([torch.zeros(1)]))
    next(stream)
    with pytest.raises(BatchesExhaustedError, match="ran out after 1 epoch"):
        next(stream)


@pytest.mark.parametrize("drawn", [0, 1, 3, 4, 6])
@pytest.mark.parametrize("kind", ["plain", "stateful"])
def test_goes_back_to_its_position(kind: str, drawn: int) -> None:
    """A second stream over a fresh loader goes on with the batches that the first one would have given."""

    def loader() -> Any:
        dataset = TensorDataset(torch.arange(32.0))
        return DataLoader(dataset, 8, shuffle=True) if kind == "plain" else data.TensorLoader(dataset, 8)

    torch.manual_seed(0)
    first = Stream(loader())
    for _ in range(drawn):
        next(first)
    state, random_state = first.state_dict(), torch.get_rng_state()
    expected = [next(first) for _ in range(9)]
    torch.manual_seed(99)
    second = Stream(loader())
    second.load_state_dict(state)
    torch.set_rng_state(random_state)
    actual = [next(second) for _ in range(9)]
    assert [batch[0].tolist() for batch in actual] == [batch[0].tolist() for batch in expected]
    assert (second.epoch, second.samples) == (first.epoch, first.samples)


def test_a_state_of_other_batches_is_refused() -> None:
    """A loader that has become shorter, or of another kind, cannot go to the position."""
    tensors = [torch.zeros(1)] * 5
    stream = Stream(tensors)
    for _ in range(4):
        next(stream)
    state = stream.state_dict()
    with pytest.raises(CheckpointError, match="at batch 4, but it now ends after 2"):
        Stream(tensors[:2]).load_state_dict(state)
    stateful = Stream(data.TensorLoader(TensorDataset(torch.zeros(8)), 2))
    with pytest.raises(CheckpointError, match="without a state of their own"):
        stateful.load_state_dict(state)
    with pytest.raises(CheckpointError, match="with a state of its own"):
        Stream(tensors).load_state_dict(stateful.state_dict())
    load_random_state(state["random_at_start"])


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_distributed_sampler_is_told_the_epoch(wrapped: bool) -> None:
    """Each epoch has the order that torch's DistributedSampler gives for it, also within a batch sampler."""
    sampler = DistributedSampler(range(8), num_replicas=2, rank=0)
    dataset = TensorDataset(torch.arange(8))
    if wrapped:
        loader = DataLoader(dataset, batch_sampler=BatchSampler(sampler, 4, drop_last=False))
    else:
        loader = DataLoader(dataset, 4, sampler=sampler)
    stream = Stream(loader)
    for epoch in range(3):
        expected = DistributedSampler(range(8), num_replicas=2, rank=0)
        expected.set_epoch(epoch)
        assert next(stream)[0].tolist() == list(expected)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("mapped", [False, True])
def test_pictures_that_torch_cannot_put_into_a_batch_are_named(workers: int, mapped: bool) -> None:
    """A DataLoader of Pillow's images is told what to do, in one short line; another TypeError is the loader's own."""
    loader: Any = DataLoader([Image.new("L", (4, 4))] * 4, 2, num_workers=workers)  # type: ignore[arg-type]
    with pytest.raises(ArgumentTypeError, match=r"loader \(=.*Image'>\): give the data set a transform") as caught:
        next(Stream(data.map_loader(loader, lambda batch: batch) if mapped else loader, "loader"))
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="len") as own:
        next(Stream(len(number) for number in [1]))
    assert not isinstance(own.value, ArgumentTypeError)


class Items(Dataset[Any]):
    """Eight items that a function makes of their index."""

    def __init__(self, item: Callable[[int], Any]) -> None:
        self.item = item

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self.item(index)


def _in_two_shapes(index: int) -> Any:
    return torch.zeros(1, 4 + index % 2)


def _in_two_lengths(index: int) -> Any:
    return torch.zeros(2), [0] * (1 + index % 2)


def _in_a_smaller_shape(index: int) -> Any:
    return torch.zeros(4 - index % 2)


def _with_two_names(index: int) -> Any:
    return {"a" if index % 2 else "b": 1.0}


def _without_some_labels(index: int) -> Any:
    return torch.zeros(2), None if index % 2 else 1


def _of_the_users(index: int) -> Any:
    raise RuntimeError("stack expects each tensor to be equal size, says the user")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("item", "error", "words"),
    [
        (_in_two_shapes, ShapeError, r"sizes differ.*\[1, 4\].*transform to one size, or use data.ImageFolder"),
        (_in_two_lengths, ShapeError, "sizes differ.*transform to one size"),
        (_in_a_smaller_shape, ShapeError, "sizes differ.*transform to one size"),
        (_with_two_names, ArgumentTypeError, r"into a batch \(KeyError: '.'\)"),
        (_without_some_labels, ArgumentTypeError, "into a batch .*NoneType"),
    ],
)
def test_items_that_do_not_fit_together_are_told_so(item: Any, error: Any, words: str, workers: int) -> None:
    """In one line, in a worker too."""
    with pytest.raises(error, match=rf"^loader \(=.*{words}") as caught:
        next(Stream(DataLoader(Items(item), 4, num_workers=workers), "loader"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_the_data_set_stays_its_own(workers: int) -> None:
    """Whatever its text is."""
    with pytest.raises(RuntimeError, match="says the user") as caught:
        next(Stream(DataLoader(Items(_of_the_users), 4, num_workers=workers)))
    assert not isinstance(caught.value, GanlibError)
