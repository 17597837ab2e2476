"""Tests of the encoders of class indices."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ganlib.conditioning import ClassEmbedding, OneHot
from ganlib.errors import ArgumentValueError

classes = st.lists(st.integers(0, 4), max_size=6).map(lambda values: torch.tensor(values, dtype=torch.int64))


@given(classes)
def test_one_hot_is_a_row_of_the_identity(condition):
    """A class is encoded as its row of the identity matrix, in the default dtype."""
    actual = OneHot(5)(condition)

    assert torch.equal(torch.eye(5)[condition], actual)
    assert list(OneHot(5).parameters()) == []


def test_one_hot_has_the_default_dtype():
    """Where the default dtype is float64 so is the encoding."""
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.float64 == OneHot(2)(torch.tensor([1])).dtype
    finally:
        torch.set_default_dtype(torch.float32)


@given(classes)
def test_a_class_embedding_is_a_row_of_its_weight(condition):
    """A class is encoded as its row of the embedding's weight."""
    encoder = ClassEmbedding(5, 3)

    assert torch.equal(encoder.embedding.weight[condition], encoder(condition))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.uint8])
@pytest.mark.parametrize("encoder", [OneHot(3), ClassEmbedding(3, 2)])
def test_class_indices_of_any_whole_dtype_are_the_same_classes(encoder, dtype):
    """Their encoding is that of int64, to the bit; what is out of range is refused too."""
    condition = torch.tensor([2, 0, 1])
    assert torch.equal(encoder(condition.to(dtype)), encoder(condition))
    with pytest.raises(ArgumentValueError, match="holds the class 3"):
        encoder(torch.tensor([3], dtype=dtype))
