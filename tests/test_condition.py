"""Tests of how a condition finds those parts that need it."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ganlib._condition import call, check_condition, needs_condition
from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentValueError, GanlibError
from tests.strategies import Recorder

CONDITIONAL = SimpleNamespace(needs_condition=True)


def test_one_that_needs_a_condition_is_enough():
    """Several modules need a condition just where one of them says so."""
    conditional = ConditionalBatchNorm(2, OneHot(3))

    assert needs_condition(nn.Identity(), conditional)
    assert not needs_condition(nn.Identity(), SimpleNamespace(needs_condition=False))
    assert not needs_condition()


@pytest.mark.parametrize("needs", [True, False, None])
def test_the_condition_is_given_just_where_it_is_needed(needs):
    """A module is called with (x, condition) where it has needs_condition = True, and else with x alone."""
    module, x, condition = Recorder(), torch.zeros(1), torch.zeros(2)
    if needs is not None:
        module.needs_condition = needs

    assert call(module, x, condition) is x
    assert len(module.calls) == 1
    assert [id(argument) for argument in module.calls[0]] == [id(x), id(condition)][: 2 if needs else 1]


def test_a_condition_must_be_there_just_where_it_is_needed():
    """A missing condition, and one that nothing takes, raise errors that name the module."""
    condition = torch.zeros(2, 3)
    check_condition(CONDITIONAL, condition)
    check_condition(SimpleNamespace(needs_condition=False), None)
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing: this SimpleNamespace has"):
        check_condition(CONDITIONAL, None)
    with pytest.raises(ArgumentValueError, match=r"condition \(2, 3\) was given to a SimpleNamespace that") as caught:
        check_condition(SimpleNamespace(needs_condition=False), condition)
    assert "Unconditional" in str(caught.value)
    assert isinstance(caught.value, GanlibError)
