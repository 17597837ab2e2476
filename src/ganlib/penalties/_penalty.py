"""Shared code of penalties: the weight, the precision, the call of the discriminator, and gradient norms."""

import inspect
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from numbers import Real
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from ganlib._checks import check_option, check_sizes
from ganlib._in_place import is_in_place_error
from ganlib._logits import as_dtype, at_least_float32, scales, without_autocast
from ganlib._nest import mapped, tensors_of
from ganlib._one_logit import gives_one_logit, known, warn_of_one_logit
from ganlib._precise_buffers import PreciseBuffers
from ganlib._shown import shown
from ganlib._warning import warn_user
from ganlib._weights import check_weight, show_weight, weighted
from ganlib.distributed import mean_over_ranks
from ganlib.errors import ArgumentTypeError, ArgumentValueError, DTypeError, ShapeError
from ganlib.protocols import Condition, Discriminator, DiscriminatorOutput, Logits

__all__ = [
    "DerivativePenalty",
    "DerivativePrecision",
    "LazyPenalty",
    "call_exactly",
    "check_precision",
    "check_samples",
    "gradient_norms",
    "move_mean_",
    "squared_gradient_norms",
    "squared_gradient_norms_of",
    "warn_of_batch_norm",
]

DerivativePrecision: TypeAlias = Literal["fp32", "autocast"]
"""Precision of a network's forward pass and of its first derivative; norms and sums are float32 in both."""

_HALVES = (torch.float16, torch.bfloat16)
# The networks (see _identity) in whose graphs each penalty has searched for batch norm.
_looked_at = weakref.WeakKeyDictionary[Any, weakref.WeakSet[Any]]()


class LazyPenalty(PreciseBuffers):
    """Represent a weighted penalty that the trainer applies in every ``every``-th iteration."""

    def __init__(self, weight: float | Tensor = 10.0, *, every: int = 1) -> None:
        super().__init__()
        check_weight("weight", weight)
        check_sizes(every=every)
        self.weight = weight
        self.every = every

    def extra_repr(self) -> str:
        """Return the arguments that are numbers or tensors, for ``repr``."""
        arguments = {name: getattr(self, name, None) for name in inspect.signature(type(self)).parameters}
        return ", ".join(
            f"{name}={show_weight(value)}" for name, value in arguments.items() if isinstance(value, Real | Tensor)
        )


class DerivativePenalty(LazyPenalty):
    """Represent a penalty on the discriminator's derivative, which autocast may compute."""

    def __init__(
        self, weight: float | Tensor = 10.0, *, every: int = 1, precision: DerivativePrecision = "fp32"
    ) -> None:
        super().__init__(weight, every=every)
        check_precision(precision)
        self.precision = precision

    def extra_repr(self) -> str:
        """Return the arguments that are numbers or tensors, and a precision other than the default, for ``repr``."""
        return super().extra_repr() + ("" if self.precision == "fp32" else f", precision={self.precision!r}")


def check_precision(precision: Any) -> None:
    """Raise an ArgumentValueError unless it is an option of ``DerivativePrecision``."""
    check_option("precision", precision, get_args(DerivativePrecision))


def call_exactly(
    network: Callable[..., Any], x: Tensor, condition: Condition, precision: DerivativePrecision = "fp32"
) -> Any:
    """Call a network in eager mode, and without autocast or in the precision of the surrounding autocast.

    Inputs are float32 or float64. If the weights are in half precision, the samples are converted to their dtype.

    Raises:
        ArgumentValueError: the precision is that of an autocast to float16, or the network changes x in place.
    """
    weight = _first_weight(network)
    if weight is None or weight.dtype not in _HALVES:
        x, condition = at_least_float32(x), _widened(condition)
    else:
        x = as_dtype(x, weight.dtype)
    # A compiled module has no second derivative. The stance cannot be set inside a compiled function.
    eager: Any = nullcontext() if torch.compiler.is_compiling() else torch.compiler.set_stance("force_eager")
    with eager, nullcontext() if _autocasts(x.device.type, precision) else without_autocast(x.device.type):
        try:
            return network(x) if condition is None else network(x, condition)
        except RuntimeError as error:
            if is_in_place_error(error):
                raise ArgumentValueError(
                    "the network of a penalty changes its input (or a parameter) in place, so the derivative at its "
                    f"input cannot be computed: use inplace=False in its first layer ({error})"
                ) from error
            raise


