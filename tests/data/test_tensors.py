"""Tests of reading a whole data set into tensors."""

import dataclasses
import random

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torchvision import tv_tensors

from ganlib._random import seeded
from ganlib.data._tensors import as_tensors
from ganlib.errors import DataError, GanlibError, ShapeError


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


def test_a_tensor_dataset_is_copied():
    """One tensor is samples without conditions, two are samples and conditions; what is edited later is not seen."""
    samples, conditions = torch.rand(6, 2), torch.rand(6, 3)
    alone, both = as_tensors(TensorDataset(samples)), as_tensors(TensorDataset(samples, conditions))
    expected = samples.clone(), conditions.clone()
    samples.zero_()
    conditions.zero_()
    assert torch.equal(alone[0], expected[0])
    assert alone[1] is None
    assert all(map(torch.equal, both, expected))


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


class _Stream(IterableDataset):
    def __len__(self):
        return 3

    def __iter__(self):
        return iter([_X] * 3)


class _Endless(Dataset):
    def __getitem__(self, index):
        return _X


_X = torch.zeros(2)
_BAD = {
    "no index": (iter([1]), TypeError, r"must give its items by index"),
    "a stream": (_Stream(), TypeError, r"must give its items by index"),
    "a loader": (DataLoader(TensorDataset(_X)), TypeError, r"must give its items by index"),
    "no length": (_Endless(), TypeError, "must have a length"),
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
    "bool labels": (TensorDataset(_X, torch.zeros(2, dtype=torch.bool)), TypeError, "torch.bool"),
    "complex labels": (TensorDataset(_X, torch.zeros(2, dtype=torch.complex64)), TypeError, "torch.complex64"),
    "complex samples": (TensorDataset(_X.to(torch.complex64)), TypeError, "torch.complex64"),
    "bool samples": (TensorDataset(_X.bool()), TypeError, "torch.bool"),
    "8-bit floats": (TensorDataset(_X.to(torch.float8_e4m3fn)), TypeError, "float8_e4m3fn"),
    "sparse samples": (_Listed([_X.to_sparse()]), TypeError, r"dataset\[0\] holds a sparse"),
    "sparse labels": (_Listed([(_X, _X.to_sparse())]), TypeError, r"the condition of dataset\[0\] holds a sparse"),
    "sparse whole": (TensorDataset(_X.view(2, 1).to_sparse()), TypeError, "dataset holds a sparse"),
    "no values": (_Listed([_X.to("meta")]), TypeError, r"dataset\[0\] holds a sparse, nested, quantized or meta"),
    "channels differ": (
        _Listed([Image.new("L", (2, 2)), Image.new("RGB", (2, 2))]),
        ValueError,
        r"\(3, 2, 2\).*number of channels",
    ),
    "kinds of labels": (_Listed([(_X, 1), (_X, 0.5)]), TypeError, r"the condition of dataset\[1\] is of torch.float32"),
    "a picture as label": (_Listed([(_X, Image.new("F", (2, 2)))]), TypeError, r"\[0\] is a PIL.*pil_to_tensor"),
    "a dict as label": (_Listed([(_X, {"a": 1})]), TypeError, r"dataset\[0\] has the condition \{'a': 1\}"),
    "a huge label": (_Listed([(_X, 2**80)]), TypeError, r"dataset\[0\] has the condition"),
    "labels (L, 1)": (TensorDataset(_X, torch.zeros(2, 1, dtype=torch.int64)), TypeError, r"\(2, 1\).*squeeze\(1\)"),
    "tags of bytes": (TensorDataset(_X, torch.zeros(2, 3).byte()), TypeError, r"\(2, 3\).*tags.*call \.float\(\)$"),
    "maps of bytes": (TensorDataset(_X, torch.zeros(2, 3, 4, 4).byte()), TypeError, r"maps / 127\.5 - 1.*one_hot$"),
    "negative label": (TensorDataset(_X, torch.tensor([0, -1])), ValueError, "labels from -1 to 0"),
    "label too high": (_Listed([(_X, 0), (_X, 2)], classes=["a", "b"]), ValueError, "from 0 to 2.*below 2"),
}


@pytest.mark.parametrize(("dataset", "builtin", "message"), _BAD.values(), ids=_BAD)
def test_bad_data_are_named(dataset, builtin, message):
    """What is wrong with a data set is said with the item or the values, in an error of ours that is a built-in."""
    with pytest.raises(builtin, match=message) as caught:
        as_tensors(dataset)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16])
