"""Tests of the part of a data set that is one class."""

import numpy
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

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


class _Pets(Dataset):
    """Five items of the classes cat and dog, whose labels are stored in one form or another."""

    def __init__(self, targets, classes=("cat", "dog"), length=5):
        self.targets, self.classes, self.length = targets, classes, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return torch.zeros(1), self.targets[index]


_INDICES = [1, 0, 1, 1, 0]
_NAMES = ["dog", "cat", "dog", "dog", "cat"]
_FORMS = {
    "a list": _INDICES,
    "a tuple": tuple(_INDICES),
    "a tensor": torch.tensor(_INDICES),
    "int8": torch.tensor(_INDICES, dtype=torch.int8),
    "NumPy": numpy.array(_INDICES),
    "uint8": numpy.array(_INDICES, numpy.uint8),
    "0-d tensors": [torch.tensor(index) for index in _INDICES],
    "bool": torch.tensor(_INDICES).bool(),
    "floats": torch.tensor(_INDICES).float(),
    "a column": torch.tensor(_INDICES)[:, None],
    "a column in NumPy": numpy.array(_INDICES)[:, None],
    "lists of one": [[index] for index in _INDICES],
    "one-hot": torch.nn.functional.one_hot(torch.tensor(_INDICES)),
    "one-hot floats": torch.nn.functional.one_hot(torch.tensor(_INDICES)).double(),
    "one-hot bool": torch.nn.functional.one_hot(torch.tensor(_INDICES)).bool().numpy(),
    "requires_grad": torch.tensor(_INDICES).float().requires_grad_(),
    "names": _NAMES,
    "names in NumPy": numpy.array(_NAMES),
    "names as objects": numpy.array(_NAMES, object),
    "a column of names": numpy.array(_NAMES)[:, None],
    "some without a label": [1, -1, 1, 1, 0],
}


@pytest.mark.parametrize(
    "classes",
    [
        ["cat", "dog"],
        ("cat", "dog"),
        numpy.array(["cat", "dog"]),
        {"cat": 0, "dog": 1},
        {"dog": 1, "cat": 0},
    ],
    ids=repr,
)
@pytest.mark.parametrize("form", _FORMS)
def test_labels_of_every_form_have_their_obvious_meaning(form, classes):
    """Indices, columns of them, one-hot rows and names give the same samples, each once and in order."""
    subset = only_class(_Pets(_FORMS[form], classes), "dog")
    assert subset.indices == [0, 2, 3]
    assert all(type(index) is int for index in subset.indices)


_REFUSED = {
    "several classes": (torch.tensor([[1, 1], [1, 0], [0, 1], [0, 1], [1, 0]]), ValueError, r"\(5, 2\) must have one"),
    "no class": (torch.zeros(5, 2, dtype=torch.int64), ValueError, r"\(5, 2\) must have one class for each"),
    "no one-hot": (torch.tensor([[2, -1]] * 5), ValueError, r"\(5, 2\) must have one class for each"),
    "three columns": (torch.eye(5)[:, :3], ValueError, r"\(5, 3\) must have one class .* \(L, 2\)"),
    "maps": (torch.zeros(5, 2, 2), ValueError, r"\(5, 2, 2\) must have one class"),
    "one number": (1, ValueError, r"\(\) must have one class"),
    "from 1 on": ([1, 2, 1, 1, 2], ValueError, "from 1 to 2; the indices of 2 classes are from 0 to 1"),
    "too negative": ([1, -2, 1, 1, 0], ValueError, "from -2 to 1"),
    "fractions": ([0.5, 1, 0, 1, 1], TypeError, "targets are float64; they must be indices of classes, or their"),
    "not finite": ([float("nan"), 1, 0, 1, 1], TypeError, "targets are float64"),
    "complex": (torch.zeros(5, dtype=torch.complex64), TypeError, "targets are complex64"),
    "an unknown name": (["dog", "cow", "cat", "dog", "cat"], ValueError, "targets has 'cow', which is not in classes"),
    "a name and indices": (["dog", 1, 1, 1, 1], ValueError, "targets has '1', which is not in classes"),
    "bytes": ([b"dog"] * 5, TypeError, "targets are .S3"),
    "None": ([None] * 5, TypeError, "targets are object"),
    "nothing": (None, TypeError, "targets are object"),
    "ragged": ([[0], [0, 1], [1], [1], [1]], TypeError, "cannot be read"),
    "a dict": ({0: 1}, TypeError, "targets are object"),
    "fewer": (_INDICES[:4], ValueError, "dataset has 4 targets, but 5 items"),
    "more": ([*_INDICES, 1], ValueError, "dataset has 6 targets, but 5 items"),
    "none": ([], ValueError, "dataset has 0 targets, but 5 items"),
    "half precision": (torch.tensor(_INDICES).bfloat16(), TypeError, "cannot be read"),
}


