"""Samples in another range than a network takes: one warning, and no false ones."""

import copy
import pickle

import pytest
import torch
from torch import nn

from ganlib.metrics import DigitClassifier, FrechetDistance
from ganlib.metrics._inception import InceptionFeatures
from ganlib.metrics._range import warn_of_range

DIGITS = torch.rand(8, 1, 28, 28, generator=torch.Generator().manual_seed(0))
OTHER = "samples seem to lie in"


@pytest.fixture
def warned():
    """A classifier that has warned."""
    classifier = DigitClassifier().eval()
    with pytest.warns(UserWarning, match=OTHER):
        classifier(DIGITS)
    return classifier


@pytest.mark.parametrize(("name", "samples"), [(r"\[0, 1\]", DIGITS), (r"\[0, 255\]", 255 * DIGITS)])
def test_samples_of_another_range_are_warned_of_once(name, samples):
    """Images as ToTensor gives them, or as they are in files, are not what the classifier takes."""
    classifier = DigitClassifier().eval()
    with pytest.warns(UserWarning, match=f"{OTHER} {name}, .* DigitClassifier takes them in \\[-1, 1\\]") as caught:
        classifier(samples)
    assert len(caught) == 1
    classifier(samples)
    classifier.features(samples.clone())


def test_each_network_warns_for_itself(warned):
    """Another network has another user, so one that has warned does not silence it; nor does its copy."""
    for network in (DigitClassifier().eval(), copy.deepcopy(warned), pickle.loads(pickle.dumps(warned))):
        with pytest.warns(UserWarning, match=OTHER):
            network(DIGITS)


@pytest.mark.parametrize(
    "samples",
    [2 * DIGITS - 1, DIGITS[:7], torch.ones(8, 1, 28, 28), torch.zeros(8, 1, 28, 28), 0.5 * DIGITS, 1.5 * DIGITS - 0.5],
    ids=["its own", "seven", "white", "grey", "the lower half", "beyond"],
)
@pytest.mark.parametrize("shift", [0.0, 1e-3, -1e-3])
def test_samples_of_the_right_range_are_not_warned_of(samples, shift):
    """Nor are few samples, those of a collapsed generator, or of one that has not learned much yet."""
    DigitClassifier().eval()(samples + shift)


@pytest.mark.parametrize("end", [0.06, 0.5, 0.94])
def test_samples_that_reach_one_end_only_are_not_warned_of(end):
    """They may be legal ones that are all bright, or all grey; within a twentieth of both ends they are surely not."""
    network = nn.Identity()
    warn_of_range(network, DIGITS * end)
    warn_of_range(network, DIGITS * (1 - end) + end)
    with pytest.warns(UserWarning, match=OTHER):
        warn_of_range(network, 0.04 + 0.92 * DIGITS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_does_not_matter(dtype):
    """Halves and doubles are warned of as well."""
    with pytest.warns(UserWarning, match=OTHER):
        warn_of_range(nn.Identity(), DIGITS.to(dtype))


@pytest.mark.parametrize(
    "samples",
    [DIGITS.to("meta"), (255 * DIGITS).byte(), DIGITS * torch.nan, DIGITS[:0]],
    ids=["meta", "8 bits", "nan", "none"],
)
def test_samples_without_a_range_are_left_to_the_network(samples):
    """What cannot be measured is no matter of its range."""
    warn_of_range(nn.Identity(), samples)


def test_a_range_can_be_another():
    """A network of [0, 1] is not to be given [-1, 1]."""
    network = nn.Identity()
    warn_of_range(network, DIGITS, (0.0, 1.0))
    with pytest.warns(UserWarning, match=rf"{OTHER} \[-1, 1\], .* takes them in \[0, 1\]"):
        warn_of_range(network, 2 * DIGITS - 1, (0.0, 1.0))


def test_inception_warns_of_what_is_not_its_own_range(weights):
    """Its range is an argument."""
    samples = DIGITS.repeat(1, 3, 1, 1)
    InceptionFeatures(weights, sample_range=(0, 1))(samples)
    with pytest.warns(UserWarning, match=f"{OTHER} .* InceptionFeatures takes them in"):
        InceptionFeatures(weights)(samples)


def test_a_network_that_has_warned_is_what_it_was(warned):
    """Nothing of the warning is in its attributes, its state, its copies or its pickles."""
    fresh = DigitClassifier().eval()
    assert vars(warned).keys() == vars(fresh).keys()
    assert warned.state_dict().keys() == fresh.state_dict().keys()
    for again in (copy.deepcopy(warned), pickle.loads(pickle.dumps(warned))):
        assert vars(again).keys() == vars(fresh).keys()
        assert torch.equal(again(2 * DIGITS - 1), warned(2 * DIGITS - 1))


def test_a_metric_whose_network_has_warned_keeps_nothing_of_it():
    """The warning adds nothing to its attributes and its state, and its copies give the same value."""
    metric = FrechetDistance(DigitClassifier().eval().features)
    metric.persistent(True)
    metric.update(2 * DIGITS - 1, real=True)
    attributes, states = {*vars(metric)}, {*metric.state_dict()}
    with pytest.warns(UserWarning, match=OTHER):
        metric.update(DIGITS, real=False)
    assert ({*vars(metric)}, {*metric.state_dict()}) == (attributes, states)
    for again in (copy.deepcopy(metric), metric.clone(), pickle.loads(pickle.dumps(metric))):
        assert torch.equal(again.compute(), metric.compute())
    metric.reset()
    metric.update(DIGITS, real=False)
