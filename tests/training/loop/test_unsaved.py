"""A scheduler or an average of torch that a callback keeps without a state is warned of once, and nothing else is."""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel

from ganlib import training
from tests.training.players import MyTrainer, make_trainer, points

Trainer = training.AdversarialTrainer
SCHEDULERS = list[LambdaLR]()


def falling(trainer: Trainer) -> LambdaLR:
    """A schedule of the generator's rate."""
    return LambdaLR(trainer.generator_optimizer, lambda iteration: 1 / (1 + iteration))


class Steps:
    """A user's callback."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def on_iteration(self, run: Any) -> None:
        """One step."""
        self.scheduler.step()


class Plateau(Steps):
    """Steps by a metric."""

    def on_iteration(self, run: Any) -> None:
        """One step."""
        self.scheduler.step(run.metrics["generator_loss"])


class StepsGlobals:
    """Steps what is at the module's level."""

    def on_iteration(self, run: Any) -> None:
        """One step of each."""
        for scheduler in SCHEDULERS:
            scheduler.step()


class Averages:
    """Updates an average."""

    def __init__(self, model: AveragedModel, network: Any) -> None:
        self.model, self.network = model, network

    def on_iteration(self, run: Any) -> None:
        """Update it."""
        self.model.update_parameters(self.network)


def in_globals(trainer: Trainer) -> StepsGlobals:
    """A callback and a global of its method."""
    SCHEDULERS[:] = [falling(trainer)]
    return StepsGlobals()


MISTAKES: dict[str, Callable[[Trainer], Any]] = {
    "LambdaLR of Steps": lambda trainer: Steps(falling(trainer)),
    "CosineAnnealingLR of Steps": lambda trainer: Steps(CosineAnnealingLR(trainer.generator_optimizer, 9)),
    "ReduceLROnPlateau of Plateau": lambda trainer: Plateau(ReduceLROnPlateau(trainer.generator_optimizer)),
    "LambdaLR of StepsGlobals": in_globals,
    "LambdaLR of SimpleNamespace": lambda trainer: (
        lambda scheduler: SimpleNamespace(on_iteration=lambda run: scheduler.step())
    )(falling(trainer)),
    "AveragedModel of Averages": lambda trainer: Averages(AveragedModel(trainer.generator), trainer.generator),
}


class Saved(Steps):
    """With its state."""

    def state_dict(self) -> dict[str, Any]:
        """That of the scheduler."""
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take it."""
        self.scheduler.load_state_dict(state)


class Reads:
    """Logs a rate, and holds other things."""

    def __init__(self, scheduler: Any = None, **held: Any) -> None:
        self.scheduler, self.held = scheduler, held

    def on_iteration(self, run: Any) -> None:
        """Log it."""
        if self.scheduler is not None:
            run.log({"rate": self.scheduler.get_last_lr()[0]})


class Odd:
    """An object that cannot be asked for attributes, as that of a library before its start."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class CatchesUp(Steps):
    """Finds the position at the start."""

    def on_start(self, run: Any) -> None:
        """Step as often as before."""
        self.catch_up(run)

    def catch_up(self, run: Any) -> None:
        """Do it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(run.iteration):
                self.scheduler.step()


class CatchesUpLater(Steps):
    """Finds the position at each iteration."""

    def on_iteration(self, run: Any) -> None:
        """Step until it is there."""
        while self.scheduler.last_epoch < run.iteration:
            self.scheduler.step()


class Makes:
    """Makes its scheduler when the run starts, at its position."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer

    def on_start(self, run: Any) -> None:
        """Make it."""
        self.scheduler = falling(self.trainer)

    def on_iteration(self, run: Any) -> None:
        """One step."""
        self.scheduler.step()


def read_and_saved(trainer: Trainer) -> list[Any]:
    """One callback logs what another one steps and saves."""
    scheduler = falling(trainer)
    return [Reads(scheduler), Saved(scheduler)]


