"""Tests of R1 and R2."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import conditioning, stacks
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.penalties import R1, R2, Penalty
from tests import strategies

both = pytest.mark.parametrize("penalty_type", [R1, R2])
weights = st.floats(0, 100)


@both
@given(weights, strategies.normals((5,)), st.integers(1, 5))
def test_on_a_linear_critic(penalty_type, weight, w, n):
    """For D(x) = <w, x> both are weight / 2 * |w|^2, at any batch size."""
    actual = penalty_type(weight)(lambda x: x @ w, torch.randn(n, 5), torch.randn(n, 5))

    assert torch.allclose(weight / 2 * w.square().sum(), actual)


@given(weights, strategies.normals((4, 3)), strategies.normals((4, 3)))
def test_on_a_quadratic_critic(weight, real, fake):
    """For D(x) = |x|^2 / 2 they are weight / 2 * mean |x|^2, R1 over the real and R2 over the fake samples."""

    def critic(x):
        return x.square().sum(1, keepdim=True) / 2

    assert torch.allclose(weight / 2 * real.square().sum(1).mean(), R1(weight)(critic, real, fake))
    assert torch.allclose(weight / 2 * fake.square().sum(1).mean(), R2(weight)(critic, real, fake))


@both
def test_the_gradient_reaches_the_critics_parameters(penalty_type):
    """For D(x) = a x the derivative by a is weight * a, and the samples get none."""
    a = torch.tensor(3.0, requires_grad=True)
    real, fake = torch.randn(4, 1, requires_grad=True), torch.randn(4, 1, requires_grad=True)

    penalty_type(10.0)(lambda x: a * x, real, fake).backward()

    assert torch.allclose(torch.tensor(30.0), a.grad)
    assert real.grad is None
    assert fake.grad is None


def test_each_side_has_its_own_condition():
    """R1 gives the critic the real condition; R2 the fake one, or the real one where there is no other."""
    critic, real, fake = strategies.Recorder(), torch.zeros(2, 3), torch.ones(2, 3)
    condition, fake_condition = torch.tensor([0, 1]), torch.tensor([2, 3])

    R1()(critic, real, fake, condition, fake_condition)
    R2()(critic, real, fake, condition, fake_condition)
    R2()(critic, real, fake, condition)

    assert [condition, fake_condition, condition] == [call[1] for call in critic.calls]
    assert [call[0].mean().item() for call in critic.calls] == [0.0, 1.0, 1.0]


@both
def test_without_conditions_the_critic_has_one_argument(penalty_type):
    """Where the condition is None the critic is called with the samples alone."""
    critic = strategies.Recorder()

    penalty_type()(critic, torch.zeros(2, 3), torch.zeros(2, 3))

    assert len(critic.calls[0]) == 1


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
def test_under_bf16_autocast_it_is_exactly_float32(penalty_type):
    """Under autocast the penalty is bit for bit the one without it."""
    critic, samples = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), torch.randn(6, 3)
    expected = penalty_type()(critic, samples, samples)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = penalty_type()(critic, samples, samples)

    assert torch.float32 == actual.dtype
    assert torch.equal(expected, actual)


@both
def test_the_interval_is_kept_for_the_trainer(penalty_type):
    """`every` is an attribute and does not change the value; the trainer does the scaling."""
    penalty = penalty_type(2.0, every=16)

    assert isinstance(penalty, Penalty)
    assert (penalty.weight, penalty.every) == (2.0, 16)
    assert penalty(lambda x: 3 * x, torch.zeros(2, 1), torch.zeros(2, 1)).item() == 9.0
    assert f"{penalty_type.__name__}(weight=2.0, every=16)" == repr(penalty)


@both
def test_bad_arguments_are_refused(penalty_type):
    """A negative weight and an interval of 0 raise errors that name them."""
    with pytest.raises(ArgumentValueError, match=r"weight \(=-1\.0\)") as caught:
        penalty_type(-1.0)
    with pytest.raises(ArgumentValueError, match=r"every \(=0\)"):
        penalty_type(every=0)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)
