"""A number of NumPy's is one of Python's everywhere in training, and what is no number is refused at once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganlib import latents, losses, training
from ganlib._files import as_plain
from ganlib.errors import GanlibError
from tests.training.players import MyTrainer, make_players, make_trainer, points

FOLDER = "a folder that nobody makes"
Make = Callable[[Any], Any]


class Metric:
    """A metric of a user's."""

    def update(self, samples: Any) -> None:
        """Take samples."""

    def compute(self) -> float:
        """Nothing."""
        return 0.0

    def reset(self) -> None:
        """Nothing."""


def evaluate(**options: Any) -> training.Evaluate:
    """One of a user's metric."""
    return training.Evaluate(Metric(), lambda n: [torch.zeros(n, 1)], **options)


def player(**options: Any) -> training.Player:
    """One with an optimizer of its own."""
    return training.Player(
        "one", torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), lambda batch: batch, **options
    )


def game(**options: Any) -> training.GameTrainer:
    """A game of one player."""
    network = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    one = training.Player("one", optimizer, lambda batch: network(batch).mean())
    return training.GameTrainer({"network": network}, [one], **options)


def fit(**options: Any) -> training.Checkpoint:
    """A run of three iterations at most."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], **({"iterations": 3} | options))
    assert trainer.iteration <= 3
    return training.Checkpoint(FOLDER)


COUNTS: dict[str, Make] = {
    "Checkpoint.every": lambda n: training.Checkpoint(FOLDER, every=n),
    "Checkpoint.keep": lambda n: training.Checkpoint(FOLDER, keep=n),
    "CSVLogger.every": lambda n: training.CSVLogger("metrics.csv", every=n),
    "TensorBoardLogger.every": lambda n: training.TensorBoardLogger(FOLDER, every=n),
    "EarlyStopping.patience": lambda n: training.EarlyStopping("loss", patience=n),
    "Evaluate.every": lambda n: evaluate(every=n),
    "Evaluate.n": lambda n: evaluate(n=n),
    "Evaluate.seed": lambda n: evaluate(seed=n),
    "half_life_decay.batch_size": lambda n: training.half_life_decay(1000, n),
    "ImagePool.size": lambda n: training.ImagePool((1, 2), size=n),
    "ImagePool.image_shape": lambda n: training.ImagePool((1, n), size=2),
    "Player.steps": lambda n: player(steps=n),
    "Player.every": lambda n: player(every=n),
    "GameTrainer.accumulate_grad_batches": lambda n: game(accumulate_grad_batches=n),
    "AdversarialTrainer.accumulate_grad_batches": lambda n: make_trainer(accumulate_grad_batches=n),
    "AdversarialTrainer.discriminator_steps": lambda n: make_trainer(discriminator_steps=n),
}
NUMBERS: dict[str, Make] = {
    "fit.iterations": lambda x: fit(iterations=x, epochs=3),
    "EarlyStopping.min_delta": lambda x: training.EarlyStopping("loss", 3, min_delta=x),
    "EMA.decay": lambda x: training.EMA(nn.Linear(1, 1), decay=x),
    "Evaluate.timeout": lambda x: evaluate(timeout=x),
    "ProgressBar.seconds": lambda x: training.ProgressBar(seconds=x),
    "GameTrainer.max_grad_norm": lambda x: game(max_grad_norm=x),
    "AdversarialTrainer.max_grad_norm": lambda x: make_trainer(max_grad_norm=x),
    "linear_decay.start": lambda x: training.linear_decay(start=x),
    "linear_decay.final": lambda x: training.linear_decay(final=x),
    "cosine_decay.start": lambda x: training.cosine_decay(start=x),
    "cosine_decay.final": lambda x: training.cosine_decay(final=x),
    "cosine_ramp.first": lambda x: training.cosine_ramp(x, 1.0),
    "cosine_ramp.last": lambda x: training.cosine_ramp(1.0, x),
    "cosine_ramp.until": lambda x: training.cosine_ramp(0.0, 1.0, until=x),
    "half_life_decay.half_life": lambda x: training.half_life_decay(x, 64),
    "BetasSchedule.beta1": lambda x: training.BetasSchedule(
        torch.optim.Adam([torch.zeros(1)]), beta1=lambda progress: x
    ),
    "BetasSchedule.beta2": lambda x: training.BetasSchedule(
        torch.optim.Adam([torch.zeros(1)]), beta2=lambda progress: x
    ),
    "LearningRateSchedule.factor": lambda x: training.LearningRateSchedule(
        torch.optim.SGD([torch.zeros(1)], lr=0.1), lambda progress: x
    ),
    "Schedule.function": lambda x: training.Schedule(torch.zeros(()), lambda progress: x),
    "fit.epochs": lambda x: fit(epochs=x),
    "fit.minutes": lambda x: fit(minutes=x),
}
FLAGS: dict[str, Make] = {
    "CSVLogger.mean": lambda flag: training.CSVLogger("metrics.csv", mean=flag),
    "GameTrainer.channels_last": lambda flag: game(channels_last=flag),
    "GameTrainer.compile": lambda flag: game(compile=flag),
    "fit.resume": lambda flag: fit(resume=flag),
}
UNLIMITED = {
    "fit.iterations",
    "fit.epochs",
    "fit.minutes",
    "GameTrainer.max_grad_norm",
    "AdversarialTrainer.max_grad_norm",
}
"""Infinity is no limit there."""
SWITCHES = {"LearningRateSchedule.factor", "Schedule.function"}
"""Functions of which a comparison is a value, 0 or 1."""
BAD_NUMBERS = [math.nan, -math.inf, math.inf, np.float64("nan"), True, np.True_, "3", 1j, [1]]


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("kind", [np.int64, np.uint8])
def test_a_count_of_numpy_is_pythons(name: str, kind: Any) -> None:
    """It is taken, and what is kept of it in public attributes and in a state is an int."""
    made = COUNTS[name](kind(2))
    kept = getattr(made, name.partition(".")[2], None)
    if kept is not None and not callable(kept):
        assert type(kept) in (int, bool)
        assert kept == 2


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", [*BAD_NUMBERS, 1.5, -1, None], ids=repr)
def test_what_is_no_count_is_refused_at_once(name: str, value: Any) -> None:
    """It is an error of ganlib's that names the argument."""
    if name in UNLIMITED and value in (None, math.inf):
        COUNTS[name](value)
        return
    with pytest.raises(GanlibError, match=name.partition(".")[2].removeprefix("discriminator_")):
        COUNTS[name](value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
def test_a_number_of_numpy_is_pythons(name: str, kind: Any) -> None:
    """It is taken, and what is kept of it is a float."""
    made = NUMBERS[name](kind(0.5))
    kept = getattr(made, name.partition(".")[2], None)
    if kept is not None and not callable(kept):
        assert kept == 0.5
        assert type(as_plain(kept)) is float


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", BAD_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused_at_once(name: str, value: Any) -> None:
    """It is an error of ganlib's that names the argument."""
    if (name in UNLIMITED and value == math.inf) or (name in SWITCHES and type(value) in (bool, np.bool_)):
        NUMBERS[name](value)
        return
    with pytest.raises(GanlibError, match=name.partition(".")[2]):
        NUMBERS[name](value)


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", ["no", 1, 0.0, math.nan], ids=repr)
def test_what_is_no_flag_is_refused_at_once(name: str, value: Any) -> None:
    """Only True and False are: what is true in Python's sense may have been meant otherwise."""
    with pytest.raises(GanlibError, match=name.partition(".")[2]):
        FLAGS[name](value)


@pytest.mark.parametrize("value", [True, 1.0, math.nan, "1", None, -1], ids=repr)
def test_what_is_no_count_of_rollbacks_is_refused_at_once(value: Any, tmp_path: Path) -> None:
    """The same of rollbacks, which need a checkpoint."""
    with pytest.raises(GanlibError, match="rollbacks"):
        fit(rollbacks=value, callbacks=[training.Checkpoint(tmp_path)])
    fit(rollbacks=np.int64(1), callbacks=[training.Checkpoint(tmp_path)])


def test_a_callback_that_is_there_twice_is_refused() -> None:
    """It would be called twice in each iteration."""
    bar = training.EarlyStopping("loss", 3)
    with pytest.raises(GanlibError, match="callbacks holds the same object twice"):
        fit(callbacks=[bar, bar])


@pytest.mark.parametrize("number", [np.float64, np.float32, lambda x: torch.tensor(x)], ids=["64", "32", "tensor"])
def test_settings_of_numpy_in_an_optimizer(number: Any, tmp_path: Path) -> None:
    """A learning rate, betas and a weight decay of NumPy's are saved and resumed."""
    for iterations in (2, 4):
        generator, discriminator = make_players()
        optimizers = [
            torch.optim.AdamW(
                network.parameters(),
                lr=number(1e-3),
                betas=(np.float64(0.5), np.float64(0.75)),
                weight_decay=np.float64(0.25),
                eps=np.float64(1e-8),
            )
            for network in (generator, discriminator)
        ]
        trainer = training.AdversarialTrainer(
            generator, discriminator, *optimizers, loss=losses.HingeLoss(), latent=latents.Gaussian(3)
        )
        checkpoint = training.Checkpoint(tmp_path, every=1)
        training.fit(trainer, [points()], iterations=iterations, callbacks=[checkpoint], resume=True)
        assert trainer.iteration == iterations
