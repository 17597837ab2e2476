"""Tests of images that are stacked in channels."""

import math
import pickle
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset
from torchvision import datasets

from ganlib.data import RenderedDigits, StackedMNIST, TensorLoader, only_class
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError, ShapeError


def _source(images=40, classes=10, shape=(1, 4, 4), dtype=torch.uint8):
    """Images of one value each, which says which one it is, with the labels 0, 1, ... in turn."""
    values = torch.arange(images).to(dtype).view(-1, *[1] * len(shape)).expand(-1, *shape)
    return TensorDataset(values, torch.arange(images) % classes)


def _mnist(kind, images=30):
    """A data set of torchvision's without its files."""
    dataset = kind.__new__(kind)
    dataset.data = torch.arange(images, dtype=torch.uint8).view(-1, 1, 1).expand(-1, 28, 28).contiguous()
    dataset.targets = torch.arange(images) % 10
    dataset.transform = dataset.target_transform = dataset.transforms = dataset.root = None
    return dataset


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**32))
def test_a_label_is_the_number_with_the_digits_of_its_channels(channels, classes, seed):
    """Each channel is an image of the source; its label is a digit of the number, and the first is the highest."""
    stacked = StackedMNIST(_source(12 * classes, classes), channels=channels, length=20, seed=seed)
    for index in range(20):
        image, label = stacked[index]
        assert image.shape == (channels, 4, 4)
        assert image.dtype == torch.uint8
        number = 0
        for channel in image:
            (value,) = channel.unique().tolist()
            number = classes * number + value % classes
        assert label == number == stacked.targets[index]
        assert type(label) is int
        digits = stacked.classes[label]
        assert (int(digits, classes) if classes > 1 else number) == number
        assert len(digits) == channels
    assert len(stacked.classes) == classes**channels


def test_a_class_is_named_by_its_digits():
    """In order; with more than ten classes the indices are apart."""
    assert StackedMNIST(_source(), length=1).classes == [f"{number:03d}" for number in range(1000)]
    names = StackedMNIST(_source(classes=12), channels=2, length=1).classes
    assert names[0] == "0-0"
    assert names[1 * 12 + 11] == "1-11"
    assert names == [f"{a}-{b}" for a in range(12) for b in range(12)]


def test_the_seed_fixes_what_is_drawn():
    """The same seed gives the same items, another one others, whatever was drawn before; the global state stays."""
    state = torch.get_rng_state()
    one = StackedMNIST(_source(), length=200, seed=3)
    torch.manual_seed(1)
    again, other = StackedMNIST(_source(), length=200, seed=3), StackedMNIST(_source(), length=200, seed=4)
    torch.set_rng_state(state)
    assert torch.equal(one.indices, again.indices)
    assert torch.equal(one[7][0], again[7][0])
    assert not torch.equal(one.indices, other.indices)


def test_a_seed_of_numpy():
    """It draws what the same whole number of Python draws."""
    stacked = StackedMNIST(_source(), length=20, seed=np.int64(3))
    assert torch.equal(stacked.indices, StackedMNIST(_source(), length=20, seed=3).indices)


def test_images_are_drawn_alike_for_each_channel():
    """Each of 40 images is as likely as another in each channel, and the channels are independent."""
    indices = StackedMNIST(_source(), length=40_000).indices
    for channel in range(3):
        counts = indices[:, channel].bincount(minlength=40).double()
        statistic = ((counts - 1000).square() / 1000).sum().item()
        assert abs(statistic - 39) < 5 * math.sqrt(2 * 39)
    pairs = (40 * indices[:, 0] + indices[:, 2]).bincount(minlength=1600).double()
    statistic = ((pairs - 25).square() / 25).sum().item()
    assert abs(statistic - 1599) < 5 * math.sqrt(2 * 1599)


def test_its_size_is_that_of_pacgan():
    """128,000 stacks of three, unless told otherwise; a little more memory than the source."""
    stacked = StackedMNIST(_source())
    assert len(stacked) == len(stacked.targets) == 128_000
    assert stacked.indices.shape == (128_000, 3)
    assert stacked.images.shape == (40, 4, 4)
    assert len(stacked.targets.unique()) == 1000


