"""The table of metrics has no gap and no double row."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ganlib import training
from ganlib.errors import ArgumentValueError, CheckpointError
from tests.training.players import MyTrainer, points


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
    """Rows written after the checkpoint are written again, once, and the file equals an undisturbed run's."""
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


def test_a_new_run_begins_the_file_anew(tmp_path: Path) -> None:
    """The table of an older run is not mixed with a new one's."""
    (tmp_path / "m.csv").write_text("iteration,epoch,x\n1,0,2\n")
    training.fit(MyTrainer(), [points()], iterations=1, callbacks=[training.CSVLogger(tmp_path / "m.csv", every=1)])
    assert [row["iteration"] for row in rows(tmp_path / "m.csv")] == ["1"]
    assert "x" not in rows(tmp_path / "m.csv")[0]


def test_a_file_of_something_else_is_answered(tmp_path: Path) -> None:
    """Going on with a file that is no table of metrics names it."""
    trainer = MyTrainer()
    training.fit(trainer, [points()], iterations=1)
    (tmp_path / "m.csv").write_bytes(b"\xff\xfenonsense\n1,2\n")
    with pytest.raises(CheckpointError, match="m.csv"):
        training.fit(trainer, [points()], iterations=2, callbacks=[training.CSVLogger(tmp_path / "m.csv")])


def test_every_below_one() -> None:
    """Every must be at least 1."""
    with pytest.raises(ArgumentValueError, match=r"every \(=0\)"):
        training.CSVLogger("m.csv", every=0)
