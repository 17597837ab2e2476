"""Checkpoints are complete or not there, run no code, and the one before a damaged one is used."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlib import training
from ganlib.errors import ArgumentTypeError, ArgumentValueError, CheckpointError, RunFolderError
from tests.training.players import MyTrainer, make_players, make_trainer, points


def names(folder: Path) -> list[str]:
    """The files in a run's checkpoint folder."""
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def train(folder: Path, iterations: int, **options: Any) -> MyTrainer:
    """Train a small trainer with a checkpoint every second iteration."""
    trainer = MyTrainer()
    checkpoint = training.Checkpoint(folder, every=2, keep=options.pop("keep", 3))
    training.fit(trainer, [points()], iterations=iterations, callbacks=[checkpoint], **options)
    return trainer


def test_the_newest_k_are_kept(tmp_path: Path) -> None:
    """Files are named by iteration, and only the newest stay; the last iteration is always saved."""
    train(tmp_path, 9, keep=2)
    assert names(tmp_path) == ["00000008.pt", "00000009.pt"]


class LogsAtTheEnd:
    """Logs a metric after the last iteration."""

    def on_end(self, run: training.Run) -> None:
        """Log it."""
        run.log({"late": 3.0})


def test_what_is_logged_at_the_end_is_saved(tmp_path: Path) -> None:
    """Also where the last iteration has been saved already."""
    training.fit(
        MyTrainer(), [torch.ones(1)], iterations=10, callbacks=[LogsAtTheEnd(), training.Checkpoint(tmp_path, every=5)]
    )
    assert training.Checkpoint.load(tmp_path / "checkpoints/00000010.pt")["metrics"]["late"] == 3.0


def test_a_checkpoint_holds_everything_plain(tmp_path: Path) -> None:
    """torch.load with weights_only reads a checkpoint, and it holds trainer, batches, callbacks and random state."""
    train(tmp_path, 2)
    values = torch.load(tmp_path / "checkpoints/00000002.pt", weights_only=True)
    assert values["format"] == 3
    assert set(values["run"]) == {"trainer", "metrics", "logged", "callbacks", "ranks", "optimizers"}
    assert [set(rank) for rank in values["run"]["ranks"]] == [{"batches", "random"}]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def cut(path: Path, _: Path) -> None:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, _: Path) -> None:
    """Leave nothing of a file."""
    path.write_bytes(b"")


def hostile(path: Path, exploded: Path) -> None:
    """Put an object that runs code into a file."""
    torch.save({"format": 3, "run": Bomb(exploded)}, path)


def pickled(path: Path, exploded: Path) -> None:
    """A plain pickle that runs code."""
    path.write_bytes(pickle.dumps(Bomb(exploded)))


