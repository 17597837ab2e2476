"""Tests of random parameters, against their distributions."""

import math

import pytest
import torch
from torch import Tensor

from ganlib.augment._draws import Draws

N = 20_000


def draws(p: float = 0.5, dtype: torch.dtype = torch.float32) -> Draws:
    """A source of 20,000 parameters."""
    return Draws(N, torch.tensor(p), dtype, torch.Generator().manual_seed(0))


def distance(values: Tensor, distribution: Tensor) -> float:
    """The Kolmogorov-Smirnov distance of values from a distribution, given as its function at the sorted values."""
    even = (torch.arange(N, dtype=torch.float64) + 0.5) / N
    assert values.shape == (N,)
    return (distribution - even).abs().max().item()


def test_uniform_and_normal_parameters_have_their_distributions() -> None:
    """The distance of 20,000 draws exceeds 0.0115 once in a hundred times."""
    uniform = draws().uniform(-3, 5).double().sort().values
    assert distance(uniform, (uniform + 3) / 8) < 0.0115
    normal = draws().normal(0.2).double().sort().values
    assert distance(normal, (1 + torch.erf(normal / 0.2 / math.sqrt(2))) / 2) < 0.0115


@pytest.mark.parametrize("count", [2, 4])
def test_whole_numbers_are_drawn_evenly(count: int) -> None:
    """Each from 0 to count - 1 has its share, within 4.5 standard deviations."""
    numbers = draws().below(count)
    assert {*numbers.tolist()} == {*range(count)}
    counts = torch.stack([(numbers == number).sum() for number in range(count)])
    assert (counts - N / count).abs().max() < 4.5 * (N / count * (1 - 1 / count)) ** 0.5


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_samples_are_chosen_with_the_probability(p: float) -> None:
    """By each call alone, and by one of two calls together; none with 0, all with 1."""
    tolerance = 4.5 * (N * p * (1 - p)) ** 0.5
    one = draws(p)
    assert abs(one.chosen().sum().item() - N * p) <= tolerance
    either = torch.maximum(one.chosen_by_one_of_two(), one.chosen_by_one_of_two())
    assert abs(either.sum().item() - N * p) <= tolerance


def test_draws_are_independent_and_of_their_dtype() -> None:
    """Two calls differ, and the parameters have the dtype that was asked for."""
    one = draws(dtype=torch.float64)
    assert not torch.equal(one.normal(1), one.normal(1))
    assert not torch.equal(one.chosen(), one.chosen())
    made = (one.normal(1), one.uniform(), one.below(2), one.chosen(), one.chosen_by_one_of_two())
    assert {parameters.dtype for parameters in made} == {torch.float64}
