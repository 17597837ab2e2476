"""A run ends when a metric has stopped getting better, and a resumed run ends at the same iteration."""

import math
import random
from pathlib import Path
from typing import Any

import pytest

from ganlib import training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.ranks import Ranks
from tests.training.callbacks.measured import Measures, StopAt
from tests.training.players import Going, MyTrainer, Tripping, points

NAN = math.nan


def ended_at(values: dict[int, float], patience: int, **options: Any) -> tuple[int, int | None]:
    """Where a run of at most 20 iterations ends, and where the callback says that it ended it."""
    trainer, stopping = MyTrainer(), training.EarlyStopping("distance", patience, **options)
    training.fit(trainer, [points(2)], iterations=20, callbacks=[stopping, Measures(values)])
    return trainer.iteration, stopping.stopped_at


def expected_end(values: dict[int, float], patience: int, mode: str, min_delta: float) -> int | None:
    """The same from the definition: the first measurement that ends `patience` in a row without an improvement."""
    sign = 1 if mode == "min" else -1
    best, since = math.inf, 0
    for iteration, value in sorted(values.items()):
        better = math.isfinite(value) and sign * value < best - min_delta
        best, since = (sign * value, 0) if better else (best, since + 1)
        if since == patience:
            return iteration
    return None


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("min_delta", [0.0, 0.5])
@pytest.mark.parametrize("patience", [1, 2, 3])
def test_it_ends_where_the_definition_says(mode: str, min_delta: float, patience: int) -> None:
    """Of random series with gaps and values that are not finite, each ends at the iteration of the definition."""
    numbers = random.Random(0)
    ends = []
    for _ in range(10):
        values = {
            iteration: numbers.choice([NAN, math.inf, -math.inf, *range(5), *(iteration * sign for sign in (-1, 1))])
            for iteration in range(1, 21)
            if numbers.random() < 0.7
        }
        expected = expected_end(values, patience, mode, min_delta)
        ends.append(expected)
        assert ended_at(values, patience, mode=mode, min_delta=min_delta) == (expected or 20, expected)
    assert len({*ends}) > 2


def test_an_equal_value_is_no_improvement() -> None:
    """With a constant metric the first value is the best, and `patience` more are waited for."""
    assert ended_at(dict.fromkeys(range(3, 20, 3), 1.0), 2) == (9, 9)


def test_a_metric_of_the_trainer_counts_in_every_iteration() -> None:
    """A loss that rises from iteration 5 on ends a run of patience 3 at 7."""
    trainer, stopping = Going(lambda iteration: abs(iteration - 4.0)), training.EarlyStopping("loss", 3)
    training.fit(trainer, [points(2)], iterations=20, callbacks=[stopping])
    assert (trainer.iteration, stopping.stopped_at) == (7, 7)


VALUES = {2: 5.0, 3: 4.0, 4: 6.0, 6: NAN, 7: 3.0, 9: 3.0, 10: 7.0, 13: 3.5, 14: 1.0}  # with patience 3 it ends at 13


def train(folder: Path, *extra: Any, patience: int = 3, **options: Any) -> tuple[int, int | None]:
    """A run that is resumed where it can be; where it ends, and what the callback says."""
    trainer, stopping = MyTrainer(), training.EarlyStopping("distance", patience, **options)
    callbacks = [stopping, Measures(VALUES), *extra, training.Checkpoint(folder, every=4, monitor="distance")]
    training.fit(trainer, [points(2)], iterations=20, callbacks=callbacks, resume=True)
    return trainer.iteration, stopping.stopped_at


@pytest.mark.parametrize("stop", range(1, 13))
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(stop: int, tmp_path: Path) -> None:
    """Stopped after any iteration before, and resumed by fresh objects, it ends at the same iteration."""
    assert train(tmp_path, StopAt(stop)) == (stop, None)
    assert train(tmp_path) == (13, 13)


def test_a_run_that_was_ended_is_not_continued(tmp_path: Path) -> None:
    """Resumed, it says again where it was ended; with more patience it goes on."""
    assert train(tmp_path) == (13, 13)
    assert train(tmp_path) == (13, 13)
    assert train(tmp_path, patience=4) == (20, None)


