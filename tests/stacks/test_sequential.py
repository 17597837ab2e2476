"""Tests of the sequence that passes the condition on."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from ganlib.conditioning import ConditionalBatchNorm, OneHot
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.stacks import ConditionalSequential
from tests.strategies import Recorder


def _conditional():
    recorder = Recorder()
    recorder.needs_condition = True
    return recorder


def test_without_conditional_modules_it_is_torchs_own():
    """It gives what nn.Sequential gives, and reads its weights."""
    own = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    ours = ConditionalSequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    ours.load_state_dict(own.state_dict())
    x = torch.randn(5, 3)

    assert torch.equal(own(x), ours(x))
    assert not ours.needs_condition


def test_those_that_need_the_condition_are_given_it():
    """Modules with needs_condition are called with (x, condition), all others with x alone."""
    first, second, third = Recorder(), _conditional(), Recorder()
    x, condition = torch.randn(2, 3), torch.tensor([0, 1])

    ConditionalSequential(first, second, third)(x, condition)

    assert [[(id(x),)], [(id(x), id(condition))], [(id(x),)]] == [
        [tuple(map(id, call)) for call in recorder.calls] for recorder in (first, second, third)
    ]


def test_one_inside_of_another_is_given_the_condition():
    """A sequence with a conditional module needs the condition itself, and so hands it inwards."""
    norm = ConditionalBatchNorm(3, OneHot(2), spatial_dims=0)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    nested = ConditionalSequential(nn.ReLU(), ConditionalSequential(norm, nn.Tanh()))
    x, condition = torch.randn(4, 3), torch.tensor([0, 1, 1, 0])

    assert nested.needs_condition
    assert torch.allclose(norm(x.relu(), condition).tanh(), nested(x, condition))


def test_it_follows_its_modules():
    """Slices, named modules and modules that are appended later are taken as nn.Sequential takes them."""
    sequence = ConditionalSequential(OrderedDict(act=nn.ReLU()))

    assert not sequence.needs_condition
    assert sequence.append(_conditional()).needs_condition
    assert isinstance(sequence[:1], ConditionalSequential)
    assert not sequence[:1].needs_condition
    assert isinstance(sequence.act, nn.ReLU)


def test_a_condition_must_be_there_just_where_it_is_needed():
    """A missing condition, and one that nothing takes, are refused."""
    x, condition = torch.zeros(2, 3), torch.tensor([0, 1])
    with pytest.raises(ArgumentValueError, match=r"condition \(=None\) is missing: this ConditionalSequential"):
        ConditionalSequential(_conditional())(x)
    with pytest.raises(ArgumentValueError, match=r"condition \(2,\) was given to a ConditionalSequential"):
        ConditionalSequential(nn.ReLU())(x, condition)


@pytest.mark.parametrize("module", [nn.ReLU, None, [nn.ReLU()]])
def test_what_is_no_module_is_refused(module):
    """The error names the place and quotes the value."""
    with pytest.raises(ArgumentTypeError) as caught:
        ConditionalSequential(nn.ReLU(), module)
    assert f"modules[1] (={module!r}) must be a module" == str(caught.value)
    assert isinstance(caught.value, GanlibError)
