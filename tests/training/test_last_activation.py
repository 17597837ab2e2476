"""Tests of the last activation under autocast."""

import copy
import warnings

import pytest
import torch
from torch import nn

from ganlib import models, stacks
from ganlib.training._last_activation import recorded_calls, widen_last_activation
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


FOUND = {
    "a sequence": lambda: nn.Sequential(nn.Linear(3, 2), nn.Tanh()),
    "a sequence that ends with another view": lambda: nn.Sequential(
        nn.Linear(3, 2), nn.Tanh(), nn.Unflatten(1, (2, 1)), nn.Flatten(), nn.Identity()
    ),
    "an activation in place": lambda: nn.Sequential(nn.Linear(3, 2), nn.Hardtanh(inplace=True)),
    "views and another order": Viewed,
    "one inside another": lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.Sequential(nn.Tanh()))),
    "a stack": lambda: stacks.LinearStack([3, 4, 2], last_activation=nn.Tanh),
}
LEFT = {
    "a function": Functional,
    "a linear layer": lambda: nn.Linear(3, 2),
    "an activation with a parameter": lambda: nn.Sequential(nn.Linear(3, 2), nn.PReLU()),
    "something after the activation": lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.GLU()),
}


@pytest.mark.parametrize("make", FOUND.values(), ids=FOUND)
@pytest.mark.parametrize("copied", [False, True])
def test_the_last_activation_is_computed_in_float32(make, copied):
    """After the first batch the generator's samples are float32 under autocast, without a warning; a copy's too."""
    generator = make()
    trainer = make_trainer(generator, make_players()[1], precision="bf16")
    trainer.train_step(iter([points().clamp(-1, 1)]))
    generator = copy.deepcopy(generator) if copied else generator
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(torch.randn(4, 3)).dtype == torch.float32


@pytest.mark.parametrize("make", LEFT.values(), ids=LEFT)
def test_what_stays_in_half_precision_is_warned_of_once(make):
    """One warning at the first batch, none at a batch of another kind."""
    trainer = make_trainer(make(), make_players()[1], precision="bf16")
    with pytest.warns(UserWarning, match="samples in bfloat16"):
        trainer.train_step(iter([points()]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.discriminator.eval()  # the networks are tried again in another mode
        trainer.train_step(iter([points()]))


@pytest.mark.parametrize("make", [*FOUND.values(), *LEFT.values()], ids=[*FOUND, *LEFT])
def test_in_float32_nothing_is_changed_or_said(make):
    """Without autocast a generator keeps its hooks and its samples, and nothing is warned of."""
    generator = make()
    expected = generator(torch.ones(1, 3))
    make_trainer(generator, make_players()[1], precision="fp32").train_step(iter([points().clamp(-1, 1)]))
    assert not any(module._forward_pre_hooks for module in generator.modules())
    assert expected.dtype == torch.float32


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


def test_a_users_generator_learns_at_a_pre_activation_of_5():
    """A user's generator that ends with Tanh gets a gradient at 5 in a training step under bf16."""
    generator = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    nn.init.zeros_(generator[0].weight)
    nn.init.constant_(generator[0].bias, 5.0)
    trainer = make_trainer(generator, make_players()[1], precision="bf16")
    trainer.train_step(iter([points().clamp(-1, 1)]))
    with torch.autocast("cpu", torch.bfloat16):
        samples = generator(torch.randn(4, 3))
    assert torch.autograd.grad(samples.sum(), generator[0].bias)[0].abs().min() > 4e-4


def test_a_generator_that_was_converted_to_half_precision_is_left_alone():
    """Outside autocast the hook does nothing: a generator in bfloat16 gives bfloat16."""
    generator = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    with torch.autocast("cpu", torch.bfloat16), recorded_calls(generator) as calls:
        samples = generator(torch.randn(1, 3))
    widen_last_activation(calls, samples, warn=True)
    assert generator.to(torch.bfloat16)(torch.randn(1, 3).to(torch.bfloat16)).dtype == torch.bfloat16
    assert stacks.LinearStack([3, 2], last_activation=nn.Tanh).half()(torch.zeros(1, 3).half()).dtype == torch.float16