def test_another_metric_starts_anew(tmp_path: Path) -> None:
    """A state of another metric or mode is not compared with, and that is warned of."""
    assert train(tmp_path, StopAt(10)) == (10, None)
    with pytest.warns(
        UserWarning, match=r"EarlyStopping had monitor \(='distance'\) and mode \(='min'\), not .* 'max'"
    ):
        assert train(tmp_path, patience=1, mode="max") == (14, 14)


def test_another_run_starts_anew() -> None:
    """What one run has measured does not count for the next run of the same callback."""
    stopping = training.EarlyStopping("distance", 2)
    for _ in range(2):
        trainer = MyTrainer()
        callbacks = [stopping, Measures({1: 1.0, 5: 2.0, 7: 3.0})]
        training.fit(trainer, [points(2)], iterations=9, callbacks=callbacks)
        assert (trainer.iteration, stopping.stopped_at) == (7, 7)


def test_after_a_rollback_it_counts_once(tmp_path: Path) -> None:
    """What is measured, undone and measured again counts once: the run ends where one that never fell does."""
    trainer, stopping = Tripping(6), training.EarlyStopping("distance", 3)
    callbacks = [stopping, Measures(VALUES), training.Checkpoint(tmp_path, every=4)]
    with pytest.warns(UserWarning, match="goes back to iteration 4"):
        training.fit(trainer, [points(2)], iterations=20, callbacks=callbacks, rollbacks=1)
    assert (trainer.iteration, stopping.stopped_at) == (13, 13)


def on_ranks(ranks: tuple[int, ...]) -> tuple[int, int | None]:
    """Where this rank ends, if the metric is logged on some."""
    trainer, stopping = MyTrainer(), training.EarlyStopping("distance", 1)
    callbacks = [stopping, Measures({3: 1.0, 5: 2.0}, ranks=ranks)]
    training.fit(trainer, [points(2)], iterations=9, callbacks=callbacks)
    return trainer.iteration, stopping.stopped_at


def test_ranks_end_together(two_ranks: Ranks) -> None:
    """All ranks end after the same iteration, also where one alone has the metric."""
    assert two_ranks(on_ranks, (0, 1)) == [(5, 5), (5, 5)]
    assert two_ranks(on_ranks, (0,)) == [(5, 5), (5, None)]


def test_a_metric_that_never_came_is_warned_of() -> None:
    """Once others are logged, with the names that there are."""
    callbacks = [training.EarlyStopping("distanse", 2), Measures({3: 1.0})]
    with pytest.warns(
        UserWarning, match=r"monitor \(='distanse'\) .* EarlyStopping .* has 'distance', 'total'"
    ) as caught:
        training.fit(MyTrainer(), [points(2)], iterations=4, callbacks=callbacks)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"patience": 0}, ArgumentValueError),
        ({"patience": 1.5}, ArgumentValueError),
        ({"monitor": 3}, ArgumentTypeError),
        ({"mode": "least"}, ArgumentValueError),
        ({"min_delta": -1}, ArgumentValueError),
        ({"min_delta": NAN}, ArgumentValueError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception]) -> None:
    """Each is named, with its value."""
    name, value = next(iter(arguments.items()))
    with pytest.raises(error, match=rf"{name} \(={value!r}\)"):
        training.EarlyStopping(**({"monitor": "x", "patience": 1} | arguments))


def test_it_says_once_that_it_ends_the_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """On standard error, with the metric and the iteration; a resume of a run that was stopped says so too."""
    for _ in range(2):
        stopping = training.EarlyStopping("distance", patience=2)
        measures = Measures(dict.fromkeys(range(1, 100), 1.5))
        training.fit(
            MyTrainer(),
            [points()],
            iterations=100,
            callbacks=[measures, stopping, training.Checkpoint(tmp_path)],
            resume=True,
        )
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.splitlines() == [
            "EarlyStopping ends the run: distance has been no better than 1.5 for 2 measurements, up to iteration 3"
        ]
    training.fit(MyTrainer(), [points()], iterations=3, callbacks=[measures, training.EarlyStopping("distance", 9)])
    assert capsys.readouterr().err == ""
