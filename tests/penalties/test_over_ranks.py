"""Tests of penalties over several processes: each is that of the whole batch, given the same random numbers.

The gradients are those of a real DistributedDataParallel, in float64.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import ganlib.penalties
from ganlib import distributed
from ganlib.penalties import DRAGAN, R1, R2, Consistency, GradientPenalty, LeCam, Penalty
from ganlib.protocols import Step
from tests.ranks import Ranks
from tests.strategies import Recorder

F64 = torch.float64
CALLS = 4


class Case(NamedTuple):
    """A penalty over several processes.

    Args:
        make: number of scales -> the penalty.
        coupled: whether each sample's share depends on all others, so that it reduces over ranks, and says so.
        draws: the torch function whose random numbers each process draws for its own samples, if any.
        shape: of these numbers, a sample.
    """

    make: Callable[[int], Penalty]
    coupled: bool = False
    draws: str | None = None
    shape: tuple[int, ...] = ()


CASES = {
    "R1": Case(lambda _: R1()),
    "R2": Case(lambda _: R2()),
    "GradientPenalty": Case(lambda _: GradientPenalty(), draws="rand", shape=(1,)),
    "DRAGAN": Case(lambda _: DRAGAN(), coupled=True, draws="randn_like", shape=(3,)),
    "Consistency": Case(lambda _: Consistency(lambda x: x.flip(1) + x, fake_weight=3.0)),
    "LeCam": Case(lambda scales: LeCam(decay=0.5, num_scales=scales), coupled=True),
}
"""By public name; Consistency with an augmentation that draws nothing."""

DRAWS = {"DRAGAN", "GradientPenalty", "Consistency"}
"""Public names that take random numbers, their augmentation's perhaps, of which each process draws its own."""


def share(x: Tensor) -> Tensor:
    """The part of this process."""
    return x.chunk(distributed.world_size())[distributed.rank()]


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """64 real and fake samples at a time, whose first half is unlike the second: its means are not the whole's."""
    generator = torch.Generator().manual_seed(1)
    drift = torch.linspace(-1, 2, 64, dtype=F64).view(-1, 1)
    for call in range(CALLS):
        real, fake = (torch.randn(64, 3, generator=generator, dtype=F64) for _ in range(2))
        yield real + (1 + call) * drift, fake - drift


@contextmanager
def given_numbers(case: Case, seed: int) -> Iterator[None]:
    """This process's share of random numbers in the place of those that a penalty would draw."""
    if case.draws is None:
        yield
        return
    numbers = torch.randn(64, *case.shape, generator=torch.Generator().manual_seed(seed), dtype=F64).sigmoid()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, case.draws, lambda *arguments, **options: share(numbers))
        yield


class Penalized(nn.Module):
    """A penalty on a small discriminator as a module, for DistributedDataParallel.

    The penalty is not part of the module, as it keeps its own buffers equal.
    """

    def __init__(self, penalty: Any, scales: int, as_loss: bool) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(5, places + 1) for places in range(scales))
        self.double()
        self.hidden = (penalty,)
        self.as_loss = as_loss

    def discriminate(self, x: Tensor) -> Any:
        """One scale of logits, or a tuple of several, of one, two, ... places."""
        body = self.body(x)
        logits = tuple(2 * head(body) for head in self.heads)
        return logits if len(logits) > 1 else logits[0]

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """The penalty, or the auxiliary loss; it has a gradient, of 0 perhaps, by every parameter."""
        (penalty,) = self.hidden
        if self.as_loss:
            value = penalty.discriminator(Step(real, fake, self.discriminate(real), self.discriminate(fake)))
        else:
            value = penalty(self.discriminate, real, fake)
        total: Tensor = value + 0 * sum(parameter.sum() for parameter in self.parameters())
        return total


def values_and_gradients(name: str, scales: int, as_loss: bool = False) -> tuple[Tensor, list[Any], dict[str, Tensor]]:
    """This process's values of several calls, the gradients that all have, and the penalty's state after them."""
    case = CASES[name]
    penalty: Any = case.make(scales)
    penalized = Penalized(penalty, scales, as_loss)
    alone = distributed.world_size() == 1
    module = penalized if alone else DistributedDataParallel(penalized)  # its hooks last as long as it does
    values, gradients = [], []
    for call, (real, fake) in enumerate(batches()):
        penalized.zero_grad()
        with given_numbers(case, call):
            value = module(share(real), share(fake))
        value.backward()
        values.append(value.detach())
        gradients.append([parameter.grad for parameter in penalized.parameters()])
    return torch.stack(values), gradients, penalty.state_dict()