def flip(path: Path, _: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def foreign(path: Path, _: Path) -> None:
    """A file of another version."""
    torch.save({"format": 99, "run": {}}, path)


def wrong_type(path: Path, _: Path) -> None:
    """A state that no run has written."""
    torch.save({"format": 3, "run": {"trainer": [1, 2]}}, path)


@pytest.mark.parametrize("damage", [cut, empty, flip, hostile, pickled, foreign, wrong_type])
def test_a_damaged_checkpoint_is_passed_over(damage: Any, tmp_path: Path) -> None:
    """The damaged file is named in a warning, runs no code, and the run goes on from the one before it."""
    train(tmp_path, 6)
    newest, exploded = tmp_path / "checkpoints/00000006.pt", tmp_path / "exploded"
    damage(newest, exploded)
    with pytest.warns(UserWarning, match="00000006.pt"):
        trainer = train(tmp_path, 8, resume=True, keep=2)
    assert trainer.iteration == 8
    assert not exploded.exists()
    assert names(tmp_path) == ["00000006.damaged", "00000006.pt", "00000008.pt"]


@pytest.mark.parametrize("damage", [cut, hostile])
def test_only_damaged_checkpoints_are_an_error(damage: Any, tmp_path: Path) -> None:
    """If no checkpoint can be used, a resume does not start a new run without saying so."""
    train(tmp_path, 2)
    damage(tmp_path / "checkpoints/00000002.pt", tmp_path / "exploded")
    with pytest.raises(CheckpointError, match=r"none of the checkpoints.*00000002.pt"):
        train(tmp_path, 4, resume=True)
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_of_an_older_version_says_what_to_do(tmp_path: Path) -> None:
    """Its format is named, and how the run can go on."""
    train(tmp_path, 2)
    torch.save({"format": 2, "run": {}}, tmp_path / "checkpoints/00000002.pt")
    message = "00000002.pt is a checkpoint of format 2, .* reads format 3: .* with the version that started it"
    with pytest.raises(CheckpointError, match=message):
        train(tmp_path, 4, resume=True)


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    """A damaged newest file does not count as one of the newest k, so no good one is removed for it."""
    train(tmp_path, 6, keep=1)
    (tmp_path / "checkpoints/00000007.pt").write_bytes(b"half")
    with pytest.warns(UserWarning, match="00000007.pt"):
        train(tmp_path, 6, resume=True, keep=1)
    assert names(tmp_path) == ["00000006.pt", "00000007.damaged"]


def test_two_runs_do_not_mix(tmp_path: Path) -> None:
    """A new run into the folder of one that is further on is refused, before anything is trained."""
    train(tmp_path, 4)
    with pytest.raises(RunFolderError, match=r"00000004.pt.*iteration 0.*resume=True"):
        train(tmp_path, 2)
    assert names(tmp_path) == ["00000002.pt", "00000004.pt"]


def test_reading_the_newest_does_not_open_the_folder_to_another_run(tmp_path: Path) -> None:
    """After newest() has been read, or a resume been done, a new run with the same Checkpoint is still refused."""
    checkpoint = training.Checkpoint(tmp_path)
    training.fit(MyTrainer(), [points()], iterations=4, resume=True, callbacks=[checkpoint])
    state = checkpoint.newest()
    assert state is not None
    assert state["trainer"]["iteration"] == 4
    with pytest.raises(RunFolderError, match="00000004.pt"):
        training.fit(MyTrainer(), [points()], iterations=2, callbacks=[checkpoint])
    assert names(tmp_path) == ["00000004.pt"]


class Second:
    """Starts a second run, in the folder of the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trainer = MyTrainer()

    def on_iteration(self, run: training.Run) -> None:
        """Try it."""
        training.fit(self.trainer, [points()], iterations=9, callbacks=[training.Checkpoint(self.folder)], resume=True)


def test_a_second_run_is_refused_before_it_touches_anything(tmp_path: Path) -> None:
    """fit refuses a folder that a run is using; the files are the first one's, and the second has trained nothing."""
    second, table = Second(tmp_path), training.CSVLogger(tmp_path / "metrics.csv", every=1)
    with pytest.raises(RunFolderError, match="in use by"):
        training.fit(MyTrainer(), [points()], iterations=3, callbacks=[table, second, training.Checkpoint(tmp_path)])
    assert second.trainer.iteration == 0
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["metrics.csv"]


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_that_has_ended_holds_nothing(fails: bool, tmp_path: Path) -> None:
    """After fit, and after an error in it, the same folder can be used again, and no lock is left in it."""

    class Fails:
        def on_iteration(self, run: training.Run) -> None:
            if fails:
                raise ZeroDivisionError

    for iterations in (1, 2):
        try:
            callbacks = [Fails(), training.Checkpoint(tmp_path)]
            training.fit(MyTrainer(), [points()], iterations=iterations, callbacks=callbacks, resume=True)
        except ZeroDivisionError:
            assert fails
    assert not (tmp_path / "checkpoints/.lock").exists()


def test_an_unwritable_folder_is_an_error_before_training(tmp_path: Path) -> None:
    """A run folder that cannot be made is an error of ours, and an OSError, and nothing has been trained."""
    (tmp_path / "file").write_text("in the way")
    trainer = MyTrainer()
    with pytest.raises(RunFolderError, match=r"file.*cannot be written") as caught:
        training.fit(trainer, [points()], iterations=1, callbacks=[training.Checkpoint(tmp_path / "file")])
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, RuntimeError)
    assert trainer.iteration == 0


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    """Resuming with other networks says which part does not fit."""
    checkpoint = training.Checkpoint(tmp_path)
    training.fit(make_trainer(), [points()], iterations=1, callbacks=[checkpoint])
    other = make_trainer(*make_players(hidden=5))
    with pytest.raises(CheckpointError, match=r"00000001.pt.*generator"):
        training.fit(other, [points()], iterations=2, resume=True, callbacks=[training.Checkpoint(tmp_path)])


def test_what_could_not_be_read_again_is_refused_when_saved(tmp_path: Path) -> None:
    """A state with more than plain values is an error that says where it is, and leaves no file."""

    class Odd(MyTrainer):
        """Has an object in its state."""

        def state_dict(self) -> dict[str, Any]:
            return {"iteration": 1, "deep": [{"path": Path("x")}]}

    with pytest.raises(ArgumentTypeError, match=r"run/trainer/deep/0/path.*Path"):
        training.fit(Odd(), [points()], iterations=1, callbacks=[training.Checkpoint(tmp_path)])
    assert names(tmp_path) == []


@pytest.mark.parametrize("arguments", [{"every": 0}, {"keep": 0}, {"every": 1.5}])
def test_bad_arguments(arguments: dict[str, Any], tmp_path: Path) -> None:
    """Every and keep are whole numbers of at least 1."""
    with pytest.raises(ArgumentValueError, match=next(iter(arguments))):
        training.Checkpoint(tmp_path, **arguments)
