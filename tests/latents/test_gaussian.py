"""Tests of the standard normal distribution."""

import torch

from ganlib.latents import Gaussian


def test_moments():
    """Mean and standard deviation of each coordinate are 0 and 1, and of two the correlation is 0."""
    drawn = Gaussian(10)(20_000, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(torch.zeros(10), drawn.mean(0), atol=0.05)
    assert torch.allclose(torch.eye(10), drawn.T.cov(), atol=0.05)
