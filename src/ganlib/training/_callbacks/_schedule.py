"""Schedule values by the progress of a run."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganlib._checks import check_fraction
from ganlib._shown import described, shown
from ganlib._warning import warn_user
from ganlib._weights import checks_of
from ganlib.distributed import rank
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from ganlib.protocols import Run
from ganlib.training._callbacks._functions import check_alone, check_function, check_written, value_at
from ganlib.training._callbacks._trained import warn_of_other_optimizer

__all__ = ["LearningRateSchedule", "Schedule"]


class LearningRateSchedule:
    r"""Set the learning rates of an optimizer to :math:`\eta_0 \cdot \text{factor}(\text{run.progress})`.

    The schedulers of torch count steps, but a run with a limit in minutes does not know its number of steps. This
    schedule follows ``run.progress``, from 0 to 1. Each optimizer needs its own schedule. A learning rate that is a
    tensor is changed in place.

    The base rates :math:`\eta_0` are stored in the optimizer's groups as ``initial_lr``, as in torch, so a later
    schedule starts from the same rates. A resumed run takes the base rates from the checkpoint. ``fit(..., resume=True,
    from_code=("lr",))`` uses the rates of the script.

    Args:
        optimizer: its learning rates become :math:`\eta_0` when its first schedule is created.
        factor: a function from the progress in [0, 1] to a factor, finite and at least 0. It is tried at 0, 1/2 and 1.

    Raises:
        ArgumentTypeError: ``optimizer`` is not an optimizer, or ``factor`` is not a function that returns numbers.
        ArgumentValueError: a factor is negative or not finite, or the function fails.

    Warns:
        UserWarning: when a run starts, if the optimizer is not one of its trainer's, or all factors are so small that
            they must be learning rates.

    Example:
        >>> from ganlib import training
        >>> optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=2e-4)
        >>> schedule = LearningRateSchedule(optimizer, training.linear_decay(start=0.6, final=0.05))
        >>> round(schedule.factor(0.8), 3)
        0.525
    """

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[float], float]) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ArgumentTypeError(f"optimizer (={shown(optimizer)}) must be a torch.optim.Optimizer")
        check_function("factor", factor, least=0.0)
        self.optimizer = optimizer
        self.factor = factor
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", float(group["lr"]))

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "optimizer", "factor")

    def on_start(self, run: Run) -> None:
        """Set the learning rates of the first iteration.

        Args:
            run: the run.

        Raises:
            ArgumentValueError: another schedule sets the same learning rates.
        """
        check_alone(self, run, "optimizer")
        warn_of_other_optimizer(self, self.optimizer, run)
        self._warn_of_rates()
        self.on_iteration(run)

    def on_iteration(self, run: Run) -> None:
        """Set the learning rates of the next iteration.

        Args:
            run: the run.

        Raises:
            ArgumentTypeError, ArgumentValueError: the factor is not a finite number of at least 0.
        """
        factor = value_at("factor", self.factor, run.progress, least=0.0)
        for group in self.optimizer.param_groups:
            if "initial_lr" not in group:
                group["initial_lr"] = float(group["lr"])  # only once, since reading a tensor waits for the device
            rate = float(group["initial_lr"]) * factor
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)  # a CUDA graph reads this tensor
            else:
                group["lr"] = rate

    def _warn_of_rates(self) -> None:
        """Warn of a function that returns learning rates, not factors."""
        largest = max(value_at("factor", self.factor, progress, least=0.0) for progress in (0.0, 0.5, 1.0))
        base = max(float(group.get("initial_lr", group["lr"])) for group in self.optimizer.param_groups)
        # A base rate near 1 is a trick to give learning rates as factors.
        if 0 < largest < 0.01 and base < 0.1 and rank() == 0:
            warn_user(
                f"factor (={shown(self.factor)}) is at most {largest:.4g} at the start, in the middle and at the end, "
                f"and the learning rate is {base:.4g} times it, so at most {base * largest:.4g}: if the function "
                "returns learning rates, divide them by the learning rate of the optimizer"
            )


class Schedule:
    """Set a tensor to ``function(run.progress)``, in place, for objectives that use a value that changes.

    An objective cannot be compiled or recorded as a CUDA graph if it reads a Python number that changes. It can read a
    tensor that changes in place. An example is the weight of a loss: an auxiliary loss can have such a tensor as its
    ``weight``.

    A checkpoint does not contain the tensor: in a resumed run, the schedule writes it again. A tensor that a callback
    of your own changes starts with the value that your script gives it, unless the callback has a state.

    Args:
        tensor: a floating-point scalar () without gradients. With ``cuda_graph``, use a tensor on the device: a
            recording treats a tensor on the CPU as a constant, so each change of its value requires a new recording.
        function: a function from the progress in [0, 1] to a finite number. It is tried at 0, 1/2 and 1, and before the
            first iteration throughout the range, if one of ganlib's objects reads the tensor and has a range for it.

    Raises:
        ArgumentTypeError: the tensor is not a floating-point scalar, or ``function`` is not a function that returns
            numbers.
        ArgumentValueError: a value is not finite in the precision of the tensor, or the function fails.

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
            raise ArgumentTypeError(f"tensor (={shown(tensor)}) must be a floating-point tensor of no dimensions")
        if tensor.requires_grad:
            raise ArgumentTypeError(
                f"tensor (={shown(tensor)}) must not require gradients, since it is changed in place"
            )
        check_function("function", function, dtype=tensor.dtype)
        self.tensor = tensor
        self.function = function

    def __repr__(self) -> str:
        """Show the class and its settings."""
        return described(self, "tensor", "function")

    def on_start(self, run: Run) -> None:
        """Write the value for the first iteration.

        Args:
            run: the run.

        Raises:
            ArgumentValueError: another schedule writes into the same tensor, or an adaptive augmentation does; or the
                function has values that whoever reads the tensor refuses, for example a negative weight of a penalty.
        """
        check_alone(self, run, "tensor")
        checks = checks_of(self.tensor)
        parts = getattr(getattr(run, "trainer", None), "modules", {}).values()
        for module in (
            inner for part in parts for inner in (part.modules() if isinstance(part, nn.Module) else [part])
        ):
            if getattr(module, "p", None) is not self.tensor:
                continue
            if getattr(module, "target", None) is not None:
                raise ArgumentValueError(
                    f"tensor is the probability p of {type(module).__name__}, which changes it too: pass target=None "
                    "to it"
                )
            if hasattr(module, "observe"):  # an adaptive augmentation; p can mean anything in another module
                checks["probability p"] = check_fraction
        # The value at the end of a run is read by an EMA that comes after this schedule, and by nobody else.
        callbacks = [*getattr(run, "callbacks", ())]
        later = callbacks[callbacks.index(self) + 1 :] if self in callbacks else []
        at_end = [1.0] if any(getattr(other, "decay", None) is self.tensor for other in later) else []
        check_written(self.function, self.tensor.dtype, checks, [*(step / 64 for step in range(64)), *at_end])
        self.on_iteration(run)

    def on_iteration(self, run: Run) -> None:
        """Write the value for the next iteration.

        Args:
            run: the run.

        Raises:
            ArgumentTypeError, ArgumentValueError: the function's value is not a finite number in the precision of the
                tensor.
        """
        self.tensor.fill_(value_at("function", self.function, run.progress, dtype=self.tensor.dtype))
