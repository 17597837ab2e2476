"""EMA equals its recursion, and takes over statistics and what the generator carries."""

import copy

import pytest
import torch
from torch import nn

from ganlib import training
from ganlib.errors import ArgumentValueError
from tests.training.players import make_trainer, points


def test_equals_its_recursion() -> None:
    """The average equals min(decay, (1 + n) / (10 + n)) by hand in float64, its buffers the live ones."""
    trainer = make_trainer()
    ema = training.EMA(trainer.generator, decay=0.5)
    expected = [p.detach().double().clone() for p in trainer.generator.parameters()]
    for n in range(12):
        training.fit(trainer, [points(seed=n)], iterations=n + 1, callbacks=[ema])
        decay = min(0.5, (1 + n) / (10 + n))
        live = [p.detach().double() for p in trainer.generator.parameters()]
        expected = [decay * average + (1 - decay) * value for average, value in zip(expected, live, strict=True)]
    for average, value in zip(ema.generator.parameters(), expected, strict=True):
        torch.testing.assert_close(average.double(), value, rtol=1e-5, atol=1e-6)
    for average, value in zip(ema.generator.buffers(), trainer.generator.buffers(), strict=True):
        assert torch.equal(average, value)


def test_starts_as_a_copy_and_keeps_what_is_carried() -> None:
    """The average begins equal to the generator, apart from it, with its sample_range, and needs no gradients."""
    generator = nn.Linear(2, 2)
    generator.sample_range = (-1.0, 1.0)
    ema = training.EMA(generator)
    assert torch.equal(ema.generator.weight, generator.weight)
    assert ema.generator.weight is not generator.weight
    assert ema.generator.sample_range == (-1.0, 1.0)
    assert not any(p.requires_grad for p in ema.generator.parameters())


def test_state_round_trip() -> None:
    """A second average that is given the state goes on as the first does."""
    trainer = make_trainer()
    first = training.EMA(trainer.generator)
    training.fit(trainer, [points()], iterations=3, callbacks=[first])
    second = training.EMA(copy.deepcopy(trainer.generator))
    second.load_state_dict(first.state_dict())
    second._live = trainer.generator
    training.fit(trainer, [points()], iterations=4, callbacks=[first, second])
    for one, other in zip(first.generator.parameters(), second.generator.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_a_decay_out_of_range(decay: float) -> None:
    """A decay must be in [0, 1)."""
    with pytest.raises(ArgumentValueError, match="decay"):
        training.EMA(nn.Linear(1, 1), decay=decay)