@pytest.mark.parametrize("kind", [datasets.MNIST, datasets.FashionMNIST, datasets.KMNIST])
def test_data_sets_of_torchvision(kind):
    """Are stacked as they are, or as a subset, or two joined, as PacGAN joins the training and the test images."""
    for dataset in (_mnist(kind), Subset(_mnist(kind), range(20)), ConcatDataset([_mnist(kind), _mnist(kind)])):
        stacked = StackedMNIST(dataset, length=50)
        assert (stacked.num_classes, len(stacked.classes)) == (10, 1000)
        image, label = stacked[4]
        assert image.shape == (3, 28, 28)
        assert label == int("".join(str(int(channel[0, 0]) % 10) for channel in image))


def test_rendered_digits_and_a_loader():
    """A TensorLoader has all items at once, scaled, with the labels; a DataLoader has the same."""
    stacked = StackedMNIST(RenderedDigits(8, length=30), length=64)
    loader = TensorLoader(stacked, batch_size=16, shuffle=False)
    others = DataLoader(stacked, batch_size=16)
    for ours, (images, labels) in zip(loader, others, strict=True):
        assert torch.equal(ours.sample, images.float() / 127.5 - 1)
        assert torch.equal(ours.condition, labels)
    digits = RenderedDigits(8, length=30)
    for channel, index in zip(stacked[5][0], stacked.indices[5], strict=True):
        assert np.array_equal(channel.numpy(), np.asarray(digits[index][0]))


def test_a_loader_does_not_read_it_one_by_one(monkeypatch):
    """The 128,000 stacks would take seconds."""
    stacked = StackedMNIST(_source(), length=64)
    monkeypatch.setattr(sys.modules["ganlib.data._tensors"], "_one_by_one", None)
    assert torch.equal(TensorLoader(stacked, 8).samples, torch.stack([stacked.images[row] for row in stacked.indices]))


