"""fit drives any Trainer to any limit, and a run that was stopped goes on exactly."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from ganlib import data, training
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    GanlibError,
    GanlibRuntimeError,
)
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights


class Noted:
    """Notes what a callback sees."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.stop_at = stop_at

    def on_iteration(self, run: training.Run) -> None:
        """Note the counters."""
        self.seen.append((run.iteration, run.epoch, run.samples, round(run.progress, 4)))
        if run.iteration == self.stop_at:
            run.stop()


def test_iterations_are_a_total() -> None:
    """Iterations counts from the trainer's own counter, so a second call does only what is missing."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], iterations=3)
    training.fit(trainer, [points()], iterations=5)
    training.fit(trainer, [points()], iterations=4)
    assert trainer.iteration == 5


@pytest.mark.parametrize("sized", [True, False])
def test_epochs_are_passes(sized: bool) -> None:
    """Epochs stops after that many passes, with and without a known length."""
    trainer, noted = MyTrainer(), Noted()

    class Unsized:
        """Batches without a length."""

        def __iter__(self) -> Any:
            return iter([points(4), points(2)])

    training.fit(trainer, [points(4), points(2)] if sized else Unsized(), epochs=2, callbacks=[noted])
    assert trainer.iteration == 4
    assert [samples for _, _, samples, _ in noted.seen] == [4, 6, 10, 12]
    assert [epoch for _, epoch, _, _ in noted.seen] == ([0, 1, 1, 2] if sized else [0, 0, 1, 1])


@pytest.mark.parametrize("steps", [1, 2])
def test_epochs_are_a_total_too(steps: int) -> None:
    """A second call does only the passes that are missing, also where a step draws several batches."""
    trainer = make_trainer(discriminator_steps=steps)
    training.fit(trainer, [points()] * 4, epochs=2)
    training.fit(trainer, [points()] * 4, epochs=3)
    assert trainer.iteration == 3 * 4 // steps


def test_minutes_are_of_this_call() -> None:
    """Minutes stops by the clock, whatever the counter says."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], minutes=0.001)
    first = trainer.iteration
    training.fit(trainer, [points()], minutes=0.001)
    assert 0 < first < trainer.iteration


def test_the_first_limit_wins_and_progress_follows_the_nearest() -> None:
    """With several limits the nearest one stops, and run.progress is its share."""
    trainer, noted = MyTrainer(), Noted()
    training.fit(trainer, [points(4)] * 10, iterations=4, epochs=1, minutes=60, callbacks=[noted])
    assert [progress for *_, progress in noted.seen] == [0.25, 0.5, 0.75, 1.0]


def test_a_callback_can_stop() -> None:
    """run.stop() ends the training after the iteration."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], iterations=100, callbacks=[Noted(stop_at=7)])
    assert trainer.iteration == 7


def test_callbacks_are_called_in_order_and_checkpoints_last(tmp_path: Path) -> None:
    """Callbacks run in the order given, but a Checkpoint after all others, and run.callbacks says so."""
    order: list[str] = []

    class Named:
        """Says its name."""

        def __init__(self, name: str) -> None:
            self.name = name

        def on_start(self, run: training.Run) -> None:
            order.append(f"start {self.name}")

        def on_iteration(self, run: training.Run) -> None:
            order.append(f"{self.name} sees {len(list(tmp_path.glob('checkpoints/*.pt')))} files")
            assert isinstance(run, training.Run)
            assert isinstance(run.callbacks[-1], training.Checkpoint)

        def on_end(self, run: training.Run) -> None:
            order.append(f"end {self.name}")

    callbacks = [training.Checkpoint(tmp_path, every=1), Named("a"), Named("b")]
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=callbacks)
    assert order == ["start a", "start b", "a sees 0 files", "b sees 0 files", "end a", "end b"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"trainer": object()}, ArgumentTypeError, "train_step"),
        ({"callbacks": Noted()}, ArgumentTypeError, "callbacks.*sequence"),
        ({"callbacks": [object()]}, ArgumentTypeError, "on_start, on_iteration and on_end"),
        ({"callbacks": [Noted]}, ArgumentTypeError, "on_start, on_iteration and on_end"),
        ({"iterations": None}, ArgumentValueError, "iterations, epochs and minutes are all None"),
        ({"iterations": -1}, ArgumentValueError, r"iterations \(=-1\)"),
        ({"minutes": float("nan")}, ArgumentValueError, r"minutes \(=nan\)"),
        ({"resume": True}, ArgumentValueError, r"resume \(=True\)"),
        ({"batches": []}, ArgumentValueError, "empty"),
        ({"batches": iter([])}, ArgumentValueError, "empty"),
        ({"batches": 3}, ArgumentTypeError, r"batches \(=3\)"),
        ({"batches": iter([points()])}, BatchesExhaustedError, "iterated again"),
    ],
)
def test_bad_arguments_are_answered(arguments: dict[str, Any], error: type[GanlibError], words: str) -> None:
    """A wrong argument of fit gets an error of ours that names it."""
    given: dict[str, Any] = {"trainer": MyTrainer(), "batches": [points()], "iterations": 3} | arguments
    with pytest.raises(error, match=words):
        training.fit(given.pop("trainer"), given.pop("batches"), **given)


def test_batches_that_can_be_iterated_once_may_end_with_the_epoch() -> None:
    """A one-pass iterator is enough for one epoch."""
    trainer = MyTrainer()
    training.fit(trainer, iter([points(), points()]), epochs=1)
    assert trainer.iteration == 2


def test_a_trainer_that_does_not_count_is_answered() -> None:
    """A train_step that leaves iteration as it was would never end, and is refused."""

    class Stuck(MyTrainer):
        """Counts nothing."""

        def train_step(self, batches: Any) -> dict[str, Tensor]:
            return {}

    with pytest.raises(GanlibRuntimeError, match=r"iteration \(=0\)"):
        training.fit(Stuck(), [points()], iterations=1)


class Wandering(TensorDataset):
    """A data set that draws random numbers of torch's and Python's for every sample."""

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        (point,) = super().__getitem__(index)
        return (point + torch.rand(2) * random.random() * 1e-2,)


def make_loader(kind: str) -> Any:
    """A loader of five batches, of the kind that is asked for."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    if kind == "list":
        return list(points(40).split(8))
    if kind == "TensorLoader":
        return data.TensorLoader(TensorDataset(points(40)), 8)
    if kind == "StatefulDataLoader":
        return StatefulDataLoader(TensorDataset(points(40)), 8, shuffle=True)
    own = torch.Generator().manual_seed(3) if kind == "DataLoader with a generator" else None
    dataset = Wandering(points(40)) if kind == "DataLoader of random samples" else TensorDataset(points(40))
    return DataLoader(dataset, 8, shuffle=True, generator=own)


