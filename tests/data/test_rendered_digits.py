"""Tests of the drawn digits."""

import random

import numpy
import pytest
import torch
from torchvision.transforms.functional import pil_to_tensor

from ganlib.data import RenderedDigits
from ganlib.errors import GanlibError


def _pixels(dataset, indices):
    return torch.stack([pil_to_tensor(dataset[index][0]).float() for index in indices])


def test_an_item_depends_on_seed_and_index_alone():
    """The same seed and index give the same pixels, in any order, from a data set of any length, after any draw."""
    first, second = RenderedDigits(length=50, seed=3), RenderedDigits(length=80, seed=3)
    expected = _pixels(first, range(50))
    random.seed(1)
    actual = _pixels(second, reversed(range(50))).flip(0)
    assert torch.equal(actual, expected)


def test_drawing_changes_no_random_state():
    """Python's and torch's random state are what they were after an item was drawn."""
    python, torchs = random.getstate(), torch.get_rng_state()
    RenderedDigits(length=10)[4]
    assert random.getstate() == python
    assert torch.equal(torch.get_rng_state(), torchs)


def test_two_seeds_and_two_items_differ():
    """No item of one seed is that of another seed, and no two items of one digit are the same."""
    ones = _pixels(RenderedDigits(length=40, seed=0), range(40))
    others = _pixels(RenderedDigits(length=40, seed=1), range(40))
    assert (ones != others).flatten(1).any(1).all()
    assert len(ones.unique(dim=0)) == 40


@pytest.mark.parametrize("size", [8, 28, 33])
def test_size_is_honoured(size):
    """Every image is grey, size x size, with something white on a mostly black ground."""
    for index in range(10):
        image, _ = RenderedDigits(size=size, length=10)[index]
        pixels = pil_to_tensor(image).float() / 255
        assert (image.mode, image.size) == ("L", (size, size))
        assert pixels.max() > 0.5
        assert 0.03 < pixels.mean() < 0.4


def test_labels_go_round_the_ten_digits():
    """Labels are index mod 10, equal ``targets``, and count into ``classes``."""
    dataset = RenderedDigits(length=25)
    assert [label for _, label in dataset] == dataset.targets == [index % 10 for index in range(25)]
    assert dataset.classes == list("0123456789")
    assert len(dataset) == 25


def test_the_picture_shows_the_label():
    """The nearest mean picture of 60 a class, a poor classifier, reads most new ones as labelled (by chance: 10 %)."""
    means = _pixels(RenderedDigits(length=600, seed=1), range(600)).view(60, 10, -1).mean(0)
    read = torch.cdist(_pixels(RenderedDigits(length=200, seed=2), range(200)).flatten(1), means).argmin(1)
    assert (read == torch.arange(200) % 10).float().mean() > 0.6


def test_digits_lie_within_the_picture():
    """The frame of one pixel around each of 500 digits is black."""
    pixels = _pixels(RenderedDigits(length=500), range(500))
    pixels[:, :, 1:-1, 1:-1] = 0
    assert pixels.max() < 128


def test_negative_indices_count_from_the_end():
    """Item -1 is the last one."""
    dataset = RenderedDigits(length=15)
    assert dataset[-1][0].tobytes() == dataset[14][0].tobytes()
    assert dataset[-1][1] == 4


@pytest.mark.parametrize("index", [-16, 15])
def test_an_index_out_of_range_is_an_index_error(index):
    """Past either end there is an IndexError naming the index, as sequences have it."""
    with pytest.raises(IndexError, match=rf"index \(={index}\)"):
        RenderedDigits(length=15)[index]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"size": 7}, r"size \(=7\)"), ({"length": 0}, r"length \(=0\)"), ({"size": float("nan")}, r"size \(=nan\)")],
)
def test_bad_arguments_are_named(arguments, message):
    """A size below 8 and a length below 1 are ValueErrors of ours that quote the value."""
    with pytest.raises(ValueError, match=message) as caught:
        RenderedDigits(**arguments)
    assert isinstance(caught.value, GanlibError)


@pytest.mark.parametrize("index", [numpy.int64(13), torch.tensor(13), torch.tensor(-7)], ids=repr)
def test_an_index_of_any_kind_is_that_index(index):
    """A 0-dim tensor, as a Subset of random indices has, gives the digit and not the tensor's text."""
    dataset = RenderedDigits(length=20)
    assert dataset[index][1] == 3
    assert dataset[index][0].tobytes() == dataset[13][0].tobytes()


@pytest.mark.parametrize("seed", [None, 1.5, -1, "a"])
def test_a_seed_is_a_whole_number(seed):
    """None is no seed: it would give the same digits each time."""
    with pytest.raises(ValueError, match=r"seed \(=") as caught:
        RenderedDigits(seed=seed)
    assert isinstance(caught.value, GanlibError)
