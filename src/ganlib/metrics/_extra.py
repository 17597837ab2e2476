"""The optional dependency of the metrics."""

from typing import Any

from ganlib.errors import MissingExtraError

__all__ = ["Metric"]

try:
    from torchmetrics import Metric
except ModuleNotFoundError as missing:
    _name = missing.name

    class Metric:  # type: ignore[no-redef]
        """Stands for ``torchmetrics.Metric`` where that is missing, so that the package can be imported."""

        def __init__(self, **options: Any) -> None:
            raise MissingExtraError(
                f"{_name} is not installed, which this metric is computed with: pip install 'ganlib[metrics]'"
            )
