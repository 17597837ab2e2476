"""Stop a training that does not improve any more."""

import sys
import warnings
from typing import Any

from tqdm import tqdm

from ganlib._checks import check_count, check_number
from ganlib._shown import described, shown
from ganlib.distributed import rank
from ganlib.protocols import Run
from ganlib.training._callbacks._monitor import Mode, Monitor

__all__ = ["EarlyStopping"]


class EarlyStopping:
    r"""Stop the run if a metric has not improved for ``patience`` measurements, with a message on standard error.

    A metric that a callback logs (``Evaluate``, or your own with ``run.log``) is measured whenever it is logged. A
    metric of the trainer is measured in every iteration, which waits for the device; ``patience`` then counts
    iterations. The value :math:`x_n` of the n-th measurement is an improvement if

    .. math:: x_n < b_{n-1} - \delta \quad (\text{mode "min"}) \qquad \text{or} \qquad
        x_n > b_{n-1} + \delta \quad (\text{mode "max"}),

    where :math:`\delta` is ``min_delta`` and :math:`b_{n-1}` is the value of the last improvement. The first finite
    value is an improvement. NaN and infinite values are not improvements.

    Checkpoints contain the best value and the count, so a resumed run stops at the same iteration as a run without
    interruption. ``resume=True`` does not continue a run that has stopped, unless you increase ``patience``.

    Args:
        monitor: the name of the metric.
        patience: number of consecutive measurements without an improvement after which the run ends, at least 1.
        mode: "min" if a smaller value is better, "max" if a larger one is.
        min_delta: the margin of an improvement, at least 0.

    Attributes:
        stopped_at: the iteration of the measurement that ended the run; None if this callback did not end it.

    Raises:
        ArgumentTypeError: ``monitor`` is not a string.
        ArgumentValueError: ``patience``, ``mode`` or ``min_delta`` is out of range.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from ganlib import latents, losses, training
        >>> generator, discriminator = nn.Linear(4, 2), nn.Linear(2, 1)
        >>> trainer = training.AdversarialTrainer(
        ...     generator, discriminator,
        ...     torch.optim.SGD(generator.parameters(), lr=0.0), torch.optim.SGD(discriminator.parameters(), lr=0.0),
        ...     loss=losses.NonSaturatingLoss(), latent=latents.Gaussian(4))
        >>> stopping = training.EarlyStopping("real_score", patience=3, mode="max")
        >>> training.fit(trainer, [torch.randn(8, 2)], iterations=100, callbacks=[stopping])
        >>> stopping.stopped_at  # with lr=0.0 the first value stays the best, and three more follow
        4
    """

    reads_metrics = True

    def __init__(self, monitor: str, patience: int, *, mode: Mode = "min", min_delta: float = 0.0) -> None:
        self.patience: int = check_count("patience", patience, least=1)
        self.min_delta: float = check_number("min_delta", min_delta)
        self._monitor = Monitor(monitor, mode)
        self.stopped_at: int | None = None
        self._best, self._count, self._measured_at = self._monitor.worst, 0, 0

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "patience", "min_delta", "stopped_at", monitor=lambda: self._monitor.name)

    def on_start(self, run: Run) -> None:
        """Stop a run that was stopped before; forget the measurements of another run.

        Args:
            run: the run.
        """
        self.stopped_at = None
        if run.iteration < self._measured_at:
            self._forget()
        self._stop_if_due(run)

    def on_iteration(self, run: Run) -> None:
        """Compare a new value of the metric, and stop the run if it is time.

        Args:
            run: the run.
        """
        value = self._monitor.read(run.metrics)
        if value is None:
            self._warn_if_missing(run, ended=False)
            return
        self._measured_at = run.iteration
        if self._monitor.is_better(value, self._best, self.min_delta):
            self._best, self._count = value, 0
        else:
            self._count += 1
        self._stop_if_due(run)

    def on_end(self, run: Run) -> None:
        """Warn if a complete run did not have the metric.

        Args:
            run: the run.
        """
        self._warn_if_missing(run, ended=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the count.

        Returns:
            Plain values.
        """
        return {
            "monitor": self._monitor.name,
            "mode": self._monitor.mode,
            "best": self._best,
            "count": self._count,
            "iteration": self._measured_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the best value and the count; ignore those of another metric or mode, with a warning.

        Args:
            state: what ``state_dict`` returned.
        """
        saved, own = (state["monitor"], state["mode"]), (self._monitor.name, self._monitor.mode)
        if saved != own:
            warnings.warn(
                f"the checkpoint's EarlyStopping had monitor (={shown(saved[0])}) and mode (={shown(saved[1])}), not "
                f"{own[0]!r} and {own[1]!r}, so it begins to count at 0",
                stacklevel=2,
            )
            self._forget()
            return
        self._best, self._count = float(state["best"]), int(state["count"])
        self._measured_at = int(state["iteration"])

    def _warn_if_missing(self, run: Run, *, ended: bool) -> None:
        if not self._measured_at:
            self._monitor.warn_if_missing(run, "EarlyStopping cannot end it", ended=ended)

    def _forget(self) -> None:
        self._best, self._count, self._measured_at = self._monitor.worst, 0, 0

    def _stop_if_due(self, run: Run) -> None:
        if self._count < self.patience:
            return
        if self.stopped_at is None and rank() == 0:
            tqdm.write(
                f"EarlyStopping ends the run: {self._monitor.name} has been no better than {self._best:.4g} for "
                f"{self._count} measurements, up to iteration {self._measured_at}",
                file=sys.stderr,
            )
        self.stopped_at = self._measured_at
        run.stop()
