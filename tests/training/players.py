"""Small honest players, and runs of them, for the tests of training."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ganlib import latents, losses, training

__all__ = [
    "Going",
    "MyHinge",
    "MyTrainer",
    "Noted",
    "Spoil",
    "Tripping",
    "make_players",
    "make_trainer",
    "points",
    "weights",
]


def make_players(*, hidden: int = 8, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Two plain networks of a user's: 2-D points from 3-D latents."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = nn.Sequential(nn.Linear(3, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 2))
        discriminator = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(0.2), nn.Dropout(0.1), nn.Linear(hidden, 1))
    return generator, discriminator


def make_trainer(*players: nn.Module, **options: Any) -> training.AdversarialTrainer:
    """A trainer of the players, with Adam and the non-saturating loss unless told otherwise."""
    generator, discriminator = players or make_players()
    given: dict[str, Any] = {
        "generator_optimizer": torch.optim.Adam(generator.parameters(), lr=1e-2, betas=(0.5, 0.99)),
        "discriminator_optimizer": torch.optim.Adam(discriminator.parameters(), lr=1e-2, betas=(0.5, 0.99)),
        "loss": losses.NonSaturatingLoss(),
        "latent": latents.Gaussian(3),
    }
    return training.AdversarialTrainer(generator, discriminator, **(given | options))


def points(n: int = 32, *, seed: int = 0) -> Tensor:
    """Real points: a Gaussian about (2, -1)."""
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)) * 0.1 + torch.tensor([2.0, -1.0])


def weights(trainer: training.AdversarialTrainer) -> dict[str, Tensor]:
    """A copy of all weights and buffers of both players."""
    players = {"generator": trainer.generator, "discriminator": trainer.discriminator}
    return {
        f"{player}.{name}": value.clone() for player, net in players.items() for name, value in net.state_dict().items()
    }


class MyHinge:
    """The hinge loss as a user writes it, inheriting from nothing."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """The generator's loss."""
        return -fake.mean()


class MyTrainer:
    """A user's own Trainer, which sums the batches it is given and knows nothing of GANs."""

    def __init__(self) -> None:
        self.iteration = 0
        self.total = torch.zeros(())

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Tensor]:
        """Add a batch, and a random number that only an exact resume gets right."""
        self.total = self.total + next(batches).sum() + torch.rand(())
        self.iteration += 1
        return {"total": self.total}

    def state_dict(self) -> dict[str, Any]:
        """The sum and the count."""
        return {"iteration": self.iteration, "total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back."""
        self.iteration, self.total = state["iteration"], state["total"]


class Going(MyTrainer):
    """A user's trainer whose second metric is what a function of the iteration says."""

    def __init__(self, loss: Callable[[int], Any], **networks: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        vars(self).update(networks)

    def train_step(self, batches: Iterator[Tensor]) -> dict[str, Any]:
        """Count, and say."""
        super().train_step(batches)
        value = self.loss(self.iteration)
        return {"steady": torch.zeros(()), "loss": value if isinstance(value, Tensor) else torch.tensor(value)}


class Tripping(MyTrainer):
    """A user's trainer whose metric is NaN at an iteration, a number of times, and which notes what it meets."""

    def __init__(self, at: int = 0, times: int = 1, metric: str = "total") -> None:
        super().__init__()
        self.at, self.times, self.metric = at, times, metric
        self.met: list[tuple[int, tuple[float, ...], float]] = []

    def train_step(self, batches: Iterator[Any]) -> dict[str, Tensor]:
        """Note the iteration, the samples and a random number, and trip."""
        batch = next(batches)
        batch = batch if isinstance(batch, Tensor) else batch[0]
        self.iteration += 1
        self.total = self.total + batch.sum()
        self.met.append((self.iteration, tuple(batch.flatten().tolist()), torch.rand(()).item()))
        if self.iteration == self.at and self.times:
            self.times -= 1
            return {self.metric: torch.tensor(float("nan"))}
        return {self.metric: torch.tensor(float(self.iteration))}


class Noted:
    """Notes what a callback sees."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.stop_at = stop_at

    def on_iteration(self, run: training.Run) -> None:
        """Note the counters."""
        self.seen.append((run.iteration, run.epoch, run.samples, round(run.progress, 4)))
        if run.iteration == self.stop_at:
            run.stop()


class Spoil:
    """Sets a weight to a value after an iteration."""

    def __init__(self, weight: Tensor, iteration: int, value: float) -> None:
        self.weight, self.iteration, self.value = weight, iteration, value

    def on_iteration(self, run: training.Run) -> None:
        """Do it, where it is time."""
        if run.iteration == self.iteration:
            with torch.no_grad():
                self.weight.view(-1)[0] = self.value
