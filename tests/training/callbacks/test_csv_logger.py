"""The table of metrics has no gap and no double row."""

import contextlib
import csv
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ganlib import training
from ganlib.errors import ArgumentValueError, CheckpointError, RunFolderError
from tests.training.players import Going, MyTrainer, Tripping, points


class Lazy(MyTrainer):
    """Gives a second metric at every third iteration alone."""

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Step."""
        metrics = super().train_step(batches)
        return metrics | ({"lazy": torch.tensor(0.25)} if self.iteration % 3 == 0 else {})


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a file."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_every_k_iterations_and_the_last(tmp_path: Path) -> None:
    """Rows come every k iterations and at the end; a metric that comes late gets its column, empty before."""
    logger = training.CSVLogger(tmp_path / "m.csv", every=2)
    training.fit(Lazy(), [points()] * 4, iterations=7, callbacks=[logger])
    table = rows(tmp_path / "m.csv")
    assert [(row["iteration"], row["epoch"], row["lazy"]) for row in table] == [
        ("2", "0", ""),
        ("4", "1", ""),
        ("6", "1", "0.25"),
        ("7", "1", ""),
    ]
    assert list(table[0]) == ["iteration", "epoch", "total", "lazy"]
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 5


def test_a_resumed_run_drops_the_rows_ahead_of_it(tmp_path: Path) -> None:
    """Rows written after the checkpoint are written again, once; the file equals that of a run without a stop."""
    for name, stops in (("whole", (9,)), ("stopped", (5, 9))):
        torch.manual_seed(0)
        for stop in stops:
            callbacks = [
                training.CSVLogger(tmp_path / name / "m.csv", every=1),
                training.Checkpoint(tmp_path / name, every=3),
            ]
            training.fit(MyTrainer(), [points()], iterations=stop, resume=True, callbacks=callbacks)
            if stop == 5:  # as if killed: the newest checkpoint is of iteration 3, the table of iteration 5
                (tmp_path / name / "checkpoints/00000005.pt").unlink()
    assert (tmp_path / "stopped/m.csv").read_text() == (tmp_path / "whole/m.csv").read_text()


def test_a_row_that_was_cut_is_dropped(tmp_path: Path) -> None:
    """A last row that a kill has cut, in the middle of its iteration, is not taken for an early one."""
    trainer, path = MyTrainer(), tmp_path / "m.csv"
    training.fit(trainer, [points()], iterations=20, callbacks=[training.CSVLogger(path, every=10)])
    whole = path.read_bytes()
    path.write_bytes(whole + b"3")
    training.fit(trainer, [points()], iterations=20, callbacks=[training.CSVLogger(path, every=10)])
    assert path.read_bytes() == whole


def test_a_new_run_starts_a_new_file(tmp_path: Path) -> None:
    """The table of an older run is not mixed with a new one's."""
    (tmp_path / "m.csv").write_text("iteration,epoch,x\n1,0,2\n")
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[training.CSVLogger(tmp_path / "m.csv", every=1)])
    assert [row["iteration"] for row in rows(tmp_path / "m.csv")] == ["1"]
    assert "x" not in rows(tmp_path / "m.csv")[0]


@pytest.mark.parametrize("every", [1, 3, 4])
@pytest.mark.parametrize("stops", [[1], [3], [5], [8], [1, 2, 3], [5, 5, 6, 7]])
def test_the_table_of_a_run_that_was_stopped(stops: list[int], every: int, tmp_path: Path) -> None:
    """Stopped after any iteration and resumed with new objects, a run leaves the same bytes, also at each stop."""
    for name, lasts in (("whole", [9]), ("stopped", [*stops, 9])):
        torch.manual_seed(0)
        for last in lasts:
            path = tmp_path / name / "m.csv"
            callbacks = [training.CSVLogger(path, every=every), training.Checkpoint(tmp_path / name, every=2)]
            training.fit(Lazy(), [points()] * 2, iterations=last, resume=True, callbacks=callbacks)
            assert [int(row["iteration"]) for row in rows(path)] == sorted({*range(every, last + 1, every), last})
    assert (tmp_path / "stopped/m.csv").read_bytes() == (tmp_path / "whole/m.csv").read_bytes()


def test_a_run_that_is_over_keeps_its_last_row(tmp_path: Path) -> None:
    """A call of fit that has nothing to train, with or without a resume, leaves the table as it is."""
    trainer, path = MyTrainer(), tmp_path / "m.csv"
    for resume in (False, False, True):
        callbacks = [training.CSVLogger(path, every=2), training.Checkpoint(tmp_path)]
        training.fit(trainer, [points()], iterations=5, resume=resume, callbacks=callbacks)
        assert [row["iteration"] for row in rows(path)] == ["2", "4", "5"]


