"""The table of metrics: what is written is read again, and nothing else is."""

from pathlib import Path

import pytest

from ganlib._table import format_rows, read_table
from ganlib.errors import CheckpointError

ROWS = [
    {"iteration": "2", "epoch": "0", "a, é": "0.5", '"b"': ""},
    {"iteration": "10", "epoch": "1", "a, é": "nan", '"b"': "-inf"},
]


def test_rows_are_read_again(tmp_path: Path) -> None:
    """Names with commas, quotes and accents, numbers that are not finite, and empty cells come back."""
    (tmp_path / "m.csv").write_bytes(format_rows(ROWS[0], ROWS, header=True))
    assert read_table(tmp_path / "m.csv") == ROWS


def test_rows_are_appended(tmp_path: Path) -> None:
    """Without a header the rows continue a file; a value that a row lacks is an empty cell."""
    row = {"iteration": 12, "epoch": 1, '"b"': 0.25}
    (tmp_path / "m.csv").write_bytes(format_rows(ROWS[0], ROWS, header=True) + format_rows(ROWS[0], [row]))
    assert read_table(tmp_path / "m.csv")[2] == {"iteration": "12", "epoch": "1", "a, é": "", '"b"': "0.25"}


def test_without_columns_there_is_nothing(tmp_path: Path) -> None:
    """A table of no columns is an empty file, and an empty or missing file has no rows."""
    (tmp_path / "m.csv").write_bytes(format_rows([], [], header=True))
    assert (tmp_path / "m.csv").read_bytes() == b""
    assert read_table(tmp_path / "m.csv") == read_table(tmp_path / "none.csv") == []


@pytest.mark.parametrize("cut", [b"1", b"11,1", b"11,1,2.5,3"])
def test_a_row_that_was_cut_is_left_out(cut: bytes, tmp_path: Path) -> None:
    """A last row without its end, wherever a kill has cut it, is not read."""
    (tmp_path / "m.csv").write_bytes(format_rows(ROWS[0], ROWS, header=True) + cut)
    assert read_table(tmp_path / "m.csv") == ROWS


DAMAGES = {
    "a NUL": b"iteration,epoch,x\r\n1,0,\x00\r\n",
    "a NUL in the header": b"iteration,epoch,\x00\r\n1,0,2\r\n",
    "no text": b"iteration,epoch,\xff\r\n1,0,2\r\n",
    "a long field": b"iteration,epoch,x\r\n1,0," + b"1" * 200_000 + b"\r\n",
    "a long number": b"iteration,epoch,x\r\n" + b"1" * 5_000 + b",0,1\r\n",
    "too many cells": b"iteration,epoch,x\r\n1,0,2,3\r\n",
    "too few cells": b"iteration,epoch,x\r\n1,0\r\n",
    "no number": b"iteration,epoch,x\r\n1,0,y\r\n",
    "an open quote": b'iteration,epoch,x\r\n1,0,"2\r\n',
    "a double row": b"iteration,epoch,x\r\n1,0,2\r\n1,0,2\r\n",
    "a double column": b"iteration,epoch,x,x\r\n1,0,2,2\r\n",
    "other columns": b"epoch,iteration\r\n0,1\r\n",
    "a negative iteration": b"iteration,epoch,x\r\n-1,0,2\r\n",
    "half an epoch": b"iteration,epoch,x\r\n1,0.5,2\r\n",
    "something else": b"\xff\xfenonsense\n1,2\n",
}


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_table_is_an_error(content: bytes, tmp_path: Path) -> None:
    """What a run could not have written is a CheckpointError that names the file."""
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"m\.csv is not a table of metrics"):
        read_table(tmp_path / "m.csv")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    """What cannot be read at all is a CheckpointError with the reason of the system."""
    with pytest.raises(CheckpointError, match=rf"{tmp_path.name} cannot be read: .*directory"):
        read_table(tmp_path)
