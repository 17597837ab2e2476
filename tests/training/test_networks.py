"""How networks are called, and what they answer."""

import pytest
import torch
from torch import nn

from ganlib.errors import ArgumentTypeError, ShapeError
from ganlib.protocols import DiscriminatorOutput
from ganlib.training._networks import as_output, call, lay_out_, scalar, score, sum_over_scales


def test_the_condition_is_given_only_where_there_is_one() -> None:
    """Without a condition a network is called with one argument."""
    assert call(lambda *given: given, torch.ones(1), None) == (torch.ones(1),)
    assert len(call(lambda *given: given, torch.ones(1), torch.ones(1))) == 2


def test_logits_are_widened() -> None:
    """bf16 logits become float32, float64 stays, for a tensor, a tuple and an output with features."""
    half, double = torch.zeros(2, 1, dtype=torch.bfloat16), torch.zeros(2, 1, dtype=torch.float64)
    assert as_output(half).logits.dtype == torch.float32
    assert [scale.dtype for scale in as_output((half, double)).logits] == [torch.float32, torch.float64]
    output = as_output(DiscriminatorOutput(half, features=(half,)))
    assert (output.logits.dtype, output.features[0].dtype) == (torch.float32, torch.bfloat16)


@pytest.mark.parametrize("answer", [None, [torch.zeros(1)], (torch.zeros(1), 3), {"logits": torch.zeros(1)}])
def test_what_is_no_logits_is_refused(answer: object) -> None:
    """Anything but logits is answered with what a discriminator may give."""
    with pytest.raises(ArgumentTypeError, match="discriminator gave"):
        as_output(answer)


def test_scales_are_summed_and_scores_averaged() -> None:
    """A loss is summed over scales, of one output or of two; the score is the mean of the scales' means."""
    one = DiscriminatorOutput((torch.zeros(2, 1), torch.full((2, 1, 4, 4), 100.0)))
    other = DiscriminatorOutput((torch.ones(2, 1), torch.ones(2, 1, 4, 4)))
    assert sum_over_scales(lambda a: a.mean(), one, None) == 100
    assert sum_over_scales(lambda a, b: (a - b).mean(), one, other) == -1 + 99
    assert score(one) == 0.75


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


def test_a_scalar_is_handed_on() -> None:
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
def test_what_is_no_scalar_is_answered(value: object, error: type[Exception], words: str) -> None:
    """A loss that forgot its mean, or its graph, is named: summed over the batch it would train at another rate."""
    with pytest.raises(error, match=words):
        scalar(value, "hinge")
