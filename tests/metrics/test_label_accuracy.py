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


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (torch.tensor([0, 10]), ValueError, r"labels hold 10, but must be from 0 to 9"),
        (torch.tensor([-1, 0]), ValueError, r"labels hold -1, but must be from 0 to 9"),
        (torch.tensor([0, 200], dtype=torch.uint8), ValueError, r"labels hold 200"),
        (torch.tensor([0.0, 1.0]), TypeError, "labels must be a tensor of whole numbers, not torch.float32"),
        (torch.tensor([True, False]), TypeError, "labels .* not torch.bool"),
        (torch.tensor([0j, 1j]), TypeError, "labels .* not torch.complex64"),
        ([0, 1], TypeError, "labels .* not list"),
    ],
)
def test_bad_labels_are_named(labels, kind, message):
    """Labels out of range, or that are no whole numbers, are errors of ours; the batch is not counted."""
    accuracy = LabelAccuracy(lambda samples: samples)
    accuracy.update(_scores([4]), torch.tensor([4]))
    with pytest.raises(kind, match=message) as caught:
        accuracy.update(_scores([0, 1]), labels)
    assert isinstance(caught.value, GanlibError)
    assert accuracy.compute() == 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16])
def test_labels_of_any_whole_dtype(dtype):
    """All dtypes of whole numbers are the same labels."""
    accuracy = LabelAccuracy(lambda samples: samples)
    accuracy.update(_scores([1, 2, 3]), torch.tensor([1, 2, 4], dtype=dtype))
    assert accuracy.compute().item() == pytest.approx(2 / 3)
