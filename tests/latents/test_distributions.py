"""What holds for every distribution of latents."""

import copy
import math
import pickle
import re
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib import latents
from ganlib.errors import ArgumentValueError, GanlibError
from ganlib.latents import Gaussian, GaussianMixture, Latent, TruncatedGaussian, Uniform
from tests import strategies

DISTRIBUTIONS = [
    Gaussian(7),
    Uniform(7),
    Uniform(7, low=2.0, high=5.0),
    TruncatedGaussian(7),
    GaussianMixture(torch.arange(21.0).view(3, 7), std=[0.1, 0.2, 0.3], weights=[1, 2, 3]),
]

distributions = pytest.mark.parametrize("latent", DISTRIBUTIONS, ids=str)
NORMAL = NormalDist()
thresholds = pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 4.0, 40.0, math.inf])


def draw_truncated(threshold):
    """100,000 coordinates in float64."""
    return TruncatedGaussian(50, threshold)(2000, generator=torch.Generator().manual_seed(0)).double().flatten()


def test_every_distribution_is_tested_here():
    """The list above has each class that the package offers."""
    offered = {value for name, value in vars(latents).items() if isinstance(value, type) and value is not Latent}

    assert offered == {type(latent) for latent in DISTRIBUTIONS}


@distributions
@pytest.mark.parametrize("n", [0, 1, 5])
def test_n_latents_have_dim_numbers_each(latent, n):
    """latent(n) is (n, dim) in float32."""
    assert (n, 7) == (n, latent.dim) == latent(n).shape
    assert torch.float32 == latent(n).dtype
    assert isinstance(latent, Latent)


@distributions
def test_a_generator_decides_the_numbers(latent):
    """Equal seeds give equal latents, the next draw others; torch's own random state is left alone."""
    first, second = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    before = torch.get_rng_state()

    drawn = latent(4, generator=first)

    assert torch.equal(drawn, latent(4, generator=second))
    assert not torch.equal(drawn, latent(4, generator=first))
    assert torch.equal(before, torch.get_rng_state())


@distributions
def test_without_a_generator_torchs_seed_decides(latent):
    """manual_seed makes draws repeatable."""
    torch.manual_seed(0)
    drawn = latent(4)
    torch.manual_seed(0)

    assert torch.equal(drawn, latent(4))


@distributions
def test_latents_are_made_on_the_device(latent):
    """The device is where the latents are made."""
    assert latent(4, device=torch.device("meta")).device.type == "meta"


@distributions
@pytest.mark.gpu
@pytest.mark.parametrize("seed", [None, 3])
def test_latents_are_made_on_a_gpu(latent, seed, sync_debug_mode):
    """With and without a generator they are made on the GPU, and the second time without waiting for it."""
    generator = None if seed is None else torch.Generator("cuda").manual_seed(seed)
    drawn = latent(4, device="cuda", generator=generator)
    sync_debug_mode("error")
    again = latent(4, device="cuda", generator=generator)
    sync_debug_mode("default")

    assert (drawn.device.type, drawn.shape) == ("cuda", (4, 7))
    assert not torch.equal(drawn, again)


@distributions
def test_a_distribution_cannot_be_changed(latent):
    """Setting dim is an AttributeError."""
    with pytest.raises(AttributeError):
        latent.dim = 3


@distributions
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda latent: pickle.loads(pickle.dumps(latent))])
def test_a_copy_draws_the_same(latent, copied):
    """A deep copy and one out of a pickle, of a distribution that was used, give the same numbers and repr."""
    drawn = latent(50, generator=torch.Generator().manual_seed(3))

    assert torch.equal(drawn, copied(latent)(50, generator=torch.Generator().manual_seed(3)))
    assert repr(latent) == repr(copied(latent))


@pytest.mark.parametrize("kind", [Gaussian, Uniform, TruncatedGaussian])
@pytest.mark.parametrize("dim", [0, -1, 2.5, None])
def test_a_bad_dim_is_refused(kind, dim):
    """A dim that is not a whole number of at least 1 is named and quoted."""
    with pytest.raises(ArgumentValueError, match=rf"dim \(={dim}\)") as caught:
        kind(dim)
    assert isinstance(caught.value, GanlibError)
    assert isinstance(caught.value, ValueError)


