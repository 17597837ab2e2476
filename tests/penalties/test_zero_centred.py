"""Tests of what is special to R1 and R2."""

import pytest
import torch
from torch import nn

from ganlib import conditioning, stacks
from ganlib.penalties import R1, R2

both = pytest.mark.parametrize("penalty_type", [R1, R2])


@both
def test_real_and_fake_may_differ_in_number(penalty_type):
    """They look at one side, so that the other's batch size is free."""
    samples = {R1: (torch.randn(3, 2), torch.randn(5, 2)), R2: (torch.randn(5, 2), torch.randn(3, 2))}

    assert penalty_type(10.0)(lambda x: 3 * x[:, :1], *samples[penalty_type]).item() == 45.0


@both
def test_on_a_conditional_discriminator_of_ours(penalty_type):
    """A projection discriminator gives the penalty of a finite difference of its logits."""
    torch.manual_seed(0)
    plan = stacks.StackPlan((1, 4), [stacks.Stage(3)])
    backbone = stacks.ConvStack(plan, norm="none", last_activation=nn.Tanh)
    critic = conditioning.Projection(backbone, conditioning.ClassEmbedding(4, 3), 3).double()
    x, classes = torch.randn(2, 1, 4, dtype=torch.float64), torch.tensor([3, 1])

    total = torch.zeros(())
    for place in torch.eye(4, dtype=torch.float64):
        step = 1e-5 * place
        total = total + ((critic(x + step, classes) - critic(x - step, classes)) / 2e-5).square().mean()

    assert torch.allclose(total / 2, penalty_type(1.0)(critic, x, x, classes), rtol=1e-6)


@both
def test_its_arguments_can_be_read(penalty_type):
    """Weight and interval are attributes and show in the repr; 10 at every iteration is the default."""
    assert (penalty_type().weight, penalty_type().every) == (10.0, 1)
    assert repr(penalty_type(2.0, every=16)) == f"{penalty_type.__name__}(weight=2.0, every=16)"
