"""What penalties share: their weight, how they call the discriminator, and the norms of its gradient."""

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from ganlib._checks import check_sizes
from ganlib._logits import at_least_float32, scales, without_autocast
from ganlib._nest import mapped, tensors_of
from ganlib._weights import check_weight, show_weight, weighted
from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Condition, Discriminator, DiscriminatorOutput, Logits

__all__ = [
    "LazyPenalty",
    "call_exactly",
    "gradient_norms",
    "move_mean_",
    "squared_gradient_norms",
    "squared_gradient_norms_of",
]


class LazyPenalty(nn.Module):
    """A penalty with a weight, which the trainer applies at iterations divisible by ``every``, multiplied by it."""

    def __init__(self, weight: float | Tensor = 10.0, *, every: int = 1) -> None:
        super().__init__()
        check_weight("weight", weight)
        check_sizes(every=every)
        self.weight = weight
        self.every = every

    def extra_repr(self) -> str:
        """Return those arguments that are numbers or tensors, for ``repr``."""
        arguments = {name: getattr(self, name, None) for name in inspect.signature(type(self)).parameters}
        return ", ".join(
            f"{name}={show_weight(value)}" for name, value in arguments.items() if isinstance(value, Real | Tensor)
        )


def call_exactly(network: Callable[..., Any], x: Tensor, condition: Condition) -> Any:
    """Call a network in eager mode, without autocast, in float32 or better; with the condition where there is one."""
    x, condition = at_least_float32(x), _widened(condition)
    # A compiled module refuses a second derivative. Inside a compiled function the stance cannot be set.
    eager: Any = nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance("force_eager")
    with eager, without_autocast(x.device.type):
        return network(x) if condition is None else network(x, condition)


def squared_gradient_norms(discriminator: Discriminator, samples: Tensor, condition: Condition) -> Tensor:
    """Return (N,) the squared norm of the gradient of the sum of each sample's logits, with a graph."""
    samples = at_least_float32(samples.detach()).requires_grad_()
    with torch.enable_grad():
        logits = call_exactly(discriminator, samples, condition)
    return squared_gradient_norms_of(samples, logits, "discriminator gave logits that do not depend on its samples")


def squared_gradient_norms_of(
    samples: Tensor,
    logits: Logits | DiscriminatorOutput,
    message: str = "logits do not depend on samples: they must be computed from this very tensor, with gradients on",
) -> Tensor:
    """Return (N,) the same from logits that are there; the message is for logits that do not depend on the samples."""
    if not samples.requires_grad:
        raise ArgumentValueError(
            "samples must require a gradient before the discriminator is called: samples.detach().requires_grad_()"
        )
    # The derivatives must be float32 too, so autocast stays off.
    with torch.enable_grad(), without_autocast(samples.device.type):
        total = torch.stack([scale.sum() for scale in scales(logits)]).sum()
        gradient = None
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(total, samples, create_graph=True, allow_unused=True)
        if gradient is None:
            raise ArgumentValueError(f"{message}, so there is no gradient to penalize")
        return at_least_float32(gradient).reshape(len(gradient), -1).square().sum(1)


def gradient_norms(discriminator: Discriminator, samples: Tensor, condition: Condition) -> Tensor:
    """Return (N,) the norm of the gradient at each sample, with a slope that is finite also where it is 0."""
    # The square root has an infinite slope at 0, where a constant discriminator would turn its own gradient into NaN.
    return squared_gradient_norms(discriminator, samples, condition).clamp_min(1e-24).sqrt()


@torch.no_grad()
def move_mean_(mean: Tensor, value: Tensor, decay: float | Tensor, started: Tensor) -> None:
    """Move a running mean towards a batch's value, which it becomes where ``started`` is 0; over all processes.

    It is changed in place, since a CUDA graph reads and writes its address.
    """
    share = 1 - weighted(decay, started)  # on the device: a branch on the host would wait for it
    # Reduced before it is rounded: the mean is then that of one process, to the bit except for rare ties.
    mean.lerp_(mean_over_ranks(value).to(mean.dtype), share)


def _widened(condition: Condition) -> Condition:
    """The condition with float32 in place of half precision; where it has none, the condition itself."""
    if not any(part.dtype in (torch.float16, torch.bfloat16) for part in tensors_of(condition)):
        return condition
    return mapped(condition, lambda part: at_least_float32(part) if part.is_floating_point() else part)
