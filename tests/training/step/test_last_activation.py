"""Tests of the last activation under autocast."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import models, stacks
from ganlib.training._step._last_activation import last_activation, recorded_calls, widened
from tests.training.players import make_players, make_trainer, points


class Functional(nn.Module):
    """A generator whose activation is a function."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, latent):
        """Points."""
        return torch.tanh(self.layer(latent))


class Viewed(nn.Module):
    """A generator whose forward looks at the activation's output in another shape, with modules in another order."""

    def __init__(self):
        super().__init__()
        self.activation = nn.Tanh()
        self.layer = nn.Linear(3, 2)

    def forward(self, latent):
        """Points."""
        return self.activation(self.layer(latent)).view(-1, 2, 1).flatten(1)


class Widened(nn.Module):
    """A generator that ends in half precision, and says float32 afterwards."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 2), nn.Tanh())

    def forward(self, latent):
        """Points."""
        return self.net(latent).float()


FOUND = {
    "a sequence": lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh()),
    "a sequence that ends with another view": lambda: nn.Sequential(
        nn.Linear(3, 2), nn.Tanh(), nn.Unflatten(1, (2, 1)), nn.Flatten(), nn.Identity()
    ),
    "an activation in place": lambda: nn.Sequential(nn.Linear(3, 2), nn.Hardtanh(inplace=True)),
    "views and another order": Viewed,
    "one inside another": lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Tanh()))),
    "one whose result is made float32 afterwards": Widened,
    "a stack": lambda: stacks.LinearStack([3, 4, 2], last_activation=nn.Tanh),
}
LEFT = {
    "a function": Functional,
    "a linear layer": lambda: nn.Linear(3, 2),
    "an activation with a parameter": lambda: nn.Sequential(nn.Linear(3, 2), nn.PReLU()),
    "something after the activation": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.GLU()),
}


def trained(generator: nn.Module, **options: Any) -> list[torch.dtype]:
    """The dtype in which the last activation of a training step was computed."""
    trainer = make_trainer(generator, make_players()[1], **{"precision": "bf16"} | options)
    seen, activation = [], [module for module in generator.modules() if isinstance(module, nn.Tanh | nn.Hardtanh)][-1]
    trainer.train_step(iter([points().clamp(-1, 1)]))
    hook = activation.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    trainer.train_step(iter([points().clamp(-1, 1)]))
    hook.remove()
    return seen


@pytest.mark.parametrize("make", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("reuse_fakes", [False, True])
def test_the_last_activation_is_computed_in_float32(make: Any, reuse_fakes: bool) -> None:
    """In each update it gives float32 under autocast, without a warning."""
    dtypes = trained(make(), reuse_fakes=reuse_fakes)
    assert {*dtypes} == {torch.float32}
    assert len(dtypes) == 2 - reuse_fakes


def test_the_generator_is_left_as_it_was() -> None:
    """After training it has no hook, so it can be scripted, pickled, copied, and used elsewhere as before."""
    generator = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    trained(generator)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in generator.modules())
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(torch.randn(4, 3)).dtype == torch.bfloat16


class Shared(nn.Module):
    """One tanh in two positions: called by keyword in the middle."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.tanh = nn.Linear(3, 4), nn.Linear(4, 2), nn.Tanh()

    def forward(self, latent):
        """Points."""
        return self.tanh(self.second(self.tanh(input=self.first(latent))))


def test_an_activation_that_is_called_otherwise_elsewhere() -> None:
    """A module that also stands in the middle, and is called by keyword there, does no harm."""
    assert trained(Shared())[-1] == torch.float32


