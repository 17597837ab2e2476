"""The index of an item: whole numbers of any kind, and nothing else, for all data sets of ganlib."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganlib import data
from ganlib.data._item_index import item_index
from ganlib.errors import ArgumentTypeError


def _pixels(item: Any) -> Any:
    image, label = item
    return np.asarray(image).tolist(), label


@pytest.fixture(params=["ImageFolder", "RenderedDigits", "StackedMNIST"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each with twelve items."""
    digits = data.RenderedDigits(size=8, length=12)
    if request.param == "RenderedDigits":
        return digits
    if request.param == "StackedMNIST":
        return data.StackedMNIST(digits, length=12)
    for number in range(12):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        Image.new("L", (4, 4), number).save(tmp_path / str(number % 2) / f"{number:02}.png")
    return data.ImageFolder(tmp_path, size=4)


@pytest.mark.parametrize("index", [slice(0, 2), 1.5, 1.0, "a", None, True, np.bool_(True), torch.tensor(True), [1]])
def test_what_is_not_a_whole_number_is_refused(dataset: Any, index: Any) -> None:
    """A slice, a float, text and a bool, as an error of ours that quotes it."""
    with pytest.raises(ArgumentTypeError, match=r"^index \(=.*\) must be a whole number"):
        dataset[index]


@pytest.mark.parametrize("index", [np.int64(3), np.uint8(3), torch.tensor(3), -9, torch.tensor(-9)])
def test_whole_numbers_of_any_kind_are_the_same(dataset: Any, index: Any) -> None:
    """Of NumPy and torch too, and from the end."""
    assert _pixels(dataset[index]) == _pixels(dataset[3])


@pytest.mark.parametrize("index", [12, -13, 10**30])
def test_an_index_that_is_out_of_range_ends_an_iteration(dataset: Any, index: int) -> None:
    """It is an IndexError, so that ``list(dataset)`` ends."""
    with pytest.raises(IndexError, match=rf"index \(={index}\) must be in \[-12, 12\)"):
        dataset[index]
    assert len(list(dataset)) == 12


def test_the_result_is_an_int() -> None:
    """A plain one, from 0 on."""
    assert [item_index(index, 4) for index in (0, -1, np.int8(-4))] == [0, 3, 0]
    assert type(item_index(torch.tensor(1), 4)) is int
