"""A decay with a half-life of H samples halves an old weight's share in H samples."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ganlib import training
from ganlib.errors import ArgumentTypeError, ArgumentValueError
from tests.training.players import MyTrainer, points


@given(st.integers(1, 10_000), st.integers(1, 2000))
def test_a_half_life_halves(batch_size: int, batches: int) -> None:
    """As many updates as a half-life has batches leave one half."""
    assert training.half_life_decay(batches * batch_size, batch_size) ** batches == pytest.approx(0.5, rel=1e-9)


@given(st.floats(0, 1e7), st.integers(1, 4096), st.floats(0, 1))
def test_a_half_life_that_grows(last: float, batch_size: int, progress: float) -> None:
    """R3GAN's formula, which guards against a division by 0 in another way, at any progress."""
    half_life = training.cosine_ramp(0.0, last, until=0.5)
    decay = training.half_life_decay(half_life, batch_size)
    expected = 0.5 ** (batch_size / np.maximum(half_life(progress), 1e-8))
    assert decay(progress) == pytest.approx(float(expected), rel=1e-12)
    assert decay(0.0) == 0.0


@pytest.mark.parametrize("half_life", [0, 0.0, 5e-324, 1e-300])
def test_no_half_life_is_no_average(half_life: float) -> None:
    """Also where the quotient is infinite."""
    assert training.half_life_decay(half_life, 64) == 0.0


def test_a_batch_that_no_float_can_count() -> None:
    """Nothing of the older weights is left."""
    assert training.half_life_decay(1.0, 10**400) == 0.0
    assert training.half_life_decay(10**308, 10**400) == 0.0
    assert training.half_life_decay(lambda progress: 1.0, 10**400)(0.5) == 0.0


@pytest.mark.parametrize("half_life", [-1, math.nan, math.inf, "1000", None, True, 1j])
def test_what_is_no_half_life_is_refused(half_life: Any) -> None:
    """As a number, or from a function."""
    for given_ in (half_life, lambda progress: half_life):
        if callable(given_) and half_life is True:
            continue
        with pytest.raises((ArgumentTypeError, ArgumentValueError), match=r"^half_life \(="):
            training.half_life_decay(given_, 64)


@pytest.mark.parametrize("batch_size", [0, 1.5, -64, True, None])
def test_what_is_no_batch_size_is_refused(batch_size: Any) -> None:
    """It is a whole number of at least 1."""
    with pytest.raises(ArgumentValueError, match=r"^batch_size \(="):
        training.half_life_decay(1000, batch_size)


def test_an_average_follows_its_half_life() -> None:
    """With a half-life that grows from 0, in float64: the recursion that R3GAN writes, limited by the warm-up."""
    module = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(module.weight)
    decay = torch.zeros((), dtype=torch.float64)
    ema = training.EMA(module, decay)

    class Moving(MyTrainer):
        """Sets the weight to the number of the iteration."""

        def train_step(self, batches: Any) -> dict[str, torch.Tensor]:
            result = super().train_step(batches)
            nn.init.constant_(module.weight, float(self.iteration))
            return result

    half_life = training.half_life_decay(training.cosine_ramp(0, 4 * 32, until=0.5), 32)
    training.fit(Moving(), [points()], iterations=40, callbacks=[ema, training.Schedule(decay, half_life)])
    expected = 0.0
    for iteration in range(40):
        share = (1 - math.cos(math.pi * min(1, iteration / 20))) / 2
        own = 0.5 ** (32 / (128 * share)) if share else 0.0
        own = min(own, (1 + iteration) / (10 + iteration))
        expected = own * expected + (1 - own) * (iteration + 1)
    assert ema.module.weight.item() == pytest.approx(expected, rel=1e-12)
