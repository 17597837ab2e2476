"""Tests of images as bytes on one side, and scaled images on the other."""

import copy

import pytest
import torch

from ganlib.errors import ArgumentValueError
from ganlib.metrics import FrechetDistance, KernelDistance, Memorization, PrecisionRecall

BYTES = torch.randint(0, 256, (8, 3, 4, 4), dtype=torch.uint8)
FLOATS = BYTES / 127.5 - 1


def means(x):
    """Features that read bytes as numbers from 0 to 255."""
    return x.float().mean((2, 3))


def means_of_both(x):
    """Features that scale bytes."""
    return means(x / 127.5 - 1 if x.dtype == torch.uint8 else x)


def fractions(x):
    """Features that do not depend on the scale, for positive numbers."""
    return means(x) / x.float().abs().amax((1, 2, 3))[:, None]


def _compare(metric, real, fake):
    metric.update(real, real=True)
    metric.update(fake, real=False)


@pytest.mark.parametrize("kind", [FrechetDistance, KernelDistance, PrecisionRecall])
@pytest.mark.parametrize("pair", [(BYTES, FLOATS), (FLOATS, BYTES), (BYTES, BYTES / 255)])
def test_bytes_and_scaled_images_are_an_error(kind, pair):
    """Where the features read bytes as numbers, whichever side comes first, also in a copy."""
    with pytest.raises(ArgumentValueError, match="uint8.*does not scale bytes"):
        _compare(kind(means), *pair)
    metric = kind(means)
    metric.update(pair[0], real=True)
    with pytest.raises(ArgumentValueError, match="scale both sides"):
        copy.deepcopy(metric).update(pair[1], real=False)


@pytest.mark.parametrize(
    ("features", "real", "fake"),
    [
        (means, BYTES, BYTES),
        (means, FLOATS, FLOATS),
        (means, BYTES, BYTES.float()),
        (means_of_both, BYTES, FLOATS),
        (fractions, BYTES, BYTES / 255),
        (torch.Tensor.float, BYTES[:, :, 0, 0], FLOATS[:, :, 0, 0]),
        (means, BYTES // 128, BYTES // 128 / 1.0),
    ],
)
def test_right_samples_are_compared(features, real, fake):
    """Equal kinds, equal ranges, networks that scale, and tables are right."""
    metric = FrechetDistance(features)
    _compare(metric, real, fake)
    _compare(metric, real, fake)
    assert metric.compute().isfinite()


def test_a_reset_forgets():
    """After a reset, the other kind is right."""
    metric = Memorization(means)
    metric.update(BYTES, real=False)
    metric.reset()
    metric.update(FLOATS, real=True)
    metric.update(FLOATS, real=False)
    metric.reset(real=True)
    _compare(metric, BYTES, BYTES)
