"""Tests of losses over several processes: which are those of the whole batch, and what is each process's own.

The gradients are those of a real DistributedDataParallel, in float64.
"""

import re
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import ganlib.losses
from ganlib import distributed
from ganlib.losses import (
    AuxiliaryClassifier,
    AuxiliaryLoss,
    FeatureMatching,
    LabelSmoothing,
    NonSaturatingLoss,
    RelativisticAverageLoss,
)
from ganlib.protocols import DiscriminatorOutput, Step
from tests.losses.cases import CASES
from tests.ranks import Ranks

F64 = torch.float64
PLAYERS = ["discriminator", "generator"]

AUXILIARY: dict[str, AuxiliaryLoss] = {
    "classes": AuxiliaryClassifier(),
    "classes of real samples": AuxiliaryClassifier(on_fakes=False),
    "tags": AuxiliaryClassifier(),
    "means of features": FeatureMatching(),
    "paired features": FeatureMatching(kind="paired"),
}

PER_RANK = {"LabelSmoothing"}
"""Public names whose random numbers each process draws for its own samples; all others are equal."""

COUPLED = {"FeatureMatching", "RelativisticAverageLoss"}
"""Public names of losses that compare each sample with all others: these reduce over ranks, and say so."""


class Batch(NamedTuple):
    """Samples, noise and conditions of both sides."""

    real: Tensor
    z: Tensor
    classes: Tensor
    fake_classes: Tensor

    def share(self, rank: int, world_size: int) -> "Batch":
        """The part of one of several processes."""
        return Batch(*(part.chunk(world_size)[rank] for part in self))


def whole_batch() -> Batch:
    """64 samples, whose first half is unlike the second: its means are not those of the whole."""
    generator = torch.Generator().manual_seed(1)
    real, z = (torch.randn(64, 3, generator=generator, dtype=F64) for _ in range(2))
    classes, fake_classes = (torch.randint(3, (64,), generator=generator) for _ in range(2))
    return Batch(real + torch.linspace(-1, 2, 64, dtype=F64).view(-1, 1), z, classes, fake_classes)


