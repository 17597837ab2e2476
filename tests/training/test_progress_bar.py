"""The bar shows losses, scores and speed."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from tqdm.auto import tqdm

from ganlib import training
from ganlib.errors import ArgumentValueError, TrainingDivergedError
from ganlib.training import _progress_bar
from tests.training.players import MyTrainer, make_trainer, points


def test_what_the_bar_shows(capsys: pytest.CaptureFixture[str]) -> None:
    """Both losses, D(x), D(G(z)), the iteration and images per second are on the bar, and it ends at 100 %."""
    torch.manual_seed(0)
    training.fit(make_trainer(), [points()], iterations=3, callbacks=[training.ProgressBar(seconds=0)])
    shown = capsys.readouterr().err
    for words in ("iteration 3", "D loss", "G loss", "D(x)", "D(G(z))", "images/s", "100%"):
        assert words in shown


def test_metrics_are_read_only_when_the_bar_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """With an hour between drawings only the first and the last are drawn."""
    training.fit(make_trainer(), [points()], iterations=5, callbacks=[training.ProgressBar(seconds=3600)])
    shown = capsys.readouterr().err
    assert "iteration 1," in shown
    assert "iteration 5," in shown
    assert "iteration 3," not in shown


@pytest.mark.parametrize("since_boot", [0.0, 0.5, 59.0])
def test_it_draws_at_once_on_a_machine_that_was_just_booted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], since_boot: float
) -> None:
    """The first iteration is drawn also where the clock has counted fewer seconds than lie between two drawings."""
    began = time.monotonic()
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: since_boot + clock() - began)
    training.fit(make_trainer(), [points()], iterations=3, callbacks=[training.ProgressBar(seconds=60)])
    shown = capsys.readouterr().err
    assert "iteration 1," in shown
    assert "iteration 2," not in shown
    assert "iteration 3," in shown


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All bars that are made."""
    made: list[Any] = []
    monkeypatch.setattr(_progress_bar, "tqdm", lambda **options: made.append(tqdm(**options)) or made[-1])
    return made


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


def test_a_run_that_goes_back_leaves_no_open_bar(
    bars: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bar of the time before is closed, the new one is drawn at once, ends at 100 % and is closed too."""
    callbacks = [training.ProgressBar(seconds=3600), training.Checkpoint(tmp_path, every=10)]
    with pytest.warns(UserWarning, match="goes back to iteration 10"):
        training.fit(TripsOnce(15), [points()], iterations=20, callbacks=callbacks, rollbacks=1)
    assert [(bar.disable, bar.n) for bar in bars] == [(True, 0.05), (True, 1.0)]  # tqdm disables a bar it closes
    shown = capsys.readouterr().err
    assert "iteration 11," in shown
    assert "loss nan" not in shown
    assert "iteration 20," in shown


def test_a_bar_can_be_used_again(bars: list[Any]) -> None:
    """A second run with the same callback has a bar of its own, and both are closed."""
    trainer, bar = MyTrainer(), training.ProgressBar()
    training.fit(trainer, [points()], iterations=2, callbacks=[bar])
    training.fit(trainer, [points()], iterations=4, callbacks=[bar])
    assert [(one.disable, one.n) for one in bars] == [(True, 1.0), (True, 1.0)]


def test_a_run_that_goes_on_after_an_error_closes_the_old_bar(bars: list[Any]) -> None:
    """The bar that an error has left open is closed when the callback is used again."""
    bar = training.ProgressBar()
    with pytest.raises(TrainingDivergedError):
        training.fit(TripsOnce(3), [points()], iterations=4, callbacks=[bar])
    training.fit(MyTrainer(), [points()], iterations=4, callbacks=[bar])
    assert [one.disable for one in bars] == [True, True]


def test_negative_seconds() -> None:
    """Seconds must be at least 0."""
    with pytest.raises(ArgumentValueError, match=r"seconds \(=-1\)"):
        training.ProgressBar(seconds=-1)
