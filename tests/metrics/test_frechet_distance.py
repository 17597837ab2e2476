"""Tests of the Fréchet distance."""

import numpy as np
import pytest
import torch

from ganlib.metrics import DigitClassifier, FrechetDistance
from tests.metrics.cases import CASES, assert_equal, fid, normal, same

F64 = torch.float64


def _measured(real, fake, features=same):
    return CASES["frechet_distance"].measured(real, fake, features)


def _closed_form(real, fake):
    """Of any rank: the trace of the root is the nuclear norm of X Y^T, of the centered and normalized samples."""
    x, y = real.double().numpy(), fake.double().numpy()
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = (x - mean_x) / np.sqrt(len(x) - 1), (y - mean_y) / np.sqrt(len(y) - 1)
    roots = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return torch.tensor(((mean_x - mean_y) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * roots)


@pytest.mark.parametrize(("n", "dim"), [(500, 1), (500, 2), (400, 16), (300, 64)])
def test_it_equals_the_formula_of_pytorch_fid(n, dim):
    """On correlated samples it is the root by scipy, in float64."""
    real = normal(n, dim, dtype=F64) @ normal(dim, dim, seed=1, dtype=F64) + 2
    fake = normal(n + 7, dim, seed=2, dtype=F64) @ normal(dim, dim, seed=3, dtype=F64)
    assert_equal(_measured(real, fake), torch.tensor(fid(real.numpy(), fake.numpy())))
    assert_equal(_measured(real, fake), _closed_form(real, fake))


@pytest.mark.parametrize(("n", "m", "dim"), [(2, 2, 1), (2, 2, 64), (2, 9, 128), (20, 30, 600), (129, 10, 128)])
def test_singular_covariances(n, m, dim):
    """With fewer samples than features, and features that are constant or copies of others, it is the closed form."""
    real, fake = normal(n, dim, dtype=F64), normal(m, dim, seed=1, dtype=F64) * 2 + 1
    if dim > 8:
        real[:, 3], fake[:, 4] = 5, -5
        real[:, 6], fake[:, 7] = real[:, 5], 3 * fake[:, 5]
    assert_equal(_measured(real, fake), _closed_form(real, fake), 1e-12)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_large_means(scale):
    """Means of 10,000 with a spread of 1, and far smaller and larger ones, take no digits."""
    real, fake = normal(200, 8, dtype=F64), normal(300, 8, seed=1, dtype=F64) * 1.5 + 0.2
    value = _measured(scale * (real + 1e4), scale * (fake + 1e4)) / scale**2
    assert_equal(value, _closed_form(real, fake))


def test_collapsed_samples():
    """Equal samples on a side have no covariance: what is left is the means and the trace of the other."""
    real, fake = normal(50, 4, dtype=F64), torch.full((20, 4), 0.5, dtype=F64)
    apart = (real.mean(0) - 0.5).square().sum()
    assert_equal(_measured(real, fake), apart + real.var(0).sum())
    assert_equal(_measured(fake, real), apart + real.var(0).sum())
    assert _measured(fake, fake + 1) == 4
    assert _measured(fake, fake) == 0


def test_gaussians_with_known_means_and_covariances():
    """With samples of exactly those means and variances, N(0, diag(1, 4)) and N((3, 4), diag(9, 1)) are 25 + 4 + 1."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=F64)
    unit = signs * (3 / 4) ** 0.5  # four points of mean 0 whose covariance (over n - 1) is the identity
    real = unit * torch.tensor([1.0, 2.0])
    fake = unit * torch.tensor([3.0, 1.0]) + torch.tensor([3.0, 4.0])
    assert _measured(real, fake).item() == pytest.approx(25 + (1 - 3) ** 2 + (2 - 1) ** 2)


@pytest.mark.parametrize("dim", [1, 8, 400])
def test_the_distance_to_itself_is_zero(dim):
    """Samples against the same in another order are at distance 0, and never below."""
    samples = normal(300, dim)
    assert 0 <= _measured(samples, samples.flip(0)).item() <= 1e-9 * dim


def test_it_is_symmetric_and_scales_with_the_square():
    """Real and generated may change places, and twice the features are at four times the distance."""
    real, fake = normal(200, 4), normal(200, 4, seed=1) * 2 + 1
    value = _measured(real, fake)
    torch.testing.assert_close(_measured(fake, real), value)
    torch.testing.assert_close(_measured(real, fake, lambda samples: 2 * samples), 4 * value)


def test_features_are_the_networks():
    """With DigitClassifier.features it is the closed form of those features."""
    classifier = DigitClassifier().eval()
    real, fake = torch.rand(150, 1, 28, 28) * 2 - 1, torch.zeros(140, 1, 28, 28).uniform_(-1, 0)
    value = _measured(real, fake, classifier.features)
    with torch.no_grad():
        assert_equal(value, _closed_form(classifier.features(real), classifier.features(fake)))


@pytest.mark.parametrize(("n_real", "n_fake"), [(0, 0), (5, 0), (5, 1), (1, 5)])
def test_too_few_samples_are_named(n_real, n_fake):
    """Fewer than two on either side is a ValueError with both numbers."""
    distance = FrechetDistance(same)
    for n, real in ((n_real, True), (n_fake, False)):
        distance.update(torch.rand(n, 2), real=real)
    with pytest.raises(ValueError, match=f"{n_real} real and {n_fake} generated"):
        distance.compute()
