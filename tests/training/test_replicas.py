"""A trainer on several ranks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlib import distributed, losses, penalties
from tests.ranks import Ranks
from tests.training.players import make_trainer, points, weights

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
        """The next ones; a call with a generator is the rehearsal, which must leave no trace."""
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
    "LeCam as a term": lambda: {"terms": [penalties.LeCam(0.3).double()]},
    "LeCam as a penalty": lambda: {"penalties": [penalties.LeCam(0.3).double()]},
    "two steps, clipped, accumulated": lambda: {
        "discriminator_steps": 2,
        "accumulate": 2,
        "clip_norm": 0.1,
        "penalties": [penalties.R1(0.5)],
    },
}


def train(name: str, *, by_hand: bool = True) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
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
            for word in theirs:
                torch.testing.assert_close(mine[word], theirs[word], rtol=0, atol=1e-9, msg=word)