def test_another_interval_keeps_the_rows(tmp_path: Path) -> None:
    """A run that continues with another interval keeps the rows of the old one, apart from that of its stop."""
    trainer, path = MyTrainer(), tmp_path / "m.csv"
    for every, last in ((2, 7), (5, 11)):
        training.fit(trainer, [points()], iterations=last, callbacks=[training.CSVLogger(path, every=every)])
    assert [row["iteration"] for row in rows(path)] == ["2", "4", "6", "10", "11"]


def test_a_column_that_only_a_stop_had_goes_with_it(tmp_path: Path) -> None:
    """A metric that only the row of a stop had gets its column when it comes again, as in a run without the stop."""

    class Two(MyTrainer):
        """Gives one metric at 3 and from 10 on, and another from 6 on, before it."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            """Step."""
            metrics = super().train_step(batches)
            late = {"a": torch.tensor(0.5)} if self.iteration == 3 or self.iteration >= 10 else {}
            return metrics | ({"b": torch.tensor(0.25)} if self.iteration >= 6 else {}) | late

    for name, stops in (("whole", (12,)), ("stopped", (3, 12))):
        torch.manual_seed(0)
        trainer = Two()
        for stop in stops:
            logger = training.CSVLogger(tmp_path / name, every=2)
            training.fit(trainer, [points()], iterations=stop, callbacks=[logger])
    assert list(rows(tmp_path / "whole")[0]) == ["iteration", "epoch", "total", "b", "a"]
    assert (tmp_path / "stopped").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_name_with_a_comma(tmp_path: Path) -> None:
    """A metric whose name must be quoted has one column, also when the file is written again."""

    class Odd(Lazy):
        """Has such a name."""

        def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
            """Step."""
            return {f'"{name}", é': value for name, value in super().train_step(batches).items()}

    training.fit(Odd(), [points()], iterations=6, callbacks=[training.CSVLogger(tmp_path / "m.csv", every=1)])
    assert list(rows(tmp_path / "m.csv")[5]) == ["iteration", "epoch", '"total", é', '"lazy", é']
    assert rows(tmp_path / "m.csv")[5]['"lazy", é'] == "0.25"


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    """The temporary file of a rewrite that was killed goes at the start; a file of another name stays."""
    for name in (".m.csv.abcd1234.tmp", ".mxcsv.abcd1234.tmp", "m.csv.tmp"):
        (tmp_path / name).write_text("half")
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[training.CSVLogger(tmp_path / "m.csv")])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mxcsv.abcd1234.tmp", "m.csv", "m.csv.tmp"]


@pytest.mark.parametrize("gone", ["the file", "the folder"])
def test_a_file_that_goes_in_the_middle(gone: str, tmp_path: Path) -> None:
    """Where the table or its folder is removed while a run writes to it, the error is ours and names it."""
    path = tmp_path / "run" / "m.csv"

    class Remove:
        """Removes it after the second iteration."""

        def on_iteration(self, run: training.Run) -> None:
            """Do it, where it is time."""
            if run.iteration == 2:
                path.unlink()
            if run.iteration == 2 and gone == "the folder":
                path.parent.rmdir()

    with pytest.raises(RunFolderError, match=r"m\.csv cannot be written"):
        training.fit(MyTrainer(), [points()], iterations=3, callbacks=[training.CSVLogger(path, every=1), Remove()])


class Log:
    """Logs i / 7 at every k-th iteration i, and perhaps something at the end."""

    def __init__(self, k: int, end: bool = False) -> None:
        self.k, self.end = k, end

    def on_iteration(self, run: training.Run) -> None:
        """Log, where it is time."""
        if run.iteration % self.k == 0:
            run.log({"seventh": run.iteration / 7})

    def on_end(self, run: training.Run) -> None:
        """Log at the end."""
        if self.end and not run.interrupted:
            run.log({"seventh": run.iteration / 7, "end": 0.0})


def cells(path: Path, *names: str) -> list[tuple[str, ...]]:
    """Some columns."""
    return [tuple(row[name] for name in names) for row in rows(path)]


@pytest.mark.parametrize("first", ["the logger", "the other"])
def test_a_row_wherever_something_is_logged(first: str, tmp_path: Path) -> None:
    """Also between two multiples; without a fresh value the cell is empty; the order of the callbacks is one."""
    logger = training.CSVLogger(tmp_path / "m.csv", every=4)
    callbacks = [logger, Log(3)] if first == "the logger" else [Log(3), logger]
    training.fit(Going(float), [points()], iterations=7, callbacks=callbacks)
    assert cells(logger.path, "iteration", "loss", "seventh") == [
        ("3", "3.0", repr(3 / 7)),
        ("4", "4.0", ""),
        ("6", "6.0", repr(6 / 7)),
        ("7", "7.0", ""),
    ]


def test_means_do_not_start_again_where_something_is_logged(tmp_path: Path) -> None:
    """The rows at multiples are those of a run without it; what is logged is written as it is."""
    for name, logs in (("with", [Log(3)]), ("without", [])):
        logger = training.CSVLogger(tmp_path / name, every=4, mean=True)
        training.fit(Sevenths(), [points()], iterations=9, callbacks=[logger, *logs])
    names = ("iteration", "loss", "lazy")
    assert [row for row in cells(tmp_path / "with", *names) if row[0] in "489"] == [
        row if row[0] != "9" else ("9", repr(mean_in_float64(range(9, 10))), "-9.0")
        for row in cells(tmp_path / "without", *names)
    ]
    assert cells(tmp_path / "with", "iteration", "loss", "seventh")[:3] == [
        ("3", repr(mean_in_float64(range(1, 4))), repr(3 / 7)),
        ("4", repr(mean_in_float64(range(1, 5))), ""),
        ("6", repr(mean_in_float64(range(5, 7))), repr(6 / 7)),
    ]


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("last", [7, 8])
def test_what_is_logged_at_the_end_is_in_the_last_row(last: int, mean: bool, tmp_path: Path) -> None:
    """Whether that row was due, and there already, or not; a run that is over keeps it."""
    callbacks = [training.CSVLogger(tmp_path / "m.csv", every=4, mean=mean), Log(100, end=True)]
    for _ in range(2):
        training.fit(Sevenths(), [points()], iterations=last, callbacks=callbacks)
        assert cells(tmp_path / "m.csv", "iteration", "seventh", "end")[-2:] == [
            ("4", "", ""),
            (str(last), repr(last / 7), "0.0"),
        ]
        assert all(row["loss"] for row in rows(tmp_path / "m.csv"))


def test_only_what_is_logged(tmp_path: Path) -> None:
    """A call that trains nothing adds what was logged at its end to the row of the last iteration, or makes one."""
    trainer, logger = MyTrainer(), training.CSVLogger(tmp_path / "m.csv")
    for last in (0, 3, 3):
        training.fit(
            trainer, [points()], iterations=last, callbacks=[logger, Log(100, end=last == 0 or bool(trainer.iteration))]
        )
        if last == 0:
            assert cells(logger.path, "iteration", "seventh") == [("0", "0.0")]
    assert cells(logger.path, "iteration", "seventh") == [("3", repr(3 / 7))]
    assert rows(logger.path)[0]["total"]


def go_on(folder: Path, last: int, *, mean: bool, end: bool = False, kill_at: int = 0, reverse: bool = False) -> None:
    """Go on with fresh objects, which log at every 3rd iteration, and perhaps at the end."""

    class KillError(Exception):
        """Ends a run as a kill does."""

    class Kill:
        """Kills."""

        def on_iteration(self, run: training.Run) -> None:
            if run.iteration == kill_at:
                raise KillError

    callbacks = [training.CSVLogger(folder / "m.csv", every=4, mean=mean), Log(3, end)]
    callbacks = [*(callbacks[::-1] if reverse else callbacks), training.Checkpoint(folder, every=2)]
    with contextlib.suppress(KillError):
        training.fit(Sevenths(), [points()] * 2, iterations=last, resume=True, callbacks=[*callbacks, Kill()])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mean", [False, True])
def test_the_table_of_a_run_that_logs_and_was_stopped_or_killed(mean: bool, reverse: bool, tmp_path: Path) -> None:
    """After any iteration, of what is logged between two rows or at one: the bytes are those of an undisturbed run."""
    go_on(tmp_path / "whole", 13, mean=mean)
    whole = (tmp_path / "whole/m.csv").read_bytes()
    assert [row["iteration"] for row in rows(tmp_path / "whole/m.csv")] == ["3", "4", "6", "8", "9", "12", "13"]
    for stops in [*([stop] for stop in range(1, 13)), [3, 3, 4, 6, 7], [5, 6, 9]]:
        for kill in (False, True):
            folder = tmp_path / f"{stops} {kill}"
            for stop in stops:
                go_on(folder, 13 if kill else stop, mean=mean, kill_at=stop if kill else 0, reverse=reverse)
            go_on(folder, 13, mean=mean, reverse=reverse)
            assert (folder / "m.csv").read_bytes() == whole, folder


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("fresh", [False, True])
def test_what_was_logged_at_the_end_of_a_call_stays(fresh: bool, mean: bool, tmp_path: Path) -> None:
    """A run that is taken further, with a resume and fresh objects or without, keeps that row; others stay the same."""
    if fresh:
        for last in (5, 9):
            go_on(tmp_path, last, mean=mean, end=True)
    else:
        trainer, callbacks = Sevenths(), [training.CSVLogger(tmp_path / "m.csv", every=4, mean=mean), Log(3, end=True)]
        for last in (5, 9):
            training.fit(trainer, [points()], iterations=last, callbacks=callbacks)
    go_on(tmp_path / "whole", 9, mean=mean, end=True)
    table, whole = (cells(path / "m.csv", "iteration", "loss", "seventh") for path in (tmp_path, tmp_path / "whole"))
    assert [row for row in table if row[0] != "5"] == whole
    assert [row[2] for row in table if row[0] == "5"] == [repr(5 / 7)]


def test_a_new_run_forgets_where_the_last_one_has_logged(tmp_path: Path) -> None:
    """With the same logger, the row of a stop is dropped at an iteration at which another run has logged something."""
    logger, trainer = training.CSVLogger(tmp_path / "m.csv", every=4), MyTrainer()
    training.fit(MyTrainer(), [points()], iterations=5, callbacks=[logger, Log(5)])
    for last in (5, 9):
        training.fit(trainer, [points()], iterations=last, callbacks=[logger])
    assert [row["iteration"] for row in rows(logger.path)] == ["4", "8", "9"]


def test_a_rollback_keeps_what_was_logged(tmp_path: Path) -> None:
    """Where a training goes back to an iteration at which something was logged, the row of that stays."""
    callbacks = [training.CSVLogger(tmp_path / "m.csv", every=4), Log(3), training.Checkpoint(tmp_path, every=6)]
    with pytest.warns(UserWarning, match="goes back to iteration 6"):
        training.fit(Tripping(7), [points()], iterations=8, callbacks=callbacks, rollbacks=1)
    assert [row["iteration"] for row in rows(tmp_path / "m.csv")] == ["3", "4", "6", "8"]


def test_a_metric_with_the_name_of_a_column(tmp_path: Path) -> None:
    """The epoch of the table is the run's, so that the table can be read again."""

    class Epoch:
        """Logs an epoch of its own."""

        def on_iteration(self, run: training.Run) -> None:
            run.log({"epoch": 0.5})

    for last in (2, 3):
        callbacks = [training.CSVLogger(tmp_path / "m.csv", every=1), Epoch(), training.Checkpoint(tmp_path)]
        training.fit(MyTrainer(), [points()], iterations=last, callbacks=callbacks, resume=True)
    assert cells(tmp_path / "m.csv", "iteration", "epoch") == [("1", "1"), ("2", "2"), ("3", "3")]