def test_moments_of_the_gaussian():
    """Mean and standard deviation of each coordinate are 0 and 1, and of two the correlation is 0."""
    drawn = Gaussian(10)(20_000, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(torch.zeros(10), drawn.mean(0), atol=0.05)
    assert torch.allclose(torch.eye(10), drawn.T.cov(), atol=0.05)


@thresholds
def test_its_distribution_function_is_that_of_the_normal_within_the_threshold(threshold):
    """It is (F(z) - F(-t)) / (F(t) - F(-t)); of 100,000 draws the Kolmogorov-Smirnov distance to it is below 0.0052.

    That is what is exceeded once in a hundred times.
    """
    drawn = draw_truncated(threshold).sort().values
    ends = 0.5 * math.erfc(threshold / math.sqrt(2)), 0.5 * math.erfc(-threshold / math.sqrt(2))
    expected = (torch.special.ndtr(drawn) - ends[0]) / (ends[1] - ends[0])

    assert (expected - (torch.arange(100_000) + 0.5) / 100_000).abs().max() < 0.0052


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0, 4.0])
def test_moments_of_the_truncated_gaussian(threshold):
    """The mean is 0 and the variance 1 - 2 t f(t) / (2 F(t) - 1), within 4 standard errors."""
    drawn = draw_truncated(threshold)
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
    with pytest.raises(ArgumentValueError, match=rf"threshold \(={threshold!r}\) must be a number above 0"):
        TruncatedGaussian(3, threshold)


def test_repr_of_the_truncated_gaussian_shows_the_arguments():
    """Repr can be read back."""
    assert repr(TruncatedGaussian(3, 0.5)) == "TruncatedGaussian(dim=3, threshold=0.5)"


@pytest.mark.parametrize(
    ("latent", "mean", "deviation"),
    [(Uniform(10), 0.0, 2 / math.sqrt(12)), (Uniform(10, low=2.0, high=5.0), 3.5, 3 / math.sqrt(12))],
    ids=str,
)
def test_moments_of_the_uniform(latent, mean, deviation):
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


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_an_empty_cube_is_refused(low, high):
    """Uniform wants low below high, and quotes both."""
    with pytest.raises(ArgumentValueError, match=rf"low \(={low}\) must be below high \(={high}\)"):
        Uniform(3, low, high)


@pytest.mark.parametrize("end", [math.nan, math.inf, -math.inf, 1e39, None, "1", True])
@pytest.mark.parametrize("name", ["low", "high"])
def test_ends_that_are_no_numbers_are_refused(name, end):
    """An end of the cube that float32 does not have raises an error that quotes it."""
    with pytest.raises(ArgumentValueError, match=rf"{name} \(={re.escape(repr(end))}\) must be a finite"):
        Uniform(3, **{name: end})


@distributions
@pytest.mark.parametrize("n", [np.int64(5), np.uint8(5)])
def test_a_number_of_numpys_is_a_number(latent, n):
    """NumPy's whole numbers say how many too."""
    assert latent(n).shape == (5, 7)


@distributions
@pytest.mark.parametrize("n", [-1, True, 2.0, 2.5, "3", None, (3,), torch.tensor(3), np.float64(3)])
def test_what_is_no_number_of_latents_is_refused(latent, n):
    """Anything but a whole number of at least 0 raises an error that quotes it."""
    with pytest.raises(ArgumentValueError, match=rf"^n \(={re.escape(repr(n))}\) must be a whole number of at least 0"):
        latent(n)


@distributions
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_default_dtype_leaves_latents_finite(latent, dtype):
    """Whatever torch's default dtype is, latents are finite, and of a mixture float32."""
    torch.set_default_dtype(dtype)
    try:
        drawn = latent(4000, generator=torch.Generator().manual_seed(0))
    finally:
        torch.set_default_dtype(torch.float32)
    assert drawn.isfinite().all()
    assert drawn.dtype == (torch.float32 if isinstance(latent, GaussianMixture) else dtype)
