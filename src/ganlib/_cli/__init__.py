"""Run the command line: ``python -m ganlib``."""

from ganlib._cli._main import main

__all__ = ["main"]
