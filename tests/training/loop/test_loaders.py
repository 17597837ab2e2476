"""A data loader that would do another thing than its user thinks is warned of before the run begins."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from ganlib import data, distributed, training
from ganlib.training._loop import _loaders
from ganlib.training._loop._loaders import warn_of_loader
from tests.ranks import Ranks
from tests.training.players import MyTrainer, Noted, make_players, make_trainer, points, weights

DATASET = TensorDataset(points(40))

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # forks next to threads


def _loader(*arguments: Any, **options: Any) -> DataLoader[Any]:
    """A loader, whose own warning of more workers than cores is not what is looked at here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DataLoader(*arguments, **options)


class Endless(IterableDataset[Tensor]):
    """A data set without a length, never iterated here."""

    def __iter__(self) -> Iterator[Tensor]:
        raise NotImplementedError


class EveryOther(BatchSampler):
    """A user's own, which may give each rank its share."""


def _stateful(**options: Any) -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(DATASET, **options)


def warnings_of(batches: Any, callbacks: list[Any]) -> list[str]:
    """The warnings of batches, each a UserWarning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_loader(batches, callbacks)
    assert all(entry.category is UserWarning for entry in caught)
    return [str(entry.message) for entry in caught]


@pytest.mark.parametrize(
    ("options", "named", "instead"),
    [
        ({"num_workers": 2, "persistent_workers": True}, "persistent_workers=True", "TensorLoader"),
        ({"num_workers": 1, "persistent_workers": True, "shuffle": True}, "DataLoader with", "StatefulDataLoader"),
        ({"num_workers": 2, "in_order": False}, "in_order=False", "leave it True"),
    ],
)
def test_a_loader_that_cannot_be_resumed_exactly_is_named(
    options: dict[str, Any], named: str, instead: str, tmp_path: Path
) -> None:
    """With a Checkpoint one warning says what it is, and what to take instead; without one there is none."""
    loader = _loader(DATASET, 8, **options)
    (warned,) = warnings_of(loader, [Noted(), training.Checkpoint(tmp_path)])
    assert named in warned
    assert instead in warned
    assert warnings_of(loader, [Noted()]) == []


def test_a_sampler_that_torchdata_cannot_resume_is_named(tmp_path: Path) -> None:
    """torchdata's loader with a shuffling sampler of torch's is warned of; with its own, or one in order, it is not."""
    checkpoint = training.Checkpoint(tmp_path)
    for sampler in (RandomSampler(DATASET), SubsetRandomSampler(range(40))):
        (warned,) = warnings_of(_stateful(batch_size=8, sampler=sampler), [checkpoint])
        assert f"StatefulDataLoader with torch's {type(sampler).__name__}" in warned
    for options in ({"shuffle": True}, {}, {"sampler": DistributedSampler(DATASET, 2, 0)}):
        assert warnings_of(_stateful(batch_size=8, **options), [checkpoint]) == []


@pytest.mark.parametrize(
    "batches",
    [
        points(40).split(8),
        data.TensorLoader(DATASET, 8),
        DataLoader(DATASET, 8, shuffle=True),
        _loader(DATASET, 8, shuffle=True, num_workers=2),
        DataLoader(DATASET, 8, num_workers=1, in_order=False),
        DataLoader(DATASET, None),
        _loader(Endless(), 8, num_workers=2),
    ],
)
def test_what_is_exact_is_not_warned_of(batches: Any, tmp_path: Path) -> None:
    """Lists, TensorLoader, and a plain loader whose workers end with the epoch and are asked in order, are fine."""
    assert warnings_of(batches, [training.Checkpoint(tmp_path)]) == []


def test_fit_warns_once_and_points_to_its_call(tmp_path: Path) -> None:
    """A run over persistent workers warns once, where fit was called."""
    loader = DataLoader(DATASET, 8, num_workers=1, persistent_workers=True, collate_fn=_first)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.fit(MyTrainer(), loader, iterations=12, callbacks=[training.Checkpoint(tmp_path, every=2)])
    (warned,) = [entry for entry in caught if "resume exactly" in str(entry.message)]
    assert warned.filename == __file__


def _first(samples: list[tuple[Tensor]]) -> Tensor:
    return torch.stack([sample for (sample,) in samples])


@pytest.mark.parametrize(
    ("loader", "sampler"),
    [
        (DataLoader(DATASET, 8, shuffle=True), "RandomSampler"),
        (DataLoader(DATASET, 8), "SequentialSampler"),
        (DataLoader(DATASET, batch_sampler=BatchSampler(SequentialSampler(DATASET), 8, False)), "SequentialSampler"),
        (DataLoader(DATASET, None), "SequentialSampler"),
        (_stateful(batch_size=8, shuffle=True), "RandomSampler"),
        (DataLoader(DATASET, 8, sampler=DistributedSampler(DATASET, 2, 0)), None),
        (DataLoader(DATASET, batch_sampler=BatchSampler(DistributedSampler(DATASET, 2, 0), 8, False)), None),
        (DataLoader(DATASET, batch_sampler=EveryOther(SequentialSampler(DATASET), 8, False)), None),
        (_stateful(batch_size=8, sampler=DistributedSampler(DATASET, 2, 0)), None),
        (DataLoader(Endless(), 8), None),
        (data.TensorLoader(DATASET, 8), None),
    ],
)
def test_a_loader_that_gives_each_rank_everything_is_named(
    loader: Any, sampler: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two ranks, rank 0 warns of a sampler that knows no ranks; a process that is alone, and rank 1, do not."""
    assert warnings_of(loader, []) == []
    monkeypatch.setattr(_loaders, "world_size", lambda: 2)
    warned = warnings_of(loader, [])
    assert len(warned) == (sampler is not None)
    for words in warned:
        assert f"each of the 2 processes gets the whole data set of its {type(loader).__name__}" in words
        assert f"sampler is a {sampler}" in words
        assert "torch.utils.data.DistributedSampler" in words
    monkeypatch.setattr(_loaders, "rank", lambda: 1)
    assert [words for words in warnings_of(loader, []) if "is for process" not in words] == []


