"""A step down the gradient of the optimizer's own parameters."""

import pytest
import torch
from torch import nn
from torch.distributed import GradBucket
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from ganlib.distributed import rank
from ganlib.errors import ArgumentValueError
from ganlib.protocols import Batch
from ganlib.training._descent import Descent
from tests.ranks import Ranks


def test_one_step_of_the_mean_gradient() -> None:
    """Two minibatches give one step along the mean of their gradients, and the mean of their metrics."""
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    minibatches = [Batch(torch.tensor([2.0])), Batch(torch.tensor([4.0]))]
    descent = Descent(lambda batch: ((weight * batch.sample).sum(), {"sample": batch.sample.sum()}))
    metrics = descent(optimizer, minibatches)
    torch.testing.assert_close(weight.detach(), torch.tensor(1.0 - 0.1 * 3.0))
    assert metrics == {"sample": torch.tensor(3.0)}


def test_a_parameter_outside_the_graph_is_left_alone() -> None:
    """A parameter of the optimizer's that the loss does not use is not an error, and does not move."""
    used, unused = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([used, unused], lr=0.1)
    Descent(lambda batch: (used * 2, {}))(optimizer, [Batch(torch.zeros(1))])
    assert (used.item(), unused.item()) == (pytest.approx(0.8), 1.0)


def test_a_frozen_network_is_answered() -> None:
    """Where no parameter requires a gradient, the optimizer is named."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1), requires_grad=False)], lr=0.1)
    with pytest.raises(ArgumentValueError, match="SGD.*frozen"):
        Descent(lambda batch: (torch.zeros(()), {}))(optimizer, [Batch(torch.zeros(1))])


def count_travels(accumulate: int) -> int:
    """How often gradients have travelled between ranks in a step of so many minibatches."""
    weight = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    minibatches = [Batch(torch.tensor([float(rank()), float(place)])) for place in range(accumulate)]
    descent = Descent(lambda batch: ((weight * batch.sample).sum(), {}))
    descent(optimizer, minibatches)
    sent = []

    def note(state: None, bucket: GradBucket) -> torch.futures.Future[torch.Tensor]:
        sent.append(bucket.index())
        return allreduce_hook(None, bucket)

    assert descent._joined is not None
    descent._joined.register_comm_hook(None, note)
    before = weight.item()
    descent(optimizer, minibatches)
    mean = sum(batch.sample.sum().item() for batch in minibatches) / accumulate - rank() + 0.5
    assert weight.item() == pytest.approx(before - 0.1 * mean)
    return len(sent)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_gradients_travel_once_a_step(accumulate: int, two_ranks: Ranks) -> None:
    """However many minibatches are accumulated, ranks exchange their gradients once, and step down the mean of all."""
    assert two_ranks(count_travels, accumulate) == [1, 1]
