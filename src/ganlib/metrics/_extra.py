"""The optional dependency of the metrics."""

import importlib
from typing import Any

from ganlib.errors import MissingExtraError

__all__ = ["torchmetrics_module"]


def torchmetrics_module(name: str) -> Any:
    """Import a module of torchmetrics, which is an optional dependency."""
    try:
        return importlib.import_module(f"torchmetrics.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, which this metric is computed with: pip install 'ganlib[metrics]'"
        ) from error
