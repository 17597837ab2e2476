"""The bar shows losses, scores and speed."""

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import tqdm.std

from ganlib import training
from ganlib.errors import ArgumentValueError, TrainingDivergedError
from tests.training.players import MyTrainer, make_trainer, points


def test_what_the_bar_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """Both losses, D(x), D(G(z)), the iteration and images per second are on the bar, and it ends at 100 %."""
    torch.manual_seed(0)
    training.fit(make_trainer(), [points()], iterations=3, callbacks=[training.ProgressBar(seconds=0)])
    shown = capsys.readouterr().err
    for words in ("iteration 3", "D loss", "G loss", "D(x)", "D(G(z))", "images/s", "100%"):
        assert words in shown


def test_the_bar_is_updated_only_when_it_is_time(capsys: pytest.CaptureFixture[str]) -> None:
    """With an hour between updates only the first and the last iteration are shown."""
    training.fit(make_trainer(), [points()], iterations=5, callbacks=[training.ProgressBar(seconds=3600)])
    shown = capsys.readouterr().err
    assert "iteration 1," in shown
    assert "iteration 5," in shown
    assert "iteration 3," not in shown


@pytest.mark.parametrize("since_boot", [0.0, 0.5, 59.0])
def test_it_is_updated_at_once_on_a_machine_that_was_just_booted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], since_boot: float
) -> None:
    """The first iteration is shown even if the clock has counted fewer seconds than there are between two updates."""
    began = time.monotonic()
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: since_boot + clock() - began)
    training.fit(make_trainer(), [points()], iterations=3, callbacks=[training.ProgressBar(seconds=60)])
    shown = capsys.readouterr().err
    assert "iteration 1," in shown
    assert "iteration 2," not in shown
    assert "iteration 3," in shown


def test_what_was_logged_stays_on_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Its last value is shown until there is another one, with four digits and without a standard deviation."""

    class Log:
        """Logs at the second iteration."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == 2:
                run.log({"frechet_distance": 123.456, "kernel_distance": 0.0012345, "kernel_distance_std": 9.0})

    training.fit(make_trainer(), [points()], iterations=3, callbacks=[training.ProgressBar(seconds=0), Log()])
    shown = capsys.readouterr().err.split("iteration ")
    assert "frechet_distance" not in shown[1]
    for part in shown[2:]:
        assert "frechet_distance 123.5, kernel_distance 0.001234, " in part
        assert "std" not in part
        assert "D loss" in part


def test_the_speed_is_that_of_training(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A second for a step of 32 images is 32 images per second, however long an untimed callback takes."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    class Clocked(MyTrainer):
        """Takes a second."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            nonlocal now
            now += 1
            return super().train_step(batches)

    class Slow:
        """Takes a minute."""

        untimed = True

        def on_iteration(self, run: training.Run) -> None:
            nonlocal now
            now += 60

    training.fit(Clocked(), [points(32)], iterations=3, callbacks=[training.ProgressBar(seconds=0), Slow()])
    shown = capsys.readouterr().err.split("iteration ")[1:]
    assert len(shown) > 3
    assert all(", 32 images/s" in part for part in shown)


class TripsOnce(MyTrainer):
    """Its metric is NaN once, at an iteration."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
        """Trip."""
        super().train_step(batches)
        bad, self.at = self.iteration == self.at, 0 if self.iteration == self.at else self.at
        return {"loss": torch.tensor(float("nan") if bad else 0.5)}


def test_a_run_that_goes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It starts a new bar, which is updated at once, does not show the NaN, and ends at 100 %."""
    callbacks = [training.ProgressBar(seconds=3600), training.Checkpoint(tmp_path, every=10)]
    with pytest.warns(UserWarning, match="goes back to iteration 10"):
        training.fit(TripsOnce(15), [points()], iterations=20, callbacks=callbacks, rollbacks=1)
    shown = capsys.readouterr().err
    assert "iteration 11," in shown
    assert "loss nan" not in shown
    assert "iteration 20," in shown
    assert "100%" in shown.splitlines()[-1]


@pytest.mark.parametrize("fails", [False, True])
def test_a_bar_can_be_used_again(fails: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """After a run that ended, or failed, the same callback shows the next run from its start to 100 %."""
    bar = training.ProgressBar(seconds=3600)
    with contextlib.suppress(TrainingDivergedError):
        training.fit(TripsOnce(3 if fails else 0), [points()], iterations=4, callbacks=[bar])
    capsys.readouterr()
    training.fit(MyTrainer(), [points()], iterations=5, callbacks=[bar])
    shown = capsys.readouterr().err
    assert all(words in shown for words in ("iteration 1,", "iteration 5,", "100%"))
    assert "iteration 2," not in shown


def clocked(monkeypatch: pytest.MonkeyPatch) -> type[TripsOnce]:
    """Stop the clocks of the run and of the bar; a trainer whose step takes a minute."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])

    class Clocked(TripsOnce):
        """Takes a minute."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            now[0] += 60
            return super().train_step(batches)

    return Clocked


def times(iteration: int, shown: str) -> tuple[float, float]:
    """The minutes that had passed at an iteration, and those that were left, as the bar shows them."""
    part = next(part for part in shown.split("\r")[::-1] if f"iteration {iteration}," in part)
    found = re.search(r" (\d+):(\d+)<(\d+):(\d+),", part)
    assert found is not None
    minutes, seconds, minutes_left, seconds_left = map(int, found.groups())
    return minutes + seconds / 60, pytest.approx(minutes_left + seconds_left / 60, abs=1.1 / 60)


def test_the_remaining_time_is_that_of_this_call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """After a resume at 30 of 60 iterations of a minute each, and one more, 29 minutes are left."""
    make = clocked(monkeypatch)
    for end in (30, 60):
        callbacks = [training.ProgressBar(seconds=0), training.Checkpoint(tmp_path, every=100)]
        training.fit(make(0), [points()], iterations=end, callbacks=callbacks, resume=True)
        shown = capsys.readouterr().err
        assert times(end - 29, shown) == (1, 29)
        assert times(end - 25, shown) == (5, 25)
        assert times(end, shown) == (30, 0)
    assert " 52%|" in shown


def test_the_remaining_time_after_a_rollback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It counts from where the run went back to."""
    callbacks = [training.ProgressBar(seconds=0), training.Checkpoint(tmp_path, every=10)]
    with pytest.warns(UserWarning, match="goes back to iteration 10"):
        training.fit(clocked(monkeypatch)(15), [points()], iterations=20, callbacks=callbacks, rollbacks=1)
    assert times(11, capsys.readouterr().err) == (1, 9)


def test_negative_seconds() -> None:
    """Seconds must be at least 0."""
    with pytest.raises(ArgumentValueError, match=r"seconds \(=-1\)"):
        training.ProgressBar(seconds=-1)
