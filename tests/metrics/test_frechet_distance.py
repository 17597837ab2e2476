"""Tests of the Fréchet distance."""

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import DigitClassifier, FrechetDistance


def _closed_form(real, fake):
    """The distance in float64, the root through the symmetric A^1/2 B A^1/2, whose eigenvalues are those of A B."""
    real, fake = real.double(), fake.double()
    a, b = torch.atleast_2d(real.T.cov()), torch.atleast_2d(fake.T.cov())
    values, vectors = torch.linalg.eigh(a)
    root = vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ b @ root).clamp(min=0).sqrt().sum()
    return ((real.mean(0) - fake.mean(0)) ** 2).sum() + a.trace() + b.trace() - 2 * cross


def _measured(real, fake, features=lambda samples: samples):
    distance = FrechetDistance(features)
    distance.update(real, real=True)
    distance.update(fake, real=False)
    return distance.compute()


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "dim"), [(500, 1), (500, 2), (400, 16), (300, 64)])
def test_it_equals_the_closed_form(n, dim):
    """On correlated samples it is the formula, computed in another way, in float64."""
    real = _normal(n, dim) @ _normal(dim, dim, seed=1) + 2
    fake = _normal(n + 7, dim, seed=2) @ _normal(dim, dim, seed=3)
    torch.testing.assert_close(_measured(real, fake), _closed_form(real, fake), rtol=1e-7, atol=1e-7)


def test_gaussians_with_known_means_and_covariances():
    """With samples of exactly those means and variances, N(0, diag(1, 4)) and N((3, 4), diag(9, 1)) are 25 + 4 + 1."""
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    unit = signs * (3 / 4) ** 0.5  # four points of mean 0 whose covariance (over n - 1) is the identity
    real = unit * torch.tensor([1.0, 2.0])
    fake = unit * torch.tensor([3.0, 1.0]) + torch.tensor([3.0, 4.0])
    assert _measured(real, fake).item() == pytest.approx(25 + (1 - 3) ** 2 + (2 - 1) ** 2)


def test_the_distance_to_itself_is_zero():
    """Samples against the same in another order are at distance 0."""
    samples = _normal(300, 8)
    assert _measured(samples, samples.flip(0)).item() == pytest.approx(0, abs=1e-6)


def test_it_is_symmetric_and_scales_with_the_square():
    """Real and generated may change places, and twice the features are at four times the distance."""
    real, fake = _normal(200, 4), _normal(200, 4, seed=1) * 2 + 1
    value = _measured(real, fake)
    torch.testing.assert_close(_measured(fake, real), value)
    torch.testing.assert_close(_measured(real, fake, lambda samples: 2 * samples), 4 * value)


def test_batches_of_any_size_add_up():
    """In batches of 1, 2, 30 and 67 it is what it is in one."""
    real, fake = _normal(100, 3), _normal(100, 3, seed=1) + 1
    distance = FrechetDistance(lambda samples: samples)
    for chunk, other in zip(real.split([1, 2, 30, 67]), fake.split([67, 30, 2, 1]), strict=True):
        distance.update(chunk, real=True)
        distance.update(other, real=False)
    torch.testing.assert_close(distance.compute(), _measured(real, fake))


def test_reset_forgets_all():
    """After a reset there is nothing to compute, and other samples, of another size, are measured on their own."""
    distance = FrechetDistance(lambda samples: samples)
    distance.update(_normal(10, 3), real=True)
    distance.update(_normal(10, 3), real=False)
    distance.reset()
    with pytest.raises(ValueError, match="0 real and 0 generated"):
        distance.compute()
    real, fake = _normal(50, 2), _normal(50, 2, seed=1)
    distance.update(real, real=True)
    distance.update(fake, real=False)
    torch.testing.assert_close(distance.compute(), _measured(real, fake))


def test_features_are_the_networks_and_take_no_gradient():
    """With DigitClassifier.features it is the closed form of those features, and no graph is kept."""
    classifier = DigitClassifier().eval()
    real, fake = torch.rand(150, 1, 28, 28) * 2 - 1, torch.zeros(140, 1, 28, 28).uniform_(-1, 0)
    value = _measured(real, fake, classifier.features)
    with torch.no_grad():
        expected = _closed_form(classifier.features(real), classifier.features(fake))
    assert not value.requires_grad
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("n_real", "n_fake"), [(0, 0), (5, 0), (5, 1), (1, 5)])
def test_too_few_samples_are_named(n_real, n_fake):
    """Fewer than two on either side is a ValueError of ours with both numbers."""
    distance = FrechetDistance(lambda samples: samples)
    for n, real in ((n_real, True), (n_fake, False)):
        if n:
            distance.update(torch.rand(n, 2), real=real)
    with pytest.raises(ValueError, match=f"{n_real} real and {n_fake} generated") as caught:
        distance.compute()
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda samples: samples.view(-1), r"features gave \(8,\) for 4 samples"),
        (lambda samples: samples[:3], r"features gave \(3, 2\) for 4 samples"),
        (lambda samples: samples / 0, "not finite"),
    ],
)
def test_bad_features_are_named(features, message):
    """Features of another shape, or not finite, are ValueErrors of ours that say what came."""
    with pytest.raises(ValueError, match=message) as caught:
        FrechetDistance(features).update(torch.ones(4, 2), real=True)
    assert isinstance(caught.value, GanlibError)


def test_features_of_another_number_than_before_are_refused():
    """Samples with 3 features after some with 2 are a ValueError of ours with both numbers."""
    distance = FrechetDistance(lambda samples: samples)
    distance.update(torch.ones(4, 2), real=True)
    with pytest.raises(ValueError, match=r"\(4, 3\).* 2 ") as caught:
        distance.update(torch.ones(4, 3), real=False)
    assert isinstance(caught.value, GanlibError)


def test_what_cannot_be_called_is_refused():
    """Features that are no function are a TypeError of ours with the value."""
    with pytest.raises(TypeError, match=r"features \(=64\)") as caught:
        FrechetDistance(64)
    assert isinstance(caught.value, GanlibError)
