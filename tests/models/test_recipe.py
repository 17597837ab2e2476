"""Tests of what rebuilds a generator, in plain values."""

import pytest
from torch import nn

from ganlib.conditioning import OneHot
from ganlib.models._recipe import carry, describe
from ganlib.stacks import StackPlan, Stage


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "batch"])
def test_plain_values_describe_themselves(value):
    """Numbers, strings and None are what they are."""
    assert describe(value) == value
    assert type(describe(value)) is type(value)


def test_tuples_become_lists_all_the_way_down():
    """Nested tuples are nested lists, as plain files have them."""
    assert describe((1, (2, [3, None]))) == [1, [2, [3, None]]]


def test_a_plan_is_described_by_its_arguments():
    """A plan is its image's shape and its stages, each with all its arguments."""
    plan = StackPlan((1, 8, 6), [Stage(4, kernel_size=(4, 2))])
    stage = {"channels": 4, "kernel_size": [4, 2], "stride": 2, "padding": 1}
    expected = {"image_shape": [1, 8, 6], "stages": [{"name": "Stage", "arguments": stage}]}
    assert describe(plan) == {"name": "StackPlan", "arguments": expected}


def test_what_has_a_recipe_is_described_by_it():
    """An encoder's description is the recipe that it carries."""
    assert describe([OneHot(3)]) == [{"name": "OneHot", "arguments": {"num_classes": 3}}]


@pytest.mark.parametrize("value", [nn.ReLU, nn.ReLU(), len, {"a": 1}, (1, object())])
def test_objects_of_the_users_cannot_be_described(value):
    """A module, class or function without a recipe is a TypeError, also inside a tuple."""
    with pytest.raises(TypeError, match="is no plain value"):
        describe(value)


def test_carry_gives_the_recipe_and_the_range():
    """All arguments, the live ones too, are in the recipe, and the range is (-1, 1)."""
    generator = nn.Identity()
    carry(generator, "mine", {"sizes": (1, 2)}, norm="batch", encoder=None)
    assert generator.sample_range == (-1.0, 1.0)
    assert generator.recipe == {"name": "mine", "arguments": {"sizes": [1, 2], "norm": "batch", "encoder": None}}


def test_carry_gives_no_recipe_where_plain_values_cannot_say_it():
    """With a function of the user's there is a range, and no recipe at all."""
    generator = nn.Identity()
    carry(generator, "mine", {"size": 1}, norm=nn.BatchNorm2d)
    assert generator.sample_range == (-1.0, 1.0)
    assert not hasattr(generator, "recipe")
