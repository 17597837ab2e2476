"""fit drives any Trainer to any limit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib import training
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    GanlibError,
    GanlibRuntimeError,
)
from tests.training.players import MyTrainer, Noted, make_trainer, points


def test_iterations_are_a_total() -> None:
    """Iterations counts from the trainer's own counter, so a second call does only what is missing."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], iterations=3)
    training.fit(trainer, [points()], iterations=5)
    training.fit(trainer, [points()], iterations=4)
    assert trainer.iteration == 5


@pytest.mark.parametrize("sized", [True, False])
def test_epochs_are_counted(sized: bool) -> None:
    """It stops after so many epochs, with and without a known length."""
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
    """A second call does only the epochs that are missing, also where a step draws several batches."""
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
        ({"resume": True}, ArgumentValueError, r"resume \(=True\) needs a training.Checkpoint"),
        ({"rollbacks": 1}, ArgumentValueError, r"rollbacks \(=1\) needs a training.Checkpoint"),
        ({"rollbacks": -1}, ArgumentValueError, r"rollbacks \(=-1\)"),
        ({"batches": []}, ArgumentValueError, "empty"),
        ({"batches": iter([])}, ArgumentValueError, "empty"),
        ({"batches": 3}, ArgumentTypeError, r"batches \(=3\)"),
        ({"batches": iter([points()])}, BatchesExhaustedError, "iterated again"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], error: type[GanlibError], words: str) -> None:
    """A wrong argument of fit gets an error of ours that names it."""
    given: dict[str, Any] = {"trainer": MyTrainer(), "batches": [points()], "iterations": 3} | arguments
    with pytest.raises(error, match=words):
        training.fit(given.pop("trainer"), given.pop("batches"), **given)


def test_batches_that_can_be_iterated_once_may_end_with_the_epoch() -> None:
    """An iterator is enough for one epoch."""
    trainer = MyTrainer()
    training.fit(trainer, iter([points(), points()]), epochs=1)
    assert trainer.iteration == 2


def test_a_trainer_that_does_not_count_is_refused() -> None:
    """A train_step that leaves iteration as it was would never end, and is refused."""

    class Stuck(MyTrainer):
        """Counts nothing."""

        def train_step(self, batches: Any) -> dict[str, Tensor]:
            return {}

    with pytest.raises(GanlibRuntimeError, match=r"iteration \(=0\)"):
        training.fit(Stuck(), [points()], iterations=1)


@pytest.mark.parametrize(("limit", "trained"), [(6.25, 7), (torch.tensor(3), 3), (np.int64(2), 2), (2.0, 2)])
def test_any_number_limits_the_iterations(limit: Any, trained: int) -> None:
    """The first count that reaches it is the last one."""
    trainer = make_trainer()
    training.fit(trainer, [points()], iterations=limit)
    assert trainer.iteration == trained


def test_a_limit_of_many_numbers() -> None:
    """A tensor of several entries is no limit."""
    for limit in (torch.ones(3), np.ones(3)):
        with pytest.raises(ArgumentValueError, match="iterations"):
            training.fit(make_trainer(), [points()], iterations=limit)  # type: ignore[arg-type]
