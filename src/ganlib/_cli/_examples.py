"""Run or copy the example scripts that come with ganlib."""

import importlib
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganlib._checks import check_positive
from ganlib.errors import ArgumentValueError

__all__ = ["copy_examples", "demo", "scripts", "train"]

_SCRIPT = "mnist_cdcgan"
_FOLDERS = "examples", "notebooks"


def train(options: Sequence[str]) -> None:
    """Train a conditional DCGAN.

    Args:
        options: the options of ``examples/mnist_cdcgan.py train``.
    """
    with scripts() as load:
        script = load(_SCRIPT)
        script.run_main(lambda: script.main(["train", *options]))


def demo(minutes: float, out: Path) -> None:
    """Train on built-in digits, and generate ten samples of each digit.

    Args:
        minutes: minutes of training, above 0.
        out: the folder of the run, which must be empty or new.

    Raises:
        ArgumentValueError: if the minutes are out of their range, or the folder is not empty.
    """
    check_positive("--minutes", minutes)
    if out.exists() and not out.is_dir():
        raise ArgumentValueError(f"--out (={out}) is a file: choose a folder")
    if out.exists() and any(out.iterdir()):
        raise ArgumentValueError(f"--out (={out}) holds files already: remove it, or choose another folder")
    with scripts() as load:
        script = load(_SCRIPT)
        script.main(["train", "--data", "digits", "--minutes", str(minutes), "--out", str(out)])
        script.main(["sample", "--run", str(out), "--count", "10", "--out", str(out / "digits.png")])


def copy_examples(folder: Path) -> None:
    """Copy the scripts and the notebooks.

    Args:
        folder: a new folder.

    Raises:
        ArgumentValueError: if the folder exists.
    """
    if folder.exists():
        raise ArgumentValueError(f"DIR (={folder}) exists already: choose another folder")
    for name in _FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(_shipped(name), folder / name, ignore=ignored, copy_function=shutil.copyfile)
    for path in folder.rglob("*"):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)  # installed files may be read-only, but users edit the copies
    print(f"the scripts are in {folder / 'examples'}, the notebooks in {folder / 'notebooks'}")
    print(f"try: python {folder / 'examples' / _SCRIPT}.py train --help")


@contextmanager
def scripts() -> Iterator[Callable[[str], Any]]:
    """Make the example scripts importable in this context, with ``python -m ganlib`` as the program name."""
    before = sys.argv, sys.path
    sys.argv, sys.path = ["python -m ganlib"], [str(_shipped("examples")), *sys.path]
    try:
        yield importlib.import_module
    finally:
        sys.argv, sys.path = before


def _shipped(name: str) -> Path:
    """Return a folder that the wheel puts next to this file; in a checkout it is at the top."""
    here = Path(__file__).resolve()
    return next(folder for folder in (here.with_name(name), here.parents[3] / name) if folder.exists())
