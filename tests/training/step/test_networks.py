"""How networks are called and laid out, and how batches reach them."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ganlib.errors import ArgumentTypeError, ShapeError
from ganlib.training._step._networks import call, lay_out_, move, scalar

CPU = torch.device("cpu")


def test_the_condition_is_given_only_where_there_is_one() -> None:
    """Without a condition a network is called with one argument."""
    assert call(lambda *given: given, torch.ones(1), None) == (torch.ones(1),)
    assert len(call(lambda *given: given, torch.ones(1), torch.ones(1))) == 2


def test_laying_out_keeps_parameters_and_values() -> None:
    """Weights of 4 and 5 dimensions get their channels last; they stay the same parameters, with the same values."""
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv3d(2, 3, 3), nn.Linear(2, 2))
    before = [(parameter, parameter.detach().clone()) for parameter in network.parameters()]
    lay_out_(network)
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert network[1].weight.is_contiguous(memory_format=torch.channels_last_3d)
    for (parameter, value), now in zip(before, network.parameters(), strict=True):
        assert now is parameter
        assert torch.equal(now, value)


class Pair(NamedTuple):
    """A named tuple of a user's."""

    photo: Tensor
    name: str


def test_a_nested_batch_keeps_its_structure() -> None:
    """Tensors of any nest are laid out where they have 4 dimensions; other values are what they were."""
    image, label = torch.rand(2, 3, 4, 4), torch.zeros(2, 3, 4, 4, dtype=torch.int64)
    moved = move({"pair": Pair(image, "a cat"), "rest": [(label, None), 3]}, CPU, channels_last=True)
    assert isinstance(moved["pair"], Pair)
    assert moved["pair"].photo.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved["pair"].photo, image)
    assert moved["pair"].name == "a cat"
    assert moved["rest"] == [(label, None), 3]  # whole numbers are not laid out
    assert move(image, CPU, channels_last=False) is image


def test_a_scalar_is_returned() -> None:
    """One number with its graph is what a loss gives, and comes back as it is."""
    value = torch.tensor(3.0, requires_grad=True)
    assert scalar(value, "loss") is value


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (torch.zeros(4, 1), ShapeError, r"hinge gave a tensor \(4, 1\)"),
        (0.5, ArgumentTypeError, "hinge gave 0.5, a float"),
    ],
)
def test_what_is_not_a_scalar_is_refused(value: object, error: type[Exception], words: str) -> None:
    """A loss that forgot its mean, or its graph, is named: summed over the batch it would train at another rate."""
    with pytest.raises(error, match=words):
        scalar(value, "hinge")
