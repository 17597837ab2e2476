"""``python -m ganlib``, called as a user calls it, and in this process."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest

import ganlib
from ganlib._cli import main

SOURCE = Path(ganlib.__file__).parents[1]


def environment() -> dict[str, str]:
    """The variables of a process of its own: this source, one thread."""
    return {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}


def run(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, whose working directory is the folder."""
    return subprocess.run(
        [sys.executable, "-m", "ganlib", *map(str, words)],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def call(*words: object) -> None:
    """Run a command in this process."""
    main([str(word) for word in words])


def refused(*words: object, status: int = 2) -> str:
    """Run a command that must fail with a status; returns the line that it shows."""
    shown = io.StringIO()
    with redirect_stderr(shown), pytest.raises(SystemExit) as caught:
        call(*words)
    assert caught.value.code == status
    *usage, message = shown.getvalue().splitlines()
    assert message.startswith("python -m ganlib")
    assert "Traceback" not in "".join(usage)
    assert not usage or usage[0].startswith("usage: ")  # argparse shows it above its own
    return message


def files(folder: Path) -> list[str]:
    """The names of all files in a folder and below."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
