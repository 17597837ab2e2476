"""Import the optional dependency of the metrics."""

from typing import Any

from ganlib.errors import MissingExtraError

__all__ = ["Metric"]

try:
    from torchmetrics import Metric
except ModuleNotFoundError as missing:
    _name = missing.name

    class Metric:  # type: ignore[no-redef]
        """Replace ``torchmetrics.Metric`` if it is not installed; importing the package then still works."""

        def __init__(self, **options: Any) -> None:
            raise MissingExtraError(f"{_name} is not installed, which this metric needs: pip install 'ganlib[metrics]'")
