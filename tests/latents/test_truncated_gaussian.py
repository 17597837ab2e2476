"""Tests of the normal distribution without its tails."""

import math
from statistics import NormalDist

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.errors import ArgumentValueError
from ganlib.latents import TruncatedGaussian
from tests import strategies

NORMAL = NormalDist()
thresholds = pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 4.0, 40.0, math.inf])


def draw(threshold):
    """100,000 coordinates in float64."""
    return TruncatedGaussian(50, threshold)(2000, generator=torch.Generator().manual_seed(0)).double().flatten()


@thresholds
def test_its_distribution_function_is_that_of_the_normal_within_the_threshold(threshold):
    """It is (F(z) - F(-t)) / (F(t) - F(-t)); of 100,000 draws the Kolmogorov-Smirnov distance to it is below 0.0052.

    That is what is exceeded once in a hundred times.
    """
    drawn = draw(threshold).sort().values
    ends = 0.5 * math.erfc(threshold / math.sqrt(2)), 0.5 * math.erfc(-threshold / math.sqrt(2))
    expected = (torch.special.ndtr(drawn) - ends[0]) / (ends[1] - ends[0])

    assert (expected - (torch.arange(100_000) + 0.5) / 100_000).abs().max() < 0.0052


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 4.0])
def test_moments(threshold):
    """The mean is 0 and the variance 1 - 2 t f(t) / (2 F(t) - 1), within 4 standard errors."""
    drawn = draw(threshold)
    variance = 1 - 2 * threshold * NORMAL.pdf(threshold) / (2 * NORMAL.cdf(threshold) - 1)

    assert abs(drawn.mean().item()) < 4 * (variance / 1e5) ** 0.5
    assert drawn.var().item() == pytest.approx(variance, rel=4 * (2 / 1e5) ** 0.5)


@given(st.floats(1e-6, 100), strategies.seeds)
def test_coordinates_stay_within_the_threshold(threshold, seed):
    """No absolute value is above the threshold as float32 knows it, and none is infinite."""
    drawn = TruncatedGaussian(100, threshold)(100, generator=torch.Generator().manual_seed(seed))

    assert drawn.isfinite().all()
    assert drawn.abs().max() <= torch.tensor(threshold)


@pytest.mark.parametrize("threshold", [2.0, 8.0])
def test_the_end_of_the_uniform_draw_is_finite(monkeypatch, threshold):
    """Where uniform_ gives its very lower end the coordinate is -threshold, or the last that float32 can tell."""
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, low, high, generator: self.fill_(low))
    drawn = TruncatedGaussian(1, threshold)(1).item()

    assert drawn == pytest.approx(max(-threshold, NORMAL.inv_cdf(2**-25)), rel=1e-5)


def test_the_ends_of_the_uniform_draw_are_no_further_than_the_threshold(monkeypatch):
    """Rounding carries neither end beyond any of 400 thresholds up to 4."""
    for end in (0, 1):
        monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, *ends, end=end, generator: self.fill_(ends[end]))
        for threshold in torch.linspace(0.01, 4, 400).tolist():
            assert TruncatedGaussian(1, threshold)(1).abs().item() <= threshold


@pytest.mark.parametrize("threshold", [0, 0.0, -1.0, math.nan, None, "2"])
def test_a_threshold_that_is_not_above_zero_is_refused(threshold):
    """It is named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"threshold \(={threshold}\) must be a number above 0"):
        TruncatedGaussian(3, threshold)


def test_repr_shows_the_arguments():
    """Repr can be read back."""
    assert repr(TruncatedGaussian(3, 0.5)) == "TruncatedGaussian(dim=3, threshold=0.5)"
