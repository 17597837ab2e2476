"""The documentation as HTML, built once for all tests."""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@functools.cache
def site() -> Path:
    """Return the folder with the pages: $GANLIB_SITE (``make test`` has just built it), or a new one."""
    for package in ["sphinx", "furo", "sphinx_copybutton", "sphinx_design"]:
        pytest.importorskip(package)
    if folder := os.environ.get("GANLIB_SITE"):
        return Path(folder).resolve()
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-b",
        "html",
        DOCS,
        folder,
    ]  # a process of its own, since it changes modules
    subprocess.run(command, check=True, capture_output=True)
    return Path(folder)
