"""fit drives any Trainer to any limit."""

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from ganlib import training
from ganlib.errors import (
    ArgumentTypeError,
    ArgumentValueError,
    BatchesExhaustedError,
    GanlibError,
    GanlibRuntimeError,
)
from tests.training.players import MyTrainer, make_trainer, points


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
        ({"resume": True}, ArgumentValueError, r"resume \(=True\) needs a training.Checkpoint"),
        ({"rollbacks": 1}, ArgumentValueError, r"rollbacks \(=1\) needs a training.Checkpoint"),
        ({"rollbacks": -1}, ArgumentValueError, r"rollbacks \(=-1\)"),
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
