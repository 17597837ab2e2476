"""A trainer on several ranks."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganlib import distributed, losses, models, penalties, stacks
from ganlib.training._step._replicas import Replicas
from tests.ranks import Ranks
from tests.training.players import make_players, make_trainer, points, weights

ITERATIONS = 20
BATCH = 64


def share(whole: Tensor) -> Tensor:
    """This rank's part of a whole batch."""
    return whole.chunk(distributed.world_size())[distributed.rank()]


class FedLatent:
    """Latents from a list: the whole batch's, of which each rank takes its part."""

    def __init__(self, draws: int) -> None:
        numbers = torch.Generator().manual_seed(1)
        self.draws = torch.randn(draws, BATCH, 3, generator=numbers, dtype=torch.float64)
        self.drawn = 0

    def __call__(self, n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
        """The next ones; a call with a generator is the dry run, which must leave no trace."""
        if generator is None:
            self.drawn += 1
        return share(self.draws[self.drawn % len(self.draws)])[:n]


def make_plain_players() -> tuple[nn.Module, nn.Module]:
    """Two networks in float64 without batch norm or dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))
        discriminator = nn.Sequential(nn.Linear(2, 16), nn.Softplus(), nn.Linear(16, 1))
    return generator.double(), discriminator.double()


LOSSES: dict[str, Callable[[], dict[str, Any]]] = {
    "minimax": lambda: {"loss": losses.MinimaxLoss()},
    "non-saturating": lambda: {"loss": losses.NonSaturatingLoss(smoothing=losses.LabelSmoothing(real=0.9))},
    "least squares": lambda: {"loss": losses.LeastSquaresLoss()},
    "hinge": lambda: {"loss": losses.HingeLoss()},
    "Wasserstein": lambda: {"loss": losses.WassersteinLoss()},
    "relativistic": lambda: {"loss": losses.RelativisticLoss()},
    "relativistic average": lambda: {"loss": losses.RelativisticAverageLoss()},
    "a weighted sum": lambda: {
        "loss": losses.WeightedSum([losses.HingeLoss(), losses.RelativisticAverageLoss()], [0.3, 0.7])
    },
    "R1": lambda: {"penalties": [penalties.R1(0.5)]},
    "lazy R1 and R2": lambda: {"penalties": [penalties.R1(0.5, every=3), penalties.R2(0.5, every=2)]},
    "R1 and R2 of the update's logits": lambda: {
        "penalties": [penalties.R1(0.5, every=2), penalties.R2(0.5)],
        "reuse_logits": True,
    },
    "LeCam as an auxiliary loss": lambda: {"auxiliary_losses": [penalties.LeCam(0.3).double()]},
    "LeCam as a penalty": lambda: {"penalties": [penalties.LeCam(0.3).double()]},
    "two steps, clipped, accumulated": lambda: {
        "discriminator_steps": 2,
        "accumulate_grad_batches": 2,
        "max_grad_norm": 0.1,
        "penalties": [penalties.R1(0.5)],
    },
}


def train(name: str) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Train for 20 iterations on the whole batch's shares; the weights, and the metrics of all iterations."""
    torch.set_default_dtype(torch.float64)
    try:
        options = {"loss": losses.NonSaturatingLoss(), "latent": FedLatent(97)} | LOSSES[name]()
        trainer = make_trainer(*make_plain_players(), **options)
        batches = iter([share(points(BATCH, seed=seed).double()) for seed in range(4 * ITERATIONS)])
        metrics = [trainer.train_step(batches) for _ in range(ITERATIONS)]
        return weights(trainer), metrics
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", LOSSES)
def test_two_ranks_are_one_process_with_the_whole_batch(name: str, two_ranks: Ranks) -> None:
    """Two ranks with 32 samples each have, within 1e-9, the weights and metrics of one process with the 64."""
    expected, expected_metrics = train(name)
    for actual, metrics in two_ranks(train, name):
        for weight in expected:
            torch.testing.assert_close(actual[weight], expected[weight], rtol=0, atol=1e-9)
        for mine, theirs in zip(metrics, expected_metrics, strict=True):
            assert mine.keys() == theirs.keys()
            for metric in theirs:
                torch.testing.assert_close(mine[metric], theirs[metric], rtol=0, atol=1e-9, msg=metric)


class Moody(nn.Module):
    """A network of which each call uses another part, and one part never."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second, self.never = (nn.Linear(inputs, outputs) for _ in range(3))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        """The first part on two calls of three and on rank 0 alone, else the second."""
        self.calls += 1
        return self.first(x) if self.calls % 3 and distributed.rank() == 0 else self.second(x)


def train_moody(accumulate: int) -> list[dict[str, Tensor]]:
    """Each iteration's weights, of players whose graph differs by rank and iteration."""
    torch.manual_seed(distributed.rank())
    trainer = make_trainer(
        Moody(3, 2), Moody(2, 1), accumulate_grad_batches=accumulate, penalties=[penalties.R1(0.1, every=2)]
    )
    history = []
    for _ in range(6):
        trainer.train_step(iter([points(8)] * accumulate))
        history.append(weights(trainer))
    return history


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_graph_that_changes_breaks_nothing(accumulate: int, two_ranks: Ranks) -> None:
    """Whatever part of a network a rank uses in an iteration, or none, both ranks have the same weights after it."""
    for mine, theirs in zip(*two_ranks(train_moody, accumulate), strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def train_and_thaw() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Freeze the first layers for one iteration, and thaw them for the next; each rank has samples of its own."""
    trainer = make_trainer(*make_players())
    layers = [trainer.generator[0], trainer.discriminator[0]]
    before = weights(trainer)
    for trained in (False, True):
        for layer in layers:
            layer.requires_grad_(trained)
        trainer.train_step(iter([points(seed=distributed.rank())]))
        if not trained:
            assert torch.equal(before["generator.0.weight"], trainer.generator[0].weight)
    return before, weights(trainer)


def test_what_is_thawed_is_averaged_too(two_ranks: Ranks) -> None:
    """Parameters that a user froze stay; once they are thawed they are trained, and are equal on both ranks."""
    (before, mine), (_, theirs) = two_ranks(train_and_thaw)
    learnt = [name for name in mine if "running" not in name and "num_batches" not in name]
    assert all(torch.equal(mine[name], theirs[name]) for name in learnt)
    assert not torch.equal(before["generator.0.weight"], mine["generator.0.weight"])


class Noting:
    """Notes the latents it draws."""

    def __init__(self) -> None:
        self.drawn: list[Tensor] = []

    def __call__(self, n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
        """Draw."""
        drawn = torch.randn(n, 3, generator=generator)
        if generator is None:
            self.drawn.append(drawn)
        return drawn


def begin(seed_by_rank: bool) -> tuple[dict[str, Tensor], Tensor, list[float]]:
    """One iteration of players made from another seed on each rank: the weights, the latents, the next numbers."""
    latent = Noting()
    trainer = make_trainer(*make_players(seed=distributed.rank()), latent=latent)
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(distributed.rank() if seed_by_rank else 7)
    trainer.train_step(iter([points()]))
    return weights(trainer), latent.drawn[0], [torch.rand(()).item(), random.random(), np.random.rand()]


def test_all_begin_with_the_weights_of_the_first_and_latents_of_their_own(two_ranks: Ranks) -> None:
    """From different weights and equal seeds all ranks come to equal weights, with different random numbers."""
    (mine, drawn, numbers), (theirs, others_drawn, others) = two_ranks(begin, False)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if "running" not in name)
    assert not torch.equal(drawn, others_drawn)
    assert all(number != other for number, other in zip(numbers, others, strict=True))
    assert drawn.equal(torch.randn(32, 3, generator=torch.Generator().manual_seed(7)))  # rank 0's are as they were


def test_random_numbers_that_are_apart_are_left_alone(two_ranks: Ranks) -> None:
    """Ranks that their user has seeded apart draw what their seeds say."""
    for rank, (_, drawn, _) in enumerate(two_ranks(begin, True)):
        assert drawn.equal(torch.randn(32, 3, generator=torch.Generator().manual_seed(rank)))


def align() -> list[list[float]]:
    """Parameters and buffers that begin with the number of the rank, as they are before each of two steps."""
    module = nn.BatchNorm1d(2)
    replicas = Replicas([module])
    seen = []
    for step in range(2):
        with torch.no_grad():
            for tensor in (*module.parameters(), *module.buffers()):
                tensor.fill_(10 * step + distributed.rank())
        replicas.align()
        seen.append([float(tensor.flatten()[0]) for tensor in (*module.parameters(), *module.buffers())])
    return seen


def align_with_a_part_of_each_process() -> list[list[float]]:
    """A shared layer and a running mean of each process, which begin with the number of the rank."""

    class Own(nn.BatchNorm1d):
        """Is no part of what is shared."""

        per_process = True

    module = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(Own(2)))
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.fill_(distributed.rank())
    Replicas([module]).align()
    return [[float(tensor.flatten()[0]) for tensor in part.state_dict().values()] for part in module]


def test_what_belongs_to_a_process_is_left_alone(two_ranks: Ranks) -> None:
    """A module with ``per_process = True`` keeps its values in each process, also inside another module."""
    assert two_ranks(align_with_a_part_of_each_process) == [[[0.0] * 5, [float(rank)] * 5] for rank in range(2)]


def test_buffers_are_those_of_the_first_before_every_step(two_ranks: Ranks) -> None:
    """Weights are taken from rank 0 once, running statistics, of any dtype, before each step."""
    assert two_ranks(align) == [[[0.0] * 5, [10.0] * 5], [[0.0] * 5, [11.0] * 2 + [10.0] * 3]]


def train_images(options: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A DCGAN with batch norm on random images, other ones on each rank: weights and last metrics."""
    plan = stacks.StackPlan((1, 8, 8), [stacks.Stage(8), stacks.Stage(16)])
    players = models.dcgan(plan, latent_dim=3)
    trainer = make_trainer(*players, penalties=[penalties.R1(0.1, every=2)], **options)
    images = 2 * torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(distributed.rank())) - 1
    metrics = [trainer.train_step(iter([images] * trainer.batches_per_iteration)) for _ in range(3)]
    return weights(trainer), metrics[-1]


@pytest.mark.parametrize(
    "options",
    [{"precision": "bf16"}, {"channels_last": True}, {"channels_last": True, "accumulate_grad_batches": 2}],
    ids=str,
)
def test_other_ways_to_compute_keep_ranks_equal_too(options: dict[str, Any], two_ranks: Ranks) -> None:
    """In half precision, and with the channels last, both ranks come to the same finite weights and metrics."""
    (mine, my_metrics), (theirs, their_metrics) = two_ranks(train_images, options)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if "running" not in name)
    assert all(value.isfinite().all() for value in mine.values())
    assert my_metrics == their_metrics