def lecam_in_evaluation() -> tuple[dict[str, Tensor], Tensor]:
    """LeCam's state and value in evaluation mode, after one call in training mode."""
    lecam = LeCam(decay=0.5)
    (real, fake), (later, _), *_ = batches()
    lecam.of(share(real), share(fake))
    value = lecam.eval().of(share(later), share(fake))
    return lecam.state_dict(), value


def where_it_looks() -> Tensor:
    """The samples at which DRAGAN takes the gradient, with each process's own random state."""
    torch.manual_seed(5 + distributed.rank())
    recorder = Recorder()
    ((real, fake), *_) = batches()
    DRAGAN()(recorder, share(real), share(fake))
    near: Tensor = recorder.calls[0][0].detach() - share(real)
    return near


def shares_of_the_mixture() -> Tensor:
    """The shares with which GradientPenalty mixes, with each process's own random state."""
    torch.manual_seed(5 + distributed.rank())
    recorder = Recorder()
    GradientPenalty()(recorder, torch.ones(8, 1), torch.zeros(8, 1))
    mixed: Tensor = recorder.calls[0][0].detach()
    return mixed


def test_the_table_holds_every_penalty() -> None:
    """Every public penalty on a discriminator is in the table."""
    assert CASES.keys() == {*ganlib.penalties.__all__} - {"Penalty", "PathLength"}


def test_the_docs_say_what_the_table_says() -> None:
    """What couples a batch says that it is the whole one, and what draws that each process draws its own."""
    assert "each penalty\nis that of the whole batch, given the same random numbers" in str(ganlib.penalties.__doc__)
    said = {name: " ".join(str(getattr(ganlib.penalties, name).__doc__).split()) for name in CASES}
    coupled = {name for name, doc in said.items() if re.search("Over several processes .* the whole batch, so", doc)}
    assert coupled == {name for name, case in CASES.items() if case.coupled}
    assert {name for name, doc in said.items() if "of its own samples" in doc or "augments its own" in doc} == DRAWS
    assert {name for name, case in CASES.items() if case.draws} == DRAWS - {"Consistency"}


@pytest.mark.parametrize("scales", [1, 3])
@pytest.mark.parametrize(("name", "as_loss"), [*((name, False) for name in CASES), ("LeCam", True)])
def test_two_processes_have_the_value_and_the_gradient_of_one(
    name: str, as_loss: bool, scales: int, two_ranks: Ranks
) -> None:
    """Two processes with 32 samples have, within 1e-12, the value and the gradient of one with the 64, call by call.

    The random numbers are given; LeCam's running means, also as an auxiliary loss, are equal at the end.
    """
    values, gradients, state = values_and_gradients(name, scales, as_loss)
    first, second = two_ranks(values_and_gradients, name, scales, as_loss)

    torch.testing.assert_close((first[0] + second[0]) / 2, values, rtol=0, atol=1e-12)
    assert all(gradient.abs().max() > 0 for call in gradients for gradient in call[:2])
    for _, actual, own_state in (first, second):
        torch.testing.assert_close(actual, gradients, rtol=1e-14, atol=1e-12)
        torch.testing.assert_close(own_state, state, rtol=0, atol=0)


def test_the_halves_of_the_batch_are_unlike() -> None:
    """The proof is one: with the means or the deviation of a half, penalties would not be that of the whole batch."""
    for real, fake in batches():
        for half in (real[:32], real[32:]):
            assert (half.mean() - real.mean()).abs() > 0.1
            assert (half.std() - real.std()).abs() > 0.1
        assert (fake[:32].mean() - fake.mean()).abs() > 0.1


def test_in_evaluation_means_are_used_as_they_are(two_ranks: Ranks) -> None:
    """In evaluation mode, too, all processes have the means of one, and the mean of the values is its value."""
    state, value = lecam_in_evaluation()
    first, second = two_ranks(lecam_in_evaluation)
    assert first[0] == second[0] == state
    torch.testing.assert_close((first[1] + second[1]) / 2, value, rtol=0, atol=1e-12)


def test_each_process_draws_for_its_own_samples(two_ranks: Ranks) -> None:
    """Each process's draws are those of one process with its random state; DRAGAN's noise has the whole batch's scale.

    A half's deviation is other than the whole's, so that the noise of one process with the half would be another.
    """
    for rank, mixed in enumerate(two_ranks(shares_of_the_mixture)):
        torch.manual_seed(5 + rank)
        assert torch.equal(mixed, torch.rand(8, 1))
    ((real, _), *_) = batches()
    for rank, noise in enumerate(two_ranks(where_it_looks)):
        torch.manual_seed(5 + rank)
        expected = 0.5 * real.std(correction=0) * torch.randn(32, 3, dtype=F64)
        torch.testing.assert_close(noise, expected, rtol=0, atol=1e-12)
