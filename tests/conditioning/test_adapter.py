"""Tests of what adapters copy from their module."""

import copy

import pytest
import torch
from torch import nn

from ganlib.conditioning import ConcatChannels, ConcatLatent, OneHot, Unconditional
from ganlib.conditioning._adapter import copy_attributes

ADAPTERS = {
    Unconditional: lambda module: Unconditional(module),
    ConcatLatent: lambda module: ConcatLatent(module, OneHot(2)),
    ConcatChannels: lambda module: ConcatChannels(module, OneHot(2)),
}
adapters = pytest.mark.parametrize("adapt", ADAPTERS.values(), ids=[adapter.__name__ for adapter in ADAPTERS])


def carrying():
    """A network with a sample_range and a recipe."""
    module = nn.Conv1d(3, 1, 1)
    module.sample_range = (-1.0, 1.0)
    module.recipe = {"name": "Mine", "arguments": {}}
    return module


@adapters
def test_an_adapter_carries_its_modules_sample_range(adapt):
    """The adapter has the module's sample_range, and a copy of the adapter keeps it."""
    assert adapt(carrying()).sample_range == (-1.0, 1.0)
    assert copy.deepcopy(adapt(carrying())).sample_range == (-1.0, 1.0)


@adapters
def test_an_adapter_carries_a_recipe(adapt):
    """The adapter's recipe holds the recipes of its parts, and a copy of the adapter keeps it."""
    adapter = adapt(carrying())
    expected = {"module": {"name": "Mine", "arguments": {}}}
    if hasattr(adapter, "encoder"):
        expected["encoder"] = {"name": "OneHot", "arguments": {"num_classes": 2}}

    assert {"name": type(adapter).__name__, "arguments": expected} == adapter.recipe
    assert adapter.recipe == copy.deepcopy(adapter).recipe


@adapters
def test_adapters_nest(adapt):
    """An adapter around an adapter carries both recipes and the sample_range."""
    outer = Unconditional(adapt(carrying()))

    assert outer.sample_range == (-1.0, 1.0)
    assert adapt(carrying()).recipe == outer.recipe["arguments"]["module"]


@adapters
def test_nothing_is_made_up_for_a_plain_module(adapt):
    """Around a module without a sample_range or a recipe the adapter has none either."""
    adapter = adapt(nn.Conv1d(3, 1, 1))

    assert not hasattr(adapter, "sample_range")
    assert not hasattr(adapter, "recipe")


def test_one_part_without_a_recipe_leaves_the_whole_without():
    """A recipe that could not be followed is not given."""
    adapter = nn.Module()

    copy_attributes(adapter, module=carrying(), encoder=nn.Identity())

    assert adapter.sample_range == (-1.0, 1.0)
    assert not hasattr(adapter, "recipe")


@adapters
def test_a_copy_is_its_own_network(adapt):
    """A deep copy gives what the adapter gives, and training one leaves the other."""
    adapter = adapt(carrying())
    twin = copy.deepcopy(adapter)
    channels = 3 if isinstance(adapter, Unconditional) else 1
    x, condition = torch.randn(2, channels, 4), torch.tensor([0, 1])

    assert torch.equal(adapter(x, condition), twin(x, condition))
    nn.init.zeros_(twin.module.weight)
    assert not torch.equal(adapter(x, condition), twin(x, condition))