class Sevenths(Going):
    """Gives i / 7 at iteration i, whose bits a sum in float32 would lose, and -i at every third alone."""

    def __init__(self) -> None:
        super().__init__(lambda i: i / 7)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Any]:
        """Step."""
        metrics = super().train_step(batches)
        return metrics | ({"lazy": torch.tensor(-float(self.iteration))} if self.iteration % 3 == 0 else {})


def mean_in_float64(iterations: range) -> float:
    """The mean of what Sevenths gives."""
    total = 0.0
    for i in iterations:
        total += torch.tensor(i / 7).item()
    return total / len(iterations)


def test_a_row_of_means(tmp_path: Path) -> None:
    """Each row is the mean in float64 since the one before, the last over fewer; a lazy metric's where it was."""
    logger = training.CSVLogger(tmp_path / "m.csv", every=4, mean=True)
    training.fit(Sevenths(), [points()] * 4, iterations=11, callbacks=[logger])
    assert [(row["iteration"], row["epoch"], row["steady"], row["lazy"]) for row in rows(tmp_path / "m.csv")] == [
        ("4", "1", "0.0", "-3.0"),
        ("8", "2", "0.0", "-6.0"),
        ("11", "2", "0.0", "-9.0"),
    ]
    spans = (range(1, 5), range(5, 9), range(9, 12))
    assert [float(row["loss"]) for row in rows(tmp_path / "m.csv")] == [mean_in_float64(span) for span in spans]


