"""Tests of the uniform distribution on a cube."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError
from ganlib.latents import Uniform


@pytest.mark.parametrize(
    ("latent", "mean", "deviation"),
    [(Uniform(10), 0.0, 2 / math.sqrt(12)), (Uniform(10, low=2.0, high=5.0), 3.5, 3 / math.sqrt(12))],
    ids=str,
)
def test_moments(latent, mean, deviation):
    """Mean and standard deviation are the distribution's."""
    drawn = latent(20_000, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(torch.full((10,), mean), drawn.mean(0), atol=0.05)
    assert torch.allclose(torch.full((10,), deviation), drawn.std(0), atol=0.05)


@given(st.floats(-5, 5), st.floats(0.01, 5))
def test_uniform_latents_stay_in_their_cube(low, width):
    """Every coordinate is in [low, high]."""
    drawn = Uniform(4, low, low + width)(20)

    assert drawn.min() >= low - 1e-6
    assert drawn.max() <= low + width + 1e-6


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0)])
def test_an_empty_cube_is_refused(low, high):
    """Uniform wants low below high, and quotes both."""
    with pytest.raises(ArgumentValueError, match=rf"low \(={low}\) must be below high \(={high}\)"):
        Uniform(3, low, high)
