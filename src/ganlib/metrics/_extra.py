"""The extra that the metrics need."""

import importlib
from typing import Any

from ganlib.errors import MissingExtraError

__all__ = ["torchmetrics_module"]


def torchmetrics_module(name: str) -> Any:
    """A module of torchmetrics, imported when a metric is made: the rest of the room works without it.

    Args:
        name: the module's, without the package's.

    Returns:
        The module.

    Raises:
        MissingExtraError: torchmetrics is not installed.

    Example:
        >>> torchmetrics_module("aggregation").MeanMetric.__name__
        'MeanMetric'
    """
    try:
        return importlib.import_module(f"torchmetrics.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{error.name} is not installed, which this metric is computed with: pip install 'ganlib[metrics]'"
        ) from error
