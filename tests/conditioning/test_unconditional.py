"""Tests of the adapter that ignores the condition."""

import pytest
import torch
from torch import nn

from ganlib import stacks
from ganlib.conditioning import Unconditional
from ganlib.protocols import DiscriminatorOutput
from tests import strategies


@pytest.mark.parametrize("kind", strategies.ALL_CONDITIONS)
def test_the_module_gets_its_first_argument_alone(kind):
    """With a condition of any kind, and without one, the module is called with x alone."""
    _, condition = strategies.ALL_CONDITIONS[kind](2, (4,))
    module, x = strategies.Recorder(), torch.randn(2, 3)

    assert Unconditional(module)(x, condition) is x
    assert Unconditional(module)(x) is x
    assert [(x,), (x,)] == module.calls


@pytest.mark.parametrize("kind", strategies.ALL_CONDITIONS)
def test_around_our_stacks(kind):
    """An unconditional generator and discriminator of ours give with a condition what they give without."""
    _, condition = strategies.ALL_CONDITIONS[kind](2, (4,))
    plan = stacks.StackPlan((1, 8, 6), [stacks.Stage(2), stacks.Stage(4)])
    for stack in (stacks.ConvStack(plan), stacks.ConvTransposeStack(plan)):
        x = torch.randn(2, *stack.in_shape)
        assert torch.equal(stack(x), Unconditional(stack)(x, condition))


def test_what_the_module_returns_is_handed_on():
    """A DiscriminatorOutput comes through as it is."""

    class Fixed(nn.Module):
        def forward(self, x):
            return DiscriminatorOutput(x, features=(x,))

    x = torch.zeros(2, 1)
    assert DiscriminatorOutput(x, features=(x,)) == Unconditional(Fixed())(x, torch.tensor([0, 1]))
