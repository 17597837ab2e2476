"""An honest fake of a run, for the callbacks that draw one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from torch import Tensor

from ganlib.protocols import Run


@dataclass
class FakeRun:
    """What a callback sees of a run, set by hand; it offers all of ``protocols.Run``."""

    iteration: int = 0
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    logged: Mapping[str, Tensor] = field(default_factory=dict)
    trainer: Any = None
    batches: Any = ()
    callbacks: tuple[Any, ...] = ()
    epoch: int = 0
    samples: int = 0
    progress: float = 0.0
    seconds: float = 0.0
    interrupted: bool = False
    stopped: bool = False

    def log(self, values: Mapping[str, Any]) -> None:
        """Add to the metrics."""
        self.metrics, self.logged = {**self.metrics, **values}, {**self.logged, **values}

    def stop(self) -> None:
        """Note that a stop was asked for."""
        self.stopped = True

    def state_dict(self) -> dict[str, Any]:
        """Nothing to resume."""
        return {}

    def go(self, callback: Any, to: int, metrics: Any = lambda iteration: {}) -> None:
        """Drive one callback from here to an iteration, with ``metrics(iteration)``, as ``fit`` does."""
        for name in ("on_start", *["on_iteration"] * (to - self.iteration), "on_end"):
            if name == "on_iteration":
                self.iteration += 1
                self.metrics = metrics(self.iteration)
            if hasattr(callback, name):
                getattr(callback, name)(self)


@pytest.fixture
def run():
    """A run that has not begun."""
    fake = FakeRun()
    assert isinstance(fake, Run)
    return fake
