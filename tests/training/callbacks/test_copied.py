"""The copy of a network computes with its own weights, or cannot be made, or is warned of."""

import functools
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ganlib.errors import ArgumentTypeError
from ganlib.training._callbacks._copied import copied

checkpointed = functools.partial(checkpoint, use_reentrant=False)
eager: Any = functools.partial(torch.compile, backend="eager")


class Block(nn.Module):
    """A layer with an activation that is a function of the user."""

    def __init__(self, act: Callable[["Block"], Any] = lambda block: F.relu) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.slope = 0.1
        self.seen: list[Tensor] = []
        self.act = act(self)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to the layer's output."""
        return self.act(self.layer(x))  # type: ignore[no-any-return]

    def twice(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return self.layer(x)  # type: ignore[no-any-return]

    def note(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        """Keep an output, as a hook."""
        self.seen.append(output)


def forward(make: Callable[[nn.Module], Any]) -> nn.Module:
    """A network whose first layer has another forward."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network[0].forward = make(network[0])
    return network


def hooked(make: Callable[[nn.Module], Any]) -> nn.Module:
    """A network with a hook."""
    network = nn.Sequential(Block(), nn.Linear(4, 4))
    network[0].register_forward_hook(make(network))
    return network


def whole() -> nn.Module:
    """A network whose forward was compiled, as in many scripts."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network.forward = eager(network.forward)  # type: ignore[method-assign]
    return network


def in_place() -> nn.Module:
    """A network that was compiled in place."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    network.compile(backend="eager")
    return network


def closing(old: Any) -> Any:
    """A function over an old forward, as an idiom of activation checkpoints has it."""
    return lambda x: checkpointed(old, x)


def wrapping(old: Any) -> Any:
    """A function that shows the name of the old one."""

    @functools.wraps(old)
    def new(x: Tensor) -> Tensor:
        return 2 * old(x)  # type: ignore[no-any-return]

    return new


RIGHT: dict[str, Callable[[], nn.Module]] = {
    "compiled": whole,
    "compiled in place": in_place,
    "a compiled layer": lambda: nn.Sequential(eager(nn.Linear(4, 4)), nn.Linear(4, 4)),
    "a compiled forward of a layer": lambda: forward(lambda layer: eager(layer.forward)),
    "never compiled": lambda: forward(lambda layer: torch._dynamo.disable(layer.forward)),  # type: ignore[no-untyped-call]
    "partial": lambda: forward(lambda layer: functools.partial(checkpointed, layer.forward)),
    "a compiled partial": lambda: forward(lambda layer: eager(functools.partial(checkpointed, layer.forward))),
    "a bound method": lambda: forward(
        lambda layer: types.MethodType(lambda own, x: F.linear(2 * x, own.weight), layer)
    ),
    "a function of its input": lambda: forward(lambda layer: lambda x: 2 * x),
    "a compiled function of its input": lambda: forward(lambda layer: eager(lambda x: 2 * x)),
    "a slope": lambda: Block(lambda block: lambda x: F.leaky_relu(x, block.slope)),
    "a compiled method": lambda: Block(lambda block: eager(block.twice)),
    "a hook of its arguments": lambda: hooked(lambda network: lambda module, inputs, output: output * module.slope),
    "a hook that is a method": lambda: hooked(lambda network: network[0].note),
    "a hook that is a partial": lambda: hooked(
        lambda network: functools.partial(lambda net, module, inputs, output: net[1](output), network)
    ),
}


def changed(network: nn.Module) -> tuple[Tensor, Tensor]:
    """The output of a copy before and after the network was trained."""
    x = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    twin = copied(network)
    with torch.no_grad():
        before = network(x)
        for parameter in network.parameters():
            parameter.add_(1)
        return before, twin(x)


@pytest.mark.parametrize("kind", RIGHT)
def test_a_copy_does_not_follow_the_weights(kind: str) -> None:
    """Whatever was done to a forward or with hooks."""
    torch.testing.assert_close(*changed(RIGHT[kind]()), rtol=1e-6, atol=1e-6)


REFUSED: dict[str, Callable[[nn.Module], Any]] = {
    "closure": lambda layer: closing(layer.forward),
    "default": lambda layer: lambda x, old=layer.forward: old(x),
    "weight": lambda layer: (lambda weight: lambda x: F.linear(x, weight))(layer.weight),
    "compiled": lambda layer: eager(wrapping(layer.forward)),
    "a method": lambda layer: types.MethodType((lambda old: lambda own, x: old(x))(layer.forward), layer),
    "inside another": lambda layer: (lambda inner: lambda x: checkpointed(lambda y: inner(y), x))(layer.forward),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_forward_over_the_weights_is_refused(kind: str) -> None:
    """Since its copy would use the weights of the original; the error names the layer."""
    with pytest.raises(ArgumentTypeError, match=r"module\.0\.forward \(of Linear\) was replaced by a function"):
        copied(forward(REFUSED[kind]))


WARNED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a hook": (lambda: hooked(lambda net: lambda module, inputs, output: net[1](output)), r"a hook of module\.0"),
    "a hook of a weight": (
        lambda: hooked(lambda net: (lambda weight: lambda module, inputs, output: output @ weight)(net[1].weight)),
        r"a hook of module\.0",
    ),
    "an attribute": (lambda: Block(lambda block: lambda x: block.layer(x)), r"module\.act"),
}


@pytest.mark.parametrize("kind", WARNED)
def test_a_function_over_the_weights_is_warned_of(kind: str) -> None:
    """Once, with its name."""
    make, message = WARNED[kind]
    with pytest.warns(UserWarning, match=message) as caught:
        copied(make())
    assert len(caught) == 1