@pytest.mark.parametrize("make", LEFT.values(), ids=LEFT)
def test_what_stays_in_half_precision_is_warned_of_once(make):
    """There is one warning at the first batch, and none at a batch of another kind."""
    trainer = make_trainer(make(), make_players()[1], precision="bf16")
    with pytest.warns(UserWarning, match="samples in bfloat16"):
        trainer.train_step(iter([points() / 4]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.discriminator.eval()  # the networks are tried again in another mode
        trainer.train_step(iter([points() / 4]))


@pytest.mark.parametrize("make", [*FOUND.values(), *LEFT.values()], ids=[*FOUND, *LEFT])
def test_in_float32_nothing_is_warned_of(make: Any) -> None:
    """Without autocast no generator is warned of, not even one with weights in bfloat16."""
    make_trainer(make(), make_players()[1]).train_step(iter([points().clamp(-1, 1)]))
    players = (network.to(torch.bfloat16) for network in (make(), make_players()[1]))
    make_trainer(*players).train_step(iter([points().clamp(-1, 1).to(torch.bfloat16)]))


GENERATORS = {
    "dcgan": lambda: models.dcgan(stacks.StackPlan((1, 8, 8), [stacks.Stage(4), stacks.Stage(4)]), 3)[0],
    "conditional dcgan": lambda: models.conditional_dcgan(stacks.StackPlan((1, 8, 8), [stacks.Stage(4)]), 3, 2)[0],
    "mlp": lambda: models.mlp_gan((1, 8, 8), 3)[0],
    "linear stack": lambda: stacks.LinearStack([3, 64], out_shape=(1, 8, 8), last_activation=nn.Tanh),
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_our_generators_learn_at_a_pre_activation_of_5(make):
    """Without any trainer, a tanh at 5 under autocast has the gradient of float64, not 0 as in bfloat16."""
    generator = make()
    last = [module for module in generator.modules() if isinstance(module, nn.Tanh)][-1]
    seen = []
    last.register_forward_pre_hook(lambda _, inputs: (torch.full_like(inputs[0], 5.0).requires_grad_(),))
    last.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    condition = [torch.zeros(2, dtype=torch.int64)] if hasattr(generator, "encoder") else []
    with torch.autocast("cpu", torch.bfloat16):
        generator(torch.randn(2, 3), *condition)
    ((given, made),) = seen
    (gradient,) = torch.autograd.grad(made.sum(), given)
    exact = 1 - torch.tensor(5.0, dtype=torch.float64).tanh() ** 2
    assert exact > 1e-4
    torch.testing.assert_close(gradient.double(), exact.expand_as(gradient), rtol=0.01, atol=0)
    rounded = torch.tensor(5.0, dtype=torch.bfloat16, requires_grad=True)
    assert torch.autograd.grad(rounded.tanh(), rounded)[0] == 0  # what it would be


def test_a_users_generator_learns_at_a_pre_activation_of_5() -> None:
    """A user's generator that ends with Tanh moves from 5 in a training step under bf16; a functional one does not."""
    moved = []
    for generator in (nn.Sequential(nn.Linear(3, 2), nn.Tanh()), Functional()):
        layer = generator.layer if isinstance(generator, Functional) else generator[0]
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, 5.0)
        trainer = make_trainer(generator, make_players()[1], precision="bf16")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.train_step(iter([points().clamp(-1, 1)]))
        moved.append((layer.bias.detach() - 5).abs().min().item())
    assert moved[0] > 1e-3
    assert moved[1] == 0


def test_a_generator_that_was_converted_to_half_precision_is_left_alone() -> None:
    """Outside autocast nothing is widened: a generator in half precision gives half precision."""
    generator = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    with torch.autocast("cpu", torch.bfloat16), recorded_calls(generator) as calls:
        activation = last_activation(calls, generator(torch.randn(1, 3)), warn=True)
    assert activation is generator[1]
    with widened(activation):
        assert generator.to(torch.bfloat16)(torch.randn(1, 3).to(torch.bfloat16)).dtype == torch.bfloat16
    assert stacks.LinearStack([3, 2], last_activation=nn.Tanh).half()(torch.zeros(1, 3).half()).dtype == torch.float16


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [lambda network: network, lambda network: nn.Sequential(network, nn.Identity())])
def test_networks_of_torchscript_are_trained(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """A compiled program takes no hooks; it trains as the network that it was made from."""
    weights = []
    for script in (False, True):
        torch.manual_seed(0)
        players = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), nn.Sequential(nn.Linear(2, 1))
        first, second = (wrap(torch.jit.script(one) if script else one) for one in players)
        trainer = make_trainer(first, second)
        for _ in range(3):
            trainer.train_step(points().clamp(-1, 1))
        weights.append(nn.utils.parameters_to_vector([*first.parameters(), *second.parameters()]))
    torch.testing.assert_close(*weights)