def test_labels_of_any_whole_dtype_are_indices(dtype):
    """Whole numbers of another dtype are the same labels, in int64."""
    labels = torch.tensor([2, 0, 1]).to(dtype)
    for dataset in (TensorDataset(torch.zeros(3, 1), labels), _Listed([(_X, label) for label in labels])):
        _, conditions = as_tensors(dataset)
        assert (conditions.dtype, conditions.tolist()) == (torch.int64, [2, 0, 1])


@pytest.mark.parametrize("classes", [None, 7, {"a": 0, "b": 1, "c": 2}, ("a", "b", "c")])
def test_labels_are_checked_where_the_number_of_classes_is_known(classes):
    """``classes`` may be missing, or another thing of that name: then labels need only be indices from 0 on."""
    assert as_tensors(_Listed([(_X, 0), (_X, 2)], classes=classes))[1].tolist() == [0, 2]
    if classes not in (None, 7):
        with pytest.raises(GanlibError, match="below 3"):
            as_tensors(_Listed([(_X, 3)], classes=classes))


def test_none_is_no_condition():
    """(sample, None) is a sample without a condition."""
    assert as_tensors(_Listed([(_X, None)] * 2))[1] is None


def test_a_buffer_that_is_written_again_is_copied():
    """A data set may give out one buffer, with another content each time: in a tensor, or shared with NumPy."""

    class Reusing(_Listed):
        array, label = numpy.zeros(3, numpy.float32), torch.zeros(1)

        def __getitem__(self, index):
            self.array[:] = index
            return torch.from_numpy(self.array), self.label.fill_(index)

    samples, conditions = as_tensors(Reusing(range(4)))
    assert samples.tolist() == [[index] * 3 for index in range(4)]
    assert conditions.tolist() == [[0.0], [1.0], [2.0], [3.0]]


@pytest.mark.parametrize(
    "wrap",
    [tv_tensors.Image, lambda image: torch.nn.Parameter(image.float()), lambda image: image.float().requires_grad_()],
    ids=["tv_tensors.Image", "Parameter", "requires_grad"],
)
def test_tensors_become_plain(wrap):
    """Subclasses of a tensor are read as their values, and nothing of a graph is kept."""
    image = _random(3, 2, 2)
    for dataset in (_Listed([wrap(image)]), TensorDataset(wrap(image[None]))):
        samples, _ = as_tensors(dataset)
        assert type(samples) is torch.Tensor
        assert not samples.requires_grad
        assert torch.equal(samples.byte()[0], image)


def test_an_error_of_the_data_set_is_told_with_the_item():
    """What __getitem__ raises is the cause of an error that names the item, and the length that the data set says."""

    class Broken(_Listed):
        def __getitem__(self, index):
            raise LookupError("mine")

    with pytest.raises(DataError, match=r"dataset\[0\] fails \(LookupError: mine\).* 1 items") as caught:
        as_tensors(Broken([1]))
    assert isinstance(caught.value.__cause__, LookupError)


# Random items.


class _Augmented(Dataset):
    """Images that are changed at random, by one of the sources of random numbers."""

    def __init__(self, length, draw):
        self.length, self.draw = length, draw

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        image = torch.zeros(1, 4, 4)
        image[0, :, index % 4] = 0.1
        return image.flip(2) if self.draw() < 0.5 else image


_DRAWS = {"torch": lambda: torch.rand(()), "python": random.random, "numpy": lambda: numpy.random.rand()}


@pytest.mark.parametrize("source", _DRAWS)
def test_random_items_are_warned_of_once(source):
    """The random numbers go on as after one reading, whose items are kept."""
    dataset = _Augmented(20, _DRAWS[source])
    with seeded(3):
        expected = torch.stack([dataset[index] for index in range(20)])
        after = [float(draw()) for draw in _DRAWS.values()]
    with seeded(3):
        with pytest.warns(UserWarning, match="transform=") as warned:
            samples, _ = as_tensors(dataset)
        assert [float(draw()) for draw in _DRAWS.values()] == after
    assert torch.equal(samples, expected)
    assert len(warned) == 1


def test_random_labels_are_warned_of():
    """Labels that change are as random as samples."""

    class Noisy(_Listed):
        def __getitem__(self, index):
            return _X, int(torch.randint(1000, ()))

    with pytest.warns(UserWarning, match="change when they are read again"):
        as_tensors(Noisy(range(9)))


