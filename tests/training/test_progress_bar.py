"""The bar shows losses, scores and speed."""

import pytest
import torch

from ganlib import training
from ganlib.errors import ArgumentValueError
from tests.training.players import make_trainer, points


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


def test_negative_seconds() -> None:
    """Seconds must be at least 0."""
    with pytest.raises(ArgumentValueError, match=r"seconds \(=-1\)"):
        training.ProgressBar(seconds=-1)
