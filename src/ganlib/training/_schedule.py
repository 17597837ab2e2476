"""Learning rates that follow the progress of a run, whatever limits it."""

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import Run

__all__ = ["LearningRateSchedule", "cosine_decay", "linear_decay"]


class LearningRateSchedule:
    r"""Sets the learning rate of an optimizer's groups to :math:`\eta_0 \cdot \text{factor}(\text{run.progress})`.

    torch's schedulers count steps, which a run limited by minutes does not know beforehand; this one follows
    ``run.progress``. Give each player's optimizer its own, or leave one of them as it is. A rate that is a tensor is
    changed in place.

    Args:
        optimizer: its learning rates when its first schedule is made are :math:`\eta_0`; they are kept in its groups as
            ``initial_lr``, as torch's schedulers do, so that a later schedule begins from them again.
        factor: from progress in [0, 1] to a factor.

    Raises:
        ArgumentTypeError: something given is not what it must be.

    Example:
        >>> optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=2e-4)
        >>> schedule = LearningRateSchedule(optimizer, linear_decay(start=0.6, final=0.05))
        >>> round(schedule.factor(0.8), 3)
        0.525
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[float], float]) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentTypeError(f"optimizer (={optimizer!r}) must be a torch.optim.Optimizer")
        try:
            first: object = factor(0.0)
        except TypeError as error:
            raise ArgumentTypeError(f"factor (={factor!r}) must be a function of the progress: {error}") from error
        if not isinstance(first, Real):
            raise ArgumentTypeError(f"factor (={factor!r}) must give a number for a progress, but gave {first!r}")
        self.optimizer = optimizer
        self.factor = factor
        self._rates = [group.setdefault("initial_lr", float(group["lr"])) for group in optimizer.param_groups]

    def on_start(self, run: Run) -> None:
        """Set the learning rates of the first iteration.

        Args:
            run: the training.
        """
        self._set(run)

    def on_iteration(self, run: Run) -> None:
        """Set the learning rates of the next iteration.

        Args:
            run: the training.
        """
        self._set(run)

    def _set(self, run: Run) -> None:
        factor = self.factor(run.progress)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)  # where it is, for a CUDA graph reads it there
            else:
                group["lr"] = rate * factor


def linear_decay(*, start: float = 0.6, final: float = 0.05) -> Callable[[float], float]:
    """A factor that is 1 at first, and falls in a straight line from ``start`` on, to ``final`` at the end.

    Args:
        start: the progress at which it begins to fall, in [0, 1).
        final: the factor at progress 1, at least 0.

    Returns:
        A function for :class:`LearningRateSchedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> factor = linear_decay(start=0.5, final=0.0)
        >>> [factor(progress) for progress in (0.0, 0.5, 0.75, 1.0)]
        [1.0, 1.0, 0.5, 0.0]
    """
    _check_range(start, final)
    return lambda progress: 1 - (1 - final) * max(0.0, (progress - start) / (1 - start))


def cosine_decay(*, start: float = 0.0, final: float = 0.0) -> Callable[[float], float]:
    """A factor that is 1 at first, and falls as half a cosine from ``start`` on, to ``final`` at the end.

    Args:
        start: the progress at which it begins to fall, in [0, 1).
        final: the factor at progress 1, at least 0.

    Returns:
        A function for :class:`LearningRateSchedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> factor = cosine_decay()
        >>> [round(factor(progress), 3) for progress in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5.
    """
    _check_range(start, final)
    return lambda progress: (
        final + (1 - final) * (1 + math.cos(math.pi * max(0.0, (progress - start) / (1 - start)))) / 2
    )


def _check_range(start: float, final: float) -> None:
    if not 0 <= start < 1:
        raise ArgumentValueError(f"start (={start}) must be in [0, 1)")
    if not final >= 0:
        raise ArgumentValueError(f"final (={final}) must be at least 0")
