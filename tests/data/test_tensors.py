"""Tests of reading a whole data set into tensors."""

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from ganlib.data._tensors import as_tensors
from ganlib.errors import GanlibError


class _Listed(Dataset):
    """Items from a list, and whatever attributes a test gives it."""

    def __init__(self, items, **attributes):
        self.items = items
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class _TorchvisionLike(Dataset):
    """What torchvision's MNIST and CIFAR10 are inside: data, targets, and a transform that items pass through."""

    def __init__(self, data, targets, transform=None):
        self.data, self.targets, self.transform = data, targets, transform

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        image = Image.fromarray(numpy.asarray(self.data[index]))
        return image if self.transform is None else self.transform(image), int(self.targets[index])


def _random(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


_GREY = _TorchvisionLike(_random(7, 5, 4), torch.arange(7))
_COLOUR = _TorchvisionLike(_random(7, 5, 4, 3).numpy(), list(range(7)))


@pytest.mark.parametrize("dataset", [_GREY, _COLOUR], ids=["grey", "colour"])
def test_data_in_memory_are_taken_whole(dataset, monkeypatch):
    """Of a torchvision-like data set without a transform one item is read, to compare, and no more."""
    read, get = [], _TorchvisionLike.__getitem__
    monkeypatch.setattr(_TorchvisionLike, "__getitem__", lambda self, index: read.append(index) or get(self, index))
    as_tensors(dataset)
    assert read == [0]


@pytest.mark.parametrize("dataset", [_GREY, _COLOUR], ids=["grey", "colour"])
def test_the_fast_path_equals_reading_item_by_item(dataset):
    """Data taken whole are the items' pixels, channels first, exactly."""
    whole, labels = as_tensors(dataset)
    itemwise, same_labels = as_tensors(Subset(dataset, range(7)))
    assert torch.equal(whole, itemwise)
    assert torch.equal(labels, same_labels)
    assert (whole.dtype, whole.shape[2:]) == (torch.uint8, (5, 4))


def test_a_transform_is_applied():
    """A torchvision-like data set with a transform gives transformed items, not its raw data."""
    grey = _TorchvisionLike(_GREY.data, _GREY.targets, transform=lambda image: image.resize((2, 3)))
    samples, _ = as_tensors(grey)
    assert samples.shape == (7, 1, 3, 2)
    colour = _TorchvisionLike(_COLOUR.data, _COLOUR.targets, transform=lambda image: image.rotate(180))
    assert torch.equal(as_tensors(colour)[0], as_tensors(_COLOUR)[0].flip(2, 3))


def test_an_item_that_is_not_the_raw_data_is_read_as_the_data_set_gives_it():
    """A data set whose __getitem__ does more than look up data is believed, not its data."""

    class Inverted(_TorchvisionLike):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return Image.eval(image, lambda value: 255 - value), label

    assert torch.equal(as_tensors(Inverted(_GREY.data, _GREY.targets))[0], 255 - _GREY.data.unsqueeze(1))


def test_a_subset_has_its_items_in_its_order():
    """Subset(dataset, [4, 1]) is read as items 4 and 1."""
    samples, labels = as_tensors(Subset(_GREY, [4, 1]))
    assert torch.equal(samples, _GREY.data[[4, 1]].unsqueeze(1))
    assert labels.tolist() == [4, 1]


def test_a_tensor_dataset_is_taken_as_it_is():
    """One tensor is samples without conditions, two are samples and conditions."""
    samples, conditions = torch.rand(6, 2), torch.rand(6, 3)
    assert as_tensors(TensorDataset(samples)) == (samples, None)
    assert as_tensors(TensorDataset(samples, conditions)) == (samples, conditions)


@pytest.mark.parametrize("wrap", [lambda sample: sample, lambda sample: (sample,), lambda sample: [sample]])
def test_items_without_condition(wrap):
    """A bare sample, (sample,) and [sample] are all read as samples without conditions."""
    samples, conditions = as_tensors(_Listed([wrap(torch.full((1, 2), float(i))) for i in range(3)]))
    assert samples.tolist() == [[[0.0, 0.0]], [[1.0, 1.0]], [[2.0, 2.0]]]
    assert conditions is None


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("P", 3), ("RGBA", 3)])
def test_image_modes(mode, channels):
    """Grey images have one channel, all others three; a white pixel is 255 at its row and column."""
    image = Image.new("RGB", (3, 2))
    image.putpixel((2, 1), (255, 255, 255))
    samples, _ = as_tensors(_Listed([image.convert(mode)]))
    expected = torch.zeros(1, channels, 2, 3, dtype=torch.uint8)
    expected[..., 1, 2] = 255
    assert torch.equal(samples, expected)


def test_float_conditions_keep_their_shape():
    """Vectors next to the samples become one (L, D) tensor, and plain floats one of shape (L,)."""
    items = [(torch.zeros(1), torch.tensor([float(i), 1.0])) for i in range(3)]
    assert as_tensors(_Listed(items))[1].tolist() == [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]
    assert as_tensors(_Listed([(torch.zeros(1), 0.5)] * 2))[1].tolist() == [0.5, 0.5]


_X = torch.zeros(2)
_BAD = {
    "no length": (iter([1]), TypeError, "must have a length"),
    "empty": (_Listed([]), ValueError, "is empty"),
    "an array": (_Listed([numpy.zeros(2)]), TypeError, r"dataset\[0\] holds a ndarray"),
    "three parts": (_Listed([(_X, 1, 2)]), TypeError, r"dataset\[0\] has 3 parts"),
    "sizes differ": (_Listed([_X, torch.zeros(3)]), ValueError, r"dataset\[1\] has shape \(3,\).* has \(2,\)"),
    "dtypes differ": (_Listed([_X.byte(), _X]), TypeError, r"dataset\[1\] .*torch.float32.* torch.uint8"),
    "some labels": (_Listed([(_X, 1), _X]), TypeError, "only 1 of dataset's 2 items have a condition"),
    "a word": (_Listed([(_X, "seven")]), TypeError, r"dataset\[0\].*'seven'"),
    "ragged conditions": (_Listed([(_X, _X), (_X, torch.zeros(3))]), ValueError, r"dataset\[1\].*\(3,\).*\(2,\)"),
    "NaN": (TensorDataset(torch.tensor([0.0, float("nan")])), ValueError, "not finite"),
    "infinite condition": (TensorDataset(_X, torch.tensor([0.0, float("inf")])), ValueError, "not finite"),
    "int64 samples": (TensorDataset(torch.zeros(2, 3, dtype=torch.int64)), TypeError, "torch.int64"),
    "int32 labels": (TensorDataset(_X, torch.zeros(2, dtype=torch.int32)), TypeError, "torch.int32"),
    "labels (L, 1)": (TensorDataset(_X, torch.zeros(2, 1, dtype=torch.int64)), TypeError, r"\(2, 1\)"),
    "negative label": (TensorDataset(_X, torch.tensor([0, -1])), ValueError, "labels from -1 to 0"),
    "label too high": (_Listed([(_X, 0), (_X, 2)], classes=["a", "b"]), ValueError, "from 0 to 2.*below 2"),
}


@pytest.mark.parametrize(("dataset", "builtin", "message"), _BAD.values(), ids=_BAD)
def test_bad_data_are_named(dataset, builtin, message):
    """What is wrong with a data set is said with the item or the values, in an error of ours that is a built-in."""
    with pytest.raises(builtin, match=message) as caught:
        as_tensors(dataset)
    assert isinstance(caught.value, GanlibError)
