"""What an update gives to networks, how they are called, and what they answer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentTypeError, ShapeError
from ganlib.protocols import DiscriminatorOutput

__all__ = [
    "Minibatch",
    "as_output",
    "call",
    "channels_last_format",
    "lay_out_",
    "scalar",
    "score",
    "sum_over_scales",
]


class Minibatch(NamedTuple):
    """What an update is made of: real samples, their conditions, and those that the fakes are asked to meet.

    Args:
        sample: (N, ...) float, on the generator's device.
        condition: the real samples', or None.
        fake_condition: the fakes', or None.
        fake: fakes with their graph, where both updates share them; None where each update makes its own.

    Example:
        >>> Minibatch(torch.zeros(4, 2)).fake_condition is None
        True
    """

    sample: Tensor
    condition: Tensor | None = None
    fake_condition: Tensor | None = None
    fake: Tensor | None = None


def call(network: Callable[..., Any], x: Tensor, condition: Tensor | None) -> Any:
    """Call a network by the one convention: with the condition only where there is one.

    Args:
        network: a generator or a discriminator.
        x: a latent or a sample.
        condition: or None.

    Returns:
        What the network gives.
    """
    return network(x) if condition is None else network(x, condition)


def as_output(output: Any) -> DiscriminatorOutput:
    """A discriminator's answer as a DiscriminatorOutput whose logits are float32 or better.

    Args:
        output: logits, a tuple of them, or a DiscriminatorOutput.

    Returns:
        The same, with the logits widened where autocast had made them half.

    Raises:
        ArgumentTypeError: it is something else.
    """
    if isinstance(output, Tensor):
        return DiscriminatorOutput(_widened(output))
    if not isinstance(output, DiscriminatorOutput):
        output = DiscriminatorOutput(output)
    if isinstance(output.logits, Tensor):
        return output._replace(logits=_widened(output.logits))
    if isinstance(output.logits, tuple) and all(isinstance(scale, Tensor) for scale in output.logits):
        return output._replace(logits=tuple(_widened(scale) for scale in output.logits))
    raise ArgumentTypeError(
        f"discriminator gave {type(output.logits).__name__}; it must give logits (a tensor, or a tuple of them) or a "
        "DiscriminatorOutput"
    )


def sum_over_scales(
    loss: Callable[..., Tensor], first: DiscriminatorOutput, second: DiscriminatorOutput | None
) -> Tensor:
    """A loss of the logits, summed over the scales where there are several.

    Args:
        loss: of two logits, or of one where there is no second output.
        first: one output.
        second: another, or None.

    Returns:
        A scalar.

    Raises:
        ArgumentTypeError, ShapeError: the loss gave no scalar.
    """
    if second is None:
        values = [scalar(loss(scale), "loss") for scale in _scales(first)]
    else:
        values = [scalar(loss(one, other), "loss") for one, other in zip(_scales(first), _scales(second), strict=True)]
    return values[0] if len(values) == 1 else torch.stack(values).sum()


def scalar(value: Any, name: str) -> Tensor:
    """What a loss, a term or a penalty gave, which must be one number with its graph.

    Args:
        value: must be a tensor without dimensions.
        name: what the caller calls it, for the error.

    Returns:
        The same.

    Raises:
        ArgumentTypeError: it is no tensor.
        ShapeError: it has several numbers; summing them would scale the step with the batch.
    """
    if not isinstance(value, Tensor):
        raise ArgumentTypeError(f"{name} gave {value!r}, a {type(value).__name__}; it must give a tensor")
    if value.ndim != 0:
        raise ShapeError(f"{name} gave a tensor {tuple(value.shape)}; it must give a scalar, such as a mean")
    return value


def score(output: DiscriminatorOutput) -> Tensor:
    """The mean probability, over samples, places and scales, that the discriminator gives to real.

    Args:
        output: what the discriminator gave.

    Returns:
        A detached scalar.
    """
    values = [scale.detach().sigmoid().mean() for scale in _scales(output)]
    return values[0] if len(values) == 1 else torch.stack(values).mean()


def channels_last_format(x: Tensor) -> torch.memory_format:
    """The memory format that puts the channels last, for the number of dimensions of x.

    Args:
        x: any tensor.

    Returns:
        A format; ``preserve_format`` where there are no planes or volumes.
    """
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.preserve_format)


def lay_out_(network: nn.Module) -> None:
    """Lay out a network's weights with the channels last, in place.

    Args:
        network: changed in place; its parameters stay the same objects.
    """
    for parameter in network.parameters():
        parameter.data = parameter.data.to(memory_format=channels_last_format(parameter))


def _scales(output: DiscriminatorOutput) -> tuple[Tensor, ...]:
    return output.logits if isinstance(output.logits, tuple) else (output.logits,)


def _widened(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
