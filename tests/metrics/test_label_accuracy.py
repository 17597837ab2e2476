"""Tests of the share of samples that are read as asked for."""

import pytest
import torch

from ganlib.errors import GanlibError
from ganlib.metrics import LabelAccuracy


def _scores(read, classes=10):
    """Samples that the identity reads as these labels."""
    return torch.nn.functional.one_hot(torch.tensor(read), classes).float()


@pytest.mark.parametrize(
    ("asked", "read", "share"),
    [([1, 2, 3, 4], [1, 2, 3, 4], 1.0), ([1, 2, 3, 4], [2, 3, 4, 1], 0.0), ([0, 0, 9, 5], [0, 1, 9, 9], 0.5)],
)
def test_it_is_the_share_of_labels_read_as_asked(asked, read, share):
    """All, none and half right are 1, 0 and 1/2."""
    accuracy = LabelAccuracy(lambda samples: samples)
    accuracy.update(_scores(read), torch.tensor(asked))
    assert accuracy.compute() == share


def test_every_sample_counts_the_same():
    """A batch of one right and a batch of three wrong make a quarter, not a half."""
    accuracy = LabelAccuracy(lambda samples: samples)
    accuracy.update(_scores([3]), torch.tensor([3]))
    accuracy.update(_scores([1, 1, 1]), torch.tensor([2, 2, 2]))
    assert accuracy.compute() == 0.25


def test_reset_forgets_all():
    """After a reset there is nothing to compute, and what comes then counts alone."""
    accuracy = LabelAccuracy(lambda samples: samples)
    accuracy.update(_scores([1]), torch.tensor([2]))
    accuracy.reset()
    with pytest.raises(ValueError, match="no samples"):
        accuracy.compute()
    accuracy.update(_scores([1]), torch.tensor([1]))
    assert accuracy.compute() == 1


def test_no_gradient_is_taken():
    """The classifier runs without gradients."""
    modes = []
    accuracy = LabelAccuracy(lambda samples: modes.append(torch.is_grad_enabled()) or samples)
    accuracy.update(_scores([1]).requires_grad_(), torch.tensor([1]))
    assert modes == [False]
    assert not accuracy.compute().requires_grad


def test_without_samples_there_is_no_share():
    """Computing before any update is a ValueError of ours."""
    with pytest.raises(ValueError, match="no samples") as caught:
        LabelAccuracy(len).compute()
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("classifier", "labels", "message"),
    [
        (lambda samples: samples.argmax(1), [0, 0], r"classifier gave \(2,\) for 2 samples"),
        (lambda samples: samples[:1], [0, 0], r"classifier gave \(1, 10\) for 2 samples"),
        (lambda samples: samples, [0], r"labels \(1,\).* 2 samples"),
        (lambda samples: samples, [[0], [0]], r"labels \(2, 1\).* 2 samples"),
    ],
)
def test_bad_shapes_are_named(classifier, labels, message):
    """Logits or labels of another shape are ValueErrors of ours with the shape, never broadcast."""
    with pytest.raises(ValueError, match=message) as caught:
        LabelAccuracy(classifier).update(_scores([0, 1]), torch.tensor(labels))
    assert isinstance(caught.value, GanlibError)


def test_what_cannot_be_called_is_refused():
    """A classifier that is no function is a TypeError of ours with the value."""
    with pytest.raises(TypeError, match=r"classifier \(='resnet'\)") as caught:
        LabelAccuracy("resnet")
    assert isinstance(caught.value, GanlibError)