def check_samples(discriminator: Any, **samples: Any) -> None:
    """Raise an error unless the discriminator is callable and the samples are float (N, ...)."""
    if not callable(discriminator):
        raise ArgumentTypeError(f"discriminator (={shown(discriminator)}) must be callable")
    for name, value in samples.items():
        _check_sample(name, value)


def _check_sample(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(f"{name} must be a tensor of samples, but is a {type(value).__name__}")
    if not value.is_floating_point():
        raise DTypeError(f"{name} must be floating point, but its dtype is {value.dtype}")
    if not (value.ndim and value.numel()):
        raise ShapeError(f"{name} {tuple(value.shape)} must have shape (N, ...), and hold at least one number")


def squared_gradient_norms(
    discriminator: Discriminator,
    samples: Tensor,
    condition: Condition,
    precision: DerivativePrecision = "fp32",
    penalty: Any = None,
    *,
    batch_norm: bool = False,
) -> Tensor:
    """Return the squared gradient norm (N,) of the summed logits at each sample, with a graph.

    The penalty warns once of a mean over the batch, and once for each network of batch norm if ``batch_norm`` is True.
    """
    samples = at_least_float32(samples.detach()).requires_grad_()
    with torch.enable_grad():
        logits = call_exactly(discriminator, samples, condition, precision)
    if batch_norm:
        warn_of_batch_norm(penalty, samples, logits, discriminator)
    message = "discriminator gave logits that do not depend on its samples"
    return squared_gradient_norms_of(samples, logits, message, penalty)


def squared_gradient_norms_of(
    samples: Tensor,
    logits: Logits | DiscriminatorOutput,
    message: str = "logits do not depend on samples: they must be computed from this tensor, with gradients enabled",
    penalty: Any = None,
) -> Tensor:
    """Return squared gradient norms (N,) from existing logits; the message is for logits without a graph to samples."""
    if not (isinstance(samples, Tensor) and samples.requires_grad):
        raise ArgumentValueError(
            "samples must require a gradient before the discriminator is called: samples.detach().requires_grad_()"
        )
    _check_sample("samples", samples)
    _warn_of_mean(penalty, samples, scales(logits))
    # Each derivative has the precision of its operation in the forward pass, so autocast stays off.
    with torch.enable_grad(), without_autocast(samples.device.type):
        total = torch.stack([scale.sum() for scale in scales(logits)]).sum()
        gradient = None
        if total.requires_grad:
            (gradient,) = torch.autograd.grad(total, samples, create_graph=True, allow_unused=True)
        if gradient is None:
            raise ArgumentValueError(f"{message}, so there is no gradient to penalize")
        return at_least_float32(gradient).reshape(len(gradient), -1).square().sum(1)


def gradient_norms(
    discriminator: Discriminator,
    samples: Tensor,
    condition: Condition,
    precision: DerivativePrecision = "fp32",
    penalty: Any = None,
) -> Tensor:
    """Return the gradient norm (N,) at each sample; its derivative is finite even if the norm is 0."""
    # The square root has an infinite slope at 0, so a constant discriminator would have a NaN gradient.
    squares = squared_gradient_norms(discriminator, samples, condition, precision, penalty, batch_norm=True)
    return squares.clamp_min(1e-24).sqrt()


def _warn_of_mean(penalty: Any, samples: Tensor, logits: tuple[Tensor, ...]) -> None:
    """Warn once for each penalty of a mean over the batch; the gradient of a sum is that of each sample."""
    if penalty is None or not gives_one_logit(len(samples), logits) or torch.compiler.is_compiling():
        return
    if penalty in known or all(_is_sum(scale) for scale in logits):
        return
    known.add(penalty)
    consequence = f"each gradient is then that of a mean, and {type(penalty).__name__} is too small"
    warn_of_one_logit(len(samples), logits, consequence)


def _is_sum(logit: Tensor) -> bool:
    node: Any = logit.grad_fn
    while node is not None and node.name().startswith(("View", "Unsqueeze", "Squeeze", "ToCopy", "UnsafeView")):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith("Sum")


def warn_of_batch_norm(
    penalty: Any,
    samples: Tensor,
    logits: Logits | DiscriminatorOutput,
    network: Any,
    name: str = "discriminator",
) -> None:
    """Warn once for each penalty and network if there is a batch norm in training mode between samples and logits.

    The search uses the graph instead of the modules, because the discriminator can be a function or be wrapped.
    """
    if penalty is None or torch.compiler.is_compiling():
        return
    key = _identity(network)
    if key in _looked_at.get(penalty, ()):
        return
    seen, waiting = {samples.grad_fn}, [scale.grad_fn for scale in scales(logits)]
    if not any(waiting):
        return
    _looked_at.setdefault(penalty, weakref.WeakSet()).add(key)
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if "BatchNorm" in node.name() and getattr(node, "_saved_training", True) and _mixes(node):
            warn_user(
                f"the {name} has a batch norm in training mode, which mixes the samples of a batch: "
                f"{type(penalty).__name__} is then not a penalty on the gradient of each sample. Remove the batch "
                "norm, or replace it by another norm, such as group norm or instance norm"
            )
            return
        waiting += [function for function, _ in node.next_functions]


def _identity(network: Any) -> Any:
    """Return the first layer with parameters: a wrapper or a lambda may be a new object at each call."""
    owner = getattr(network, "__self__", network)
    modules = owner.modules() if isinstance(owner, nn.Module) else ()
    layers = (module for module in modules if next(module.parameters(recurse=False), None) is not None)
    return next(layers, type(owner))


def _mixes(node: Any) -> bool:
    """Return whether a batch norm sees several samples; torch computes instance norm as a batch norm of one sample."""
    shapes = [metadata.shape for metadata in getattr(node, "_input_metadata", ())]
    return not shapes or shapes[0][0] > 1


@torch.no_grad()
def move_mean_(mean: Tensor, value: Tensor, decay: float | Tensor, started: Tensor) -> None:
    """Move a running mean toward the value of a batch over all processes, or set it if ``started`` is 0.

    The change is in place, because a CUDA graph uses the address of the mean.
    """
    share = 1 - weighted(decay, started)  # computed on the device, because a branch on the host would wait for it
    # Reduce before rounding, so that the mean equals that of a single process, except for rare ties.
    mean.lerp_(mean_over_ranks(value).to(mean.dtype), share)


def _autocasts(device_type: str, precision: DerivativePrecision) -> bool:
    """Return whether the surrounding autocast computes a derivative; an autocast to float16 is refused."""
    if precision == "fp32" or device_type == "meta" or not torch.is_autocast_enabled(device_type):
        return False
    if torch.get_autocast_dtype(device_type) is torch.float16:
        # A loss scale comes too late: float16 has rounded a derivative below 6e-8 to 0 before.
        raise ArgumentValueError(
            "precision (='autocast') of a penalty needs an autocast to bfloat16, but this one is to float16, which "
            "rounds small derivatives to 0: take 'fp32' for the penalty, or bfloat16"
        )
    return True


def _first_weight(network: Any) -> Tensor | None:
    """Return the first floating-point parameter of a module, or of the module that owns a method."""
    owner = getattr(network, "__self__", network)
    parameters = owner.parameters() if isinstance(owner, nn.Module) else ()
    return next((parameter for parameter in parameters if parameter.is_floating_point()), None)


def _widened(condition: Condition) -> Condition:
    """Convert half-precision tensors of a condition to float32."""
    if not any(part.dtype in _HALVES for part in tensors_of(condition)):
        return condition
    return mapped(condition, lambda part: at_least_float32(part) if part.is_floating_point() else part)
