"""TensorBoard shows each metric once, at its iteration."""

import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from ganlib import training
from ganlib.errors import ArgumentValueError, MissingExtraError, RunFolderError
from tests.training.players import Going, Tripping, points

pytest.importorskip("tensorboard")


class Log:
    """Logs the iteration at every third one, and at the end."""

    def on_iteration(self, run: training.Run) -> None:
        """Log, where it is time."""
        if run.iteration % 3 == 0:
            run.log({"logged": run.iteration})

    def on_end(self, run: training.Run) -> None:
        """Log."""
        run.log({"end": 0.5})


def shown(folder: Path, caplog: pytest.LogCaptureFixture) -> dict[str, list[tuple[int, float]]]:
    """The points that TensorBoard reads from a folder, by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    caplog.set_level(logging.ERROR)  # it tells of what is hidden
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize("first", ["the logger", "the other"])
def test_what_is_shown(first: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every k iterations, where something was logged, and at the end, where each metric comes once."""
    logger = training.TensorBoardLogger(tmp_path / "run" / "events", every=4)
    callbacks = [logger, Log()] if first == "the logger" else [Log(), logger]
    training.fit(Going(lambda i: i / 2), [points()], iterations=8, callbacks=callbacks)
    assert shown(tmp_path / "run" / "events", caplog) == {
        "steady": [(i, 0.0) for i in (3, 4, 6, 8)],
        "loss": [(i, i / 2) for i in (3, 4, 6, 8)],
        "logged": [(3, 3.0), (6, 6.0)],
        "end": [(8, 0.5)],
    }


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_that_is_killed_and_resumed(fresh: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is written again is shown once, by the same logger or another one; a record that was cut does no harm."""
    loggers = [training.TensorBoardLogger(tmp_path / "events", every=2)] * 2
    if fresh:
        loggers[1] = training.TensorBoardLogger(tmp_path / "events", every=2)
    checkpoint = training.Checkpoint(tmp_path, every=3)
    with pytest.raises(ZeroDivisionError):
        training.fit(Going(lambda i: 1 / (9 - i)), [points()], iterations=20, callbacks=[loggers[0], checkpoint])
    (path,) = (tmp_path / "events").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    training.fit(Going(float), [points()], iterations=10, resume=True, callbacks=[loggers[1], checkpoint])
    assert [step for step, _ in shown(tmp_path / "events", caplog)["loss"]] == [2, 4, 6, 8, 10]
    assert shown(tmp_path / "events", caplog)["loss"][-2:] == [(8, 8.0), (10, 10.0)]


def test_a_run_that_goes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was undone is not shown."""
    callbacks = [training.TensorBoardLogger(tmp_path / "events", every=2), training.Checkpoint(tmp_path, every=5)]
    with pytest.warns(UserWarning, match="goes back to iteration 5"):
        training.fit(Tripping(8), [points()], iterations=12, callbacks=callbacks, rollbacks=1)
    assert shown(tmp_path / "events", caplog)["total"] == [(i, float(i)) for i in (2, 4, 6, 8, 10, 12)]


def test_a_new_run_hides_an_older_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the same folder, by the same logger, only the points of the new run are shown; more calls of fit go on."""
    logger = training.TensorBoardLogger(tmp_path, every=2)
    training.fit(Going(float), [points()], iterations=8, callbacks=[logger])
    trainer = Going(lambda i: -float(i))
    for last in (4, 4, 6):
        training.fit(trainer, [points()], iterations=last, callbacks=[logger])
    assert shown(tmp_path, caplog)["loss"] == [(2, -2.0), (4, -4.0), (6, -6.0)]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """It is refused at the start."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="file.* cannot be written to"):
        training.fit(Going(float), [points()], iterations=1, callbacks=[training.TensorBoardLogger(tmp_path / "file")])


def test_a_folder_that_goes_in_the_middle(tmp_path: Path) -> None:
    """The error names the file."""
    logger = training.TensorBoardLogger(tmp_path / "events", every=1)

    class Remove:
        """Removes the folder."""

        def on_iteration(self, run: training.Run) -> None:
            for path in (tmp_path / "events").iterdir():
                path.unlink()
            (tmp_path / "events").rmdir()

    with pytest.raises(RunFolderError, match=r"events\.out\.tfevents.* cannot be written"):
        training.fit(Going(float), [points()], iterations=2, callbacks=[Remove(), logger])


def test_without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says at once what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorboard"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ganlib\[tensorboard\]'"):
        training.TensorBoardLogger("run")


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_bad_arguments(every: Any) -> None:
    """Every is a whole number of at least 1."""
    with pytest.raises(ArgumentValueError, match=rf"every \(={every}\)"):
        training.TensorBoardLogger("run", every=every)
