"""Tests of the distance to the training data."""

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import Memorization
from tests.metrics.cases import normal, same


def _fed(training, real, fake):
    metric = Memorization(same)
    metric.add_training(training)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return metric


def _value(training, real, fake):
    return _fed(training, real, fake).compute()["memorization"].item()


def test_its_range():
    """Copies have 1, samples farther away than all real ones 0, and the real samples themselves exactly 1/2."""
    training, real = normal(50, 3), normal(31, 3, seed=1)
    assert _value(training, real, training) == 1
    assert _value(training, real, 1000 + real) == 0
    assert _value(training, real, real.flip(0)) == 0.5


def test_new_samples_of_the_same_distribution_have_a_half():
    """They are as close to the training data as held-out ones, within the error of the rank test."""
    value = _value(normal(500, 4), normal(1000, 4, seed=1), normal(1000, 4, seed=2))
    assert abs(value - 0.5) < 4 * (1 / 6000) ** 0.5  # the variance of the statistic is near 1/12 (1/N + 1/M)


def test_every_share_of_copies_shows():
    """With half the samples copied it is half of 1 and half of what the others have."""
    training, real, new = normal(500, 4), normal(300, 4, seed=1), normal(100, 4, seed=2)
    expected = (1 + _value(training, real, new)) / 2
    assert _value(training, real, torch.cat([new, training[:100]])) == pytest.approx(expected)


def test_distances():
    """The medians of the distances to the nearest training sample; of an even number, the mean of the middle two."""
    values = _fed(
        torch.tensor([[0.0], [10.0]]),
        torch.tensor([[1.0], [13.0], [8.0]]),
        torch.tensor([[0.0], [4.0], [11.0], [12.0]]),
    ).compute()
    assert values["nearest_distance_real"] == 2  # 1, 2, 3
    assert values["nearest_distance"] == 1.5  # 0, 1, 2, 4


def test_real_samples_must_be_held_out():
    """More than half of them among the training samples are a ValueError of ours; half of them are not."""
    training, new = normal(20, 3), normal(10, 3, seed=1)
    with pytest.raises(ValueError, match="11 of 21 real samples are training samples.*held out") as caught:
        _value(training, torch.cat([new, training[:11]]), new)
    assert isinstance(caught.value, GanlibError)
    _value(training, torch.cat([new, training[:10]]), new)


def test_training_samples_are_needed():
    """Without any it is a ValueError of ours; a reset keeps them, unless it is of the real side too."""
    metric = Memorization(same)
    for real in (True, False):
        metric.update(normal(4, 2), real=real)
    with pytest.raises(ValueError, match="no training samples: call add_training") as caught:
        metric.compute()
    assert isinstance(caught.value, GanlibError)
    metric.add_training(normal(5, 2, seed=1))
    metric.reset()
    metric.update(normal(4, 2), real=False)
    assert metric.compute()["memorization"] == 0.5
    metric.reset(real=True)
    metric.update(normal(4, 2), real=False)
    metric.update(normal(4, 2), real=True)
    with pytest.raises(ValueError, match="no training samples"):
        metric.compute()


def test_training_samples_are_checked():
    """Of another number of features, or not finite, they are ValueErrors of ours."""
    metric = Memorization(same)
    metric.update(normal(4, 2), real=True)
    with pytest.raises(ValueError, match=r"gave \(4, 3\).* 2 "):
        metric.add_training(normal(4, 3))
    with pytest.raises(ValueError, match="not finite"):
        metric.add_training(torch.full((4, 2), torch.nan))
