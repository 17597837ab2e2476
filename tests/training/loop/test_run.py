"""A training under way, as its callbacks see it."""

from pathlib import Path

from ganlib import training
from tests.training.players import MyTrainer, Noted, points


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