def test_a_metric_that_no_iteration_had_leaves_its_cell_empty(tmp_path: Path) -> None:
    """Over two iterations, neither of them a third one, there is no mean of the lazy metric."""
    logger = training.CSVLogger(tmp_path / "m.csv", every=2, mean=True)
    training.fit(Sevenths(), [points()], iterations=8, callbacks=[logger])
    assert [row["lazy"] for row in rows(tmp_path / "m.csv")] == ["", "-3.0", "-6.0", ""]


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("stops", [*([stop] for stop in range(1, 8)), [1, 2, 3], [5, 5, 6, 7]])
def test_means_of_a_run_that_was_stopped(stops: list[int], every: int, tmp_path: Path) -> None:
    """Stopped after any iteration and resumed with fresh objects, a run leaves the same bytes."""
    for name, lasts in (("whole", [9]), ("stopped", [*stops, 9])):
        for last in lasts:
            path = tmp_path / name / "m.csv"
            logger = training.CSVLogger(path, every=every, mean=True)
            callbacks = [logger, training.Checkpoint(tmp_path / name, every=100 if name == "whole" else 2)]
            training.fit(Sevenths(), [points()] * 2, iterations=last, resume=True, callbacks=callbacks)
            assert rows(path)[-1]["iteration"] == str(last)
    assert (tmp_path / "stopped/m.csv").read_bytes() == (tmp_path / "whole/m.csv").read_bytes()