LOADERS = [
    "list",
    "TensorLoader",
    "DataLoader",
    "DataLoader of random samples",
    "DataLoader with a generator",
    "StatefulDataLoader",
]


def run_for(iterations: int, kind: str, folder: Path, *, seed: int, resume: bool) -> dict[str, Tensor]:
    """Train a GAN with dropout, batch norm, an EMA and everything random, in what could be a fresh process."""
    torch.manual_seed(seed)
    random.seed(seed)
    trainer = make_trainer(*make_players(seed=seed), discriminator_steps=2)
    ema = training.EMA(trainer.generator, decay=0.9)
    schedules = [
        training.LearningRateSchedule(optimizer, training.linear_decay(start=0.0))
        for optimizer in (trainer.generator_optimizer, trainer.discriminator_optimizer)
    ]
    training.fit(
        trainer,
        make_loader(kind),
        iterations=iterations if resume or iterations == 11 else 11,
        resume=resume,
        callbacks=[*schedules, ema, training.Checkpoint(folder, every=3), Noted(stop_at=iterations)],
    )
    state = {f"ema.{name}": value for name, value in ema.state_dict().items()}
    return weights(trainer) | state | {"next random number": torch.rand(1)}


@pytest.mark.parametrize("kind", LOADERS)
def test_a_run_stopped_after_any_iteration_goes_on_exactly(kind: str, tmp_path: Path) -> None:
    """Stopped after any of its iterations and resumed by fresh objects, a run ends with the same bits."""
    expected = run_for(11, kind, tmp_path / "whole", seed=0, resume=False)
    for stop in (1, 2, 3, 4, 5, 7, 10):
        folder = tmp_path / str(stop)
        run_for(stop, kind, folder, seed=0, resume=False)
        actual = run_for(11, kind, folder, seed=99, resume=True)
        assert actual.keys() == expected.keys()
        for name in expected:
            assert torch.equal(actual[name], expected[name]), (stop, name)


def test_a_users_trainer_is_resumed_too(tmp_path: Path) -> None:
    """A Trainer of the user's own, with our checkpoints, goes on exactly."""
    torch.manual_seed(0)
    whole = MyTrainer()
    training.fit(whole, [points(seed=seed) for seed in range(3)], iterations=8)
    torch.manual_seed(0)
    training.fit(MyTrainer(), [points(seed=seed) for seed in range(3)], iterations=5,
                 callbacks=[training.Checkpoint(tmp_path)])  # fmt: skip
    resumed = MyTrainer()
    training.fit(resumed, [points(seed=seed) for seed in range(3)], iterations=8, resume=True,
                 callbacks=[training.Checkpoint(tmp_path)])  # fmt: skip
    assert torch.equal(resumed.total, whole.total)


def test_resume_starts_afresh_where_there_is_nothing(tmp_path: Path) -> None:
    """resume=True with an empty folder is a new run."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], iterations=2, resume=True, callbacks=[training.Checkpoint(tmp_path)])
    assert trainer.iteration == 2


def test_a_state_without_its_callback_is_warned_of(tmp_path: Path) -> None:
    """Resuming without the EMA that the checkpoint holds says so."""
    trainer = make_trainer()
    callbacks = [training.EMA(trainer.generator), training.Checkpoint(tmp_path)]
    training.fit(trainer, [points()], iterations=2, callbacks=callbacks)
    with pytest.warns(UserWarning, match="EMA"):
        training.fit(make_trainer(), [points()], iterations=3, resume=True, callbacks=[training.Checkpoint(tmp_path)])
