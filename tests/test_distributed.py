"""What a part is told of the other processes."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ganlib import distributed
from tests.ranks import Ranks

X = torch.linspace(-1, 2, 12, dtype=torch.float64).view(6, 2)


def who_am_i() -> tuple[int, int]:
    """This process's rank, and how many there are."""
    return distributed.rank(), distributed.world_size()


def coupled(x: Tensor, weight: Tensor, mean: Tensor | None = None) -> Tensor:
    """A loss in which every sample meets the mean of the batch, twice differentiable."""
    logits = (x @ weight).tanh()
    mean = distributed.mean_over_ranks(logits.mean()) if mean is None else mean
    return (logits - mean).pow(4).mean() * (2 * mean).exp()


class Coupled(nn.Module):
    """The loss as a module, for DistributedDataParallel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.3, -0.7], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """The loss."""
        return coupled(x, self.weight)


def gradient_of_a_share(size: int) -> tuple[float, Tensor]:
    """The loss and its gradient by DistributedDataParallel, each rank with its share of X."""
    module = Coupled()
    share = X.chunk(size)[distributed.rank()]
    joined = DistributedDataParallel(module)  # its hooks last as long as it does
    loss = joined(share)
    loss.backward()
    assert module.weight.grad is not None
    return distributed.mean_over_ranks(loss.detach()).item(), module.weight.grad


def second_gradient_of_a_share() -> Tensor:
    """The gradient by x of the squared gradient by x, averaged over ranks as DistributedDataParallel would."""
    x = X.chunk(2)[distributed.rank()].clone().requires_grad_()
    weight = torch.tensor([0.3, -0.7], dtype=torch.float64)
    (first,) = torch.autograd.grad(coupled(x, weight) / 2, x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), x)
    return second


@pytest.mark.parametrize(
    ("kind", "count", "backend"),
    [("cuda", 2, None), ("xpu", 2, None), ("xpu", 1, "gloo"), ("mps", 1, "gloo"), (None, 0, None)],
)
def test_each_process_takes_its_device(
    kind: str | None, count: int, backend: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By stand-ins: that of its local rank with CUDA and enough XPUs, whose backends torch knows; else the CPU."""
    taken, joined = list[int](), list[Any]()
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *_: kind and torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "set_device_index", taken.append)
    monkeypatch.setattr(sys.modules["torch.distributed.rendezvous"], "rendezvous", lambda _: iter([(None, 1, 2)]))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: joined.append(backend))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.xpu, "device_count", lambda: count)
    distributed.init()

    assert joined == [backend]
    assert taken == ([1] if count == 2 else [])


def test_a_process_alone_is_rank_0_of_1() -> None:
    """Without torch.distributed there is one process, whose tensors are their own mean."""
    assert who_am_i() == (0, 1)
    assert distributed.mean_over_ranks(X) is X


def test_each_process_knows_its_rank(three_ranks: Ranks) -> None:
    """Of three joined processes each has its own rank."""
    assert three_ranks(who_am_i) == [(0, 3), (1, 3), (2, 3)]


def test_a_loss_that_couples_a_batch_has_the_gradient_of_the_whole_batch(two_ranks: Ranks, three_ranks: Ranks) -> None:
    """Shares of a batch on two and on three ranks give the loss and the gradient of the whole batch in one process."""
    whole = Coupled()
    expected = whole(X)
    expected.backward()
    for ranks in (two_ranks, three_ranks):
        for loss, gradient in ranks(gradient_of_a_share, ranks.size):
            torch.testing.assert_close(loss, expected.item(), rtol=0, atol=1e-14)
            torch.testing.assert_close(gradient, whole.weight.grad, rtol=0, atol=1e-14)


def test_the_mean_can_be_differentiated_twice(two_ranks: Ranks) -> None:
    """The gradient of a squared gradient, as a penalty takes it, is that of the whole batch in one process."""
    x = X.clone().requires_grad_()
    weight = torch.tensor([0.3, -0.7], dtype=torch.float64)
    (first,) = torch.autograd.grad(coupled(x, weight, (x @ weight).tanh().mean()), x, create_graph=True)
    (expected,) = torch.autograd.grad(first.square().sum(), x)
    actual = torch.cat(two_ranks(second_gradient_of_a_share))
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-14)
