"""Values that follow the progress of a run, whatever limits it."""

import math
from collections.abc import Callable
from numbers import Real

import torch
from torch import Tensor

from ganlib._checks import check_fraction, check_number
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Run

__all__ = ["LearningRateSchedule", "Schedule", "cosine_decay", "linear_decay"]


class LearningRateSchedule:
    r"""Sets the learning rates of an optimizer to :math:`\eta_0 \cdot \text{factor}(\text{run.progress})`.

    The schedulers of torch count steps, but a run that is limited by minutes does not know its number of steps. This
    one follows ``run.progress``. Each optimizer needs its own schedule. A learning rate that is a tensor is changed in
    place.

    Args:
        optimizer: its learning rates when its first schedule is made are :math:`\eta_0`. They are kept in its groups as
            ``initial_lr``, as torch's schedulers do, so that a later schedule starts from them again.
        factor: a function from the progress in [0, 1] to a factor.

    Raises:
        ArgumentTypeError: the optimizer is not one, or ``factor(0.0)`` is not a number.

    Example:
        >>> optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=2e-4)
        >>> schedule = LearningRateSchedule(optimizer, linear_decay(start=0.6, final=0.05))
        >>> round(schedule.factor(0.8), 3)
        0.525
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[float], float]) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentTypeError(f"optimizer (={optimizer!r}) must be a torch.optim.Optimizer")
        _check_function("factor", factor)
        self.optimizer = optimizer
        self.factor = factor
        self._rates = [group.setdefault("initial_lr", float(group["lr"])) for group in optimizer.param_groups]

    def on_start(self, run: Run) -> None:
        """Set the learning rates of the first iteration.

        Args:
            run: the training.
        """
        factor = self.factor(run.progress)
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)  # in place, since a CUDA graph reads this tensor
            else:
                group["lr"] = rate * factor

    def on_iteration(self, run: Run) -> None:
        """Set the learning rates of the next iteration.

        Args:
            run: the training.
        """
        self.on_start(run)


class Schedule:
    """Writes ``function(run.progress)`` into a tensor, in place, so that an objective can use a value that changes.

    An objective that reads a Python number cannot be compiled or recorded as a CUDA graph once the number changes. A
    tensor that is changed in place can. The weight of a loss is an example; an auxiliary loss may have such a tensor as
    its ``weight``.

    Args:
        tensor: a scalar, () floating, without gradients. With ``cuda_graph`` it should lie on the device: a recording
            has a tensor on the CPU as a number, and is made again when it changes.
        function: from the progress in [0, 1] to a number.

    Raises:
        ArgumentTypeError: the tensor is not a floating-point scalar, or ``function(0.0)`` is not a number.

    Example:
        >>> weight = torch.zeros(())  # of a reconstruction loss, which grows from 0 to 10 in the first half of the run
        >>> schedule = Schedule(weight, lambda progress: 10 * min(1.0, 2 * progress))
        >>> def objective(batch):
        ...     image, reconstruction = batch
        ...     return weight * (reconstruction - image).abs().mean()
        >>> schedule.function(0.25)
        5.0
    """

    def __init__(self, tensor: Tensor, function: Callable[[float], float]) -> None:
        if not (isinstance(tensor, Tensor) and tensor.ndim == 0 and tensor.is_floating_point()):
            raise ArgumentTypeError(f"tensor (={tensor!r}) must be a floating-point tensor of no dimensions")
        if tensor.requires_grad:
            raise ArgumentTypeError(f"tensor (={tensor!r}) must not require gradients, since it is changed in place")
        _check_function("function", function)
        self.tensor = tensor
        self.function = function

    def on_start(self, run: Run) -> None:
        """Write the value for the first iteration.

        Args:
            run: the training.
        """
        self.tensor.fill_(self.function(run.progress))

    def on_iteration(self, run: Run) -> None:
        """Write the value for the next iteration.

        Args:
            run: the training.
        """
        self.on_start(run)


def linear_decay(*, start: float = 0.6, final: float = 0.05) -> Callable[[float], float]:
    """Make a function that is 1 up to the progress ``start``, then falls in a straight line to ``final`` at the end.

    Args:
        start: the progress at which the decay begins, in [0, 1).
        final: the value at progress 1, at least 0.

    Returns:
        A function from the progress to a factor, for :class:`LearningRateSchedule` or :class:`Schedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> factor = linear_decay(start=0.5, final=0.0)
        >>> [factor(progress) for progress in (0.0, 0.5, 0.75, 1.0)]
        [1.0, 1.0, 0.5, 0.0]
    """
    check_fraction("start", start, below_1=True)
    check_number("final", final)
    return lambda progress: 1 - (1 - final) * max(0.0, (progress - start) / (1 - start))


def cosine_decay(*, start: float = 0.0, final: float = 0.0) -> Callable[[float], float]:
    """Make a function that is 1 up to the progress ``start``, then falls as half a cosine to ``final`` at the end.

    Args:
        start: the progress at which the decay begins, in [0, 1).
        final: the value at progress 1, at least 0.

    Returns:
        A function from the progress to a factor, for :class:`LearningRateSchedule` or :class:`Schedule`.

    Raises:
        ArgumentValueError: an argument is out of its range.

    Example:
        >>> factor = cosine_decay()
        >>> [round(factor(progress), 3) for progress in (0.0, 0.5, 1.0)]
        [1.0, 0.5, 0.0]

    References:
        Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2017, equation 5,
        arXiv:1608.03983.
    """
    check_fraction("start", start, below_1=True)
    check_number("final", final)
    return lambda progress: (
        final + (1 - final) * (1 + math.cos(math.pi * max(0.0, (progress - start) / (1 - start)))) / 2
    )


def _check_function(name: str, function: Callable[[float], object]) -> None:
    """Raise an ArgumentTypeError unless the function gives a number for the progress 0."""
    try:
        first = function(0.0)
    except TypeError as error:
        raise ArgumentTypeError(f"{name} (={function!r}) must be a function of the progress: {error}") from error
    if not isinstance(first, Real):
        raise ArgumentTypeError(f"{name} (={function!r}) must return a number, but it returned {first!r}")