def test_fit_called_twice_goes_on_with_the_sums(tmp_path: Path) -> None:
    """Without a resume the same logger continues its sums; for a new trainer it starts new ones."""
    logger, trainer = training.CSVLogger(tmp_path / "m.csv", every=4, mean=True), Sevenths()
    for last in (3, 6, 7):
        training.fit(trainer, [points()], iterations=last, callbacks=[logger])
    assert [float(row["loss"]) for row in rows(logger.path)] == [
        mean_in_float64(range(1, 5)),
        mean_in_float64(range(5, 8)),
    ]
    training.fit(Sevenths(), [points()], iterations=1, callbacks=[logger])
    assert [float(row["loss"]) for row in rows(logger.path)] == [mean_in_float64(range(1, 2))]


def test_sums_go_back_with_a_rollback(tmp_path: Path) -> None:
    """Where a training goes back into the middle of an interval, no iteration counts twice."""
    callbacks = [training.CSVLogger(tmp_path / "m.csv", every=4, mean=True), training.Checkpoint(tmp_path, every=6)]
    with pytest.warns(UserWarning, match="goes back to iteration 6"):
        training.fit(Tripping(7), [points()], iterations=8, callbacks=callbacks, rollbacks=1)
    assert [row["total"] for row in rows(tmp_path / "m.csv")] == ["2.5", "6.5"]


@pytest.mark.parametrize("last", [6, 8])
@pytest.mark.parametrize("mean", [True, False])
def test_a_checkpoint_without_sums_can_be_resumed(mean: bool, last: int, tmp_path: Path) -> None:
    """From values to means, whose first is over what there has been since, and from means to values."""
    for means, iterations in ((not mean, 6), (mean, last)):
        logger = training.CSVLogger(tmp_path / "m.csv", every=4, mean=means)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the checkpoint holds the state of a CSVLogger")
            callbacks = [logger, training.Checkpoint(tmp_path)]
            training.fit(Tripping(), [points()], iterations=iterations, resume=True, callbacks=callbacks)
    earlier, later = ("4.0", "7.5") if mean else ("2.5", "8.0")
    stop = "6.0" if mean else "5.5"
    assert [row["total"] for row in rows(logger.path)] == [
        earlier,
        stop if last == 6 else later,
    ]


def test_a_table_of_values_can_be_left_out_of_a_resume(tmp_path: Path) -> None:
    """Without the logger a resume warns of no state that it has lost."""
    for loggers in ([training.CSVLogger(tmp_path / "m.csv")], []):
        callbacks = [*loggers, training.Checkpoint(tmp_path)]
        training.fit(MyTrainer(), [points()], iterations=2, resume=True, callbacks=callbacks)


def test_the_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    """A run that should continue a file which is not a table of metrics is a CheckpointError that names it."""
    trainer, path = MyTrainer(), tmp_path / "m.csv"
    training.fit(trainer, [points()], iterations=1)
    path.write_bytes(b"iteration,epoch,x\r\n1,0,y\r\n")
    with pytest.raises(CheckpointError, match="m.csv"):
        training.fit(trainer, [points()], iterations=2, callbacks=[training.CSVLogger(path)])
    assert path.read_bytes() == b"iteration,epoch,x\r\n1,0,y\r\n"


@pytest.mark.parametrize("every", [0, 1.5, True])
def test_bad_arguments(every: Any) -> None:
    """Every is a whole number of at least 1."""
    with pytest.raises(ArgumentValueError, match=rf"every \(={every}\)"):
        training.CSVLogger("m.csv", every=every)