def test_items_that_depend_on_their_index_alone_are_not_warned_of():
    """A transform with random numbers of the index's own, and results that differ by rounding, are no mistake."""

    class Seeded(_Listed):
        def __getitem__(self, index):
            noise = torch.rand(4, generator=torch.Generator().manual_seed(index))
            return noise + 1e-6 * torch.rand(())

    as_tensors(Seeded(range(9)))


def test_a_data_set_that_can_be_read_only_once_is_read():
    """The second reading is for a warning alone, so that its failure is no error."""

    class Once(_Listed):
        def __getitem__(self, index):
            return self.items.pop(0)

    items = [torch.full((2,), float(index)) for index in range(3)]

    class Fixed(Once):
        def __len__(self):
            return 3

    assert as_tensors(Fixed(list(items)))[0].tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


@pytest.mark.parametrize("late", [range(12, 40), range(39, 40)], ids=["from the thirteenth on", "the last alone"])
def test_items_that_change_are_found_wherever_they_are(late):
    """Random items after others, as in a ConcatDataset, are warned of too."""

    class Noisy(_Listed):
        def __getitem__(self, index):
            return torch.rand(4) if index in late else torch.zeros(4)

    with pytest.warns(UserWarning, match="change when they are read again"):
        as_tensors(Noisy(range(40)))


@dataclasses.dataclass
class _Pair:
    image: torch.Tensor
    label: int


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([{"image": torch.zeros(2), "label": 1}], "is a dict with the keys 'image', 'label'; wrap"),
        ([_Pair(torch.zeros(2), 1)], "is a _Pair of image, label; wrap"),
        ([(torch.zeros(2), 1, 2)], "has 3 parts; wrap"),
        ([(torch.zeros(2), "cat")], "'cat'.*such as the index of its class"),
        ([torch.zeros(1, 0, 4)], r"samples \(1, 0, 4\) hold no values"),
        ([(torch.zeros(2), float("nan"))], "conditions that are not finite"),
        ([(torch.zeros(2), 1j)], "complex"),
    ],
)
def test_items_of_another_form_are_shown_with_what_to_do(items, words):
    """Each is one error of ours, without a warning first."""
    with pytest.raises(GanlibError, match=words):
        as_tensors(_Listed(items * 3))


@pytest.mark.parametrize("name", ["__getitem__", "__len__"])
def test_a_data_set_that_fails_is_named(name):
    """Its own error is the cause."""

    def fails(*_):
        raise KeyError("mine")

    broken = type("Broken", (_Listed,), {name: fails})([torch.zeros(2)])
    with pytest.raises(DataError, match=r"(dataset\[0\]|len\(dataset\)) fails \(KeyError: 'mine'\)") as caught:
        as_tensors(broken)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_pair_of_tensors_is_not_a_data_set_of_two_items():
    """The error offers the TensorDataset that was meant; all samples one by one in a tuple are a data set."""
    with pytest.raises(GanlibError, match="TensorDataset"):
        as_tensors((torch.zeros(4, 2), torch.zeros(4, 2)))
    assert as_tensors(torch.eye(4).unbind())[0].tolist() == torch.eye(4).tolist()


@pytest.mark.parametrize("dtype", [">i4", ">i8", "<u8", ">u8", "u2"])
def test_labels_of_any_byte_order_are_numbers(dtype):
    """NumPy's whole numbers become int64, as scalars and in arrays."""
    labels = numpy.array([3, 1, 2], dtype)
    for each in (list(labels), [label.reshape(()) for label in labels]):
        _, conditions = as_tensors(_Listed([(torch.zeros(2), label) for label in each]))
        assert conditions.tolist() == [3, 1, 2]
        assert conditions.dtype == torch.int64


def test_a_large_data_set_is_not_printed():
    """An error has a part of it."""
    with pytest.raises(GanlibError) as caught:
        as_tensors([torch.full((9,), float("nan"))] * 99)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("condition", [[], torch.zeros(0), torch.zeros(2, 0, 3)])
def test_conditions_without_values_are_refused(condition):
    """Of any shape, in memory and item by item."""
    items = [(torch.zeros(2), condition)] * 3
    tensors = TensorDataset(torch.zeros(3, 2), torch.stack([torch.as_tensor(condition)] * 3))
    for dataset in (items, tensors):
        with pytest.raises(ShapeError, match=r"dataset's conditions \(.*0.*\) hold no values"):
            as_tensors(dataset)
