"""Loaders made of loaders: the right batches, and a position that is exact over a resume of a run."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from ganlib import data, distributed, training
from ganlib._nest import tensors_of
from ganlib.errors import ArgumentValueError, CheckpointError
from tests.ranks import Ranks
from tests.training.players import MyTrainer, Noted

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # forks next to threads
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),  # on a machine of one core
]


class Wandering(TensorDataset):
    """Numbers, each with noise of torch's and Python's generators."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (number,) = super().__getitem__(index)
        return (number + torch.rand(1) * random.random() * 1e-2,)


class Streaming(IterableDataset[Tensor]):
    """Numbers in a random order, without a length."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.tensor[torch.randperm(len(self.tensor))])


class Forwarding:
    """A user's wrapper, which has whatever its loader has."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name == "loader":
            raise AttributeError
        return getattr(self.loader, name)


def numbers(n: int, start: int = 0) -> Tensor:
    """(n, 1) whole numbers."""
    return torch.arange(float(start), start + n).view(n, 1)


def _stateful(*arguments: Any, **options: Any) -> Any:
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(*arguments, **options)


class Noise(torch.nn.Module):
    """Adds noise that depends on the number of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, batch: Tensor) -> Tensor:
        """Add it."""
        self.calls += 1
        return batch + self.calls / 1024


def _drawing(generator: torch.Generator, batch: Tensor) -> Tensor:
    return batch + torch.rand(1, generator=generator)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


KINDS: dict[str, Callable[[Tensor], Any]] = {
    "list": lambda x: list(x.split(2)),
    "TensorLoader": lambda x: data.TensorLoader(TensorDataset(x), 2),
    "transformed": lambda x: data.TensorLoader(TensorDataset(x), 2, transform=lambda sample: sample + torch.rand(1)),
    "DataLoader": lambda x: DataLoader(TensorDataset(x), 2, shuffle=True),
    "random": lambda x: DataLoader(Wandering(x), 2, shuffle=True),
    "generator": lambda x: DataLoader(Wandering(x), 2, shuffle=True, generator=_generator()),
    "sampler": lambda x: DataLoader(Wandering(x), 2, sampler=RandomSampler(range(len(x)), generator=_generator())),
    "weighted": lambda x: DataLoader(Wandering(x), 2, sampler=WeightedRandomSampler(torch.ones(len(x)), len(x))),
    "distributed": lambda x: DataLoader(Wandering(x), 2, sampler=DistributedSampler(range(len(x)), 1, 0)),
    "workers": lambda x: DataLoader(Wandering(x), 2, shuffle=True, num_workers=1),
    "no length": lambda x: DataLoader(Streaming(x), 2),
    "stateful": lambda x: _stateful(TensorDataset(x), 2, shuffle=True),
    "random stateful": lambda x: _stateful(Wandering(x), 2, shuffle=True),
    "forwarding": lambda x: Forwarding(data.TensorLoader(TensorDataset(x), 2)),
    "mapped": lambda x: data.map_loader(DataLoader(Wandering(x), 2, shuffle=True), lambda b: b[0] + torch.rand(1)),
    "mapped with a state": lambda x: data.map_loader(
        data.map_loader(list(x.split(2)), Noise()), partial(_drawing, torch.Generator())
    ),
    "zipped": lambda x: data.zip_loaders(
        DataLoader(Wandering(x), 2, shuffle=True), _stateful(Wandering(numbers(10)), 2, shuffle=True), length="longest"
    ),
}
PAIRS = [
    ("list", "DataLoader"),
    ("TensorLoader", "TensorLoader"),
    ("transformed", "random"),
    ("random", "DataLoader"),
    ("generator", "sampler"),
    ("weighted", "stateful"),
    ("distributed", "random"),
    ("workers", "TensorLoader"),
    ("no length", "random"),
    ("random stateful", "no length"),
    ("stateful", "random stateful"),
    ("forwarding", "random"),
    ("mapped", "zipped"),
    ("no length", "zipped"),
    ("mapped with a state", "random"),
]


class Meeting(MyTrainer):
    """Notes all that it is given, and random numbers that only an exact resume gets right."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[Any] = []

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Note them."""
        batch = next(batches)
        self.iteration += 1
        self.met.append(([x.flatten().tolist() for x in tensors_of(batch)], torch.rand(()).item(), random.random()))
        return {"total": self.total}


def run_for(iterations: int, make: Callable[[], Any], folder: Path, *, seed: int = 0, resume: bool = False) -> Any:
    """What a run meets up to its 12th iteration, or up to where it is stopped; as if in a fresh process."""
    torch.manual_seed(seed)
    random.seed(seed)
    trainer = Meeting()
    callbacks = [training.Checkpoint(folder, every=5), Noted(stop_at=iterations)]
    training.fit(trainer, make(), iterations=12, callbacks=callbacks, resume=resume)
    return trainer.met


def check_exact(make: Callable[[], Any], folder: Path, stops: tuple[int, ...] = (1, 3, 5, 7)) -> None:
    """Stopped within epochs and at their ends, and resumed, the run meets what an undisturbed one meets."""
    expected = run_for(12, make, folder / "whole")
    for stop in stops:
        begun = run_for(stop, make, folder / str(stop))
        assert begun + run_for(12, make, folder / str(stop), seed=77, resume=True) == expected, stop


@pytest.mark.parametrize("kind", KINDS)
def test_a_mapped_loader_resumes_exactly(kind: str, tmp_path: Path) -> None:
    """A run over any loader, through a function that draws random numbers, goes on with the same bits."""
    check_exact(
        lambda: data.map_loader(KINDS[kind](numbers(6)), lambda batch: [*tensors_of(batch), torch.rand(2)]), tmp_path
    )


@pytest.mark.parametrize("length", ["shortest", "longest"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_zipped_loaders_resume_exactly(first: str, second: str, length: Any, tmp_path: Path) -> None:
    """A run over two loaders of any kinds, of unequal lengths, goes on with the same bits."""
    a, b = numbers(6), numbers(10, 1000)
    check_exact(lambda: data.zip_loaders(KINDS[first](a), KINDS[second](b), length=length), tmp_path)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("weighted", "mapped with a state", "zipped")])
@pytest.mark.parametrize("length", ["shortest", "longest"])
def test_every_epoch_is_whole(kind: str, length: Any) -> None:
    """A shorter loader gives each sample once before it gives any again, and has another order in each epoch."""
    torch.manual_seed(0)
    own, other = KINDS[kind](numbers(6)), list(numbers(10, 1000).split(2))
    loader = data.map_loader(data.zip_loaders(own, other, length=length), lambda pair: next(tensors_of(pair[0])))
    epochs = [[batch.flatten().int().tolist() for batch in loader] for _ in range(3)]
    for epoch in epochs:
        assert len(epoch) == (3 if length == "shortest" else 5)
        if kind not in ("transformed", "mapped"):  # their noise changes the number
            assert sorted(x for batch in epoch[:3] for x in batch) == list(range(6))
    if kind != "list":
        assert epochs[0] != epochs[1]


def test_unequal_lengths() -> None:
    """The shortest ends an epoch of all; the longest lets the others begin again; lengths are counted so."""
    a, b = list(numbers(4).split(2)), list(numbers(10).split(2))
    for length, expected in (("shortest", 2), ("longest", 5)):
        loader = data.zip_loaders(a, b, length=length)  # type: ignore[arg-type]
        for _ in range(2):
            assert [int(pair[0][0, 0]) for pair in loader] == [0, 2, 0, 2, 0][:expected]
            assert [int(pair[1][0, 0]) for pair in loader] == [0, 2, 4, 6, 8][:expected]
        assert len(loader) == expected
    unknown = data.zip_loaders(a, DataLoader(Streaming(numbers(10)), 2), length="longest")
    assert len(list(unknown)) == 5
    with pytest.raises(TypeError):
        len(unknown)


def test_a_state_by_hand_is_exact_and_moves_no_random_number() -> None:
    """In a user's own loop, a fresh loader with the state goes on; loading leaves the process's random state."""
    make = lambda: data.zip_loaders(KINDS["DataLoader"](numbers(6)), KINDS["TensorLoader"](numbers(10)))  # noqa: E731
    torch.manual_seed(0)
    loader = make()
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    expected = [*batches, *loader]
    torch.manual_seed(5)
    other, before = make(), torch.get_rng_state()
    other.load_state_dict(state)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close([*other, *other], expected)


def test_a_state_without_that_of_the_function_is_loaded() -> None:
    """As an earlier version saved it; the function begins with its own state."""
    make = KINDS["mapped with a state"]
    loader = make(numbers(12))
    next(iter(loader))
    state = loader.state_dict()
    assert state.pop("function")
    assert state["streams"][0]["loader"].pop("function")
    other = make(numbers(12))
    other.load_state_dict(state)
    assert (next(iter(other)) - numbers(4, 2)[:2]).abs().max() < 2


def test_an_epoch_left_early_is_not_gone_on_with() -> None:
    """A new loop begins the next epoch, a whole one."""
    loader = data.map_loader(list(numbers(6).split(2)), lambda batch: int(batch[0]))
    assert next(iter(loader)) == 0
    assert list(loader) == [0, 2, 4]


def test_the_same_loader_twice_is_refused() -> None:
    """One with a position of its own cannot be at two; lists and plain loaders can."""
    for loader in (KINDS["TensorLoader"](numbers(6)), KINDS["stateful"](numbers(6)), iter(numbers(6))):
        with pytest.raises(ArgumentValueError, match="is there twice"):
            data.zip_loaders(loader, loader)
        with pytest.raises(ArgumentValueError, match="is there twice"):
            data.zip_loaders(data.map_loader(loader, len), loader)
    same = KINDS["DataLoader"](numbers(6))
    assert len(list(data.zip_loaders(same, same))) == 3


def test_the_state_of_other_loaders_is_refused() -> None:
    """A state of another number of loaders, of another kind, or of none is a CheckpointError."""
    one, two = (KINDS[kind](numbers(6)) for kind in ("list", "TensorLoader"))
    state = data.zip_loaders(one, two).state_dict()
    for other in (data.map_loader(one, len), data.zip_loaders(two, one)):
        with pytest.raises(CheckpointError):
            other.load_state_dict(state)
    with pytest.raises(CheckpointError, match="other loaders"):
        data.zip_loaders(one, two).load_state_dict({"seed": 0, "epoch": 1})


def test_fit_counts_the_samples_of_the_first_loader() -> None:
    """Epochs and samples are those of the first tensor of a batch."""
    loader = data.zip_loaders(KINDS["TensorLoader"](numbers(6)), list(numbers(12).split(4)))
    noted = Noted()
    training.fit(Meeting(), loader, epochs=2, callbacks=[noted])
    assert [seen[1:3] for seen in noted.seen] == [(0, 2), (0, 4), (1, 6), (1, 8), (1, 10), (2, 12)]


def over_ranks(stop_at: int, folder: str, seed: int, resume: bool) -> Any:
    """What this rank meets over a TensorLoader, and a loader with a DistributedSampler."""

    def make() -> Any:
        shared = DataLoader(Wandering(numbers(12)), 2, sampler=DistributedSampler(range(12)))
        return data.zip_loaders(data.TensorLoader(TensorDataset(numbers(20)), 2), shared)

    return run_for(stop_at, make, Path(folder), seed=seed + distributed.rank(), resume=resume)


def test_two_ranks_resume_exactly_and_share_every_epoch(two_ranks: Ranks, tmp_path: Path) -> None:
    """Each rank goes on as if nothing had happened, and the sampler is told the epoch."""
    expected = two_ranks(over_ranks, 12, str(tmp_path / "whole"), 0, False)
    for stop in (2, 3):
        begun = two_ranks(over_ranks, stop, str(tmp_path / str(stop)), 0, False)
        resumed = two_ranks(over_ranks, 12, str(tmp_path / str(stop)), 50, True)
        assert [one + other for one, other in zip(begun, resumed, strict=True)] == expected
    shares = [[[int(x) for step in met[k : k + 3] for x in step[0][1]] for k in (0, 3, 6)] for met in expected]
    for mine, theirs in zip(*shares, strict=True):
        assert sorted(mine + theirs) == list(range(12))
    assert shares[0][0] != shares[0][1]
