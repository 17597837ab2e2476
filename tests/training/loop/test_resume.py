"""A run that was stopped goes on exactly."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from ganlib import data, training
from tests.training.players import MyTrainer, make_players, make_trainer, points, weights


class StopAt:
    """Stops a run after an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_iteration(self, run: training.Run) -> None:
        """Stop, where it is time."""
        if run.iteration == self.iteration:
            run.stop()


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
    if kind == "DataLoader with a sampler's generator":
        sampler = RandomSampler(range(40), generator=torch.Generator().manual_seed(3))
        return DataLoader(TensorDataset(points(40)), 8, sampler=sampler)
    own = torch.Generator().manual_seed(3) if kind == "DataLoader with a generator" else None
    dataset = Wandering(points(40)) if kind == "DataLoader of random samples" else TensorDataset(points(40))
    return DataLoader(dataset, 8, shuffle=True, generator=own)


LOADERS = [
    "list",
    "TensorLoader",
    "DataLoader",
    "DataLoader of random samples",
    "DataLoader with a generator",
    "DataLoader with a sampler's generator",
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
        callbacks=[*schedules, ema, training.Checkpoint(folder, every=3), StopAt(iterations)],
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


@pytest.mark.parametrize(
    ("limits", "warned"),
    [
        ({"minutes": 0.002}, True),
        ({"minutes": 0.002, "iterations": float("inf")}, True),
        ({"minutes": 0.002, "iterations": 1000}, False),
        ({"epochs": 4}, False),
    ],
)
def test_schedules_that_start_again_are_warned_of(
    limits: dict[str, float], warned: bool, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Minutes count from each call; a resume says which schedules that moves, and no first run says it."""
    for resume in (False, True):
        trainer = make_trainer()
        schedule = training.LearningRateSchedule(trainer.generator_optimizer, training.linear_decay())
        callbacks = [training.Checkpoint(tmp_path), schedule, StopAt(2)][: 2 if resume else 3]
        training.fit(trainer, [points()], resume=resume, callbacks=callbacks, **limits)
        words = [str(one.message) for one in recwarn.list if "minutes" in str(one.message)]
        assert len(words) == (resume and warned)
    assert not warned or ("iteration 2" in words[0] and "LearningRateSchedule" in words[0])
