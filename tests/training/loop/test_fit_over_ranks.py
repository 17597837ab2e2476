"""The loop on several ranks: they stop together, see the same progress, write once, and go on exactly."""

import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from ganlib import data, training, viz
from ganlib.distributed import rank, world_size
from ganlib.errors import RunFolderError, TrainingDivergedError
from tests.ranks import Ranks
from tests.training.players import MyTrainer, Tripping, make_players, make_trainer, points, weights

ITERATIONS = 11


def make_loader(kind: str) -> Any:
    """A loader that gives each rank its share of 48 points."""
    if kind == "TensorLoader":
        return data.TensorLoader(TensorDataset(points(48)), 8 // world_size())
    from torchdata.stateful_dataloader import StatefulDataLoader

    dataset = TensorDataset(points(48))
    sampler = DistributedSampler(dataset, num_replicas=world_size(), rank=rank())
    loader: type[Any] = StatefulDataLoader if kind == "StatefulDataLoader" else DataLoader
    return loader(dataset, 8 // world_size(), sampler=sampler)


class StopAt:
    """Stops after an iteration; the last rank alone wants it."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_iteration(self, run: training.Run) -> None:
        """Stop, where it is time."""
        if run.iteration == self.iteration and rank() == world_size() - 1:
            run.stop()


def train(folder: Path, kind: str, stop: int, seed: int) -> tuple[int, dict[str, Tensor], float]:
    """A GAN with dropout, batch norm and an average, resumed where it can be: its end, and the next random number."""
    torch.manual_seed(seed)
    trainer = make_trainer(*make_players(seed=seed), discriminator_steps=2)
    ema = training.EMA(trainer.generator, decay=0.9)
    training.fit(
        trainer,
        make_loader(kind),
        iterations=ITERATIONS,
        resume=True,
        callbacks=[
            training.LearningRateSchedule(trainer.generator_optimizer, training.linear_decay(start=0.0)),
            ema,
            training.CSVLogger(folder / "metrics.csv", every=4),
            training.Checkpoint(folder, every=3),
            StopAt(stop),
        ],
    )
    state = {f"ema.{name}": value for name, value in ema.state_dict().items()}
    return trainer.iteration, weights(trainer) | state, torch.rand(()).item()


@pytest.mark.parametrize("kind", ["TensorLoader", "DataLoader", "StatefulDataLoader"])
def test_ranks_that_were_stopped_go_on_exactly(kind: str, two_ranks: Ranks, tmp_path: Path) -> None:
    """Stopped by rank 1 and resumed by other objects, both ranks end with the bits and the table of an undisturbed run.

    (Running statistics of rank 1 are its own until the next step, so they are not promised.)
    """
    whole = two_ranks(train, tmp_path / "whole", kind, 0, 0)
    for stop in (1, 2, 3, 7, 10):
        folder = tmp_path / str(stop)
        assert [iteration for iteration, _, _ in two_ranks(train, folder, kind, stop, 0)] == [stop, stop]
        for index, (iteration, state, number) in enumerate(two_ranks(train, folder, kind, 0, 99)):
            assert (iteration, number) == (ITERATIONS, whole[index][2])
            for name, value in whole[index][1].items():
                assert torch.equal(state[name], value), (stop, index, name)
        assert (folder / "metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()


@pytest.mark.parametrize(("n", "m"), [(1, 2), (2, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("kind", ["TensorLoader", "DataLoader"])
def test_what_n_ranks_have_saved_goes_on_on_m(
    kind: str, n: int, m: int, two_ranks: Ranks, three_ranks: Ranks, tmp_path: Path
) -> None:
    """A checkpoint of n ranks is resumed by m: they begin with its weights, and end with equal ones."""
    runs: dict[int, Callable[..., Any]] = {1: lambda function, *given: [function(*given)], 2: two_ranks, 3: three_ranks}
    runs[n](train, tmp_path, kind, 4, 0)
    saved = training.Checkpoint(tmp_path).newest()
    assert saved is not None
    assert (saved["trainer"]["iteration"], len(saved["ranks"])) == (4, n)
    ends = runs[m](train, tmp_path, kind, 0, 99)
    assert [iteration for iteration, _, _ in ends] == [ITERATIONS] * m
    learnt = [name for name in ends[0][1] if "running" not in name]
    assert all(torch.equal(state[name], ends[0][1][name]) for _, state, _ in ends for name in learnt)
    assert len({number for _, _, number in ends}) == m  # each rank draws numbers of its own
    again = training.Checkpoint(tmp_path).newest()
    assert again is not None
    assert len(again["ranks"]) == m


def begin_again(folder: Path) -> list[list[float]]:
    """Train three more iterations, and return what they met."""
    loader = data.TensorLoader(TensorDataset(torch.arange(24.0).view(24, 1)), 4 // world_size())
    trainer, seen = Collecting(), []
    callbacks = [training.Checkpoint(folder), StopAt(3)]
    training.fit(trainer, loader, iterations=6, resume=True, callbacks=callbacks)
    seen += trainer.met
    return seen


class Collecting(MyTrainer):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[list[float]] = []

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Keep the batch."""
        self.met.append(next(batches).sample.flatten().tolist())
        self.iteration += 1
        return {}


def test_the_same_samples_in_all_follow_on_another_number_of_ranks(two_ranks: Ranks, tmp_path: Path) -> None:
    """Two ranks with batches of 2 go on, in the middle of an epoch, with the samples that one with 4 would have met."""
    expected = []
    for folder in ("whole", "split"):
        expected = [sorted(batch) for batch in begin_again(tmp_path / folder)]
    assert len(expected) == 3
    rest = [sorted(batch) for batch in begin_again(tmp_path / "whole")]
    mine, theirs = two_ranks(begin_again, tmp_path / "split")
    assert [sorted(one + other) for one, other in zip(mine, theirs, strict=True)] == rest
    assert sorted(sum(expected + rest, [])) == [float(number) for number in range(24)]  # noqa: RUF017


class Called:
    """Notes where it was called."""

    def __init__(self, *, rank_zero_only: bool) -> None:
        self.rank_zero_only = rank_zero_only
        self.called = 0

    def on_start(self, run: training.Run) -> None:
        """Note it."""
        self.called += 1

    on_iteration = on_end = on_start


def call() -> list[int]:
    """How often callbacks of both kinds are called."""
    callbacks = [Called(rank_zero_only=True), Called(rank_zero_only=False)]
    training.fit(MyTrainer(), [points(2)], iterations=2, callbacks=callbacks)
    return [callback.called for callback in callbacks]


def test_a_callback_that_is_for_the_first_rank_is_called_there_alone(two_ranks: Ranks) -> None:
    """One with rank_zero_only is called on rank 0, as all that write are; any other is called on all."""
    assert two_ranks(call) == [[4, 4], [0, 4]]
    loggers = [training.CSVLogger, training.ProgressBar, training.TensorBoardLogger, viz.LossCurves]
    writers = [*loggers, viz.SampleGrid, viz.Timeline, viz.TrainingGif]
    assert all(writer.rank_zero_only for writer in writers)


def progress_of_minutes() -> list[float]:
    """The progress after each iteration, of ranks of which one is slower."""

    class Slow(MyTrainer):
        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            time.sleep(0.02 * rank())
            return super().train_step(batches)

    class Progress:
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_iteration(self, run: training.Run) -> None:
            self.seen.append(run.progress)

    progress = Progress()
    training.fit(Slow(), [points(2)], minutes=0.005, callbacks=[progress])
    return progress.seen


def test_ranks_agree_on_the_time(two_ranks: Ranks) -> None:
    """Limited by minutes, ranks of different speed take equally many iterations, and see the very same progress."""
    mine, theirs = two_ranks(progress_of_minutes)
    assert mine == theirs
    assert len(mine) > 3
    assert mine == sorted(mine)


def untimed_on_the_first_rank() -> tuple[int, list[float]]:
    """A training of 0.3 s, in which the first rank is busy with something untimed for 0.2 s after each iteration."""

    class Busy:
        rank_zero_only = untimed = True

        def on_iteration(self, run: training.Run) -> None:
            time.sleep(0.2)

    class Progress:
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_iteration(self, run: training.Run) -> None:
            self.seen.append(run.progress)

    class Slow(MyTrainer):
        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            time.sleep(0.02)
            return super().train_step(batches)

    trainer, progress = Slow(), Progress()
    training.fit(trainer, [points(2)], minutes=0.005, callbacks=[Busy(), progress])
    return trainer.iteration, progress.seen


def test_what_is_untimed_on_one_rank_is_untimed_on_all(two_ranks: Ranks) -> None:
    """The others wait for it meanwhile, which is no training either: all see the same progress."""
    mine, theirs = two_ranks(untimed_on_the_first_rank)
    assert mine == theirs
    assert mine[0] > 5
    assert mine[1] == sorted(mine[1])


def diverge(folder: Path, rollbacks: int) -> tuple[str, int]:
    """A training of which rank 1 diverges once, at iteration 6."""
    trainer = Tripping(6 if rank() == 1 else 0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it goes back
            callbacks = [training.Checkpoint(folder, every=4)]
            training.fit(trainer, [points(2)], iterations=9, callbacks=callbacks, rollbacks=rollbacks)
    except TrainingDivergedError as error:
        return str(error), trainer.iteration
    return "", trainer.iteration


def test_what_diverges_on_one_rank_stops_or_goes_back_on_all(two_ranks: Ranks, tmp_path: Path) -> None:
    """Where one rank diverges all raise, each with what it knows; or all go back, and all finish."""
    (mine, stopped), (theirs, also) = two_ranks(diverge, tmp_path / "raises", 0)
    assert "on another rank" in mine
    assert "in iteration 6 total was nan" in theirs
    assert stopped == also
    assert two_ranks(diverge, tmp_path / "goes back", 1) == [("", 9), ("", 9)]


def write_in_vain(folder: Path) -> str:
    """Train where the folder is removed."""

    class Remove:
        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 2 and rank() == 0:
                shutil.rmtree(folder / "checkpoints")
                (folder / "checkpoints").write_text("in the way")

    try:
        callbacks = [Remove(), training.Checkpoint(folder, every=3)]
        training.fit(MyTrainer(), [points(2)], iterations=9, callbacks=callbacks)
    except RunFolderError as error:
        return str(error)
    raise AssertionError("it was written")


def test_a_checkpoint_that_cannot_be_written_stops_all_ranks(two_ranks: Ranks, tmp_path: Path) -> None:
    """The writer's error is every rank's: none waits for the others."""
    mine, theirs = two_ranks(write_in_vain, tmp_path)
    assert mine == theirs
    assert "00000003.pt cannot be written" in mine or "checkpoints cannot be written" in mine
