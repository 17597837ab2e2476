"""Tests of the mixture of normal distributions."""

import math

import pytest
import torch

from ganlib.errors import ArgumentTypeError, ArgumentValueError, ShapeError
from ganlib.latents import GaussianMixture

MEANS = [[-10.0, 0.0, 5.0], [10.0, 0.0, 5.0], [0.0, 30.0, 5.0]]


def draw(latent, n=60_000):
    """Latents, and of which component each is: the nearest mean's."""
    drawn = latent(n, generator=torch.Generator().manual_seed(0)).double()
    return drawn, torch.cdist(drawn, torch.tensor(MEANS, dtype=torch.float64)).argmin(1)


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        (None, (1 / 3, 1 / 3, 1 / 3)),
        ([1, 2, 5], (0.125, 0.25, 0.625)),
        (torch.tensor([0.2, 0.2, 0.4]), (0.25, 0.25, 0.5)),
        ([0, 3, 1], (0, 0.75, 0.25)),
        ([1, 0, 0], (1, 0, 0)),
        ([0, 0, 1e-20], (0, 0, 1)),
    ],
)
def test_components_are_drawn_in_the_ratio_of_their_weights(weights, shares):
    """Each has its share within 4.5 standard deviations; one of no weight never comes, one of all the weight always."""
    _, component = draw(GaussianMixture(MEANS, weights=weights))

    for k, share in enumerate(shares):
        assert (component == k).double().mean().item() == pytest.approx(
            share, abs=4.5 * (share * (1 - share) / 60_000) ** 0.5
        )


@pytest.mark.parametrize(
    ("weights", "place", "component"),
    [
        ([0, 1, 1], 0.0, 1),
        ([1, 1, 0], 1 - 2**-24, 1),
        ([1, 0, 1], 0.5, 2),
        ([0, 0, 1], 0.0, 2),
        ([1, 0, 0], 1 - 2**-24, 0),
    ],
)
def test_the_ends_of_the_draw_miss_components_of_no_weight(monkeypatch, weights, place, component):
    """Where rand gives its very ends, or the very border, the component has a weight."""
    monkeypatch.setattr(torch, "rand", lambda n, **options: torch.full((n,), place))

    assert GaussianMixture(MEANS, 0, weights)(1).tolist() == [MEANS[component]]


@pytest.mark.parametrize(
    ("std", "deviations"), [(0.7, (0.7,) * 3), ([0.1, 1.0, 2.0], (0.1, 1, 2)), (torch.ones(3) / 2, (0.5,) * 3)]
)
def test_each_component_is_normal_about_its_mean(std, deviations):
    """Mean and covariance of what is near a mean are mu and sigma^2 I, and (z - mu) / sigma is normally distributed."""
    drawn, component = draw(GaussianMixture(MEANS, std))

    for k, (mean, deviation) in enumerate(zip(MEANS, deviations, strict=True)):
        normal = (drawn[component == k] - torch.tensor(mean)) / deviation
        count = normal.numel()
        assert torch.allclose(normal.T.cov(), torch.eye(3, dtype=torch.float64), atol=0.06)
        even = (torch.arange(count) + 0.5) / count
        # The Kolmogorov-Smirnov distance exceeds 1.95 / sqrt(n) once in a thousand times.
        assert (torch.special.ndtr(normal.flatten().sort().values) - even).abs().max() < 1.95 / math.sqrt(count)


def test_a_deviation_of_zero_gives_the_means_themselves():
    """Every latent is one of the means, to the bit."""
    drawn = GaussianMixture(MEANS, 0)(50)

    assert {tuple(row) for row in drawn.tolist()} == {tuple(mean) for mean in MEANS}


def test_it_keeps_its_numbers_when_those_given_are_changed():
    """A tensor of means that is overwritten afterwards changes nothing."""
    means = torch.tensor(MEANS)
    latent = GaussianMixture(means, 0)
    means.zero_()

    assert latent(50).abs().max() == 30


@pytest.mark.parametrize(
    ("means", "shape"),
    [([1.0, 2.0], r"\(2,\)"), (torch.zeros(0, 3), r"\(0, 3\)"), (torch.zeros(3, 0), r"\(3, 0\)"), (1.0, r"\(\)")],
)
def test_means_of_another_shape_are_refused(means, shape):
    """They must be (K, dim), with at least one of each."""
    with pytest.raises(ShapeError, match=rf"means {shape} must be"):
        GaussianMixture(means)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"std": -1.0}, r"std \(=-1.0\)"),
        ({"std": [1.0, 2.0]}, r"std \(=\[1.0, 2.0\]\).*3 means"),
        ({"std": [[1.0, 1.0, 1.0]]}, r"std \(="),
        ({"std": math.nan}, r"std \(=nan\)"),
        ({"weights": [1, 1]}, r"weights \(=\[1, 1\]\).*3 means"),
        ({"weights": 1.0}, r"weights \(=1.0\)"),
        ({"weights": [1, -1, 1]}, r"weights \(=\[1, -1, 1\]\)"),
        ({"weights": [0, 0, 0]}, r"weights \(=\[0, 0, 0\]\)"),
        ({"weights": [1, math.inf, 1]}, r"weights \(=\[1, inf, 1\]\)"),
        ({"means": [[math.nan, 0.0]]}, r"means \(=\[\[nan, 0.0\]\]\)"),
        ({"means": [[1e300, 0.0]]}, r"means \(="),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, message):
    """The argument is named and quoted."""
    with pytest.raises(ArgumentValueError, match=message):
        GaussianMixture(**{"means": MEANS, **arguments})


@pytest.mark.parametrize("means", ["ring", None, [[1.0, 2.0], [3.0]], [["a"]]])
def test_what_are_no_numbers_is_refused(means):
    """Words, None and rows of different lengths are a TypeError of ours."""
    with pytest.raises(ArgumentTypeError, match=r"means \(=.*\) must be numbers"):
        GaussianMixture(means)


def test_repr_shows_the_arguments():
    """Of the means the shape, the other two as they were given."""
    assert repr(GaussianMixture(MEANS)) == "GaussianMixture(means=(3, 3), std=1.0, weights=None)"
    mixture = GaussianMixture(MEANS, [0.1, 0.2, 0.3], [1, 2, 1])
    assert repr(mixture) == "GaussianMixture(means=(3, 3), std=[0.1, 0.2, 0.3], weights=[1.0, 2.0, 1.0])"
