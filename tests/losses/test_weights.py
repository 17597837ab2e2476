"""Tests of weights of losses that are tensors, which may change during training."""

import inspect
import math
from typing import Any

import pytest
import torch
from torch import nn

from ganlib import latents, losses, training
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.losses import AuxiliaryClassifier, AuxiliaryLoss, FeatureMatching, HingeLoss, WassersteinLoss, WeightedSum
from ganlib.protocols import DiscriminatorOutput

AUXILIARY = {"AuxiliaryClassifier": AuxiliaryClassifier, "FeatureMatching": FeatureMatching}
SUMS = {"WeightedSum": lambda weight: WeightedSum([HingeLoss(), WassersteinLoss()], [1.0, weight])}
every_auxiliary = pytest.mark.parametrize("make", AUXILIARY.values(), ids=AUXILIARY)
every_maker = pytest.mark.parametrize("make", [*AUXILIARY.values(), *SUMS.values()], ids=[*AUXILIARY, *SUMS])
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def weight_of(loss: Any) -> Any:
    """The weight that a loss of the table was given."""
    return loss.weights[1] if isinstance(loss, WeightedSum) else loss.weight


def test_the_table_holds_every_loss_with_a_weight():
    """Every public class that takes a weight, or weights, is in the table."""
    classes = {name: getattr(losses, name) for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    weighing = {name for name, one in classes.items() if {"weight", "weights"} & {*inspect.signature(one).parameters}}
    assert weighing == {*AUXILIARY, *SUMS}


@every_maker
def test_a_weight_that_is_a_tensor_stays_the_users(make):
    """It is kept as it is, neither moved nor saved with the loss, and shows as a number."""
    weight = torch.tensor(0.3)
    loss = make(weight).double()

    assert weight_of(loss) is weight
    assert loss.state_dict() == {}
    assert repr(make(0.3)) == repr(loss)


@every_maker
def test_a_weight_on_a_device_is_not_read(make):
    """Of a tensor on a device neither the check nor `repr` reads the number; the meta device has none."""
    assert "<on meta>" in repr(make(torch.tensor(-1.0, device="meta")))


@every_maker
@pytest.mark.parametrize("weight", [torch.ones(1), torch.tensor(1), torch.tensor(1.0, requires_grad=True)])
def test_a_bad_tensor_is_refused(make, weight):
    """What is not a floating-point scalar without gradients raises an error that names and quotes it."""
    with pytest.raises(ArgumentValueError) as caught:
        make(weight)
    assert f"weight (={weight!r}) must be a number, or a plain floating-point tensor" in str(caught.value)
    assert isinstance(caught.value, GanlibError)


@every_maker
@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_bad_number_in_a_tensor_is_refused(make, weight):
    """On the CPU a tensor's number is checked like any other."""
    with pytest.raises(ArgumentValueError, match=rf"weight \(={weight}\) must be a finite number of at least 0"):
        make(torch.tensor(weight))


@every_auxiliary
def test_it_is_an_auxiliary_loss(make):
    """With a tensor it is an AuxiliaryLoss all the same."""
    assert isinstance(make(torch.tensor(1.0)), AuxiliaryLoss)


@pytest.mark.parametrize("weight_dtype", DTYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_sum_of_tensor_weights_is_that_of_their_numbers(weight_dtype, dtype):
    """Both losses and their dtypes are those of the numbers, and follow a tensor that is filled with another."""
    real, fake = torch.randn(4, 1, dtype=dtype), torch.randn(4, 1, dtype=dtype)
    weight = torch.tensor(0.75, dtype=weight_dtype)
    loss = SUMS["WeightedSum"](weight)
    for number in (0.75, 3.0):
        weight.fill_(number)
        expected = SUMS["WeightedSum"](number)
        for one, other in [
            (expected.discriminator(real, fake), loss.discriminator(real, fake)),
            (expected.generator(fake), loss.generator(fake)),
        ]:
            assert one.dtype == other.dtype == torch.promote_types(dtype, torch.float32)
            assert torch.equal(one, other)


def test_the_weights_of_a_sum_may_be_one_tensor():
    """The numbers of a vector are its weights, which follow it."""
    weights = torch.tensor([1.0, 0.5])
    loss = WeightedSum([HingeLoss(), WassersteinLoss()], weights)
    weights.mul_(2)

    assert loss.generator(torch.full((4, 1), -1.0)).item() == 3.0
    assert "weights=(2.0, 1.0)" in repr(loss)


def test_the_weight_of_a_sum_of_one_shows_as_a_tuple():
    """One weight is shown with its comma."""
    assert "weights=(0.5,)" in repr(WeightedSum([HingeLoss()], [torch.tensor(0.5)]))


class Critic(nn.Module):
    """A critic with class logits and features."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.classes = nn.Linear(2, 4), nn.Linear(4, 1), nn.Linear(4, 3)

    def forward(self, x, condition=None):
        """Discriminate."""
        phi = self.body(x).tanh()
        return DiscriminatorOutput(self.head(phi), self.classes(phi), (phi,))


class Generator(nn.Linear):
    """A generator that is given classes."""

    def forward(self, latent, condition=None):
        """Generate."""
        return super().forward(latent)


def trained(loss: Any, change: Any = None) -> list[torch.Tensor]:
    """The weights of both players after a step, and after another with a weight that was changed."""
    torch.manual_seed(0)
    generator, critic = Generator(3, 2), Critic()
    trainer = training.AdversarialTrainer(
        generator,
        critic,
        torch.optim.SGD(generator.parameters(), lr=0.1),
        torch.optim.SGD(critic.parameters(), lr=0.1),
        loss=HingeLoss(),
        latent=latents.Gaussian(3),
        auxiliary_losses=[loss],
    )
    for step in range(2):
        if step and change is not None:
            change()
        metrics = trainer.train_step((torch.randn(6, 2), torch.arange(6) % 3))
        assert all(value.dtype == torch.float32 for value in metrics.values())
    return [p.detach().clone() for player in (generator, critic) for p in player.parameters()]


@every_auxiliary
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_follows_the_weight(make, dtype):
    """A trainer's steps are those of the numbers that the tensor holds at each of them."""
    number, weight = make(0.75), torch.tensor(0.75, dtype=dtype)

    expected = trained(number, lambda: setattr(number, "weight", 3.0))
    actual = trained(make(weight), lambda: weight.fill_(3.0))

    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(expected, actual, strict=True))
    assert not all(
        torch.allclose(one, other, atol=1e-6) for one, other in zip(expected, trained(make(0.75)), strict=True)
    )
