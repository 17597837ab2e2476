"""Tests of what is special to R1 and R2."""

import pytest
import torch
from hypothesis import given
from torch import nn

from ganlib import conditioning, stacks
from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.penalties import R1, R2
from ganlib.protocols import DiscriminatorOutput
from tests import strategies
from tests.penalties.cases import network

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
    for axis in torch.eye(4, dtype=torch.float64):
        step = 1e-5 * axis
        total = total + ((critic(x + step, classes) - critic(x - step, classes)) / 2e-5).square().mean()

    assert torch.allclose(total / 2, penalty_type(1.0)(critic, x, x, classes), rtol=1e-6)


@both
def test_its_arguments_can_be_read(penalty_type):
    """Weight and interval are attributes and show in the repr; 10 at every iteration is the default."""
    assert (penalty_type().weight, penalty_type().every) == (10.0, 1)
    assert repr(penalty_type(2.0, every=16)) == f"{penalty_type.__name__}(weight=2.0, every=16)"


WRAPPERS = {
    "logits": lambda logits: logits,
    "scales": lambda logits: (logits[:, :1], logits[:, 1:].square()),
    "output": lambda logits: DiscriminatorOutput((logits[:, :1], logits[:, 1:].square()), features=(logits,)),
}


@both
@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
@given(strategies.normals((4, 3), torch.float64))
def test_of_a_forward_pass_it_is_the_plain_call(penalty_type, wrap, x):
    """From logits of any form, value and gradients are to the bit those of a call, and the loss can still be taken."""
    critic, penalty = network(2, torch.float64), penalty_type(3.0)
    parameters = list(critic.parameters())[:-1]
    expected = penalty(lambda x: wrap(critic(x)), x, x)
    gradients = torch.autograd.grad(expected, parameters)

    samples = x.clone().requires_grad_()
    logits = critic(samples)
    actual = penalty.of(samples, wrap(logits))

    assert torch.equal(expected, actual)
    for one, other in zip(gradients, torch.autograd.grad(actual, parameters, retain_graph=True), strict=True):
        assert torch.equal(one, other)
    assert torch.autograd.grad(logits.mean(), parameters)[0].isfinite().all()


@both
def test_of_a_linear_critic_it_is_its_closed_form(penalty_type):
    """For D(x) = <w, x> it is weight / 2 |w|^2, and its gradient is weight * w."""
    w = torch.tensor([3.0, -4.0], dtype=torch.float64, requires_grad=True)
    x = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)

    actual = penalty_type(10.0).of(x, x @ w)
    actual.backward()

    assert pytest.approx(125.0) == actual.item()
    assert torch.allclose(10 * w.detach(), w.grad)


def update(critic, real, fake, *, reuse):
    """The gradients of a discriminator's update with R1 and R2, and how often the discriminator was called."""
    calls = []
    handle = critic.register_forward_hook(lambda *_: calls.append(1))
    real, fake = real.clone().requires_grad_(), fake.clone().requires_grad_()
    real_logits, fake_logits = critic(real), critic(fake)
    loss = nn.functional.softplus(fake_logits - real_logits).mean()
    if reuse:
        loss = loss + R1().of(real, real_logits) + R2().of(fake, fake_logits)
    else:
        loss = loss + R1()(critic, real, fake) + R2()(critic, real, fake)
    handle.remove()
    return torch.autograd.grad(loss, list(critic.parameters())), len(calls)


def test_of_an_update_it_saves_half_of_the_forward_passes():
    """With R1 and R2 of the logits that are there, an update calls the discriminator twice, not four times."""
    critic, real, fake = network(dtype=torch.float64), *torch.randn(2, 6, 3, dtype=torch.float64)
    expected, plain = update(critic, real, fake, reuse=False)
    actual, reused = update(critic, real, fake, reuse=True)

    assert (plain, reused) == (4, 2)
    for one, other in zip(expected, actual, strict=True):
        assert torch.allclose(one, other, rtol=1e-12)


@both
def test_of_samples_without_a_gradient_it_is_refused(penalty_type):
    """Samples that do not require a gradient raise an error that names them, and says what to write."""
    x = torch.randn(2, 3)
    with pytest.raises(ArgumentValueError, match=r"^samples must require a gradient .*requires_grad_\(\)") as caught:
        penalty_type().of(x, x.sum(1))
    assert isinstance(caught.value, GanlibError)


@both
def test_of_an_empty_batch_it_is_refused(penalty_type):
    """By name, as with a discriminator."""
    x = torch.zeros(0, 3, requires_grad=True)
    with pytest.raises(ShapeError, match=r"^samples \(0, 3\) must have shape"):
        penalty_type().of(x, x.sum(1))


@both
def test_of_logits_of_other_samples_it_is_refused(penalty_type):
    """Logits without a graph, or of other samples, raise an error that names them."""
    x, other = torch.randn(2, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)
    with torch.no_grad():
        without = x.sum(1)
    for logits in (without, other.sum(1), (x.detach().sum(1), torch.ones(2))):
        with pytest.raises(ArgumentValueError, match="^logits do not depend on samples") as caught:
            penalty_type().of(x, logits)
    assert isinstance(caught.value, ValueError)
