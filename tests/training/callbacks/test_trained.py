"""A callback that has no effect on what is trained is warned of; one that has an effect is not."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import training
from ganlib.conditioning import Unconditional
from tests.training.players import MyTrainer, make_players, make_trainer, points


class Stepping:
    """A user's callback that trains something of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def on_iteration(self, run: training.Run) -> None:
        """Step."""
        self.optimizer.step()


class Wrapped:
    """A user's optimizer around another one."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.inner = optimizer


def other_optimizer() -> torch.optim.Optimizer:
    """An optimizer of networks that no trainer has."""
    return torch.optim.Adam(make_players()[0].parameters())


def rates(optimizer: torch.optim.Optimizer) -> training.LearningRateSchedule:
    """A usual schedule."""
    return training.LearningRateSchedule(optimizer, training.linear_decay())


def betas(optimizer: torch.optim.Optimizer) -> training.BetasSchedule:
    """A usual schedule of betas."""
    return training.BetasSchedule(optimizer, beta2=training.cosine_ramp(0.9, 0.99))


NO_EFFECT: dict[str, tuple[Callable[[Any], Any], str]] = {
    "rates": (lambda trainer: rates(other_optimizer()), "LearningRateSchedule changes an optimizer"),
    "betas": (lambda trainer: betas(other_optimizer()), "BetasSchedule changes an optimizer"),
    "a copy": (lambda trainer: training.EMA(copy.deepcopy(trainer.generator)), "EMA averages a Sequential"),
}


@pytest.mark.parametrize("kind", NO_EFFECT)
def test_what_has_no_effect_is_warned_of_once(kind: str, recwarn: pytest.WarningsRecorder) -> None:
    """When the run starts, at the user's line."""
    make, message = NO_EFFECT[kind]
    trainer = make_trainer()
    training.fit(trainer, [points()], iterations=3, callbacks=[make(trainer)])
    (warning,) = recwarn
    assert message in str(warning.message)
    assert warning.filename == __file__


def own_game(trainer: training.AdversarialTrainer) -> training.GameTrainer:
    """A game whose objective steps another optimizer, which is in its closure."""
    network, optimizer = nn.Linear(2, 1), trainer.generator_optimizer

    def objective(batch: torch.Tensor) -> torch.Tensor:
        optimizer.step()
        loss: torch.Tensor = network(batch).mean()
        return loss

    player = training.Player("one", torch.optim.SGD(network.parameters(), lr=0.1), objective)
    return training.GameTrainer({"network": network}, [player])


class Own(MyTrainer):
    """A user's trainer; it has a wrapped optimizer and a plain one."""

    def __init__(self, trainer: training.AdversarialTrainer) -> None:
        super().__init__()
        self.wrapped = Wrapped(trainer.generator_optimizer)
        self.plain = trainer.discriminator_optimizer


def frozen(module: nn.Module) -> nn.Module:
    """A network that nobody wants to train."""
    return copy.deepcopy(module).requires_grad_(False)


QUIET: dict[str, Callable[[training.AdversarialTrainer], tuple[Any, list[Any]]]] = {
    "its own": lambda t: (
        t,
        [rates(t.generator_optimizer), betas(t.discriminator_optimizer), training.EMA(t.generator)],
    ),
    "a part": lambda t: (t, [training.EMA(t.generator[0])]),  # type: ignore[index]
    "a part that is frozen": lambda t: (t, [training.EMA(frozen(t.generator))]),
    "in a wrapper": lambda t: (t, [training.EMA(Unconditional(nn.Sequential(t.generator, nn.Identity())))]),
    "compiled": lambda t: (t, [training.EMA(torch.compile(t.generator, backend="eager"))]),
    "in data parallel": lambda t: (t, [training.EMA(nn.DataParallel(t.generator))]),
    "an average of an average": lambda t: (t, [training.EMA(training.EMA(t.generator))]),
    "a trainer without optimizers": lambda t: (MyTrainer(), [rates(other_optimizer()), training.EMA(t.generator)]),
    "a wrapped optimizer": lambda t: (Own(t), [rates(t.generator_optimizer), training.EMA(t.generator)]),
    "in an objective": lambda t: (own_game(t), [rates(t.generator_optimizer), training.EMA(t.generator)]),
    "in a callback": lambda t: (t, [*(lambda one: [rates(one), Stepping(one)])(other_optimizer())]),
}


@pytest.mark.parametrize("kind", QUIET)
def test_what_may_have_an_effect_is_not(kind: str, recwarn: pytest.WarningsRecorder) -> None:
    """There is no warning where an optimizer is, or may be, one that the run uses."""
    trainer, callbacks = QUIET[kind](make_trainer())
    training.fit(trainer, [points()], iterations=2, callbacks=callbacks)
    assert [str(warning.message) for warning in recwarn] == []
