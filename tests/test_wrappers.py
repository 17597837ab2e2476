"""Tests of what torch puts around a module: names and weights do not depend on it."""

import copy
import functools
import types

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.parallel import DataParallel
from torch.optim.swa_utils import AveragedModel

from ganlib._wrappers import load_plain_state, plain, plain_state, renamed, replaces_forward, uncompiled, unwrapped
from ganlib.conditioning import Unconditional
from ganlib.training import EMA


def compiled(module):
    """A compiled module, for which no compiler is needed."""
    return torch.compile(module, backend="eager")


WRAPS = {
    "compile": compiled,
    "DataParallel": DataParallel,
    "a checkpoint of activations": checkpoint_wrapper,
    "two": lambda module: compiled(DataParallel(module)),
    "three": lambda module: checkpoint_wrapper(compiled(DataParallel(module))),
}
wraps = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)


def tree(wrap=lambda module: module):
    """Wrapped modules at the top, in a sequence and in an adapter; one of them is there twice, and one is empty."""
    torch.manual_seed(0)
    layer = wrap(nn.Linear(2, 2))
    return wrap(Unconditional(wrap(nn.Sequential(layer, nn.BatchNorm1d(2), wrap(nn.Sequential()), layer))))


@wraps
def test_the_state_is_that_of_the_module_without_wrappers(wrap):
    """Names, in their order, tensors, and which of them are one."""
    module, expected = tree(wrap), tree().state_dict()
    state = plain_state(module)
    assert list(state) == list(expected)
    assert all(map(torch.equal, state.values(), expected.values()))
    assert plain(module).module[0] is plain(module).module[3]
    assert repr(plain(module)) == repr(tree())


@wraps
def test_it_is_loaded_with_any_wrappers(wrap):
    """A state of wrapped modules, also with the names that it has with them, goes into plain ones, and the reverse."""
    for state in (plain_state(tree(wrap)), tree(wrap).state_dict(), tree().state_dict()):
        for module in (tree(), tree(wrap), tree(compiled)):
            nn.init.ones_(next(module.parameters()))
            load_plain_state(module, copy.deepcopy(state))
            assert all(map(torch.equal, plain_state(module).values(), tree().state_dict().values()))


def test_a_module_without_wrappers_is_itself():
    """Nothing is copied, and what is wrapped stays wrapped where it is."""
    module, wrapped = tree(), tree(compiled)
    assert plain(module) is module
    plain(wrapped)
    assert next(iter(wrapped.state_dict())) == "_orig_mod.module._orig_mod.0._orig_mod.weight"


@pytest.mark.parametrize("average", [EMA, AveragedModel])
def test_an_average_is_a_module_of_its_own(average):
    """It is unwrapped where this is asked for, and its state is kept otherwise: it counts its updates."""
    module = average(nn.Linear(2, 2))
    assert unwrapped(module) is plain(module) is module
    assert unwrapped(module, averages=True) is plain(compiled(module), averages=True) is module.module
    inside = plain(nn.Sequential(average(compiled(nn.Linear(2, 2)))), averages=True)
    assert list(inside.state_dict()) == ["0.weight", "0.bias"]
    assert len(plain_state(average(compiled(nn.Linear(2, 2))))) == 3


def test_other_names_are_left_alone():
    """Names that differ by more than wrappers, and those that two tensors would share, stay as they are."""
    assert renamed({"module.a": 1, "b": 2}, ["a", "b"]) == {"a": 1, "b": 2}
    assert renamed({"a": 1}, ["module._orig_mod.a"]) == {"module._orig_mod.a": 1}
    for state, names in [
        ({"a": 1}, ["b"]),
        ({"a": 1, "module.a": 2}, ["a"]),
        ({"a": 1}, ["a", "b"]),
        ({"a": 1}, ["a"]),
    ]:
        assert renamed(state, names) is state


def test_what_is_not_a_module_is_asked_itself():
    """An optimizer's state is its own."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1)
    state = plain_state(optimizer)
    optimizer.param_groups[0]["lr"] = 0.2
    load_plain_state(optimizer, state)
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_a_compiled_function_is_what_it_was_made_from():
    """Compiled once, twice or never; what a user has put around it stays."""
    layer = nn.Linear(2, 2)

    @functools.wraps(layer.forward)
    def twice(x):
        return 2 * layer.forward(x)

    for original in (layer.forward, twice, functools.partial(layer.forward), lambda x: x):
        for function in (original, compiled(original), torch._dynamo.disable(compiled(original))):
            assert uncompiled(function) == original
    assert uncompiled(layer) is layer
    assert uncompiled(None) is None


@pytest.mark.parametrize(
    ("make", "replaces"),
    [
        (lambda layer: layer.forward, False),
        (lambda layer: compiled(layer.forward), False),
        (lambda layer: types.MethodType(compiled(nn.Linear.forward), layer), False),
        (lambda layer: lambda x: x, True),
        (lambda layer: compiled(lambda x: x), True),
        (lambda layer: compiled(functools.wraps(layer.forward)(lambda x: x)), True),
        (lambda layer: types.MethodType(lambda own, x: x, layer), True),
    ],
)
def test_a_forward_that_was_replaced_is_found(make, replaces):
    """Compiling it does not replace it."""
    layer = nn.Linear(2, 2)
    assert not replaces_forward(layer)
    layer.forward = make(layer)
    assert replaces_forward(layer) == replaces