def test_a_distributed_sampler_of_another_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rank is told that its sampler is another rank's, or one of another number of ranks."""
    monkeypatch.setattr(_loaders, "world_size", lambda: 2)
    for sampler in (DistributedSampler(DATASET, 2, 1), DistributedSampler(DATASET, 4, 0)):
        for loader in (
            DataLoader(DATASET, 8, sampler=sampler),
            data.map_loader(DataLoader(DATASET, 8, sampler=sampler), len),
        ):
            (words,) = warnings_of(loader, [])
            assert f"is for process {sampler.rank} of {sampler.num_replicas}, but this is 0 of 2" in words
    monkeypatch.setattr(_loaders, "rank", lambda: 1)
    assert warnings_of(DataLoader(DATASET, 8, sampler=DistributedSampler(DATASET, 2, 1)), []) == []


class Wrapper:
    """A user's, which changes the batches of a loader and has no state."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return (batch for batch in self.loader)


class Forwarding(Wrapper):
    """One that has whatever its loader has."""

    def __getattr__(self, name: str) -> Any:
        if name == "loader":  # which a copy does not have yet
            raise AttributeError
        return getattr(self.loader, name)


class Streaming(IterableDataset[Any]):
    """A data set that takes its samples from a loader."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


GLOBAL = data.TensorLoader(DATASET, 8)


class OverAGlobal:
    """One that takes its batches from a loader of the module."""

    def __iter__(self) -> Iterator[Any]:
        return iter(GLOBAL)


