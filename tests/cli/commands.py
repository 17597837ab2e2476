"""``python -m ganlib``, called as a user calls it, and in this process."""

import os
import subprocess
import sys
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


def refused(*words: object) -> str:
    """Run a command that must fail with status 1; returns the line that it shows."""
    with pytest.raises(SystemExit) as caught:
        call(*words)
    # What Python does with a string: it prints it to stderr, and the status is 1.
    message = caught.value.code
    assert isinstance(message, str)
    assert message.startswith("ganlib: ")
    assert len(message.splitlines()) == 1
    return message


def files(folder: Path) -> list[str]:
    """The names of all files in a folder and below."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
