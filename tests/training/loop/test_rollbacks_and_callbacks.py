"""What going back has to do with the callbacks: a checkpoint must be among them, and all of them begin again."""

from pathlib import Path

import pytest

from ganlib import training
from ganlib.errors import ArgumentValueError, TrainingDivergedError
from tests.training.players import Tripping, points


def test_without_a_checkpoint_on_disk_the_first_error_is_raised(tmp_path: Path) -> None:
    """Where it diverges before the first checkpoint there is nothing to go back to, and nothing is tried again."""
    trainer = Tripping(5, times=100)
    with pytest.raises(
        TrainingDivergedError, match="in iteration 5 total was nan; there was no checkpoint yet to go back to$"
    ):
        training.fit(trainer, [points(2)], iterations=9, callbacks=[training.Checkpoint(tmp_path)], rollbacks=5)
    assert [iteration for iteration, *_ in trainer.met] == list(range(1, 10))


def test_rollbacks_need_a_checkpoint_among_the_callbacks() -> None:
    """Without one they are refused before training; 0 needs no Checkpoint."""
    trainer = Tripping()
    with pytest.raises(ArgumentValueError, match=r"rollbacks \(=2\) needs a training.Checkpoint"):
        training.fit(trainer, [points(2)], iterations=1, rollbacks=2)
    assert trainer.met == []
    training.fit(trainer, [points(2)], iterations=1, rollbacks=0)


def test_a_damaged_checkpoint_is_skipped(tmp_path: Path) -> None:
    """Where the newest file is damaged the run goes back to the one before it, and finishes."""
    trainer, checkpoint = Tripping(25), training.Checkpoint(tmp_path, every=10)

    class Damage:
        """Damages the newest file."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 21 and len(trainer.met) == 21:
                checkpoint.paths()[-1].write_bytes(b"")

    with pytest.warns(UserWarning, match="goes back to iteration 10|continues from") as caught:
        training.fit(trainer, [points(2)], iterations=30, callbacks=[Damage(), checkpoint], rollbacks=1)
    assert len(caught) == 2
    assert trainer.iteration == 30
    names = sorted(path.name for path in checkpoint.folder.iterdir())
    assert names == ["00000010.pt", "00000020.damaged", "00000020.pt", "00000030.pt"]


@pytest.mark.parametrize("order", [(20, 3), (3, 20)])
def test_of_several_checkpoints_the_newest_file_counts(tmp_path: Path, order: tuple[int, int]) -> None:
    """With one Checkpoint for milestones and a frequent one, the run goes back to the newest file of both."""
    callbacks = [training.Checkpoint(tmp_path / str(every), every=every) for every in order]
    trainer = Tripping(25)
    with pytest.warns(UserWarning, match="goes back to iteration 24"):
        training.fit(trainer, [points(2)], iterations=26, callbacks=callbacks, rollbacks=1)
    assert trainer.iteration == 26


def test_a_callback_can_ask_for_it(tmp_path: Path) -> None:
    """A TrainingDivergedError that a callback raises goes back too; the metrics kept by then are forgotten."""
    trainer = Tripping(14)

    class Inspector:
        """Raises once."""

        found = False

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 15 and not self.found:
                self.found = True
                raise TrainingDivergedError("the samples are all equal")

    with pytest.warns(UserWarning, match="the samples are all equal; goes back to iteration 10") as caught:
        training.fit(
            trainer,
            [points(2)],
            iterations=30,
            callbacks=[Inspector(), training.Checkpoint(tmp_path, every=10)],
            rollbacks=1,
        )
    assert (trainer.iteration, len(caught)) == (30, 1)


def test_callbacks_begin_again_checkpoints_first(tmp_path: Path) -> None:
    """Going back calls on_start once more, at the checkpoint's iteration, with its metrics, and on_end only once."""
    seen: list[tuple[str, int, int]] = []

    class Noted:
        """Notes its calls."""

        def on_start(self, run: training.Run) -> None:
            seen.append(("start", run.iteration, len(run.metrics)))

        def on_end(self, run: training.Run) -> None:
            seen.append(("end", run.iteration, len(run.metrics)))

    with pytest.warns(UserWarning, match="goes back"):
        training.fit(
            Tripping(15),
            [points(2)],
            iterations=20,
            callbacks=[Noted(), training.Checkpoint(tmp_path, every=10)],
            rollbacks=1,
        )
    assert seen == [("start", 0, 0), ("start", 10, 1), ("end", 20, 1)]
