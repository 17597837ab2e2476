"""Name metrics, call their methods, and read their results and states, for metrics of ganlib and torchmetrics."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganlib._shown import shown
from ganlib.errors import ArgumentTypeError, ArgumentValueError

__all__ = ["argument_of", "by_name", "forget_real", "kept_states", "results_of"]


def by_name(metrics: Any) -> dict[str, Any]:
    """Name a metric, each of several, or those of a dict or a collection; a name that is a class becomes snake case."""
    if hasattr(metrics, "items"):  # each metric of a MetricCollection has its own state
        pairs = [*metrics.items()]
    else:
        several = isinstance(metrics, Sequence) and not isinstance(metrics, str)
        pairs = [(type(each).__name__, each) for each in (metrics if several else [metrics])]
    found = dict[str, Any]()
    for name, metric in pairs:
        parts = [getattr(metric, part, None) for part in ("update", "compute", "reset")]
        if isinstance(metric, type) or hasattr(metric, "items") or not all(map(callable, parts)):
            raise ArgumentTypeError(f"metric {shown(metric)} must be an object with update, compute and reset")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"the name of a metric (={shown(name)}) must be a string")
        name = name.replace(type(metric).__name__, _snake_case(type(metric).__name__))
        if name in found:
            raise ArgumentValueError(f"two metrics are called {shown(name)}: pass metrics as a dict of names")
        found[name] = metric
    if not found:
        raise ArgumentValueError(f"metrics (={shown(metrics)}) must be at least one")
    return found


def results_of(name: str, metric: Any) -> Iterator[tuple[str, float]]:
    """Compute a metric, and yield its results as numbers by name."""
    class_name = _snake_case(type(metric).__name__)
    prefix = name.removesuffix(class_name) if name.endswith(class_name) else f"{name}_"  # of names in a dict
    yield from _numbers(name, metric.compute(), prefix)


def _numbers(name: str, value: Any, prefix: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for part, result in value.items():
            own = prefix + _snake_case(str(part))
            yield from _numbers(own, result, f"{own}_")
    elif isinstance(value, tuple | list) and len(value) == 2:
        yield from _numbers(name, value[0], prefix)
        yield from _numbers(f"{name}_std", value[1], prefix)
    else:
        try:
            yield name, float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ArgumentTypeError(
                f"compute of {name} gave {shown(value)}; it must give a number, a mean and a standard deviation, or a "
                "dict of these"
            ) from error


def argument_of(metric: Any) -> str:
    """Return what the metric's update takes next to samples: ``"real"``, ``"condition"``, or nothing."""
    parameters = inspect.signature(metric.update).parameters
    if "real" in parameters:
        return "real"
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return "condition" if sum(each.kind in positional for each in parameters.values()) > 1 else ""


def kept_states(metric: Any) -> dict[str, Any]:
    """Copy the states of a torchmetrics Metric that has no real samples, for example its training samples."""
    return _copied(getattr(metric, "metric_state", {}))


def forget_real(metric: Any, kept: Mapping[str, Any]) -> None:
    """Remove the real samples from a metric, whose states were kept before it was given any."""
    if hasattr(metric, "has_real"):
        metric.reset(real=True)
    elif not getattr(metric, "reset_real_features", True):  # torchmetrics: reset keeps the real samples if False
        metric.reset_real_features = True
        metric.reset()
        metric.reset_real_features = False
    for name, value in _copied(kept).items():  # reset empties lists in place
        setattr(metric, name, value)


def _copied(states: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [*value] if isinstance(value, list) else value.clone() for name, value in states.items()}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
