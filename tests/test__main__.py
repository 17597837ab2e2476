"""Tests of ``python -m ganlib`` as a process: its words, its status, what it prints where."""

import subprocess
import sys
from pathlib import Path

from tests.cli.commands import environment, files, run


def test_it_draws(tmp_path: Path) -> None:
    """The words of the command line are taken, the image is written, and its name is all that is printed."""
    done = run("draw", "7", "--out", "seven.png", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the image is seven.png\n", "")
    assert files(tmp_path) == ["seven.png"]


def test_an_error_is_a_line_on_stderr(tmp_path: Path) -> None:
    """A wrong number ends with status 2, without a traceback and without a file."""
    done = run("draw", "7 up", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m ganlib: NUMBER (='7 up') must be digits from 0 to 9\n"
    assert files(tmp_path) == []


def test_importing_the_module_runs_nothing(tmp_path: Path) -> None:
    """The command runs with ``python -m`` only; who imports the module, as a spawned process does, starts none."""
    words = [sys.executable, "-c", "import sys; sys.argv = ['ganlib', 'draw', '7']; import ganlib.__main__"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr, files(tmp_path)) == ("", "", [])
