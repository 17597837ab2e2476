"""What metrics do with input that cannot be meant: an error of ganlib, or one warning."""

import numpy as np
import pytest
import torch
from torch import nn

from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError
from ganlib.metrics import DigitClassifier, FrechetDistance, InceptionScore, KernelDistance, LabelAccuracy
from tests.metrics.cases import assert_equal, every, made, normal, same, two_sided

SAMPLES = {
    "no dimensions": torch.tensor(1.0),
    "one dimension": torch.zeros(12),
    "three dimensions": torch.zeros(12, 2, 2),
    "no features": torch.zeros(12, 0),
    "complex": torch.zeros(12, 3, dtype=torch.complex64),
    "not finite": torch.full((12, 3), torch.inf),
    "on the meta device": torch.zeros(12, 3, device="meta"),
    "sparse": torch.eye(12, 3).to_sparse(),
    "eight bits": torch.zeros(12, 3).to(torch.float8_e4m3fn),
    "an array": np.zeros((12, 3)),
    "a list": [[1.0, 2.0]],
    "nothing": None,
}


@every
@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES.keys())
def test_samples_that_cannot_be_measured_are_refused(case, samples):
    """Features, or logits, of another kind than finite (N, F) raise an error of ganlib; nothing of torch's."""
    with pytest.raises(GanlibError):
        case.make(same).update(*_arguments(case, samples), **_side(case))


@every
@pytest.mark.parametrize("network", [nn.Conv2d(3, 4, 3), nn.Linear(7, 2), lambda x: x.view(5, -1, 7)])
def test_samples_that_the_network_cannot_compute_are_refused(case, network):
    """What the network says of a wrong shape becomes an error of ganlib, with the shape of the samples."""
    with pytest.raises(GanlibError, match=r"samples \(12, 3\) cannot be computed by the network"):
        case.make(network).update(*_arguments(case, torch.zeros(12, 3)), **_side(case))


@every
def test_a_single_logit_is_refused(case):
    """Of one class every accuracy is 1; one feature, one mode, or an inception score of 1, is fine."""
    metric = case.make(lambda x: x[:, :1])
    arguments = _arguments(case, torch.zeros(12, 3))
    if not isinstance(metric, LabelAccuracy):
        metric.update(*arguments, **_side(case))
    else:
        with pytest.raises(ShapeError, match=r"classifier gave \(12, 1\).*at least 2 classes"):
            metric.update(*arguments, **_side(case))


LABELS = {
    "below 0": torch.full((12,), -1),
    "from 1": torch.arange(12) % 3 + 1,
    "bool": torch.ones(12, dtype=torch.bool),
    "float": torch.ones(12),
    "(N, 1)": torch.ones(12, 1, dtype=torch.int64),
    "one-hot": torch.eye(3).repeat(4, 1),
    "whole one-hot": torch.eye(3).repeat(4, 1).long(),
    "fewer": torch.ones(11, dtype=torch.int64),
    "none": None,
    "a list": [1] * 12,
    "an array": np.ones(12, dtype=np.int64),
    "a dict": {"class": torch.ones(12, dtype=torch.int64)},
    "on the meta device": torch.ones(12, dtype=torch.int64, device="meta"),
    "sparse": torch.ones(12, dtype=torch.int64).to_sparse(),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_labels_that_are_none_are_refused(labels):
    """Labels that are not (N,) whole numbers in range raise an error of ganlib, and are not counted."""
    accuracy = LabelAccuracy(same)
    with pytest.raises(GanlibError, match="^labels "):
        accuracy.update(normal(12, 3), labels)
    assert not accuracy.count


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_labels_of_any_whole_dtype_are_the_same(dtype):
    """The width of whole numbers does not matter."""
    accuracy = LabelAccuracy(same)
    accuracy.update(torch.eye(3), torch.tensor([0, 1, 1], dtype=dtype))
    assert_equal(accuracy.compute(), torch.tensor(2 / 3, dtype=torch.float64))


@two_sided
@pytest.mark.parametrize("path", [None, 5, True, b"real.npz", ""])
def test_a_path_that_is_none_is_refused(case, path):
    """Statistics are saved to a path of a file, and nothing else."""
    with pytest.raises((ArgumentTypeError, ArgumentValueError), match=r"^path \(="):
        made(case, normal(12, 3), normal(12, 3, seed=1)).save_statistics(path)


@two_sided
@pytest.mark.parametrize("real", [1, "real", None])
def test_a_reset_of_something_else_is_refused(case, real):
    """`reset` takes True or False."""
    with pytest.raises(ArgumentTypeError, match=r"^real \(="):
        case.make(same).reset(real=real)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_of_features_in_half_precision_it_is_that_of_float64(case, dtype, scale):
    """Features in half precision give what the same numbers give in float64; also after a reset, in a half module."""
    real, fake = (scale * normal(40, 3)).to(dtype), (scale * normal(33, 3, seed=1) * 1.5).to(dtype)
    real, training = real.double(), real.double()
    half, double = case.make(lambda x: x.to(dtype)), case.make(same)
    half.set_dtype(torch.float16)
    half.reset()
    for metric in (half, double):
        if hasattr(metric, "add_training"):
            metric.add_training(training[:20])
            metric.update(training[20:], real=True)
        else:
            case.feed(metric, real, real=True)
        case.feed(metric, fake.double(), real=False)
    assert_equal(half.compute(), double.compute())


def test_counts_are_not_rounded():
    """Torchmetrics' `set_dtype` makes no half-precision number of a count, which would end at 65504."""
    distance = FrechetDistance(same)
    distance.set_dtype(torch.float16)
    distance.reset(real=True)
    for _ in range(2):
        distance.update(normal(40_000, 1), real=True)
        distance.update(normal(40_000, 1) + 2, real=False)
    assert_equal(distance.compute(), torch.tensor(4.0, dtype=torch.float64), 1e-5)


def test_features_where_logits_are_read_are_refused():
    """The features of a known network are no logits; its logits are few features, which is warned of."""
    classifier = DigitClassifier()
    with pytest.raises(ArgumentValueError, match="give the classifier itself"):
        LabelAccuracy(classifier.features)
    with pytest.warns(UserWarning, match="give its method features") as caught:
        FrechetDistance(classifier)
    assert caught[0].filename == __file__
    LabelAccuracy(classifier), KernelDistance(classifier.features)


def test_probabilities_where_logits_are_read_are_warned_of():
    """The score of a classifier with a softmax at its end would be that of two."""
    score = InceptionScore(same)
    with pytest.warns(UserWarning, match="classifier gives probabilities") as caught:
        score.update(normal(12, 5).softmax(1))
    assert len(caught) == 1
    score.update(normal(12, 5).softmax(1))
    InceptionScore(same).update(normal(12, 5))


def _arguments(case, samples):
    labels = (torch.zeros(12, dtype=torch.int64),)
    return samples, *(labels if isinstance(case.make(same), LabelAccuracy) else ())


def _side(case):
    return {} if isinstance(case.make(same), LabelAccuracy | InceptionScore) else {"real": False}
