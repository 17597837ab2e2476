"""Parameters that are used, but that no optimizer trains, are warned of once; what is meant that way stays quiet."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import conditioning, training
from tests.training.players import make_trainer, points


class Holder(nn.Module):
    """A discriminator of points with an attribute, which it uses or not."""

    def __init__(self, held: Any, use: Callable[[Any, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.last, self.held, self.use = nn.Linear(2, 1), held, use

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.last(x if self.use is None else self.use(self.held, x))


def said(discriminator: nn.Module, trained: Any = None, later: Callable[[], object] | None = None) -> list[str]:
    """The warnings of two iterations; ``trained`` are the parameters of the optimizer, ``later`` is called after it."""
    optimizer = torch.optim.Adam([*(discriminator.parameters() if trained is None else trained)])
    trainer = make_trainer(nn.Linear(3, 2), discriminator, discriminator_optimizer=optimizer)
    if later is not None:
        later()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            trainer.train_step(points())
    assert {warning.filename for warning in caught} <= {__file__}
    return [str(warning.message) for warning in caught]


def first(held: Any, x: Tensor) -> Tensor:
    """Call the first module of a sequence."""
    return held[0](x)


HIDDEN: dict[str, Any] = {
    "list": ([nn.Linear(2, 2)], first, "plain list"),
    "tuple": ((nn.Linear(2, 2),), first, "plain tuple"),
    "dict": ({0: nn.Linear(2, 2)}, first, "nn.ModuleDict"),
    "nested": ([[nn.Linear(2, 2)]], lambda held, x: held[0][0](x), "plain list"),
    "parameters": ([nn.Parameter(torch.ones(2))], lambda held, x: held[0] * x, "nn.ParameterList"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_parts_in_a_plain_container_are_warned_of_once(name: str) -> None:
    """The warning names the attribute, and what to use."""
    held, use, words = HIDDEN[name]
    (message,) = said(Holder(held, use))
    assert "discriminator uses" in message
    assert "Holder.held" in message
    assert words in message


def test_parameters_without_an_optimizer_are_warned_of_once() -> None:
    """A part that the optimizer leaves out, a layer that was appended later, and a norm that replaced the weight."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    (message,) = said(network, network[1].parameters())
    assert "2 parameters" in message
    assert "'0.weight'" in message
    grown = nn.Sequential(nn.Linear(2, 1))
    (message,) = said(grown, later=lambda: grown.append(nn.Linear(1, 1, bias=False)))
    assert "a parameter " in message
    normed = nn.Sequential(nn.Linear(2, 1))
    (message,) = said(normed, later=lambda: nn.utils.parametrizations.weight_norm(normed[0]))
    assert "parametrizations.weight.original0" in message


def partly(later: Callable[[nn.Sequential], object]) -> list[str]:
    """The warnings where the first of two layers has no optimizer."""
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    return said(network, network[1].parameters(), lambda: later(network))


def registered() -> nn.Module:
    """A network with a layer that is an attribute, and also in a list."""
    network = Holder([nn.Linear(2, 2)], first)
    network.layer = network.held[0]
    return network


RIGHT: dict[str, Callable[[], list[str]]] = {
    "frozen after the trainer was made": lambda: partly(lambda network: network[0].requires_grad_(False)),
    "a frozen network in a tuple": lambda: said(Holder((nn.Linear(2, 2).requires_grad_(False),), first)),
    "a network in evaluation mode in a list": lambda: said(Holder([nn.Linear(2, 2).eval()], first)),
    "a copy that is not used": lambda: said(Holder([copy.deepcopy(nn.Linear(2, 2))])),
    "used without a gradient": lambda: said(Holder([nn.Linear(2, 2)], lambda held, x: x + held[0](x).detach())),
    "registered too": lambda: said(registered()),
    "a block for a later stage": lambda: (lambda one: said(one, one.last.parameters()))(Holder(nn.Linear(2, 2))),
    "other things in containers": lambda: said(Holder({"sizes": (1, [2, "a"]), "loop": [nn.ReLU()]})),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_meant_that_way_stays_quiet(name: str) -> None:
    """Frozen, registered or unused parts are not mentioned."""
    assert RIGHT[name]() == []


def test_a_shared_encoder_may_be_in_one_optimizer() -> None:
    """The generator's optimizer trains the encoder of both networks."""
    encoder = conditioning.ClassEmbedding(3, 4)
    generator = conditioning.ConcatLatent(nn.Linear(3 + 4, 2), encoder)
    discriminator = conditioning.ConcatFeatures(nn.Identity(), encoder, nn.Linear(2 + 4, 1))
    own = [*discriminator.head.parameters()]
    trainer = make_trainer(generator, discriminator, discriminator_optimizer=torch.optim.Adam(own))
    trainer.train_step((points(6), torch.arange(6) % 3))


def test_a_game_warns_of_parts_in_a_plain_container() -> None:
    """Two players use the network; one warning names it. A loss may hide a network that nobody trains."""
    network, other, loss = Holder([nn.Linear(2, 2)], first), nn.Linear(2, 2), Holder([nn.Linear(2, 2)], first)
    players = [
        training.Player("critic", torch.optim.Adam(network.parameters()), lambda x: network(x).mean()),
        training.Player(
            "artist", torch.optim.Adam(other.parameters()), lambda x: (network(y := other(x)) + loss(y)).mean()
        ),
    ]
    modules = {"network": network, "other": other, "loss": loss}
    trainer = training.GameTrainer(modules, players, accumulate_grad_batches=2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            trainer.train_step(iter([points(), points()]))
    assert [warning.filename for warning in caught] == [__file__]
    assert "network uses 2 parameters in a plain list" in str(caught[0].message)
