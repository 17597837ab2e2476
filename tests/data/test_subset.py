"""Tests of the part of a data set that is one class."""

import pytest
import torch
from torch.utils.data import TensorDataset

from ganlib.data import RenderedDigits, TensorLoader, only_class
from ganlib.errors import GanlibError


@pytest.mark.parametrize("name", list("0123456789"))
def test_all_samples_of_the_class_and_no_other(name):
    """Of 47 digits the subset has exactly those at label, label + 10, ..., with their labels."""
    subset = only_class(RenderedDigits(length=47), name)
    assert list(subset.indices) == list(range(int(name), 47, 10))
    assert {subset[index][1] for index in range(len(subset))} == {int(name)}


def test_targets_may_be_a_tensor_and_classes_names():
    """A torchvision-like data set, targets as a tensor, is cut by the name of the class."""
    dataset = TensorDataset(torch.arange(5.0))
    dataset.classes, dataset.targets = ["cat", "dog"], torch.tensor([1, 0, 1, 1, 0])
    assert list(only_class(dataset, "dog").indices) == [0, 2, 3]


def test_a_subset_can_be_loaded():
    """A TensorLoader over one class gives that label alone."""
    loader = TensorLoader(only_class(RenderedDigits(length=40), "7"), batch_size=4)
    assert [batch.condition.tolist() for batch in loader] == [[7, 7, 7, 7]]


def test_an_unknown_class_is_named_with_those_there_are():
    """The ValueError of ours quotes the name and lists the classes."""
    with pytest.raises(ValueError, match=r"name \(='ten'\) must be one of '0', '1'") as caught:
        only_class(RenderedDigits(length=10), "ten")
    assert isinstance(caught.value, GanlibError)


def test_a_class_without_samples_is_refused():
    """A class that no sample has is a ValueError of ours, not an empty data set."""
    with pytest.raises(ValueError, match=r"name \(='9'\).*no sample") as caught:
        only_class(RenderedDigits(length=5), "9")
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("missing", ["classes", "targets"])
def test_a_data_set_without_classes_or_targets_is_refused(missing):
    """The TypeError of ours names what the data set lacks."""
    dataset = TensorDataset(torch.arange(5.0))
    dataset.classes, dataset.targets = ["a"], [0] * 5
    delattr(dataset, missing)
    with pytest.raises(TypeError, match=rf"has no {missing}") as caught:
        only_class(dataset, "a")
    assert isinstance(caught.value, GanlibError)
