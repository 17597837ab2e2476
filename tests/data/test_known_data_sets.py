"""What a data set in memory is taken for, without reading its items, is what its items are."""

import functools
import operator
import random

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, TensorDataset
from torchvision import datasets

from ganlib.data import ImageFolder, StackedMNIST, _tensors, only_class
from ganlib.data._tensors import as_tensors
from ganlib.errors import ArgumentTypeError, DataError, GanlibError

_L = 12


def _numbers(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _made(kind, data, targets):
    """A data set of torchvision's without its files."""
    dataset = kind.__new__(kind)
    dataset.data, dataset.targets = data, targets
    dataset.transform = dataset.target_transform = dataset.transforms = dataset.root = None
    return dataset


def _folder(mode):
    dataset = ImageFolder.__new__(ImageFolder)
    data = _numbers(_L, 5, 4, len(mode))
    dataset.size, dataset.mode, dataset.crop, dataset.in_memory = (5, 4), mode, "center", True
    dataset.data, dataset.targets = data.squeeze(-1), [index % 3 for index in range(_L)]
    dataset.classes = ["a", "b", "c"]
    return dataset


_LABELS = torch.arange(_L) % 3
_MAKERS = {
    **{
        name: lambda name=name: _made(getattr(datasets, name), _numbers(_L, 5, 4), _LABELS.clone())
        for name in ("MNIST", "FashionMNIST", "KMNIST", "EMNIST")
    },
    **{
        name: lambda name=name: _made(getattr(datasets, name), _numbers(_L, 5, 4, 3).numpy(), _LABELS.tolist())
        for name in ("CIFAR10", "CIFAR100")
    },
    **{f"ImageFolder {mode}": lambda mode=mode: _folder(mode) for mode in ("RGB", "L", "RGBA", "LA")},
    "TensorDataset": lambda: TensorDataset(_numbers(_L, 3, 5, 4), _LABELS.clone()),
    "TensorDataset of vectors": lambda: TensorDataset(torch.rand(_L, 2), torch.rand(_L, 3)),
    "TensorDataset without labels": lambda: TensorDataset(torch.rand(_L, 1, 5, 4)),
}
_MAKERS["StackedMNIST"] = lambda: StackedMNIST(TensorDataset(_numbers(_L, 1, 5, 4), _LABELS.clone()), length=_L)
_MAKERS["Subset"] = lambda: Subset(_MAKERS["MNIST"](), [4, 1, 1, 11])
_MAKERS["Subset of a Subset"] = lambda: Subset(Subset(_MAKERS["CIFAR10"](), range(3, 9)), np.array([5, 0, 2]))
_MAKERS["only_class"] = lambda: only_class(_MAKERS["ImageFolder RGB"](), "b")
_MAKERS["random_split"] = lambda: torch.utils.data.random_split(_MAKERS["TensorDataset"](), [5, 7])[1]


def _slow(dataset):
    """The items one by one, in numpy: pixels (C, H, W) and labels."""
    items = [dataset[index] for index in range(len(dataset))]
    samples = [np.asarray(item[0]) for item in items]
    samples = [
        each if isinstance(item[0], torch.Tensor) else np.atleast_3d(each).transpose(2, 0, 1)
        for each, item in zip(samples, items, strict=True)
    ]
    return np.stack(samples), [np.asarray(item[1]).tolist() for item in items] if len(items[0]) == 2 else None


def _assert_read_as_items(dataset):
    """What is read is what the items are; or an error of ours; or, where an item is an error, that error."""
    try:
        samples, labels = _slow(dataset)
    except Exception as error:
        with pytest.raises((type(error), GanlibError)):
            as_tensors(dataset)
        return
    try:
        actual, conditions = as_tensors(dataset)
    except GanlibError:
        return
    assert np.array_equal(actual.numpy(), samples)
    assert (conditions is None) == (labels is None)
    assert labels is None or conditions.tolist() == labels


@pytest.mark.parametrize("name", _MAKERS)
def test_a_known_data_set_is_its_items_and_is_not_read_one_by_one(name, monkeypatch):
    """The whole has the samples and labels of all items, in order."""
    dataset = _MAKERS[name]()
    samples, labels = _slow(dataset)
    monkeypatch.setattr(_tensors, "_one_by_one", None)
    actual, conditions = as_tensors(dataset)
    assert np.array_equal(actual.numpy(), samples)
    assert actual.is_contiguous()
    assert labels is None or conditions.tolist() == labels


def _each(name, change):
    return lambda dataset: vars(dataset).update({name: change(getattr(dataset, name))})


_EDITS = {
    "fewer samples": _each("data", lambda data: data[:7]),
    "filtered samples and labels": lambda dataset: (
        _each("data", lambda data: data[3:6])(dataset),
        _each("targets", lambda targets: targets[3:6])(dataset),
    ),
    "fewer labels": _each("targets", lambda targets: targets[:7]),
    "more labels": _each("targets", lambda targets: [*targets, 9]),
    "merged labels": _each("targets", lambda targets: [int(label) // 2 for label in targets]),
    "labels in NumPy": _each("targets", np.asarray),
    "labels as a tensor": _each("targets", torch.as_tensor),
    "labels in int32": _each("targets", lambda targets: torch.as_tensor(targets).int()),
    "labels as floats": _each("targets", lambda targets: [label + 0.5 for label in targets]),
    "one-hot labels": _each("targets", lambda targets: torch.nn.functional.one_hot(torch.as_tensor(targets)).float()),
    "labels as tensors": _each("targets", lambda targets: [torch.tensor(int(label)) for label in targets]),
    "samples in float": _each("data", lambda data: data / 255),
    "samples in NumPy": _each("data", np.asarray),
    "samples as a tensor": _each("data", torch.as_tensor),
    "samples with a channel": _each("data", lambda data: data[:, None]),
    "reversed samples": _each("data", lambda data: data[np.arange(len(data))[::-1].copy()]),
    "a transform": lambda dataset: vars(dataset).update(transform=lambda image: image.rotate(180)),
    "a transform of labels": lambda dataset: vars(dataset).update(target_transform=lambda label: 5 - label),
    "a length": lambda dataset: vars(dataset).update(__len__=lambda: 3),
    "an item": lambda dataset: vars(dataset).update(__getitem__=lambda index: None),
}
_EDITED = ("MNIST", "EMNIST", "CIFAR10", "ImageFolder RGB", "ImageFolder L")


@pytest.mark.parametrize("edit", _EDITS)
@pytest.mark.parametrize("name", _EDITED)
@pytest.mark.parametrize("subset", [False, True])
def test_an_edited_data_set_is_its_items(name, edit, subset):
    """Data and labels that were changed after the data set was made are read as its items then are."""
    dataset = _MAKERS[name]()
    try:
        _EDITS[edit](dataset)
    except (ValueError, TypeError, IndexError, RuntimeError):
        pytest.skip("it has no such data")
    _assert_read_as_items(Subset(dataset, [2, 0, 6, 1]) if subset else dataset)


@pytest.mark.parametrize("tensors", [(_L, 7), (7, _L), (_L, _L, _L)])
def test_edited_tensors_are_the_items(tensors):
    """Tensors of a TensorDataset that no longer have one length."""
    dataset = TensorDataset(torch.zeros(_L, 1))
    dataset.tensors = tuple(torch.arange(length).float() for length in tensors)
    _assert_read_as_items(dataset)


@pytest.mark.parametrize(
    "indices",
    [
        [3, -1, 0],
        [3, 99],
        (3, 1),
        range(0, 12, 5),
        np.array([3, 1]),
        np.array([3, 1], np.uint8),
        np.array([True, False]),
        torch.tensor([3, 1]),
        torch.tensor([3, 1], dtype=torch.int32),
        [True, False],
        [torch.tensor(3), np.int64(1)],
        [1.0],
        {0: 3, 1: 2},
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["MNIST", "CIFAR10", "TensorDataset", "ImageFolder RGB"])
def test_a_subset_is_its_items(name, indices):
    """A subset by any indices is the items that it has, or an error."""
    _assert_read_as_items(Subset(_MAKERS[name](), indices))


def _changed(kind):
    """Subclasses of a class, each of which changes something that the data do not show."""

    class Shorter(kind):
        def __len__(self):
            return 5

    class Inverted(kind):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return (image.point(lambda value: 255 - value) if hasattr(image, "point") else 255 - image), label

    class LateNoise(kind):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, label if index < 9 else 2 - int(label)

    class Permuted(kind):
        def __getitem__(self, index):
            return super().__getitem__((operator.index(index) + 3) % _L)

    return Shorter, Inverted, LateNoise, Permuted


@pytest.mark.parametrize("change", range(4))
@pytest.mark.parametrize(
    "name", ["MNIST", "FashionMNIST", "CIFAR10", "CIFAR100", "TensorDataset", "ImageFolder LA", "StackedMNIST"]
)
def test_a_subclass_is_its_items(name, change):
    """A class of your own is believed, not its data, be it the length, the samples, or labels from the tenth on."""
    dataset = _MAKERS[name]()
    dataset.__class__ = _changed(type(dataset))[change]
    _assert_read_as_items(dataset)
    _assert_read_as_items(Subset(dataset, [4, 0]))
    _assert_read_as_items(ConcatDataset([dataset, dataset]))


@pytest.mark.parametrize("seed", range(40))
def test_a_subset_of_your_own_is_its_items(seed):
    """A subclass of Subset, with labels of its own, at any depth."""

    class Relabelled(Subset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, (int(label) + 1) % 3

        def __getitems__(self, indices):
            return [self[index] for index in indices]

    draw = random.Random(seed)
    dataset = _MAKERS[draw.choice(["MNIST", "CIFAR10", "TensorDataset", "ImageFolder RGB"])]()
    for _ in range(draw.randint(1, 3)):
        indices = [draw.randrange(len(dataset)) for _ in range(draw.randint(1, 9))]
        dataset = draw.choice((Subset, Relabelled))(dataset, indices)
    _assert_read_as_items(dataset)


def test_only_torchvisions_own_classes_are_known():
    """A class that is called MNIST is read item by item."""

    class MNIST(datasets.MNIST):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image, 9 - label

    MNIST.__module__ = "torchvision.datasets.mnist"
    _assert_read_as_items(_made(MNIST, _numbers(_L, 5, 4), _LABELS))


@pytest.mark.parametrize("name", ["MNIST", "EMNIST", "CIFAR10", "TensorDataset", "ImageFolder RGB"])
def test_a_method_that_was_put_in_place_of_a_class_own_is_believed(name, monkeypatch):
    """Items by a patched __getitem__, which names itself as the original does, are read."""
    dataset = _MAKERS[name]()
    original = type(dataset).__getitem__

    @functools.wraps(original)
    def relabelled(self, index):
        image, label = original(self, index)
        return image, 2 - int(label)

    monkeypatch.setattr(type(dataset), "__getitem__", relabelled)
    assert as_tensors(dataset)[1].tolist() == [2 - label for label in _LABELS.tolist()]
    _assert_read_as_items(Subset(dataset, [4, 0]))


def test_a_subclass_in_the_place_of_its_class_is_believed(monkeypatch):
    """A name of torchvision's may be given to another class."""
    shifted = _changed(datasets.MNIST)[2]
    monkeypatch.setattr(datasets, "MNIST", shifted)
    _assert_read_as_items(_made(shifted, _numbers(_L, 5, 4), _LABELS))


@pytest.mark.parametrize("mask", [_LABELS == 1, (_LABELS == 1).numpy(), (_LABELS == 1).tolist(), list(_LABELS == 1)])
@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: Subset(each, [0]), lambda each: each + each])
def test_a_mask_as_indices_is_refused(mask, wrap):
    """torch would take True and False for the items 1 and 0, at any depth; the indices that the error has are right."""
    dataset = _MAKERS["MNIST"]()
    with pytest.raises(ArgumentTypeError, match="nonzero"):
        as_tensors(wrap(Subset(dataset, mask)))
    assert as_tensors(Subset(dataset, torch.as_tensor(mask).nonzero().flatten().tolist()))[1].tolist() == [1] * 4


@pytest.mark.parametrize("indices", [5, None, torch.tensor(5), 1.5])
@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: Subset(each, [0])])
def test_indices_that_are_no_list_are_refused(wrap, indices):
    """One number instead of a list of them, at any depth."""
    with pytest.raises(ArgumentTypeError, match=r"Subset's indices \(=.*\) must be a sequence of whole numbers"):
        as_tensors(wrap(Subset(TensorDataset(torch.rand(8, 2)), indices)))


def test_a_subset_that_reads_in_its_own_way_needs_no_indices():
    """Its length and items are its own."""

    class First(Subset):
        def __init__(self, dataset):
            self.dataset = dataset

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return self.dataset[index]

    dataset = TensorDataset(torch.rand(8, 2))
    first = First(dataset)
    assert as_tensors(first)[0].equal(dataset.tensors[0][:2])
    first.indices = None
    assert as_tensors(first)[0].equal(dataset.tensors[0][:2])


@pytest.mark.parametrize("name", ["MNIST", "CIFAR10"])
@pytest.mark.parametrize("attribute", ["data", "targets", "transform", "target_transform"])
@pytest.mark.parametrize("wrap", [lambda each: each, lambda each: Subset(each, [0, 1])])
def test_a_data_set_without_an_attribute_is_read_as_its_items_are(name, attribute, wrap):
    """An old pickle may lack one that its items need: an error of ours that names it."""
    dataset = _MAKERS[name]()
    delattr(dataset, attribute)
    with pytest.raises(DataError, match=rf"dataset.*fails \(AttributeError: .*{attribute}"):
        as_tensors(wrap(dataset))
