"""Tests of the kernel distance."""

from fractions import Fraction

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import KernelDistance
from tests.metrics.cases import CASES, assert_equal, normal, same

CASE = CASES["kernel_distance"]


def _fed(real, fake, **options):
    distance = KernelDistance(same, **options)
    distance.update(real, real=True)
    distance.update(fake, real=False)
    return distance


@pytest.mark.parametrize(("n", "m", "dim"), [(2, 2, 1), (2, 5, 64), (9, 30, 7)])
def test_all_samples_in_one_subset(n, m, dim):
    """With no more than a subset takes on both sides it is the double sum over all, and the deviation is 0."""
    real, fake = normal(n, dim), normal(m, dim, seed=1) + 0.5
    assert_equal(_fed(real, fake, subset_size=max(n, m)).compute(), CASE.expected(real, fake))
    assert _fed(real, fake).compute()[1] == 0


def test_blocks_of_many_samples():
    """More samples than are multiplied at once give the sum over all pairs."""
    real, fake = normal(2100, 2, dtype=torch.float64), normal(2050, 2, seed=1, dtype=torch.float64) * 1.1
    kernels = [((x @ y.T / 2 + 1) ** 3) for x, y in ((real, real), (fake, fake), (real, fake))]
    within = [(kernel.sum() - kernel.diagonal().sum()) / (len(kernel) * (len(kernel) - 1)) for kernel in kernels[:2]]
    mean, _ = _fed(real, fake, subset_size=2100).compute()
    assert_equal(mean, sum(within) - 2 * kernels[2].mean(), 1e-9)


def test_large_means_lose_no_more_than_float64_must():
    """At 10,000 the error is that of numbers of the size of the kernel, compared with exact fractions."""
    real, fake = (10_000 + normal(5, 3, seed=seed) for seed in (0, 1))
    x, y = ([[Fraction(value) for value in row] for row in side.tolist()] for side in (real, fake))

    def k(a, b):
        return (sum(p * q for p, q in zip(a, b, strict=True)) / 3 + 1) ** 3

    exact = sum(k(a, b) for side in (x, y) for i, a in enumerate(side) for j, b in enumerate(side) if i != j) / 20
    exact -= 2 * sum(k(a, b) for a in x for b in y) / 25
    mean, _ = _fed(real, fake).compute()
    assert abs(mean.item() - exact) <= 1e-14 * k(x[0], x[0])


def test_collapsed_samples():
    """Equal fakes at 0 of real samples at 1 have kernels 8, 1 and 1: 8 + 1 - 2."""
    mean, std = _fed(torch.ones(6, 4), torch.zeros(3, 4)).compute()
    assert (mean, std) == (7, 0)


def test_subsets_spread_around_the_whole():
    """The mean over subsets is near the value of all, and larger subsets deviate less."""
    real, fake = normal(2000, 4), normal(1500, 4, seed=1) + 0.5
    whole, _ = _fed(real, fake, subset_size=2000).compute()
    spreads = []
    for size in (20, 200):
        mean, std = _fed(real, fake, subsets=400, subset_size=size).compute()
        assert abs(mean - whole) < 5 * std / 400**0.5
        spreads.append(std)
    assert spreads[1] < spreads[0] / 2


def test_subsets_are_the_same_each_time():
    """Two computations give the same, whatever the global seed, which they leave as it is."""
    distance = _fed(normal(300, 4), normal(300, 4, seed=1), subset_size=50)
    first = distance.compute()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert distance.compute() == first
    assert torch.equal(torch.get_rng_state(), state)


def test_its_expectation_does_not_depend_on_the_number_of_samples():
    """Of equal distributions the mean over many small sets is 0 within its error: it is not biased."""
    values = torch.stack([_fed(normal(8, 2, seed=i), normal(8, 2, seed=10_000 + i)).compute()[0] for i in range(400)])
    assert abs(values.mean()) < 4 * values.std() / 20


@pytest.mark.parametrize("options", [{"subsets": 0}, {"subset_size": 1}, {"subset_size": 10.5}, {"subsets": True}])
def test_bad_numbers_are_named(options):
    """Numbers of subsets and of their samples that cannot be are ValueErrors of ours."""
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=rf"{name} \(={value}\)") as caught:
        KernelDistance(same, **options)
    assert isinstance(caught.value, GanlibError)
