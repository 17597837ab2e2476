"""A monitored metric is read, compared, and missed."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.training._callbacks._monitor import Monitor

VALUES = [-1.5, 0.0, 2.0]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("best", VALUES)
@pytest.mark.parametrize("by", [0.0, 1.0])
def test_better_is_smaller_or_larger_by_more_than_the_margin(value: float, best: float, by: float) -> None:
    """In mode min a value is better than the best if it is below best - by, in mode max if it is above best + by."""
    assert Monitor("x", "min").is_better(value, best, by) == (value < best - by)
    assert Monitor("x", "max").is_better(value, best, by) == (value > best + by)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_finite_values_are_better_than_the_worst_and_others_never(mode: Any) -> None:
    """Any finite value beats the worst one; NaN and the infinities beat nothing."""
    monitor = Monitor("x", mode)
    assert all(monitor.is_better(value, monitor.worst, 5.0) for value in (*VALUES, 1e300, -1e300))
    bests = (*VALUES, monitor.worst)
    assert not any(monitor.is_better(value, best) for value in (math.nan, math.inf, -math.inf) for best in bests)


def test_a_metric_is_read_as_a_float() -> None:
    """Tensors and numbers are read as floats; what is not there is None."""
    monitor = Monitor("x", "min")
    assert monitor.read({"x": torch.tensor(0.5), "y": torch.tensor(1.0)}) == 0.5
    assert monitor.read({"x": 2}) == 2.0
    assert monitor.read({"y": torch.tensor(1.0)}) is None


def run(**changes: Any) -> Any:
    """A run at its end, with two metrics of the trainer and one that was logged."""
    values = {"metrics": {"loss": 0.0, "score": 0.0}, "logged": {"frechet_distance": 0.0}}
    return SimpleNamespace(
        **({"iteration": 7, "progress": 1.0, "interrupted": False, "callbacks": []} | values | changes)
    )


def test_a_metric_that_never_came_is_warned_of_with_those_that_did() -> None:
    """The warning quotes the name, says what follows, and lists all names, similar ones first."""
    message = r"monitor \(='frechet_distence'\).* nothing is kept; it has 'frechet_distance', 'loss', 'score'$"
    monitor = Monitor("frechet_distence", "min")
    with pytest.warns(UserWarning, match=message):
        monitor.warn_if_missing(run(), "nothing is kept", ended=True)
    monitor.warn_if_missing(run(), "nothing is kept", ended=True)  # once is enough


def test_it_is_warned_of_as_soon_as_other_metrics_are_logged() -> None:
    """Not only after a training of hours; in an iteration without an evaluation it may still come."""
    during = run(progress=0.1, metrics={"loss": 0.0, "frechet_distance": 0.0})
    with pytest.warns(UserWarning, match="up to iteration 7"):
        Monitor("x", "min").warn_if_missing(during, "nothing is kept", ended=False)
    Monitor("x", "min").warn_if_missing(run(progress=1.0), "nothing is kept", ended=False)
    rare = SimpleNamespace(every=8, untimed=True)  # it may still log the metric
    Monitor("x", "min").warn_if_missing(SimpleNamespace(**{**vars(during), "callbacks": [rare]}), "", ended=False)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("frechet_distance", {}),
        ("loss", {}),
        ("x", {"progress": 0.5}),
        ("x", {"interrupted": True}),
        ("x", {"metrics": {}, "logged": {}}),
    ],
)
def test_nothing_is_missed_where_it_may_still_come(name: str, changes: dict[str, Any]) -> None:
    """No warning where the metric was there, the run was stopped before its end, or nothing was measured."""
    Monitor(name, "min").warn_if_missing(run(**changes), "nothing is kept", ended=True)


def test_bad_arguments() -> None:
    """A name is a string, and a mode one of two."""
    with pytest.raises(ArgumentTypeError, match=r"monitor \(=3\)"):
        Monitor(3, "min")  # type: ignore[arg-type]
    with pytest.raises(ArgumentValueError, match=r"mode \(='least'\)"):
        Monitor("x", "least")  # type: ignore[arg-type]
