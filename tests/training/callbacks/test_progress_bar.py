"""The bar shows losses, scores and speed."""

import contextlib
import time
from pathlib import Path
from typing import Any

import pytest
import torch

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


def test_negative_seconds() -> None:
    """Seconds must be at least 0."""
    with pytest.raises(ArgumentValueError, match=r"seconds \(=-1\)"):
        training.ProgressBar(seconds=-1)
