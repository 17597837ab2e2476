"""Tests of every adversarial loss in AdversarialTrainer."""

import pytest
import torch
from torch import nn

from ganlib import latents, training
from tests.losses.cases import every_case


@every_case
@pytest.mark.parametrize("scales", [1, 2])
def test_it_trains(case, scales):
    """A step of AdversarialTrainer gives finite metrics, and moves both players."""
    torch.manual_seed(0)

    class Discriminator(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.heads = nn.Linear(2, 8), nn.ModuleList(nn.Linear(8, 1) for _ in range(scales))

        def forward(self, x):
            logits = tuple(head(self.body(x).tanh()) for head in self.heads)
            return logits if scales > 1 else logits[0]

    generator, discriminator = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), Discriminator()
    before = [p.clone() for player in (generator, discriminator) for p in player.parameters()]
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.1),
        torch.optim.SGD(discriminator.parameters(), lr=0.1),
        loss=case.loss,
        latent=latents.Gaussian(3),
    )
    metrics = trainer.train_step(iter([torch.randn(6, 2)]))

    assert {"discriminator_loss", "generator_loss", "real_score", "fake_score"} == metrics.keys()
    assert all(value.isfinite() for value in metrics.values())
    after = [p for player in (generator, discriminator) for p in player.parameters()]
    moved = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert any(moved[:4])
    assert any(moved[4:])
    assert all(p.isfinite().all() for p in after)