RIGHT: dict[str, Callable[[Trainer], list[Any]]] = {
    "saved": lambda trainer: [Saved(falling(trainer))],
    "read and saved": read_and_saved,
    "the callback that saves it": lambda trainer: [saved := Saved(falling(trainer)), Reads(inner=saved)],
    "catches up": lambda trainer: [CatchesUp(falling(trainer))],
    "catches up later": lambda trainer: [CatchesUpLater(falling(trainer))],
    "made at the start": lambda trainer: [Makes(trainer)],
    "a trainer and a network": lambda trainer: [Reads(trainer=trainer, network=trainer.generator)],
    "an average that stays": lambda trainer: [Reads(teacher=AveragedModel(trainer.generator))],
    "ganlib's": lambda trainer: [
        training.EMA(trainer.generator),
        training.LearningRateSchedule(trainer.generator_optimizer, training.linear_decay()),
        Reads(ema=training.EMA(trainer.generator)),
    ],
    "an object that cannot be asked": lambda trainer: [Reads(odd=Odd())],
    "a generator for pictures": lambda trainer: [Reads(generator=torch.Generator().manual_seed(1))],
}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("name", MISTAKES)
def test_what_would_start_again_is_warned_of(name: str, tmp_path: Path) -> None:
    """One warning at the line of fit names the object and its callback; without a Checkpoint there is none."""
    trainer = make_trainer()
    callback = MISTAKES[name](trainer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.fit(trainer, [points()], iterations=3, callbacks=[callback, training.Checkpoint(tmp_path)])
    (warned,) = caught
    assert f"state of the {name}," in str(warned.message)
    assert warned.filename == __file__
    training.fit(trainer, [points()], iterations=5, callbacks=[callback])


def test_two_schedulers_of_a_callback_are_one_mistake(tmp_path: Path) -> None:
    """One warning."""
    trainer = make_trainer()
    callbacks = [Steps(falling(trainer)), Steps(falling(trainer)), training.Checkpoint(tmp_path)]
    with pytest.warns(UserWarning, match="the LambdaLR of Steps, so") as caught:
        training.fit(trainer, [points()], iterations=2, callbacks=callbacks)
    assert len(caught) == 1


@pytest.mark.parametrize("name", RIGHT)
def test_right_uses_are_not_warned_of(name: str, tmp_path: Path) -> None:
    """The suite turns warnings into errors."""
    trainer = make_trainer()
    callbacks = [*RIGHT[name](trainer), training.Checkpoint(tmp_path)]
    training.fit(trainer, [points()], iterations=3, callbacks=callbacks)


def test_a_scheduler_that_a_users_trainer_saves_is_right(tmp_path: Path) -> None:
    """A callback may step it."""

    class Scheduled(MyTrainer):
        """Keeps a scheduler."""

        def __init__(self) -> None:
            super().__init__()
            self.optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=1.0)
            self.scheduler = LambdaLR(self.optimizer, lambda iteration: 0.5)

        def train_step(self, batches: Any) -> Any:
            """With a step of the optimizer."""
            self.optimizer.step()
            return super().train_step(batches)

    trainer = Scheduled()
    callbacks = [Steps(trainer.scheduler), training.Checkpoint(tmp_path)]
    training.fit(trainer, [points()], iterations=2, callbacks=callbacks)


def test_what_the_warning_advises_resumes_exactly(tmp_path: Path) -> None:
    """A callback with the state of its scheduler."""

    def train(iterations: int, folder: Path, callback: Any = Saved) -> float:
        trainer = make_trainer()
        callbacks = [callback(falling(trainer)), training.Checkpoint(folder)]
        training.fit(trainer, [points()], iterations=iterations, callbacks=callbacks, resume=True)
        return float(trainer.generator_optimizer.param_groups[0]["lr"])

    train(3, tmp_path / "parts")
    assert train(6, tmp_path / "parts") == train(6, tmp_path / "whole")
    with pytest.warns(UserWarning, match="LambdaLR of Steps"):
        train(3, tmp_path / "without", Steps)
