"""Schedule the betas of an Adam optimizer by the progress of a run."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ganlib._shown import described, shown
from ganlib.errors import ArgumentTypeError
from ganlib.protocols import Run
from ganlib.training._callbacks._functions import check_alone, check_function, value_at
from ganlib.training._callbacks._trained import warn_of_other_optimizer

__all__ = ["BetasSchedule"]


class BetasSchedule:
    r"""Set the betas of an optimizer to functions of ``run.progress``.

    Adam averages gradients with the decay :math:`\beta_1`, and squared gradients with the decay :math:`\beta_2`. R3GAN
    raises :math:`\beta_2` from 0.9 to 0.99 during training, along a :func:`cosine_ramp`. A beta without a function does
    not change. Each optimizer needs its own schedule. A beta that is a tensor is changed in place, and stays below 1 in
    its precision.

    With ``cuda_graph``, Adam and AdamW read their betas on the device. Other optimizers need a new recording for each
    change.

    Args:
        optimizer: an optimizer with two ``betas``, such as Adam, AdamW, NAdam or RAdam.
        beta1: a function from the progress in [0, 1] to a number in [0, 1), or None. It is tried at 0, 1/2 and 1.
        beta2: a function in the same way, or None.

    Raises:
        ArgumentTypeError: ``optimizer`` is not an optimizer with two betas, ``beta1`` and ``beta2`` are both None, or
            one of them is not a function that returns numbers.
        ArgumentValueError: a value is not in [0, 1), or the function fails.

    Warns:
        UserWarning: when a run starts, if the optimizer is not one of its trainer's.

    Example:
        >>> from ganlib import training
        >>> optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=2e-4, betas=(0.0, 0.9))
        >>> schedule = BetasSchedule(optimizer, beta2=training.cosine_ramp(0.9, 0.99, until=0.5))
        >>> round(schedule.beta2(0.25), 3)
        0.945

    References:
        Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, arXiv:1412.6980.

        Huang et al., "The GAN is dead; long live the GAN! A Modern GAN Baseline", 2024, arXiv:2501.05441; the schedule
        is in its code, https://github.com/brownvc/R3GAN.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        beta1: Callable[[float], float] | None = None,
        beta2: Callable[[float], float] | None = None,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentTypeError(f"optimizer (={shown(optimizer)}) must be a torch.optim.Optimizer")
        for group in optimizer.param_groups:
            betas = group.get("betas")
            if not (isinstance(betas, tuple | list) and len(betas) == 2):
                has = "no betas" if betas is None else f"the betas {shown(betas)}"
                raise ArgumentTypeError(
                    f"optimizer (={type(optimizer).__name__}) has {has}; it must have two, as torch.optim.Adam has"
                )
        if beta1 is None and beta2 is None:
            raise ArgumentTypeError("beta1 and beta2 are both None: pass a function of the progress for one of them")
        for name, function in (("beta1", beta1), ("beta2", beta2)):
            if function is not None:
                check_function(name, function, least=0.0, below=1.0)
        self.optimizer = optimizer
        self.beta1 = beta1
        self.beta2 = beta2
        self._keep_initial()

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "optimizer", "beta1", "beta2")

    def on_start(self, run: Run) -> None:
        """Set the betas of the first iteration.

        Args:
            run: the run.

        Raises:
            ArgumentValueError: another schedule sets the betas of the same optimizer.
        """
        check_alone(self, run, "optimizer")
        warn_of_other_optimizer(self, self.optimizer, run)
        self.on_iteration(run)

    def on_iteration(self, run: Run) -> None:
        """Set the betas of the next iteration.

        Args:
            run: the run.

        Raises:
            ArgumentTypeError, ArgumentValueError: a beta is not a number in [0, 1).
        """
        values = [
            None if function is None else value_at(name, function, run.progress, least=0.0, below=1.0)
            for name, function in (("beta1", self.beta1), ("beta2", self.beta2))
        ]
        self._keep_initial()  # a checkpoint without this schedule lacks them
        for group in self.optimizer.param_groups:
            group["betas"] = tuple(map(_written, group["betas"], values))

    def _keep_initial(self) -> None:
        """Keep the betas of before in the groups, as a learning rate's schedule keeps ``initial_lr``."""
        for group in self.optimizer.param_groups:
            if "initial_betas" not in group:
                group["initial_betas"] = tuple(map(float, group["betas"]))  # once, since it may wait for the device


def _written(beta: Any, value: float | None) -> Any:
    """Return the new beta; a tensor stays the same one, since a CUDA graph reads it."""
    if value is None:
        return beta
    if not isinstance(beta, Tensor):
        return value
    largest = 1 - torch.finfo(beta.dtype).eps / 2  # below 1: with a beta of 1, Adam divides by 0
    return beta.fill_(min(value, largest))
