"""What fit looks at before the first iteration."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ganlib import training
from ganlib.errors import ArgumentValueError
from tests.training.players import make_players, make_trainer, points


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_weights_that_are_nan_are_named(network: str) -> None:
    """Nothing comes of them; a buffer may hold what it likes."""
    trainer = make_trainer()
    module = getattr(trainer, network)
    module.register_buffer("mask", torch.full((2,), -torch.inf))
    training.fit(trainer, [points()], iterations=1)
    name, weight = next(iter(module.named_parameters()))
    with torch.no_grad():
        weight.flatten()[0] = torch.nan
    with pytest.raises(ArgumentValueError, match=f"{network}.{name} holds NaN"):
        training.fit(trainer, [points()], iterations=2)
    assert trainer.iteration == 1


class Told:
    """A trainer that keeps what it is told."""

    def __init__(self, batches_per_iteration: int = 1) -> None:
        self.iteration, self.batches_per_iteration = 0, batches_per_iteration
        self.told: list[tuple[int, int]] = []

    def train_step(self, batches):
        """Draw."""
        for _ in range(self.batches_per_iteration):
            next(batches)
        self.iteration += 1
        return {}

    def state_dict(self):
        """Nothing."""
        return {}

    def load_state_dict(self, state):
        """Nothing."""

    def expect_batches(self, size: int, smallest: int) -> None:
        """Keep."""
        self.told.append((size, smallest))


@pytest.mark.parametrize(
    ("limits", "steps", "comes"),
    [
        ({"iterations": 2}, 1, False),
        ({"iterations": 3}, 1, True),
        ({"iterations": 2}, 2, True),
        ({"epochs": 1}, 1, True),
        ({"iterations": 2, "epochs": 1}, 1, False),
        ({"minutes": 0.0}, 1, True),
    ],
)
def test_any_trainer_is_told_of_a_small_batch_that_comes(limits, steps: int, comes: bool) -> None:
    """It is not told of one that the training ends before."""
    trainer = Told(steps)
    training.fit(trainer, DataLoader(TensorDataset(points(9)), 4), **limits)
    assert trainer.told == ([(4, 1)] if comes else [])


def test_a_loader_that_does_not_know_tells_nothing() -> None:
    """And a trainer need not listen."""
    trainer = Told()
    training.fit(trainer, iter([points(4)]), iterations=1)
    assert trainer.told == []
    training.fit(make_trainer(nn.Linear(3, 2), nn.Linear(2, 1)), DataLoader(TensorDataset(points(9)), 4), epochs=1)


def test_a_total_that_grows_counts_what_is_left() -> None:
    """Each call begins an epoch, and ends before its last batch: the total of all calls does not matter."""
    trainer, loader = Told(), DataLoader(TensorDataset(points(9)), 4)
    for total in (2, 4, 6):
        training.fit(trainer, loader, iterations=total)
    assert trainer.told == []
    training.fit(trainer, loader, iterations=9)
    assert trainer.told == [(4, 1)]


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_weights_of_inference_mode_are_refused(network: str) -> None:
    """No optimizer can change them; a buffer may be of that kind."""
    trainer = make_trainer()
    with torch.inference_mode():
        getattr(trainer, network).register_buffer("constant", torch.zeros(2))
        others = make_players()
    training.fit(trainer, [points()], iterations=1)
    players = [trainer.generator, trainer.discriminator]
    players[network == "discriminator"] = others[network == "discriminator"]
    trainer = make_trainer(*players)
    with pytest.raises(ArgumentValueError, match=rf"{network}\.0\.weight was made in torch.inference_mode"):
        training.fit(trainer, [points()], iterations=2)
    assert trainer.iteration == 0