class Players(nn.Module):
    """Two small networks and the loss of one of the players, for DistributedDataParallel."""

    def __init__(self, name: str, player: str, scales: int) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.generator = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
        self.body = nn.Sequential(nn.Linear(3, 5), nn.Tanh())
        self.heads = nn.ModuleList(nn.Linear(5, places + 1) for places in range(scales))
        self.classes = nn.Linear(5, 3)
        self.double()
        self.name, self.player, self.scales = name, player, scales

    def discriminate(self, x: Tensor) -> DiscriminatorOutput:
        """One scale of logits or a tuple of several, of one, two, ... places; class logits and two features."""
        body = self.body(x)
        logits = tuple(2 * head(body) for head in self.heads)
        return DiscriminatorOutput(
            logits if self.scales > 1 else logits[0], self.classes(body), (body, body.square().view(-1, 1, 5))
        )

    def forward(self, batch: Batch) -> Tensor:
        """The loss; it has a gradient, of 0 perhaps, by every parameter."""
        fake = self.generator(batch.z)
        value = self.value(batch, fake, self.discriminate(batch.real), self.discriminate(fake)) + 0 * sum(
            parameter.sum() for parameter in self.parameters()
        )
        assert isinstance(value, Tensor)
        return value

    def value(self, batch: Batch, made: Tensor, real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Any:
        """The loss, by its name in the tables."""
        if self.name in CASES:
            loss = CASES[self.name].loss
            if self.player == "discriminator":
                return loss.discriminator(real.logits, fake.logits)
            return loss.generator(fake.logits, real.logits if CASES[self.name].pairs else None)
        conditions = [batch.classes, batch.fake_classes]
        if self.name == "tags":
            conditions = [torch.eye(3, dtype=F64)[condition] for condition in conditions]
        return getattr(AUXILIARY[self.name], self.player)(Step(batch.real, made, real, fake, *conditions))


def loss_and_gradient(name: str, player: str, scales: int) -> tuple[Tensor, dict[str, Tensor]]:
    """This process's loss of its share of the batch, and the gradients that all have."""
    players = Players(name, player, scales)
    alone = distributed.world_size() == 1
    module = players if alone else DistributedDataParallel(players)  # its hooks last as long as it does
    value = module(whole_batch().share(distributed.rank(), distributed.world_size()))
    value.backward()
    gradients = {key: parameter.grad for key, parameter in players.named_parameters()}
    return value.detach(), {key: gradient for key, gradient in gradients.items() if gradient is not None}


def targets(seed: int) -> Tensor:
    """Random targets of 8 real logits, drawn from a random state of the process's own."""
    torch.manual_seed(seed + distributed.rank())
    return LabelSmoothing(jitter=0.1, flip=0.3).real_targets(torch.zeros(8, 1))


def smoothed_loss() -> Tensor:
    """A loss with random targets, of logits that are equal on all processes."""
    torch.manual_seed(7 + distributed.rank())
    smoothing = LabelSmoothing(jitter=0.1, flip=0.3)
    return NonSaturatingLoss(smoothing).discriminator(torch.ones(8, 1, dtype=F64), torch.zeros(8, 1, dtype=F64))


def averages_in_evaluation(scales: int) -> Tensor:
    """A loss with reduced means, of logits without a graph."""
    with torch.no_grad():
        return loss_of_two(torch.arange(4.0, dtype=F64) + 10 * distributed.rank(), scales)


def loss_of_two(real: Tensor, scales: int) -> Tensor:
    """The relativistic average loss of logits, so many scales of them, against half of them."""
    return RelativisticAverageLoss().discriminator((real,) * scales, (real / 2,) * scales)


def test_the_table_holds_every_name() -> None:
    """Every public name is among the losses that are shown to be equal, or among those per rank."""
    shown = {type(case.loss).__name__ for case in CASES.values()} | {
        type(auxiliary).__name__ for auxiliary in AUXILIARY.values()
    }
    assert shown | PER_RANK | {"AdversarialLoss", "AuxiliaryLoss", "adaptive_weight"} == {*ganlib.losses.__all__}
    assert not shown & PER_RANK


def test_the_docs_say_what_the_tables_say() -> None:
    """The docstring of the package excepts just the names per rank; what couples a batch says so."""
    assert "each loss is\nthat of the whole batch" in str(ganlib.losses.__doc__)
    excepted = str(ganlib.losses.__doc__).split("The draws of")[1]
    assert {*re.findall(r":class:`(\w+)`", excepted)} == PER_RANK
    said = {
        name: " ".join(str(getattr(ganlib.losses, name).__doc__).split())
        for name in {*ganlib.losses.__all__} - {"adaptive_weight"}
    }
    means = r"over several processes (they|the means) are those of the whole batch"
    assert {name for name, doc in said.items() if re.search(means, doc, re.IGNORECASE)} == COUPLED
    assert {name for name, doc in said.items() if "each process draws for its own samples" in doc} == PER_RANK


@pytest.mark.parametrize("scales", [1, 3])
@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("name", [*CASES, *AUXILIARY])
def test_two_processes_have_the_loss_and_the_gradient_of_one(
    name: str, player: str, scales: int, two_ranks: Ranks
) -> None:
    """Two processes with 32 samples have, within 1e-12, the loss and the gradients of one with the 64.

    That holds for both players, by the parameters of both networks; the loss is the mean of the processes' own.
    """
    expected, gradients = loss_and_gradient(name, player, scales)
    (first, of_first), (second, of_second) = two_ranks(loss_and_gradient, name, player, scales)

    torch.testing.assert_close((first + second) / 2, expected, rtol=0, atol=1e-12)
    for actual in (of_first, of_second):
        torch.testing.assert_close(actual, gradients, rtol=0, atol=1e-12)
    constant = (name, player) in {("means of features", "discriminator"), ("paired features", "discriminator")}
    assert constant == all(gradient.abs().max() == 0 for gradient in gradients.values())


def test_the_halves_of_the_batch_are_unlike() -> None:
    """The proof is one: losses of a process's own means would not be that of the whole batch."""
    batch = whole_batch()
    for name in ("relativistic average", "means of features"):
        players = Players(name, "generator", 1)
        halves = (players(batch.share(0, 2)) + players(batch.share(1, 2))) / 2
        assert (halves - players(batch)).abs() > 1e-3


def test_smoothing_draws_on_each_process_for_its_own_samples(two_ranks: Ranks) -> None:
    """Random targets come from each process's random state: those of one process with that state, nothing exchanged."""
    first, second = two_ranks(targets, 3)
    assert torch.equal(first, targets(3))
    assert torch.equal(second, targets(4))
    assert not torch.equal(first, second)
    assert len({*map(float, two_ranks(smoothed_loss))}) == 2


@pytest.mark.parametrize("scales", [1, 2])
def test_reduced_means_need_no_graph(scales: int, three_ranks: Ranks) -> None:
    """Without gradients the mean over three processes of the average loss is that of the whole batch too."""
    whole = torch.cat([torch.arange(4.0, dtype=F64) + 10 * rank for rank in range(3)])
    actual = torch.stack(three_ranks(averages_in_evaluation, scales)).mean()
    torch.testing.assert_close(actual, loss_of_two(whole, scales), rtol=0, atol=1e-12)