@pytest.mark.parametrize(("targets", "builtin", "message"), _REFUSED.values(), ids=_REFUSED)
def test_labels_that_could_mean_anything_are_refused(targets, builtin, message):
    """What is no class for each item is an error of ours that says what it is."""
    with pytest.raises(builtin, match=message) as caught:
        only_class(_Pets(targets), "dog")
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize(
    ("classes", "builtin", "message"),
    [
        (2, TypeError, r"classes \(=2\) must be a list of names"),
        (None, TypeError, r"classes \(=None\) must be a list of names"),
        ("cat dog", TypeError, r"classes \(='cat dog'\) must be a list of names"),
        ({"cat": 3, "dog": 7}, TypeError, "or a dict of their indices"),
        ({0: "cat", 1: "dog"}, TypeError, "or a dict of their indices"),
        (["dog", "dog"], ValueError, r"name \(='dog'\) is the name of 2 of the data set's classes"),
        (["cat"], ValueError, r"name \(='dog'\) must be one of 'cat'"),
        ([], ValueError, r"name \(='dog'\)"),
    ],
)
def test_classes_that_name_nothing_are_refused(classes, builtin, message):
    """Another thing that is called classes is an error of ours that quotes it."""
    with pytest.raises(builtin, match=message) as caught:
        only_class(_Pets(_INDICES, classes), "dog")
    assert isinstance(caught.value, GanlibError)


def test_a_shorter_data_set_has_no_items_beyond_its_end():
    """Where __len__ says 3 of 5, the labels of all five are refused, since they may be of other items."""
    with pytest.raises(GanlibError, match="5 targets, but 3 items"):
        only_class(_Pets(_INDICES, length=3), "dog")


@pytest.mark.parametrize("name", ["even", "odd"])
def test_labels_that_are_not_the_targets_are_warned_of(name):
    """Where a data set of your own gives other labels than its targets, only_class says that it goes by these."""

    class Merged(_Pets):
        def __getitem__(self, index):
            return torch.zeros(1), (self.targets[index] + 1) % 2

    state = torch.get_rng_state()
    with pytest.warns(UserWarning, match=r"dataset\[0\] has the label 0, but dataset.targets has 1") as warned:
        only_class(Merged(_INDICES, ("even", "odd")), name)
    assert [warning.filename for warning in warned] == [__file__]
    assert torch.equal(torch.get_rng_state(), state)
    shifted = Merged(_INDICES, ("even", "odd"))
    shifted.target_transform = lambda target: 1 - target
    only_class(shifted, name)  # they are others on purpose


@pytest.mark.parametrize("missing", ["classes", "targets"])
def test_a_data_set_without_classes_or_targets_is_refused(missing):
    """The TypeError of ours names what the data set lacks."""
    dataset = TensorDataset(torch.arange(5.0))
    dataset.classes, dataset.targets = ["a"], [0] * 5
    delattr(dataset, missing)
    with pytest.raises(TypeError, match=rf"has no {missing}") as caught:
        only_class(dataset, "a")
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("targets", [[1, 2, 2, 1, 2], numpy.array([2, 1, 1, 2, 2])])
def test_numbers_that_may_be_classes_or_their_indices_are_refused(targets):
    """Of the classes 1, 2 and 3, the target 1 may be the first or the second; 0, 1 and 2 are both."""
    with pytest.raises(GanlibError, match="both numbers"):
        only_class(_Pets(targets, [1, 2, 3]), 2)
    assert len(only_class(_Pets(targets, [0, 1, 2]), 2)) == 3
