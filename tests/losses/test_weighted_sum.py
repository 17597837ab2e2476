"""Tests of what is special to a weighted sum of losses."""

import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.losses import (
    AdversarialLoss,
    HingeLoss,
    LeastSquaresLoss,
    NonSaturatingLoss,
    RelativisticLoss,
    WassersteinLoss,
    WeightedSum,
)
from tests import strategies

logits = strategies.logits(20, (3, 2), torch.float64)


class MyLoss:
    """A loss as a user writes it, inheriting from nothing, that keeps what it is given."""

    def __init__(self):
        self.calls = []

    def discriminator(self, real, fake):
        """Real plus fake."""
        self.calls.append((real, fake))
        return real.mean() + fake.mean()

    def generator(self, fake, real=None):
        """Fake."""
        self.calls.append((fake, real))
        return fake.mean()


class Learned(nn.Module):
    """A loss with a parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def discriminator(self, real, fake):
        """Scaled."""
        return self.scale * (fake.mean() - real.mean())

    def generator(self, fake, real=None):
        """Scaled."""
        return -self.scale * fake.mean()


@given(logits, logits, st.lists(st.floats(0, 10), min_size=4, max_size=4))
def test_it_is_the_weighted_sum(real, fake, weights):
    """Both losses are the sums of the members' losses times their weights."""
    members = [HingeLoss(), LeastSquaresLoss(), NonSaturatingLoss(), RelativisticLoss()]
    loss = WeightedSum(members, weights)

    discriminator = sum(w * member.discriminator(real, fake) for w, member in zip(weights, members, strict=True))
    generator = sum(w * member.generator(fake, real) for w, member in zip(weights, members, strict=True))

    assert torch.allclose(discriminator, loss.discriminator(real, fake))
    assert torch.allclose(generator, loss.generator(fake, real))


@given(logits, logits)
def test_sums_can_be_summed(real, fake):
    """A sum of sums weighs with the products of the weights."""
    inner = WeightedSum([HingeLoss(), RelativisticLoss()], [2.0, 3.0])
    flat = WeightedSum([HingeLoss(), RelativisticLoss(), WassersteinLoss()], [1.0, 1.5, 4.0])
    nested = WeightedSum([inner, WassersteinLoss()], [0.5, 4.0])

    assert nested.needs_real_logits
    assert torch.allclose(flat.discriminator(real, fake), nested.discriminator(real, fake))
    assert torch.allclose(flat.generator(fake, real), nested.generator(fake, real))


@pytest.mark.parametrize(
    ("members", "needs"),
    [([HingeLoss(), MyLoss()], False), ([HingeLoss(), RelativisticLoss()], True), ([RelativisticLoss()], True)],
)
def test_it_needs_real_logits_where_a_member_does(members, needs):
    """needs_real_logits is True if and only if one of the members' is."""
    assert needs == WeightedSum(members, [1.0] * len(members)).needs_real_logits


def test_a_loss_of_your_own_is_given_single_scales_in_float32():
    """A member that inherits from nothing is given each scale on its own, widened, and real logits where needed."""
    mine = MyLoss()
    half = torch.ones(2, dtype=torch.bfloat16)

    actual = WeightedSum([mine], [3.0]).discriminator((half, 2 * half), (half, half))
    WeightedSum([mine], [3.0]).generator(half)
    WeightedSum([mine, RelativisticLoss()], [3.0, 1.0]).generator(half, 2 * half)

    assert actual.item() == 3.0 * ((1 + 1) + (2 + 1))
    assert all(part.dtype == torch.float32 for call in mine.calls for part in call if part is not None)
    assert [tuple(None if part is None else part.mean().item() for part in call) for call in mine.calls] == [
        (1.0, 1.0),
        (2.0, 1.0),
        (1.0, None),
        (1.0, 2.0),
    ]


def test_members_with_a_state_are_saved_and_copied_with_it():
    """A member's parameter is a parameter of the sum, in its state once, and a deep copy uses its own."""
    loss = WeightedSum([HingeLoss(), Learned()], [1.0, 1.0])
    twin = copy.deepcopy(loss)
    with torch.no_grad():
        next(twin.parameters()).fill_(5.0)

    assert [value.item() for value in loss.state_dict().values()] == [2.0]
    assert (loss.generator(torch.ones(2)).item(), twin.generator(torch.ones(2)).item()) == (-1.0 - 2.0, -1.0 - 5.0)

    loss.load_state_dict(twin.state_dict())
    assert loss.generator(torch.ones(2)).item() == -1.0 - 5.0


@pytest.mark.parametrize(
    ("members", "weights", "message"),
    [
        ([], [], r"weights \(=\(\)\) must hold one number for each of the 0 losses"),
        ([HingeLoss()], [1.0, 2.0], r"weights \(=\(1\.0, 2\.0\)\) must hold one number for each of the 1 losses"),
        ([HingeLoss(), HingeLoss()], [1.0], r"weights \(=\(1\.0,\)\)"),
        ([HingeLoss()], [-1.0], r"a weight \(=-1\.0\) must be a finite number of at least 0"),
        ([HingeLoss()], [math.nan], r"a weight \(=nan\)"),
    ],
)
def test_bad_weights_are_refused(members, weights, message):
    """No losses, another number of weights, and weights out of range raise errors that quote them."""
    with pytest.raises(ArgumentValueError, match=message) as caught:
        WeightedSum(members, weights)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(("member", "name"), [(nn.Identity(), r"Identity\(\)"), (HingeLoss, "<class .*HingeLoss'>")])
def test_what_is_no_loss_is_refused(member, name):
    """Something without the two methods, or a class instead of an object, raises an error that shows it."""
    with pytest.raises(ArgumentTypeError, match=rf"losses holds {name}, which is not an object with the") as caught:
        WeightedSum([HingeLoss(), member], [1.0, 1.0])
    assert isinstance(caught.value, GanlibError)


def test_its_members_and_weights_can_be_read():
    """Losses and weights are attributes, and show in the repr; a sum is a loss."""
    hinge = HingeLoss()
    loss = WeightedSum([hinge, WassersteinLoss()], [1.0, 0.5])

    assert isinstance(loss, AdversarialLoss)
    assert loss.losses[0] is hinge
    assert loss.weights == (1.0, 0.5)
    assert all(text in repr(loss) for text in ("weights=(1.0, 0.5)", "HingeLoss()", "WassersteinLoss()"))
