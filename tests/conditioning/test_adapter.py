"""Tests of what adapters copy from their module."""

import copy

import pytest
import torch
from torch import nn

from ganlib.conditioning import ConcatChannels, ConcatLatent, OneHot, Unconditional

ADAPTERS = {
    Unconditional: lambda module: Unconditional(module),
    ConcatLatent: lambda module: ConcatLatent(module, OneHot(2)),
    ConcatChannels: lambda module: ConcatChannels(module, OneHot(2)),
}
adapters = pytest.mark.parametrize("adapt", ADAPTERS.values(), ids=[adapter.__name__ for adapter in ADAPTERS])


def carrying():
    """A network with a sample_range."""
    module = nn.Conv1d(3, 1, 1)
    module.sample_range = (-1.0, 1.0)
    return module


@adapters
def test_an_adapter_carries_its_modules_sample_range(adapt):
    """The adapter has the module's sample_range, and a copy of the adapter keeps it."""
    assert adapt(carrying()).sample_range == (-1.0, 1.0)
    assert copy.deepcopy(adapt(carrying())).sample_range == (-1.0, 1.0)


@adapters
def test_adapters_nest(adapt):
    """An adapter around an adapter carries the sample_range, and another one's is another one's."""
    other = nn.Conv1d(3, 1, 1)
    other.sample_range = (0.0, 1.0)

    assert Unconditional(adapt(carrying())).sample_range == (-1.0, 1.0)
    assert adapt(Unconditional(other)).sample_range == (0.0, 1.0)


@adapters
def test_nothing_is_made_up_for_a_plain_module(adapt):
    """Around a module without a sample_range the adapter has none either."""
    assert not hasattr(adapt(nn.Conv1d(3, 1, 1)), "sample_range")


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
