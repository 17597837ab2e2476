"""The rehearsal of the first batch leaves no trace."""

import copy
import random
from typing import Any

import torch
from torch import Tensor, nn

from ganlib.protocols import Batch
from ganlib.training._rehearsal import rehearse
from tests.training.players import make_players, make_trainer, points, weights


class Noisy(nn.Module):
    """Draws random numbers in any mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Add noise."""
        return x + torch.randn_like(x) + random.random() * 0


def test_no_weight_statistic_mode_or_random_state_changes() -> None:
    """Weights, batch norm's statistics, modes (also mixed ones), gradients and torch's random state stay."""
    generator, discriminator = make_players()
    trainer = make_trainer(nn.Sequential(generator, Noisy()), nn.Sequential(Noisy(), discriminator))
    generator.eval()
    generator[1].train()
    before, state = copy.deepcopy(weights(trainer)), torch.get_rng_state()
    modes = [module.training for module in trainer.generator.modules()]
    rehearse(trainer, Batch(points()))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in trainer.generator.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in weights(trainer).items())
    assert all(p.grad is None for p in trainer.generator.parameters())


def test_a_latent_with_numbers_of_its_own_is_not_advanced() -> None:
    """A user's latent that draws from its own generator is rehearsed with another one."""

    class Own:
        """Latents from a generator of its own."""

        def __init__(self) -> None:
            self.numbers = torch.Generator().manual_seed(0)

        def __call__(self, n: int, *, device: Any = None, generator: torch.Generator | None = None) -> Tensor:
            return torch.randn(n, 3, generator=self.numbers if generator is None else generator)

    latent = Own()
    before = latent.numbers.get_state()
    rehearse(make_trainer(latent=latent), Batch(points()))
    assert torch.equal(latent.numbers.get_state(), before)
