"""Tests of every penalty in AdversarialTrainer."""

import pytest
import torch
from torch import nn

from ganlib import latents, losses, training
from tests.penalties.cases import every_case, network


def make_trainer(case, discriminator, **options):
    """A trainer with the penalty."""
    torch.manual_seed(0)
    generator = nn.Linear(2, 3)
    return training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.01),
        torch.optim.SGD(discriminator.parameters(), lr=0.01),
        loss=losses.NonSaturatingLoss(),
        latent=latents.Gaussian(2),
        **options,
    )


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@every_case
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_trains(case, precision):
    """AdversarialTrainer applies it at the iterations that its interval divides, scaled by it, and reports it."""
    batches = [torch.randn(6, 3) for _ in range(3)]
    players, metrics = {}, {}
    for name, penalties in [("without", []), ("lazy", [case.make(0.1, every=2)]), ("eager", [case.make(0.2)])]:
        trainer = make_trainer(case, network(), penalties=penalties, precision=precision)
        torch.manual_seed(2)
        metrics[name] = [trainer.train_step(iter([batches[0]]))]
        players[name] = [p.detach().clone() for p in trainer.discriminator.parameters()]
        metrics[name] += [trainer.train_step(iter([batch])) for batch in batches[1:]]

    assert metrics["lazy"][0].keys() - metrics["without"][0].keys() == {case.metric}
    assert all(value.isfinite() for metric in metrics["lazy"] for value in metric.values())
    first, second, third = (metric[case.metric] for metric in metrics["lazy"])
    assert torch.equal(first, second)
    assert not torch.equal(second, third)
    assert torch.allclose(2 * first, metrics["eager"][0][case.metric])
    # The first step of half the weight, at every second iteration, is that of the whole weight at each.
    for lazy, eager in zip(players["lazy"], players["eager"], strict=True):
        assert torch.allclose(lazy, eager, atol=1e-6)
    assert not all(torch.equal(one, other) for one, other in zip(players["without"], players["lazy"], strict=True))


@pytest.mark.filterwarnings("ignore:generator gives samples in")  # its last layer is linear
@every_case
def test_lazily_a_weight_in_a_tensor_counts_as_its_number(case):
    """With an interval too, a step with a tensor is that with its number, and a lazy one is scaled by the interval."""
    players = {}
    for name, weight, every in [("number", 0.125, 2), ("tensor", torch.tensor(0.125), 2), ("twice", 0.25, 1)]:
        trainer = make_trainer(case, network(), penalties=[case.make(weight, every=every)])
        torch.manual_seed(2)
        trainer.train_step(torch.randn(6, 3))
        players[name] = [p.detach().clone() for p in trainer.discriminator.parameters()]

    for number, tensor, twice in zip(*players.values(), strict=True):
        assert torch.equal(number, tensor)
        assert torch.allclose(twice, tensor, atol=1e-6)


class Conditional(nn.Module):
    """A critic of samples with classes, which refuses conditions of another kind."""

    def __init__(self):
        super().__init__()
        self.body = network(3)

    def forward(self, x, condition):
        """The logit of the class."""
        return self.body(x).gather(1, condition[:, None])


@every_case
def test_it_trains_a_conditional_critic(case):
    """AdversarialTrainer hands it the batch's conditions, and others for the fakes where it does not mix."""

    class Generator(nn.Linear):
        def forward(self, latent, condition):
            return super().forward(latent)

    torch.manual_seed(0)
    generator, discriminator = Generator(2, 3), Conditional()
    trainer = training.AdversarialTrainer(
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.01),
        torch.optim.SGD(discriminator.parameters(), lr=0.01),
        loss=losses.HingeLoss(),
        latent=latents.Gaussian(2),
        penalties=[case.make()],
        fake_conditions=None if case.mixes else lambda n: torch.zeros(n, dtype=torch.int64),
    )

    metrics = trainer.train_step(iter([(torch.randn(6, 3), torch.arange(6) % 3)]))

    assert metrics[case.metric] > 0
    assert metrics[case.metric].isfinite()
