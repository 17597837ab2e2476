"""Tests of the modes that a generator reaches."""

import math

import pytest
import torch

from ganlib.errors import ArgumentValueError, GanlibError, ShapeError
from ganlib.metrics import ModeCoverage
from tests.metrics.cases import same


def _samples(modes, classes=4):
    return torch.nn.functional.one_hot(torch.as_tensor(modes), classes).float()


def _measured(real, fake, **options):
    metric = ModeCoverage(same, **options)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return {name: value.item() for name, value in metric.compute().items()}


def test_frequencies():
    """Modes with shares (1/2, 1/2) of real shares (1/4, 1/4, 1/2) have KL log 2; equal shares have 0."""
    real, fake = _samples([0, 1, 2, 2]), _samples([0, 1])
    assert _measured(real, fake) == pytest.approx({"modes_found": 2, "modes_real": 3, "kl_divergence": math.log(2)})
    assert _measured(real, torch.cat([real, real])) == {"modes_found": 3, "modes_real": 3, "kl_divergence": 0}


def test_a_mode_without_real_samples():
    """A mode that only the generator has makes the divergence infinite."""
    values = _measured(_samples([0, 1]), _samples([0, 3]))
    assert values == {"modes_found": 2, "modes_real": 2, "kl_divergence": math.inf}


def test_one_mode():
    """A generator of one of 4 equal modes has KL log 4."""
    assert _measured(_samples([0, 1, 2, 3]), _samples([2] * 9)) == pytest.approx(
        {"modes_found": 1, "modes_real": 4, "kl_divergence": math.log(4)}
    )


def test_stacked_images():
    """Of three digits in the channels of a sample, each combination is a mode, read by a classifier of one digit."""
    digits = torch.cartesian_prod(*[torch.arange(10)] * 3)
    samples = _samples(digits, 10)  # three channels of ten pixels

    def classifier(images):
        assert images.shape[1:] == (1, 10)
        return images.flatten(1)

    metric = ModeCoverage(classifier, stacked=3)
    for part in samples.split(300):
        metric.update(part, real=True)
    metric.update(samples[[123, 321, 123, 999]], real=False)
    metric.update(samples[:0], real=False)
    values = metric.compute()
    assert values["modes_found"] == 3
    assert values["modes_real"] == 1000
    expected = 0.5 * math.log(500) + 2 * 0.25 * math.log(250)
    torch.testing.assert_close(values["kl_divergence"].item(), expected)


@pytest.mark.parametrize("shape", [(2, 4, 5), (5,)])
def test_stacked_images_need_channels(shape):
    """Channels that cannot be shared out are a ValueError of ours with the shape."""
    with pytest.raises(ValueError, match=r"samples \(.*3 images each") as caught:
        ModeCoverage(same, stacked=3).update(torch.zeros(shape), real=True)
    assert isinstance(caught.value, GanlibError)
    with pytest.raises(TypeError, match="samples"):
        ModeCoverage(same, stacked=3).update([1], real=True)


@pytest.mark.parametrize("stacked", [0, 1.5, True])
def test_bad_stacked_is_named(stacked):
    """It is a whole number of at least 1."""
    with pytest.raises(ValueError, match=rf"stacked \(={stacked}\)") as caught:
        ModeCoverage(same, stacked=stacked)
    assert isinstance(caught.value, GanlibError)


def test_another_number_of_classes_is_named():
    """A mode of a classifier of five classes is not one of a classifier of three."""
    coverage = ModeCoverage(lambda samples: samples)
    coverage.update(torch.eye(5), real=True)
    with pytest.raises(ShapeError, match=r"classifier gave \(3, 3\), but it gave 5 logits before"):
        coverage.update(torch.eye(3), real=False)


def test_modes_that_cannot_be_numbered_are_named():
    """Forty images of four classes have more combinations than int64 has numbers."""
    with pytest.raises(ArgumentValueError, match=r"stacked \(=40\)"):
        ModeCoverage(lambda samples: samples.flatten(1), stacked=40).update(torch.rand(2, 160), real=True)