def _generated(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def _closure(loader: Any) -> Any:
    class Closure:
        def __iter__(self) -> Iterator[Any]:
            return iter(loader)

    return Closure()


WRAPPERS = [
    Wrapper,
    lambda loader: Wrapper(Wrapper(loader)),
    lambda loader: Wrapper({"train": [loader]}),
    lambda loader: Wrapper(partial(iter, loader)),
    lambda loader: DataLoader(Streaming(loader), None),
    lambda loader: data.map_loader(Wrapper(loader), len),
    lambda loader: map(len, loader),
    lambda loader: zip(loader, loader, strict=True),
    lambda loader: OverAGlobal(),
    _generated,
    _closure,
]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_wrapper_that_hides_a_position_is_named(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    """A loader with a state, wherever a wrapper without one keeps it, is found, and one warning offers what to do."""
    batches = wrap(data.TensorLoader(DATASET, 8))
    (words,) = warnings_of(batches, [training.Checkpoint(tmp_path)])
    assert "around a TensorLoader, whose position no checkpoint holds" in words
    assert "data.map_loader" in words
    assert warnings_of(batches, []) == []


def test_an_iterator_in_the_function_of_a_map_loader_is_named(tmp_path: Path) -> None:
    """Its position is in no checkpoint; a loader, a generator of random numbers or a file are fine."""
    other, numbers = data.TensorLoader(DATASET, 8), torch.Generator()
    iterator = iter(other)
    with (tmp_path / "log").open("w") as file:
        for function, named in (
            (lambda batch: (batch, next(iterator)), True),
            (partial(zip, itertools.cycle([1, 2])), True),
            (lambda batch: (batch, other.samples.mean()), False),
            (lambda batch: (batch, torch.rand(1, generator=numbers)), False),
            (lambda batch: (batch, file.write("")), False),
        ):
            loader = data.map_loader(data.map_loader(data.TensorLoader(DATASET, 8), function), len)
            assert warnings_of(loader, []) == []
            warned = warnings_of(loader, [training.Checkpoint(tmp_path)])
            assert len(warned) == named
            assert not named or "the function of a map_loader takes values from a" in warned[0]


def test_other_loaders_inside_a_wrapper_are_looked_at(tmp_path: Path) -> None:
    """torchdata's, one with a generator of its own, and one with persistent workers are named too."""
    for loader, words in (
        (_stateful(batch_size=8), "around a StatefulDataLoader, whose position"),
        (DataLoader(DATASET, 8, shuffle=True, generator=torch.Generator()), "whose random generator"),
        (_loader(DATASET, 8, num_workers=1, persistent_workers=True), "with persistent_workers=True"),
    ):
        (warned,) = warnings_of(Wrapper(loader), [training.Checkpoint(tmp_path)])
        assert words in warned


class Own(Wrapper):
    """A wrapper that says where it is."""

    def state_dict(self) -> dict[str, Any]:
        """Where the loader is."""
        return self.loader.state_dict()  # type: ignore[no-any-return]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go there."""
        self.loader.load_state_dict(state)


class Holding(Wrapper):
    """A wrapper that also keeps networks and an optimizer, which have states of their own."""

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        self.networks = nn.ModuleList([nn.Linear(2, 2)])
        self.optimizer = torch.optim.SGD(self.networks.parameters(), lr=0.1)


@pytest.mark.parametrize(
    "batches",
    [
        Wrapper(points(40).split(8)),
        Wrapper(DataLoader(DATASET, 8, shuffle=True)),
        Holding(DataLoader(DATASET, 8)),
        Own(data.TensorLoader(DATASET, 8)),
        Forwarding(data.TensorLoader(DATASET, 8)),
        data.map_loader(data.TensorLoader(DATASET, 8), len),
        data.zip_loaders(data.TensorLoader(DATASET, 8), DataLoader(DATASET, 8, generator=torch.Generator())),
        DataLoader(TensorDataset(data.TensorLoader(DATASET, 8).samples), 8),
        map(torch.neg, points(40).split(8)),
    ],
)
def test_a_wrapper_of_what_can_be_repeated_is_not_warned_of(batches: Any, tmp_path: Path) -> None:
    """Around a list or a plain loader, with a state of its own, or joined by ganlib: all of it resumes exactly."""
    assert warnings_of(batches, [training.Checkpoint(tmp_path)]) == []


def test_a_sampler_that_cannot_be_told_the_epoch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two ranks, a wrapper that hides a shuffling DistributedSampler has one order; map_loader has not."""
    monkeypatch.setattr(_loaders, "world_size", lambda: 2)
    shuffled, ordered = (DataLoader(DATASET, 8, sampler=DistributedSampler(DATASET, 2, 0, x)) for x in (True, False))
    (words,) = warnings_of(Wrapper(shuffled), [])
    assert "every epoch has the same order" in words
    for fine in (Wrapper(ordered), Forwarding(shuffled), data.map_loader(shuffled, len)):
        assert warnings_of(fine, []) == []


class Numbered(TensorDataset):
    """Points that hold their number, and noise of the process's own."""

    def __init__(self) -> None:
        super().__init__(torch.arange(40.0))

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (number,) = super().__getitem__(index)
        return (torch.stack([number, torch.rand(())]),)


class Summing(MyTrainer):
    """Notes the numbers of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[list[int]] = []

    def train_step(self, batches: Any) -> dict[str, Tensor]:
        """Note them, and add up."""
        (batch,) = next(batches)
        self.met.append(batch[:, 0].int().tolist())
        return super().train_step(iter([batch]))


def shares() -> list[list[int]]:
    """What this rank meets in each of three epochs."""
    dataset = Numbered()
    trainer = Summing()
    training.fit(trainer, DataLoader(dataset, 4, sampler=DistributedSampler(dataset)), epochs=3)
    return [list(itertools.chain(*trainer.met[5 * epoch : 5 * epoch + 5])) for epoch in range(3)]


def train_on_a_rank(stop_at: int, folder: str, seed: int, resume: bool) -> dict[str, Tensor]:
    """Train a GAN on this rank's share of the points; gives its weights, and a random number that follows."""
    torch.manual_seed(seed + distributed.rank())
    dataset = TensorDataset(points(40))
    trainer = make_trainer(*make_players(seed=seed), discriminator_steps=2)
    callbacks = [training.Checkpoint(folder, every=3), Noted(stop_at=stop_at)]
    loader = DataLoader(dataset, 4, sampler=DistributedSampler(dataset))
    training.fit(trainer, loader, iterations=8, callbacks=callbacks, resume=resume)
    return weights(trainer) | {"next random number": torch.rand(1)}


def test_a_distributed_sampler_shares_every_epoch_out(two_ranks: Ranks) -> None:
    """Each of two ranks has its own half of the samples, together they have them all, in another order each epoch."""
    first, second = two_ranks(shares)
    for mine, theirs in zip(first, second, strict=True):
        assert sorted(mine + theirs) == list(range(40))
    for epochs in (first, second):
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_two_ranks_with_a_distributed_sampler_go_on_exactly(two_ranks: Ranks, tmp_path: Path) -> None:
    """Stopped within an epoch or at the end of one, and resumed, each rank ends with the bits of an undisturbed run."""
    expected = two_ranks(train_on_a_rank, 8, str(tmp_path / "whole"), 0, False)
    for stop in (3, 5):
        folder = str(tmp_path / str(stop))
        two_ranks(train_on_a_rank, stop, folder, 0, False)
        resumed = two_ranks(train_on_a_rank, 8, folder, 90, True)
        for actual, wanted in zip(resumed, expected, strict=True):
            assert [name for name in wanted if not torch.equal(actual[name], wanted[name])] == []


def test_each_rank_is_told_once(two_ranks: Ranks) -> None:
    """Of two ranks that train over a shuffled loader, the first one alone warns."""
    assert two_ranks(warned_in_fit) == [1, 0]


def warned_in_fit() -> int:
    """How often fit warns here of a loader that gives each rank everything."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.fit(Summing(), DataLoader(Numbered(), 4, shuffle=True), iterations=3)
    return sum("gets the whole data set" in str(entry.message) for entry in caught)
