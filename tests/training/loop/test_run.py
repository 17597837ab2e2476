"""A training under way, as its callbacks see it."""

import math
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlib import training
from ganlib._files import load_plain, save_plain
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.training.players import MyTrainer, Noted, Tripping, points


class Each:
    """Calls a function after each iteration."""

    def __init__(self, function: Callable[[training.Run], Any]) -> None:
        self.on_iteration = function


def floats(metrics: Any) -> dict[str, float]:
    """The values, by name."""
    return {name: value.item() for name, value in metrics.items()}


def log_every(k: int) -> Each:
    """Logs the iteration at every k-th one."""
    return Each(lambda run: run.log({"logged": run.iteration}) if run.iteration % k == 0 else None)


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


@pytest.mark.parametrize("kind", ["first", "last"])
def test_who_reads_metrics_is_called_after_the_others(kind: str) -> None:
    """Wherever in the list it is, it sees what a callback has logged in the same iteration, and at the end."""
    seen = []

    class Reader:
        """Notes the metrics."""

        reads_metrics = True

        def on_iteration(self, run: training.Run) -> None:
            seen.append(floats(run.metrics).get("logged"))

        on_end = on_iteration

    class Log:
        """Logs."""

        def on_iteration(self, run: training.Run) -> None:
            run.log({"logged": float(run.iteration)})

        def on_end(self, run: training.Run) -> None:
            run.log({"logged": 10.0})

    callbacks = [Reader(), Log()] if kind == "first" else [Log(), Reader()]
    training.fit(MyTrainer(), [points()], iterations=2, callbacks=callbacks)
    assert seen == [1.0, 2.0, 10.0]


@pytest.mark.parametrize("kind", ["first", "last"])
def test_what_is_untimed_is_called_between_the_others_and_the_readers(kind: str) -> None:
    """So an average is up to date when it is measured, and a logger sees the result."""
    order = list[str]()

    def make(name: str, **traits: bool) -> Any:
        return type(name, (), {**traits, "on_iteration": lambda self, run: order.append(name)})()

    callbacks = [make("average"), make("measure", untimed=True), make("log", reads_metrics=True)]
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=callbacks if kind == "last" else callbacks[::-1])
    assert order == ["average", "measure", "log"]


class Reusing(MyTrainer):
    """Fills the same mapping in every iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, Tensor] = {}

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Step."""
        super().train_step(batches)
        self.metrics["loss"] = torch.tensor(float(self.iteration))
        return self.metrics


def test_what_is_logged_is_a_metric_of_its_iteration_alone() -> None:
    """It is in run.metrics until the next step, and in run.logged from then on; the trainer's mapping is left alone."""
    seen, trainer = [], Reusing()
    note = Each(lambda run: seen.append((floats(run.metrics), floats(run.logged))))
    training.fit(trainer, [points()], iterations=4, callbacks=[log_every(2), note])
    assert seen == [
        ({"loss": 1.0}, {}),
        ({"loss": 2.0, "logged": 2.0}, {"logged": 2.0}),
        ({"loss": 3.0}, {"logged": 2.0}),
        ({"loss": 4.0, "logged": 4.0}, {"logged": 4.0}),
    ]
    assert trainer.metrics.keys() == {"loss"}


def test_values_that_can_be_logged() -> None:
    """Numbers of Python and NumPy and tensors keep their value, in double precision, and do not change afterwards."""
    weight = torch.full((), 0.5, requires_grad=True)
    values = {
        "int": 3,
        "float": 0.1,
        "fraction": Fraction(1, 4),
        "numpy": np.float32(0.5),
        "inf": math.inf,
        "w": weight,
    }
    seen = []

    def log(run: training.Run) -> None:
        run.log(values)
        with torch.no_grad():
            weight.add_(1.0)
        seen.append(run.logged)

    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[Each(log)])
    assert floats(seen[0]) == {"int": 3, "float": 0.1, "fraction": 0.25, "numpy": 0.5, "inf": math.inf, "w": 0.5}
    assert not any(value.requires_grad for value in seen[0].values())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": "3"}, r"metric 'x' \(='3'\)"),
        ({"x": None}, r"metric 'x' \(=None\)"),
        ({"good": 1.0, "x": torch.zeros(2)}, r"metric 'x' \(=tensor\(\[0"),
        ({"x": torch.zeros((), dtype=torch.complex64)}, "metric 'x'"),
        ({"x": {"y": 1.0}}, "metric 'x'"),
        ({3: 1.0}, r"name of a metric \(=3\)"),
        (0.5, r"values \(=0.5\)"),
    ],
)
def test_values_that_cannot_be_logged(values: Any, message: str) -> None:
    """Each is named, and nothing is logged."""
    seen = []

    def log(run: training.Run) -> None:
        with pytest.raises(ArgumentTypeError, match=message):
            run.log(values)
        seen.append((run.metrics.keys(), dict(run.logged)))

    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[Each(log)])
    assert seen == [({"total"}, {})]


