"""Metrics table ``metrics.csv`` of a run, with one row per logged iteration."""

import csv
import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganlib.errors import CheckpointError

__all__ = ["format_rows", "read_table"]


def format_rows(columns: Iterable[str], rows: Iterable[Mapping[str, Any]], *, header: bool = False) -> bytes:
    """Format rows as CSV, optionally with a header; a missing value is an empty cell."""
    columns = [*columns]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="ignore")
    if header and columns:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def read_table(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Read the rows, or none if the file is missing; raise a CheckpointError if the file is not such a table."""
    try:
        content = Path(path).read_bytes()
        # A killed process can leave an incomplete last row.
        text = content[: content.rfind(b"\n") + 1].decode()
        table = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = next(table, [])
        rows = [_row(columns, cells) for cells in table]
        iterations = [int(row["iteration"]) for row in rows]
        if "\0" in text or iterations != sorted({*iterations}):
            raise ValueError("its iterations do not increase")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    except (csv.Error, ValueError) as error:
        raise CheckpointError(f"{path} is not a table of metrics: {error}") from error
    return rows


def _row(columns: list[str], cells: list[str]) -> dict[str, str]:
    """Return a row as a dict; raise a ValueError if the row is invalid."""
    row = dict(zip(columns, cells, strict=True))
    known = columns[:2] == ["iteration", "epoch"] and len(row) == len(columns)
    if not (known and row["iteration"].isdecimal() and row["epoch"].isdecimal()):
        raise ValueError(f"it has the row {', '.join(cells):.200}")
    for cell in cells:
        float(cell or 0)
    return row