@pytest.mark.parametrize("shape", [(1, 6), (1, 4, 5), (1, 3, 2, 4)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_images_of_any_size_and_dtype(shape, dtype):
    """Also floats, and one or three dimensions."""
    stacked = StackedMNIST(_source(shape=shape, dtype=dtype), channels=2, length=10)
    assert stacked[0][0].shape == (2, *shape[1:])
    assert stacked[0][0].dtype == dtype
    assert TensorLoader(stacked, 10).samples.shape == (10, 2, *shape[1:])


def test_one_number_is_a_class_of_its_own():
    """only_class selects a number by its digits."""
    stacked = StackedMNIST(_source(classes=4), length=640)
    subset = only_class(stacked, "203")
    assert 0 < len(subset) < 40
    assert all(label == 2 * 16 + 3 for _, label in subset)


def test_the_number_of_classes():
    """Is given, or that of the data set, or one above the largest label; a subset has that of the whole."""
    source = _source(30, 10)
    low = Subset(source, [index for index in range(30) if index % 10 < 4])
    assert StackedMNIST(low, length=2).num_classes == 4
    with pytest.warns(UserWarning, match="no image of 6 of its 10 classes, so 1,000 modes are possible, but 64 occur"):
        assert StackedMNIST(low, length=2, num_classes=10).num_classes == 10
    digits = Subset(RenderedDigits(8, length=30), [0, 1, 2, 10])
    with pytest.warns(UserWarning, match="no image of 7 of its 10 classes") as warned:
        assert StackedMNIST(digits, length=2).num_classes == 10
    assert [warning.filename for warning in warned] == [__file__]
    with pytest.raises(ArgumentValueError, match=r"num_classes \(=9\) must be above the largest label of dataset, 9"):
        StackedMNIST(source, num_classes=9)


_IMAGES, _LABELS = torch.zeros(6, 1, 4, 4), torch.arange(6)
_REFUSED = {
    "three channels": (
        TensorDataset(torch.zeros(6, 3, 4, 4), _LABELS),
        ShapeError,
        r"images \(3, 4, 4\) .* one channel",
    ),
    "no channel": (TensorDataset(torch.zeros(6, 4, 4), _LABELS), ShapeError, r"images \(4, 4\) must have one channel"),
    "numbers": (TensorDataset(torch.zeros(6, 1), _LABELS), ShapeError, r"images \(1,\) must have one channel"),
    "color": ([(Image.new("RGB", (4, 4)), 0)] * 3, ShapeError, r"images \(3, 4, 4\) must have one channel"),
    "no labels": (TensorDataset(_IMAGES), ArgumentTypeError, "dataset .* has no labels"),
    "vectors": (TensorDataset(_IMAGES, torch.rand(6, 2)), ShapeError, r"labels \(6, 2\) .* one class index"),
    "numbers for labels": (TensorDataset(_IMAGES, torch.rand(6)), ShapeError, r"labels \(6,\) .* one class index"),
    "negative labels": (TensorDataset(_IMAGES, _LABELS - 1), ArgumentValueError, "labels from -1 to 4"),
    "sizes that differ": (
        [(torch.zeros(1, 4, 4), 0), (torch.zeros(1, 4, 5), 1)],
        ShapeError,
        r"dataset\[1\] has shape \(1, 4, 5\)",
    ),
    "nothing": (TensorDataset(_IMAGES[:0], _LABELS[:0]), ArgumentValueError, "is empty"),
    "no data set": (3, ArgumentTypeError, "must give its items by index"),
}


@pytest.mark.parametrize(("dataset", "error", "message"), _REFUSED.values(), ids=_REFUSED)
def test_what_cannot_be_stacked_is_refused_at_once(dataset, error, message):
    """By name, with its shape or value."""
    with pytest.raises(error, match=message):
        StackedMNIST(dataset)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("channels", [0, -1, 1.5, None, True]),
        ("length", [0, -1, 1.5, None, True]),
        ("num_classes", [0, -1, 1.5, True]),
        ("seed", [-1, None, 1.5, 2**64]),
    ],
)
def test_bad_arguments_are_named(name, values):
    """Each is a whole number."""
    for value in values:
        with pytest.raises(ArgumentValueError, match=rf"^{name} \(="):
            StackedMNIST(_source(), **{name: value})


@pytest.mark.parametrize("channels", [7, 50, 1000])
def test_more_modes_than_can_be_named_are_refused(channels):
    """Ten million names would fill the memory, and no run counts as many modes."""
    with pytest.raises(ArgumentValueError, match=rf"^channels \(={channels}\) with 10 classes .* at most 1,000,000"):
        StackedMNIST(_source(), channels=channels)
    assert len(StackedMNIST(_source(), channels=6, length=1).classes) == 1_000_000


def test_indices():
    """Negative ones count from the end, those of any kind are the same, and others are errors, as in a sequence."""
    stacked = StackedMNIST(_source(), length=15)
    for index in (-1, np.int64(14), torch.tensor(14)):
        assert torch.equal(stacked[index][0], stacked[14][0])
        assert stacked[index][1] == stacked[14][1]
    for index in (15, -16):
        with pytest.raises(IndexError, match=rf"index \(={index}\)"):
            stacked[index]
    assert len(list(stacked)) == 15


def test_an_item_can_be_changed():
    """It does not share memory with the images."""
    stacked = StackedMNIST(_source(), length=2)
    stacked[0][0].fill_(99)
    assert stacked.images.max() < 99


def test_it_goes_to_workers_and_shows_itself():
    """It is pickled, and named on one line."""
    stacked = StackedMNIST(_source(), length=9)
    assert torch.equal(pickle.loads(pickle.dumps(stacked))[3][0], stacked[3][0])
    assert repr(stacked) == "StackedMNIST(images=(40, 4, 4) uint8, num_classes=10, channels=3, seed=0, length=9)"
    with pytest.raises(GanlibError, match="images"):
        StackedMNIST(stacked)