def test_the_trainers_metrics_cannot_be_overwritten() -> None:
    """A name that train_step has given in the iteration is an error; one that it gives at times is its own then."""

    class Lazy(MyTrainer):
        """Gives a metric at iteration 3."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            metrics = super().train_step(batches)
            return metrics | ({"logged": torch.tensor(0.5)} if self.iteration == 3 else {})

    seen = []

    def log(run: training.Run) -> None:
        seen.append((floats(run.metrics).get("logged"), floats(run.logged)))
        run.log({"logged": 1.0})

    trainer = Lazy()
    with pytest.raises(ArgumentValueError, match="metric 'logged' was given by train_step in this iteration"):
        training.fit(trainer, [points()], iterations=5, callbacks=[Each(log)])
    assert trainer.iteration == 3
    assert seen == [(None, {}), (None, {"logged": 1.0}), (0.5, {})]


def test_what_is_logged_may_be_infinite(tmp_path: Path) -> None:
    """It does not count as a training that diverged, also not in a checkpoint or a resume."""
    callbacks = [Each(lambda run: run.log({"bad": math.nan, "worse": math.inf})), training.Checkpoint(tmp_path)]
    for last in (60, 120):
        training.fit(MyTrainer(), [points()], iterations=last, callbacks=callbacks, resume=True)
    state = training.Checkpoint(tmp_path).newest()
    assert state is not None
    assert floats(state["logged"])["worse"] == math.inf


def test_a_resumed_run_knows_what_was_logged(tmp_path: Path) -> None:
    """Its on_start sees the last value, and whether it is of this iteration; without it a checkpoint is good too."""
    seen = []

    class Start:
        """Notes what there is at the start."""

        def on_start(self, run: training.Run) -> None:
            seen.append((floats(run.logged), "logged" in run.metrics))

    def go(last: int) -> None:
        callbacks = [Start(), log_every(2), training.Checkpoint(tmp_path)]
        training.fit(MyTrainer(), [points()], iterations=last, callbacks=callbacks, resume=True)

    for last in (1, 2, 3, 3):
        go(last)
    assert seen == [({}, False), ({}, False), ({"logged": 2.0}, True), ({"logged": 2.0}, False)]
    path = tmp_path / "checkpoints/00000003.pt"
    values = load_plain(path)
    del values["run"]["logged"]  # as an earlier version wrote it
    save_plain(path, values)
    go(4)
    assert seen[-1] == ({}, False)


def test_what_was_logged_goes_back(tmp_path: Path) -> None:
    """Where a run goes back to a checkpoint, so does run.logged."""
    seen = []

    class Start:
        """Notes what there is at the start."""

        def on_start(self, run: training.Run) -> None:
            seen.append(floats(run.logged))

    callbacks = [Start(), log_every(2), training.Checkpoint(tmp_path, every=5)]
    with pytest.warns(UserWarning, match="goes back to iteration 5"):
        training.fit(Tripping(8), [points()], iterations=9, callbacks=callbacks, rollbacks=1)
    assert seen == [{}, {"logged": 4.0}]


@pytest.mark.parametrize("untimed", [True, False])
def test_the_clock_leaves_out_untimed_callbacks(untimed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes a second, a callback 7: in ten seconds there are ten steps if it is left out, and else one."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    class Clocked(MyTrainer):
        """Takes a second."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            nonlocal now
            now += 1
            return super().train_step(batches)

    class Slow:
        """Takes seven."""

        def __init__(self) -> None:
            self.untimed = untimed

        def on_start(self, run: training.Run) -> None:
            nonlocal now
            now += 7

        on_iteration = on_end = on_start

    class Reader:
        """Notes the seconds."""

        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_iteration(self, run: training.Run) -> None:
            self.seen.append(run.seconds)

        on_end = on_iteration

    trainer, reader = Clocked(), Reader()
    training.fit(trainer, [points()], minutes=10 / 60, callbacks=[Slow(), reader])
    assert trainer.iteration == (10 if untimed else 1)
    assert reader.seen == ([*range(1, 11), 10] if untimed else [15, 15])
