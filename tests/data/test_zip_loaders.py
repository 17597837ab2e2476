"""Tests of several loaders as one; their positions are tested in test_joined_loader."""

from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from ganlib.data import TensorLoader, zip_loaders
from ganlib.errors import ArgumentTypeError, ArgumentValueError, GanlibError
from ganlib.protocols import Batch


def test_a_batch_is_one_of_each_loader() -> None:
    """The tuple has the batches as the loaders give them, whatever they are."""
    samples = torch.arange(6.0).view(6, 1)
    loader = zip_loaders(
        TensorLoader(TensorDataset(samples), 2, shuffle=False), [{"a": 1}, {"a": 2}, {"a": 3}], ["abc"] * 3
    )
    ((first, second, third), *_) = list(loader)
    assert torch.equal(first.sample, samples[:2])
    assert (second, third) == ({"a": 1}, "abc")
    assert len(loader.loaders) == 3


@pytest.mark.parametrize(
    ("loaders", "options", "error", "words"),
    [
        ((), {}, ArgumentValueError, "two or more"),
        (([1],), {}, ArgumentValueError, "data.map_loader takes one"),
        (([[1], [2]],), {}, ArgumentValueError, r"zip_loaders\(\*loaders\)"),
        (([1], TensorDataset(torch.zeros(3))), {}, ArgumentTypeError, r"data set, so give data\.TensorLoader"),
        (([1], None), {}, ArgumentTypeError, r"loaders\[1\] \(=None\) must be iterable"),
        (([1], 3), {}, ArgumentTypeError, r"loaders\[1\] \(=3\)"),
        (([], [1]), {}, ArgumentValueError, r"loaders\[0\] \(=\[\]\) is empty"),
        (([1], Batch(torch.zeros(4, 2))), {}, ArgumentTypeError, "must give batches, one after another"),
        (([1], "batches"), {}, ArgumentTypeError, "must give batches"),
        (([1], [2]), {"length": "both"}, ArgumentValueError, r"length \(='both'\)"),
    ],
)
def test_bad_arguments_are_named(loaders: Any, options: Any, error: Any, words: str) -> None:
    """Each is an error of ours that names the loader by its position."""
    with pytest.raises(error, match=words) as caught:
        zip_loaders(*loaders, **options)
    assert isinstance(caught.value, GanlibError)
