"""Tests of nests of tensors."""

from typing import NamedTuple

import torch
from torch import Tensor

from ganlib._nest import mapped, tensors_of


class Pair(NamedTuple):
    """A named tuple."""

    one: Tensor
    name: str


def test_the_nest_keeps_its_form() -> None:
    """Dicts, lists, tuples and named tuples stay what they are; tensors are replaced, and other values stay."""
    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
    nest = {"a": [one, (two, None)], "b": Pair(three, "x")}

    actual = mapped(nest, lambda x: 2 * x)

    assert list(actual) == ["a", "b"]
    assert type(actual["a"]) is list
    assert type(actual["a"][1]) is tuple
    assert type(actual["b"]) is Pair
    assert [actual["a"][0].sum(), actual["a"][1][0].sum(), actual["b"].one.sum()] == [2, 4, 6]
    assert (actual["a"][1][1], actual["b"].name) == (None, "x")
    assert one.sum() == 1


def test_all_tensors_of_a_nest_are_found() -> None:
    """In the order of the nest; what is not a tensor is not."""
    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)

    found = list(tensors_of({"a": [one, (two, None)], "b": Pair(three, "x")}))

    assert [tensor.numel() for tensor in found] == [1, 2, 3]
